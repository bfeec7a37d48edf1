/**
 * Object maps as runs of objects: by state, by what a write has to do, or by what changed from one map to another.
 * The kernels are in assembly/bitmap-runs.ts.
 */

import { copyBytes } from '../base/copy-bytes.js';
import { type BitmapMemory, ENTRIES_MAX, type Region } from './bitmap-memory.js';

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

/** Where the entries come from, as of each call: maps may be resized between two. */
export interface RunsSource {
  readonly kernel: 'bitmapRuns' | 'bitmapDiff';
  /** The last one's objects are looked at. */
  readonly maps: readonly { readonly region: Region; readonly objectCount: number }[];
  /** What the kernel is told before the end, the cursor and the place for the entries. */
  args(): number[];
}

/**
 * One pass over a range of objects. What changes in the map meanwhile is seen or not; nothing is kept in WASM memory
 * between two reads, so a pass may be given up at any time.
 */
export class Runs<Class extends number = number> implements Iterable<Run<Class>> {
  readonly memory: BitmapMemory;
  readonly source: RunsSource;
  readonly #end: number;
  /** How far it got, and the class of the object before. */
  #position: number;
  #class = 0;
  #entries = NO_ENTRIES;

  constructor(memory: BitmapMemory, start: number, end: number, source: RunsSource) {
    this.memory = memory;
    this.source = source;
    this.#position = start;
    this.#end = end;
  }

  get position(): number {
    return this.#position;
  }

  /** Where the pass ends: earlier than was asked for, if the map has shrunk. */
  get end(): number {
    return Math.min(this.#end, this.source.maps.at(-1)!.objectCount);
  }

  /**
   * The next entries, `objectNo * 4 + class` for each object whose class is not that of the object before, ascending; after
   * the last run one of class 0. Up to 16,384 of them, valid until the next read; undefined when there are no more.
   */
  read(): Uint32Array | undefined {
    const { exports, cursorAddress, cursor, entriesAddress, entries } = this.memory;
    const { kernel, args } = this.source;
    while (this.#position < this.end) {
      this.prepare(cursor);
      const count = exports[kernel](
        ...(args() as [number, number, number]),
        this.end,
        cursorAddress,
        entriesAddress,
        ENTRIES_MAX,
      );
      this.proceed(cursor);
      if (count > 0) return this.taken(entries, count);
    }
    return undefined;
  }

  /** @internal Before a call of the kernel, whoever makes it. */
  prepare(cursor: Uint32Array): void {
    cursor[0] = this.#position;
    cursor[1] = this.#class;
  }

  /** @internal After it. */
  proceed(cursor: Uint32Array): void {
    this.#position = cursor[0]!;
    this.#class = cursor[1]!;
  }

  /** @internal What it wrote, in a place of these runs' own. */
  taken(written: Uint32Array, count: number): Uint32Array {
    // `slice` of shared memory copies word by word: 20 times as long.
    if (this.#entries.length < count) this.#entries = new Uint32Array(count);
    const entries = this.#entries.subarray(0, count);
    copyBytes(asBytes(entries), asBytes(written.subarray(0, count)));
    return entries;
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

const NO_ENTRIES = new Uint32Array(0);

function asBytes({ buffer, byteOffset, byteLength }: Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
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
