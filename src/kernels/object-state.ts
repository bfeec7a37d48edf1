/** The states of an image's objects in its object map, as Ceph numbers them (`include/rbd/object_map_types.h`). */
export const OBJECT_STATE = {
  NONEXISTENT: 0,
  /** Exists, and was written since the last snapshot. */
  EXISTS: 1,
  /** Is being removed: it may exist. */
  PENDING: 2,
  /** Exists, unchanged since the last snapshot. */
  EXISTS_CLEAN: 3,
} as const;

export type ObjectState = (typeof OBJECT_STATE)[keyof typeof OBJECT_STATE];

/** States as a set: bit s for state s. */
export type StateSet = number;

/** Of objects that may exist: all but NONEXISTENT. */
export const MAY_EXIST: StateSet = 0b1110;
export const ANY_STATE: StateSet = 0b1111;

export function setOf(...states: readonly ObjectState[]): StateSet {
  return states.reduce((set: number, state) => set | (1 << state), 0);
}

/** What `object_map_update` changes, given the state that it is to find. EXISTS means EXISTS_CLEAN too. */
export function statesMatching(current: ObjectState | undefined): StateSet {
  if (current === undefined) return ANY_STATE;
  return current === OBJECT_STATE.EXISTS
    ? setOf(OBJECT_STATE.EXISTS, OBJECT_STATE.EXISTS_CLEAN)
    : setOf(current);
}

/** 1 PiB in objects of 4 MiB: what Ceph's class `rbd` allows a map to have. */
export const OBJECTS_MAX = 256_000_000;

/** How many objects of a map are in each state. */
export interface StateCounts {
  readonly nonexistent: number;
  readonly exists: number;
  readonly pending: number;
  readonly existsClean: number;
}
