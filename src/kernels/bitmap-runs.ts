/**
 * Object maps as runs of objects: by state, by what a write has to do, or by what changed from one map to another.
 * The kernels are in assembly/bitmap-runs.ts.
 */

import { type BitmapMemory, ENTRIES_MAX } from './bitmap-memory.js';

/** Neighbouring objects of one class; those of class 0 are in no run. */
export interface Run<Class extends number = number> {
  readonly first: number;
  /** Exclusive. */
  readonly end: number;
  readonly class: Class;
}

/** What a diff reports (`librbd/api/DiffIterate.cc`). */
export const DIFF = {
  /** Existed, and does not any more. */
  HOLE_UPDATED: 2,
  /** Was written. */
  DATA_UPDATED: 3,
} as const;

export type DiffClass = (typeof DIFF)[keyof typeof DIFF];

/** A call of a kernel: writes entries from where the cursor is, and moves it. */
export type RunsKernel = (end: number, cursor: number, entries: number, capacity: number) => number;

/**
 * One pass over a range of objects. What changes in the map meanwhile is seen or not; nothing is kept in WASM memory
 * between two reads, so a pass may be given up at any time.
 */
export class Runs<Class extends number = number> implements Iterable<Run<Class>> {
  readonly #memory: BitmapMemory;
  readonly #kernel: RunsKernel;
  readonly #end: number;
  #position: number;
  #class = 0;

  constructor(memory: BitmapMemory, start: number, end: number, kernel: RunsKernel) {
    this.#memory = memory;
    this.#kernel = kernel;
    this.#position = start;
    this.#end = end;
  }

  /**
   * The next entries, `objectNo * 4 + class` for each object whose class is not that of the object before, ascending; after
   * the last run one of class 0. Up to 16,384 of them; undefined when there are no more.
   */
  read(): Uint32Array | undefined {
    const { cursor, cursorAddress, entries, entriesAddress } = this.#memory;
    while (this.#position < this.#end) {
      cursor[0] = this.#position;
      cursor[1] = this.#class;
      const count = this.#kernel(this.#end, cursorAddress, entriesAddress, ENTRIES_MAX);
      this.#position = cursor[0];
      this.#class = cursor[1];
      if (count > 0) return entries.slice(0, count);
    }
    return undefined;
  }

  *[Symbol.iterator](): Generator<Run<Class>, void> {
    let before = 0;
    for (let entries = this.read(); entries; entries = this.read()) {
      for (const entry of entries) {
        const run = runBetween<Class>(before, entry);
        if (run) yield run;
        before = entry;
      }
    }
  }
}

/** The run between two entries that follow each other; undefined when it is of class 0. */
export function runBetween<Class extends number>(
  entry: number,
  next: number,
): Run<Class> | undefined {
  const kind = entry & 3;
  if (kind === 0) return undefined;
  return { first: entry >>> 2, end: next >>> 2, class: kind as Class };
}
