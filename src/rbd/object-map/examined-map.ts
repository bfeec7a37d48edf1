/** A map while its objects are looked at one by one, under I/O: of the head, or of a snapshot. */

import { NOSNAP } from '../../encoding/types.js';
import type { ObjectBitmap } from '../../kernels/bitmap.js';
import type { ObjectState } from '../../kernels/object-state.js';
import type { HeadMap } from './head-map.js';

export interface ExaminedMap {
  /** NOSNAP: the head's. */
  readonly snapId: bigint;
  /** Objects of the head or the snapshot: the map has as many. */
  readonly objectCount: number;
  /** As in memory by now. */
  readonly states: ObjectBitmap;
  /**
   * Nothing exists by it, until that is corrected, or somebody writes; it is flagged as invalid before. Who is about to write as
   * this resolves may have been taken for done.
   */
  empty(): Promise<void>;
  /** Stores another state. Nobody else may be at the object. */
  correct(objectNo: number, state: ObjectState): Promise<void>;
  /** All objects have been looked at: the map is what it should be. EAGAIN: something could not be stored meanwhile. */
  validate(): Promise<void>;
  /** It is looked at no more. */
  free(): void;
}

/** Brings the stored map in step with memory first, whatever it is like. */
export async function examineHead(head: HeadMap): Promise<ExaminedMap> {
  await head.bringInStep();
  let { invalidations } = head.counters;
  return {
    snapId: NOSNAP,
    objectCount: head.objectCount,
    get states() {
      return head.states;
    },
    empty: async () => {
      await head.empty();
      ({ invalidations } = head.counters);
    },
    correct: (objectNo, state) => head.change(objectNo, state),
    validate: () => head.validate(invalidations),
    // It is in use.
    free: () => undefined,
  };
}
