/** Class `rbd`, `rbd_trash`: images on their way out. */

import { since, struct, u8 } from '../../../encoding/codec.js';
import { encode } from '../../../encoding/encoder.js';
import { utime } from '../../../encoding/types.js';
import { byteString, latin1Bytes } from '../../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import { isValidImageId } from './directory.js';
import { decodeStored, listKeys, readKey, writeKey } from './values.js';

const PREFIX = 'id_';

/** Read in version 1 (without a state) too, always written in version 2. */
const trashSpec = struct(
  'TrashImageSpec',
  { version: 2, compat: 1 },
  {
    source: u8,
    name: byteString,
    deletionTime: utime,
    deferUntil: utime,
    state: since(2, u8, () => 0),
  },
);

function requireEntry(object: ClassObject, id: string): Uint8Array {
  const stored = object.omapGet(PREFIX + id);
  if (stored === undefined) throw new ClassError('ENOENT');
  return stored;
}

const trashAdd = writeMethod((object, input) => {
  object.create(false);
  const id = byteString.decode(input);
  const spec = trashSpec.decode(input);
  if (!isValidImageId(id)) throw new ClassError('EINVAL');
  if (object.omapGet(PREFIX + id) !== undefined) throw new ClassError('EEXIST');
  writeKey(object, PREFIX + id, trashSpec, spec);
});

const trashList = readMethod((object, input) => {
  const startAfter = byteString.decode(input);
  const images = listKeys(object, PREFIX, startAfter, input.u64());
  return encode((e) => {
    e.u32(images.length);
    for (const [id, bytes] of images) {
      e.blob(latin1Bytes(id));
      trashSpec.encode(e, decodeStored(trashSpec, bytes));
    }
  });
});

const trashStateSet = writeMethod((object, input) => {
  const key = PREFIX + byteString.decode(input);
  const state = input.u8();
  const expected = input.u8();
  const spec = readKey(object, key, trashSpec);
  if (spec.state === expected) writeKey(object, key, trashSpec, { ...spec, state });
  else if (spec.state !== state) throw new ClassError('ESTALE');
});

export const trashMethods = {
  trash_add: trashAdd,
  trash_remove: writeMethod((object, input) => {
    const id = byteString.decode(input);
    requireEntry(object, id);
    object.omapRemove(PREFIX + id);
  }),
  trash_get: readMethod((object, input) => requireEntry(object, byteString.decode(input))),
  trash_list: trashList,
  trash_state_set: trashStateSet,
};
