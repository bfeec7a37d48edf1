/**
 * What the object map kernels do, to be read: on arrays with one state for each object, one object at a time. The kernels
 * are tested against these, and what Ceph says is checked against both.
 */

import { OBJECT_STATE, type ObjectState } from './object-state.js';

const { NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN } = OBJECT_STATE;

/** Four objects to a byte, the first in the two highest bits. */
export function packTwin(states: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(states.length / 4));
  states.forEach((state, objectNo) => {
    bytes[objectNo >>> 2]! |= state << (6 - 2 * (objectNo % 4));
  });
  return bytes;
}

/** Objects of each state, by state. */
export function countTwin(states: Uint8Array, start: number, end: number): number[] {
  const counts = [0, 0, 0, 0];
  for (const state of states.subarray(start, end)) counts[state]!++;
  return counts;
}

export function nextTwin(states: Uint8Array, start: number, end: number, set: number): number {
  for (let objectNo = start; objectNo < end; objectNo++) {
    if (set & (1 << states[objectNo]!)) return objectNo;
  }
  return -1;
}

/** Class method `object_map_update` (`cls_rbd.cc`). Returns how many changed. */
export function updateTwin(
  states: Uint8Array,
  start: number,
  end: number,
  state: ObjectState,
  current?: ObjectState,
): number {
  let changed = 0;
  for (let objectNo = start; objectNo < end; objectNo++) {
    const before = states[objectNo];
    const matches =
      current === undefined ||
      before === current ||
      (current === EXISTS && before === EXISTS_CLEAN);
    if (!matches || before === state) continue;
    states[objectNo] = state;
    changed++;
  }
  return changed;
}

/** Class method `object_map_snap_remove`: what was dirty in the removed snapshot is dirty in the next. */
export function snapshotRemovedTwin(states: Uint8Array, removed: Uint8Array): number {
  let changed = 0;
  states.forEach((state, objectNo) => {
    const wasDirty = objectNo >= removed.length || removed[objectNo] === EXISTS;
    if (state !== EXISTS_CLEAN || !wasDirty) return;
    states[objectNo] = EXISTS;
    changed++;
  });
  return changed;
}

const HOLE = 0;
const DATA = 1;
const HOLE_UPDATED = 2;
const DATA_UPDATED = 3;

/**
 * Fast-diff (`librbd/object_map/DiffRequest.cc`): the state of each object of the last map. `maps` are those of the snapshot
 * that the diff begins with, of all between, and of the one that it ends with; `fromBeginning`: of the last alone.
 */
export function diffTwin(maps: readonly Uint8Array[], fromBeginning = false): Uint8Array {
  let states = new Uint8Array(0);
  maps.forEach((map, index) => {
    const isLast = index === maps.length - 1;
    const before = states;
    states = Uint8Array.from(map, (object, objectNo) => {
      if (index === 0 && !fromBeginning) return diffBegins(object);
      return diffGoesOn(before[objectNo] ?? HOLE, object, isLast);
    });
  });
  return states;
}

function diffBegins(object: number): number {
  if (object === NONEXISTENT) return HOLE;
  return object === PENDING ? DATA_UPDATED : DATA;
}

function diffGoesOn(state: number, object: number, isLast: boolean): number {
  switch (state) {
    case HOLE:
      return object !== NONEXISTENT && isLast ? DATA_UPDATED : HOLE;
    case DATA:
      if (object === NONEXISTENT) return HOLE_UPDATED;
      return object === EXISTS_CLEAN ? DATA : DATA_UPDATED;
    default:
      return object === NONEXISTENT ? HOLE_UPDATED : DATA_UPDATED;
  }
}

/** What a diff reports of its states. */
export function reportedTwin(states: Uint8Array): Uint8Array {
  return states.map((state) => (state === HOLE_UPDATED || state === DATA_UPDATED ? state : 0));
}

/** Entries as the kernels write them, of the classes of all objects from `start` on and before `end`. */
export function entriesTwin(classes: Uint8Array, start: number, end: number): number[] {
  const entries: number[] = [];
  let before = 0;
  for (let objectNo = start; objectNo < end; objectNo++) {
    const kind = classes[objectNo]!;
    if (kind !== before) entries.push(objectNo * 4 + kind);
    before = kind;
  }
  if (before !== 0) entries.push(end * 4);
  return entries;
}

/** Offsets where blocks that are not all zeros begin and end. */
export function dataExtentsTwin(bytes: Uint8Array, block: number): number[] {
  const boundaries: number[] = [];
  let isData = false;
  for (let at = 0; at < bytes.length; at += block) {
    const hasData = bytes.subarray(at, at + block).some((byte) => byte !== 0);
    if (hasData !== isData) boundaries.push(at);
    isData = hasData;
  }
  if (isData) boundaries.push(bytes.length);
  return boundaries;
}
