/** On `rbd_header.ID` and `rbd_info`: key and value pairs of an image, or of a pool. */

import { blob, map, string } from '../../encoding/codec.js';
import { reads, writes } from './calls.js';

/** Up to `max` pairs after the key `startAfter`, in key order. */
export const listMetadata = (startAfter: string, max: number) =>
  reads('metadata_list', map(string, blob), (e) => e.string(startAfter).u64n(max));
export const getMetadata = (key: string) => reads('metadata_get', blob, (e) => e.string(key));
export const setMetadata = (pairs: ReadonlyMap<string, Uint8Array>) =>
  writes('metadata_set', (e) => {
    e.u32(pairs.size);
    for (const [key, value] of pairs) e.string(key).blob(value);
  });
/** A key that is not there is no error. */
export const removeMetadata = (key: string) => writes('metadata_remove', (e) => e.string(key));
