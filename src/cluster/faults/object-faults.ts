/** Damage to one OSD's copy of an object, behind the OSD's back: what bit rot, a lost write or a file system's repair leave. */

import { RadosError } from '../../base/errors.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { placementOf } from '../mon/mon-state.js';
import { objectToPg } from '../../osdmap/placement.js';
import type { ObjectId } from '../store/object-id.js';
import type { StoredObject } from '../store/object-store.js';
import type { StoreOp } from '../store/transaction.js';
import type { CorruptObjectOptions } from './fault-spec.js';
import type { FaultTargets } from './fault-targets.js';
import { poolId } from './map-faults.js';

/** The OSD's store is as it will stay: nobody undoes this but a repair. ENOENT when the OSD has no such object. */
export async function corruptObject(
  { state, osd: osdOf }: FaultTargets,
  options: CorruptObjectOptions,
): Promise<void> {
  const { object: oid, namespace: nspace = '', osd, what = 'data' } = options;
  const pool = poolId(state, options.pool);
  const { map } = state.osdMaps;
  const place = objectToPg(map, { pool, oid, key: '', nspace });
  if (!place) throw new RadosError('ENOENT', `there is no pool ${pool}`);
  const { acting } = placementOf(state, map).pgToUpActing(place.pg);
  const target = osd ?? acting.at(-1) ?? -1;
  const store = osdOf(target)?.store;
  const collection = formatPgId(place.pg);
  const id: ObjectId = {
    pool,
    nspace,
    oid,
    key: '',
    hash: place.hash,
    snap: options.snap ?? NOSNAP,
  };
  const found = store?.get(collection, id);
  if (!store || !found) throw new RadosError('ENOENT', `osd.${target} has no object ${oid}`);
  await store.apply({ collection, ops: [damage(found, what)] });
}

function damage(object: StoredObject, what: CorruptObjectOptions['what']): StoreOp {
  const { id } = object;
  switch (what) {
    case 'missing':
      return { op: 'remove', id };
    case 'xattr': {
      const [name, value] = object.xattrs()[0] ?? ['planted', new Uint8Array()];
      return { op: 'setXattr', id, name, value: flipped(value) };
    }
    case 'omap': {
      const first = [...object.omapFrom('')][0] ?? ['planted', new Uint8Array()];
      return { op: 'omapSet', id, values: [[first[0], flipped(first[1])]] };
    }
    case 'size':
      return { op: 'truncate', id, size: object.size + 1 };
    default: {
      const offset = Math.floor(object.size / 2);
      return { op: 'write', id, offset, data: flipped(object.read(offset, 1)) };
    }
  }
}

/** Another one, in one bit. */
function flipped(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(1);
  return bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
}
