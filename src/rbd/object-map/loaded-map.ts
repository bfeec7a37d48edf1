/** Maps that change no more: of snapshots that are read, and of images that go. */

import { isRadosError } from '../../base/errors.js';
import type { ObjectBitmap } from '../../kernels/bitmap.js';
import { MAY_EXIST, OBJECT_STATE } from '../../kernels/object-state.js';
import type { IoContext } from '../../rados/io-context.js';
import { FEATURE } from '../features.js';
import type { ImageHeader, ImageSnapshot } from '../header.js';
import type { KnownObjects } from '../object-states.js';
import type { TrimmedMap } from '../trim.js';
import { isMapInvalid } from './map-flags.js';
import { StoredMap } from './stored-map.js';

interface Place {
  readonly ioctx: IoContext;
  readonly id: string;
  readonly header: ImageHeader;
}

/** The map of the head, or of a snapshot, to be freed. Undefined: there is none, or none to be believed. */
export async function loadMap(
  place: Place,
  snapshot?: ImageSnapshot,
): Promise<ObjectBitmap | undefined> {
  const { header } = place;
  const hasMap = (header.features & FEATURE.OBJECT_MAP) !== 0n;
  if (!hasMap || isMapInvalid((snapshot ?? header).flags)) return undefined;
  return loadUnbelieved(place, snapshot);
}

/** As `loadMap`, also of a map that is flagged as invalid. Undefined: there is none, or it makes no sense. */
export async function loadUnbelieved(
  { ioctx, id, header }: Place,
  snapshot?: ImageSnapshot,
): Promise<ObjectBitmap | undefined> {
  try {
    const objectCount = header.layout.objectCount(snapshot?.imageSize ?? header.size);
    const states = await new StoredMap(ioctx, id, snapshot?.id).load(objectCount);
    if (states.objectCount >= objectCount) return states;
    states.free();
    return undefined;
  } catch (error) {
    // Everything works without it, whatever is wrong with it; and nothing does for a client that is fenced.
    if (isRadosError(error, 'EBLOCKLISTED')) throw error;
    return undefined;
  }
}

/** What is known of a snapshot's objects. */
export function knownObjects(states: ObjectBitmap): KnownObjects {
  return {
    mayExist: (objectNo) =>
      objectNo >= states.objectCount || states.get(objectNo) !== OBJECT_STATE.NONEXISTENT,
  };
}

/** Of an image that is removed as a whole: nobody needs its map afterwards. */
export function doomedMap(states: ObjectBitmap): TrimmedMap {
  return {
    nextExisting: (from, end) => (from < end ? states.next(MAY_EXIST, from, end) : -1),
    countExisting: (from, end) =>
      from < end ? end - from - states.count(from, end).nonexistent : 0,
    removeRange: (_first, _end, remove) => remove(),
  };
}
