/** Class `rbd`, `rbd_namespace`: the RADOS namespaces that hold images. */

import { encode } from '../../../encoding/encoder.js';
import { byteString, latin1Bytes } from '../../byte-string.js';
import { ClassError, readMethod, writeMethod } from '../class-registry.js';
import { listKeys } from './values.js';

const PREFIX = 'name_';

export const namespaceMethods = {
  namespace_add: writeMethod((object, input) => {
    const key = PREFIX + byteString.decode(input);
    if (object.omapGet(key) !== undefined) throw new ClassError('EEXIST');
    object.omapSet([key, new Uint8Array(0)]);
  }),
  namespace_remove: writeMethod((object, input) => {
    const key = PREFIX + byteString.decode(input);
    if (object.omapGet(key) === undefined) throw new ClassError('ENOENT');
    object.omapRemove(key);
  }),
  namespace_list: readMethod((object, input) => {
    const startAfter = byteString.decode(input);
    const names = listKeys(object, PREFIX, startAfter, input.u64());
    return encode((e) => {
      e.u32(names.length);
      for (const [name] of names) e.blob(latin1Bytes(name));
    });
  }),
};
