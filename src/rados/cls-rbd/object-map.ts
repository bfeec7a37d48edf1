/**
 * On `rbd_object_map.ID` and its like of each snapshot: which objects exist. In the head's map they change only what its owner
 * asserts to have locked, in the same request.
 */

import { classCall } from '../class-call.js';
import { writes } from './calls.js';

/** The map as an encoded bit vector without checksums, which were checked. ENOENT: missing or empty; EINVAL: corrupt. */
export const objectMapLoad = () =>
  classCall('rbd', 'object_map_load', undefined, (out): Uint8Array => out);

/** Replaces the map by an encoded bit vector. */
export const objectMapSave = (bitVector: Uint8Array) =>
  writes('object_map_save', (e) => e.raw(bitVector));

/** Creates the map if need be. ESTALE: an object that would fall off is not in `state`. EINVAL: over 256,000,000, or corrupt. */
export const objectMapResize = (objectCount: number, state: number) =>
  writes('object_map_resize', (e) => e.u64n(objectCount).u8(state));

/**
 * Puts the objects from `start` on and before `end` into `state`, of those in state `current` if given (EXISTS means
 * EXISTS_CLEAN too). ERANGE: beyond the map's end.
 *
 * A method sees its object as it was before the request: two of these in one request must not touch the same 4,096 bytes
 * of the map (`OBJECTS_PER_BLOCK` objects), or only the last takes effect.
 */
export const objectMapUpdate = (start: number, end: number, state: number, current?: number) =>
  writes('object_map_update', (e) => {
    e.u64n(start)
      .u64n(end)
      .u8(state)
      .bool(current !== undefined);
    if (current !== undefined) e.u8(current);
  });

export const OBJECTS_PER_BLOCK = 16_384;

/** After a snapshot was taken: what exists is clean. */
export const objectMapSnapAdd = () => writes('object_map_snap_add');

/** On the map of the next snapshot, or of the head: `bitVector` is the map of one that goes. */
export const objectMapSnapRemove = (bitVector: Uint8Array) =>
  writes('object_map_snap_remove', (e) => e.raw(bitVector));

/** Flags of a header: which maps are not to be believed. */
export const MAP_FLAG = { OBJECT_MAP_INVALID: 1n, FAST_DIFF_INVALID: 2n } as const;
