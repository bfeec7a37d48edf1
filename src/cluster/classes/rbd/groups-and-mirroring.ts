/**
 * Class `rbd`, what an image needs to say that it is in no group, not mirrored and not migrating. Groups, mirroring and
 * live migration themselves are not served: their writing methods are unknown here (EOPNOTSUPP).
 */

import { s64n, struct, u32, u64 } from '../../../encoding/codec.js';
import type { Decoder } from '../../../encoding/decoder.js';
import { encode } from '../../../encoding/encoder.js';
import { byteString, latin1Bytes } from '../../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import {
  FEATURE,
  findKey,
  listKeys,
  OP_FEATURE,
  readKey,
  setOpFeatures,
  writeKey,
} from './values.js';

const groupSpec = struct('GroupSpec', { version: 1, compat: 1 }, { pool: s64n, id: byteString });
const NO_GROUP = { pool: -1, id: '' };

const missing = () => {
  throw new ClassError('ENOENT');
};
/** Of an image by its id: there is none. */
const missingImage = (_object: ClassObject, input: Decoder) => {
  byteString.decode(input);
  return missing();
};

const imageGroupAdd = writeMethod((object, input) => {
  const group = groupSpec.decode(input);
  const current = findKey(object, 'rbd_group_ref', groupSpec);
  if (current) {
    const same = current.pool === group.pool && current.id === group.id;
    throw new ClassError(same ? 'EEXIST' : 'EBUSY');
  }
  setOpFeatures(object, OP_FEATURE.GROUP, OP_FEATURE.GROUP);
  writeKey(object, 'rbd_group_ref', groupSpec, group);
});

const imageGroupRemove = writeMethod((object, input) => {
  const group = groupSpec.decode(input);
  const current = readKey(object, 'rbd_group_ref', groupSpec);
  if (current.pool !== group.pool || current.id !== group.id) throw new ClassError('EBADF');
  object.omapRemove('rbd_group_ref');
  setOpFeatures(object, 0n, OP_FEATURE.GROUP);
});

const migrationGet = readMethod((object) => {
  const features = findKey(object, 'features', u64);
  // Not even a header, of format 2 at least.
  if (features === undefined) throw new ClassError('ENXIO');
  if (!(features & FEATURE.MIGRATING)) throw new ClassError('EINVAL');
  const spec = object.omapGet('migration');
  if (spec === undefined) throw new ClassError('ENOENT');
  return spec;
});

export const groupAndMirroringMethods = {
  image_group_get: readMethod((object) =>
    encode((e) => groupSpec.encode(e, findKey(object, 'rbd_group_ref', groupSpec) ?? NO_GROUP)),
  ),
  image_group_add: imageGroupAdd,
  image_group_remove: imageGroupRemove,
  group_dir_list: readMethod((object, input) => {
    const startAfter = byteString.decode(input);
    const groups = listKeys(object, 'name_', startAfter, input.u64());
    return encode((e) => {
      e.u32(groups.length);
      for (const [name, id] of groups) e.blob(latin1Bytes(name)).raw(id);
    });
  }),
  migration_get: migrationGet,
  mirror_uuid_get: readMethod(missing),
  mirror_mode_get: readMethod((object) => {
    const mode = readKey(object, 'mirror_mode', u32);
    return encode((e) => e.u32(mode));
  }),
  mirror_peer_list: readMethod(() => encode((e) => e.u32(0))),
  mirror_image_list: readMethod(() => encode((e) => e.u32(0))),
  mirror_image_get: readMethod(missingImage),
  mirror_image_get_image_id: readMethod(missingImage),
  mirror_image_remove: writeMethod(missingImage),
};
