/** A diff of whole objects, from what the object maps tell of them. */

import type { DiffChain } from '../../kernels/bitmap.js';
import { DIFF, type DiffClass, type Run } from '../../kernels/bitmap-runs.js';
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
  const changed = new RunCursor(changes.runs()[Symbol.iterator]());
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
  let batch: DiffExtent[] = [];
  for (const { first, end, class: kind } of changes.runs()) {
    const exists = kind === DIFF.DATA_UPDATED;
    for (let objectNo = first; objectNo < end; objectNo++) {
      const offset = objectNo * objectSize;
      if (offset >= length) break;
      batch.push({ offset, length: Math.min(objectSize, length - offset), exists });
      if (batch.length < BATCH_MAX) continue;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
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
  readonly #runs: Iterator<ChangedRun>;
  #run: ChangedRun | undefined;

  constructor(runs: Iterator<ChangedRun>) {
    this.#runs = runs;
    this.#next();
  }

  /** The next object; infinity at the end. */
  get first(): number {
    return this.#run?.first ?? Number.POSITIVE_INFINITY;
  }

  /** What is before the object `end`. */
  take(end: number): ChangedRun[] {
    const taken: ChangedRun[] = [];
    while (this.#run && this.#run.first < end) {
      taken.push({ ...this.#run, end: Math.min(this.#run.end, end) });
      if (this.#run.end > end) this.#run = { ...this.#run, first: end };
      else this.#next();
    }
    return taken;
  }

  #next(): void {
    const next = this.#runs.next();
    this.#run = next.done ? undefined : { ...next.value };
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
