/** On `rbd_namespace`. */

import { list, string } from '../../encoding/codec.js';
import { reads, writes } from './calls.js';

export const namespaceList = (startAfter: string, max: number) =>
  reads('namespace_list', list(string), (e) => e.string(startAfter).u64n(max));
/** EEXIST. */
export const namespaceAdd = (name: string) => writes('namespace_add', (e) => e.string(name));
/** ENOENT. */
export const namespaceRemove = (name: string) => writes('namespace_remove', (e) => e.string(name));
