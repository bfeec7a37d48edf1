/**
 * What a change has to do to an object, by what the owner's object map says of it and by what a parent has behind it
 * (`librbd/io/ObjectRequest.cc`). For one object, or for ranges of them as runs.
 *
 *     state \ behind it        nothing                  a parent's bytes
 *     NONEXISTENT              DIRECT, removals SKIP    COPY_UP
 *     all others               DIRECT                   GUARDED
 *
 * A change that replaces the whole object, with no snapshot to keep the old for, is DIRECT whatever is behind it. That the map
 * says EXISTS is no proof, only that it may: so the guard cannot be left out.
 */

import type { ObjectBitmap } from './bitmap.js';
import type { Runs } from './bitmap-runs.js';
import { OBJECT_STATE, type ObjectState } from './object-state.js';

export const WRITE_ACTION = {
  /** Nothing is there, and nothing shows through: nothing to be sent. */
  SKIP: 0,
  /** The operations alone. */
  DIRECT: 1,
  /** The operations after a `stat`, which fails where the object is missing: then a copy-up. */
  GUARDED: 2,
  /** Together with what the parent has. */
  COPY_UP: 3,
} as const;

export type WriteAction = (typeof WRITE_ACTION)[keyof typeof WRITE_ACTION];

export interface WriteKind {
  /** The whole object is overwritten or removed, and no snapshot has to see what it was. */
  readonly replaces?: boolean;
  /** Only takes bytes away. */
  readonly removes?: boolean;
}

/** `isCovered`: the parent has bytes behind the object. */
export function writeAction(
  state: ObjectState,
  isCovered: boolean,
  { replaces = false, removes = false }: WriteKind = {},
): WriteAction {
  const isAbsent = state === OBJECT_STATE.NONEXISTENT;
  if (isCovered && !replaces) return isAbsent ? WRITE_ACTION.COPY_UP : WRITE_ACTION.GUARDED;
  const isNothing = isAbsent && removes && !isCovered;
  return isNothing ? WRITE_ACTION.SKIP : WRITE_ACTION.DIRECT;
}

/**
 * For the objects from `start` on and before `end`: what there is to do, in order; runs of SKIP are left out. `coveredEnd`:
 * objects before this one have bytes of the parent behind them (a parent covers the first objects, however it is striped).
 */
export function* writeActions(
  bitmap: ObjectBitmap,
  { start, end, coveredEnd }: { start: number; end: number; coveredEnd: number },
  kind: WriteKind = {},
): Generator<{ first: number; end: number; action: WriteAction }, void> {
  const middle = Math.min(end, Math.max(start, coveredEnd));
  for (const [from, to, isCovered] of [
    [start, middle, true],
    [middle, end, false],
  ] as const) {
    const runs: Runs<WriteAction> = bitmap.runs<WriteAction>(classesOf(isCovered, kind), from, to);
    for (const run of runs) yield { first: run.first, end: run.end, action: run.class };
  }
}

/** Two bits for each state, as the kernel takes them. */
function classesOf(isCovered: boolean, kind: WriteKind): number {
  return ([0, 1, 2, 3] as const).reduce<number>(
    (classes, state) => classes | (writeAction(state, isCovered, kind) << (2 * state)),
    0,
  );
}
