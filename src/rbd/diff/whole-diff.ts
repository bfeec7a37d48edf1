/** A diff of whole objects, from what the object maps tell of them. */

import type { DiffChain } from '../../kernels/bitmap.js';
import {
  DIFF,
  type DiffClass,
  type Run,
  type Runs,
  runBetween,
} from '../../kernels/bitmap-runs.js';
import type { ImageExtent, Layout } from '../layout.js';
import { type DiffExtent, joinExtents } from './extents.js';

export interface WholeDiffOptions {
  readonly layout: Layout;
  /** Bytes from the image's start that are looked at. */
  readonly length: number;
  /** What shows through where the image has no object: ascending, and within `length`. */
  readonly behind: AsyncIterable<readonly DiffExtent[]> | undefined;
}

type ChangedRun = Run<DiffClass>;

/** Extents of one batch, about: work of a millisecond. */
const BATCH_MAX = 4096;

/**
 * The changed objects' extents, one stripe period after the other: within a period neighbours are joined, over its end they
 * are not, as in librbd.
 */
export async function* wholeDiff(
  changes: DiffChain,
  { layout, length, behind }: WholeDiffOptions,
): AsyncGenerator<DiffExtent[], void, undefined> {
  if (!layout.striped && !behind) {
    yield* objectByObject(changes, layout, length);
    return;
  }
  const changed = new RunCursor(changes.runs());
  const shown = new ExtentCursor(behind);
  let batch: DiffExtent[] = [];
  for (;;) {
    await shown.fill();
    const start = Math.min(
      Math.floor(changed.first / layout.stripeCount) * layout.period,
      Math.floor(shown.offset / layout.period) * layout.period,
    );
    if (start >= length) break;
    const place = { offset: start, length: Math.min(layout.period, length - start) };
    const extents = changed
      .take((start / layout.period + 1) * layout.stripeCount)
      .flatMap((run) => extentsOf(run, layout, place));
    for (const extent of await shown.take(start + place.length)) {
      extents.push(...throughHoles(extent, changes, layout));
    }
    batch.push(...joinExtents(extents));
    if (batch.length < BATCH_MAX) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Without striping, and with nothing behind: each object is a period. */
function* objectByObject(
  changes: DiffChain,
  { objectSize }: Layout,
  length: number,
): Generator<DiffExtent[], void, undefined> {
  const changed = new RunCursor(changes.runs());
  for (;;) {
    const batch = takeObjects(changed, objectSize, length);
    if (batch.length === 0) return;
    yield batch;
  }
}

/** Up to a batch of them; none when there are no more. A function of its own: V8 compiles no loop that yields. */
function takeObjects(changed: RunCursor, objectSize: number, length: number): DiffExtent[] {
  const batch: DiffExtent[] = [];
  const past = Math.ceil(length / objectSize);
  while (changed.first < past && batch.length < BATCH_MAX) {
    const { first, class: kind } = changed;
    const end = Math.min(changed.end, past, first + BATCH_MAX - batch.length);
    const exists = kind === DIFF.DATA_UPDATED;
    for (let objectNo = first; objectNo < end; objectNo++) {
      const offset = objectNo * objectSize;
      batch.push({ offset, length: Math.min(objectSize, length - offset), exists });
    }
    changed.skip(end);
  }
  return batch;
}

/** Bytes of the changed objects that exist, of an image of so many bytes. */
export function wholeBytes(changes: DiffChain, layout: Layout, length: number): number {
  const { objectSize, period, stripeCount } = layout;
  const lastPeriod = Math.floor(length / period) * period;
  const place = { offset: lastPeriod, length: length - lastPeriod };
  /** The first object that may not lie in the image with all its bytes. */
  const cut = (lastPeriod / period) * stripeCount;
  let bytes = 0;
  for (const run of changes.runs()) {
    if (run.class !== DIFF.DATA_UPDATED) continue;
    const { first, end } = run;
    bytes += Math.max(0, Math.min(end, cut) - first) * objectSize;
    const tail = { ...run, first: Math.max(first, cut) };
    for (const extent of extentsOf(tail, layout, place)) bytes += extent.length;
  }
  return bytes;
}

/** Where in the image the objects of a run lie, as far as that is within `place`. */
function extentsOf({ first, end, class: kind }: ChangedRun, layout: Layout, place: ImageExtent) {
  const extents: DiffExtent[] = [];
  const exists = kind === DIFF.DATA_UPDATED;
  const placeEnd = place.offset + place.length;
  for (let objectNo = first; objectNo < end; objectNo++) {
    for (const { offset, length } of layout.imageExtents(objectNo, 0, layout.objectSize)) {
      const within = Math.min(length, placeEnd - offset);
      if (within > 0) extents.push({ offset, length: within, exists });
    }
  }
  return extents;
}

/** What of an extent lies in objects that are not there. */
function throughHoles(extent: DiffExtent, changes: DiffChain, layout: Layout): DiffExtent[] {
  return layout
    .objectExtents(extent.offset, extent.length)
    .filter(({ objectNo }) => changes.isHole(objectNo))
    .flatMap(({ pieces }) =>
      pieces.map(({ start, length }) => ({ offset: extent.offset + start, length, exists: true })),
    );
}

/** Goes through runs of objects in portions. */
class RunCursor {
  /** Of what is left of the run at hand; infinity at the end. */
  first = 0;
  end = 0;
  class: DiffClass = DIFF.HOLE_UPDATED;
  readonly #runs: Runs<DiffClass>;
  /** As `Runs` reads them: a run is what lies between two. */
  #entries: Uint32Array = new Uint32Array(0);
  #index = 0;
  #entry = 0;

  constructor(runs: Runs<DiffClass>) {
    this.#runs = runs;
    this.#next();
  }

  /** What is before the object `end`. */
  take(end: number): ChangedRun[] {
    const taken: ChangedRun[] = [];
    while (this.first < end) {
      taken.push({ first: this.first, end: Math.min(this.end, end), class: this.class });
      this.skip(end);
    }
    return taken;
  }

  /** Of the run at hand, what is before the object `end`. */
  skip(end: number): void {
    if (this.end > end) this.first = end;
    else this.#next();
  }

  #next(): void {
    for (;;) {
      if (this.#index === this.#entries.length) {
        const entries = this.#runs.read();
        if (!entries) break;
        this.#entries = entries;
        this.#index = 0;
      }
      const before = this.#entry;
      const entry = this.#entries[this.#index++] as number;
      this.#entry = entry;
      const run = runBetween<DiffClass>(before, entry);
      if (!run) continue;
      this.first = run.first;
      this.end = run.end;
      this.class = run.class;
      return;
    }
    this.first = Number.POSITIVE_INFINITY;
  }
}

/** Goes through extents in portions. */
class ExtentCursor {
  readonly #batches: AsyncIterator<readonly DiffExtent[]> | undefined;
  #batch: readonly DiffExtent[] = [];
  #index = 0;
  #extent: DiffExtent | undefined;

  constructor(batches: AsyncIterable<readonly DiffExtent[]> | undefined) {
    this.#batches = batches?.[Symbol.asyncIterator]();
  }

  /** Where the next extent begins, after `fill`; infinity at the end. */
  get offset(): number {
    return this.#extent?.offset ?? Number.POSITIVE_INFINITY;
  }

  async fill(): Promise<void> {
    while (!this.#extent) {
      this.#extent = this.#batch[this.#index++];
      if (this.#extent) return;
      const next = await this.#batches?.next();
      if (!next || next.done) return;
      this.#batch = next.value;
      this.#index = 0;
    }
  }

  /** What is before the byte `end`. */
  async take(end: number): Promise<DiffExtent[]> {
    const taken: DiffExtent[] = [];
    for (await this.fill(); this.#extent && this.#extent.offset < end; await this.fill()) {
      const { offset, length, exists } = this.#extent;
      const within = Math.min(length, end - offset);
      taken.push({ offset, length: within, exists });
      this.#extent = within < length ? { offset: end, length: length - within, exists } : undefined;
    }
    return taken;
  }
}
