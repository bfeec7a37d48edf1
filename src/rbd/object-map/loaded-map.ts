/** Maps that change no more: of snapshots that are read, and of images that go. */

import { isRadosError } from '../../base/errors.js';
import type { IoContext } from '../../rados/io-context.js';
import { FEATURE } from '../features.js';
import type { ImageHeader, ImageSnapshot } from '../header.js';
import type { KnownObjects } from '../object-states.js';
import type { TrimmedMap } from '../trim.js';
import { isMapInvalid } from './map-flags.js';
import { OBJECT_STATE, type StateBitmap } from './state-bitmap.js';
import { StoredMap } from './stored-map.js';

interface Place {
  readonly ioctx: IoContext;
  readonly id: string;
  readonly header: ImageHeader;
}

/** The map of the head, or of a snapshot. Undefined: there is none, or none to be believed. */
export async function loadMap(
  { ioctx, id, header }: Place,
  snapshot?: ImageSnapshot,
): Promise<StateBitmap | undefined> {
  const hasMap = (header.features & FEATURE.OBJECT_MAP) !== 0n;
  if (!hasMap || isMapInvalid((snapshot ?? header).flags)) return undefined;
  try {
    const states = await new StoredMap(ioctx, id, snapshot?.id).load();
    const objectCount = header.layout.objectCount(snapshot?.imageSize ?? header.size);
    return states.size >= objectCount ? states : undefined;
  } catch (error) {
    // Everything works without it, whatever is wrong with it; and nothing does for a client that is fenced.
    if (isRadosError(error, 'EBLOCKLISTED')) throw error;
    return undefined;
  }
}

/** What is known of a snapshot's objects. */
export function knownObjects(states: StateBitmap): KnownObjects {
  return {
    mayExist: (objectNo) =>
      objectNo >= states.size || states.get(objectNo) !== OBJECT_STATE.NONEXISTENT,
  };
}

/** Of an image that is removed as a whole: nobody needs its map afterwards. */
export function doomedMap(states: StateBitmap): TrimmedMap {
  return {
    ...knownObjects(states),
    nextExisting: (from, end) => states.nextExisting(from, end),
    countExisting: (from, end) => states.countExisting(from, end),
    removeRange: (_first, _end, remove) => remove(),
  };
}
