/**
 * Which objects of an image there are, by a listing of its data pool: for an image of many objects of which few exist.
 *
 * To ask for each object takes as long as the image is large, to list them as long as the pool is full. Objects are spread
 * evenly over the listing, so its first page tells how many there will be; and if that was wrong, listing is given up when
 * asking would have come to the same. OSDs have no filter by name (those of PGNLS_FILTER look at xattrs).
 */

import { isRadosError, type RadosError } from '../../base/errors.js';
import { ObjectBitmap } from '../../kernels/bitmap.js';
import { threadBitmapMemory } from '../../kernels/bitmap-memory.js';
import { MAY_EXIST, OBJECT_STATE } from '../../kernels/object-state.js';
import {
  LISTING_END,
  type ListingPlace,
  type ObjectPage,
  placeAt,
  positionOf,
} from '../../rados/object-listing.js';
import { eachLimited, MANAGEMENT_OPS_MAX } from '../concurrency.js';
import type { OpenImage } from '../open-image.js';
import { eachObject, objectNumbers, type OperationContext, portion } from './operation.js';

/** Questions for one object that cost as much as a page. */
const PROBES_PER_PAGE = 10;

export interface ListedObjects {
  /** EXISTS: there is such an object, perhaps in snapshots only. To be freed. */
  readonly found: ObjectBitmap;
  /** How many objects could have been asked for meanwhile. */
  readonly probes: number;
}

/**
 * Those of the first `objectCount` objects that exist from the beginning of the call to its end, and some of the others.
 * Undefined: to ask for each of them takes no longer.
 */
export async function listObjects(
  image: OpenImage,
  objectCount: number,
  context: OperationContext,
): Promise<ListedObjects | undefined> {
  const budget = Math.floor(objectCount / PROBES_PER_PAGE);
  if (budget === 0) return undefined;
  const onListed = (position: number) =>
    context.onProgress(Math.floor((objectCount * position) / LISTING_END), objectCount);
  const listing = new Listing(image, context.signal, budget, onListed);
  const first = await listing.begin();
  if (!first || LISTING_END / positionOf(first.next) > budget) return undefined;
  const found = ObjectBitmap.allocate(threadBitmapMemory(), objectCount);
  try {
    if (await listing.run(first, found)) {
      return { found, probes: listing.pages * PROBES_PER_PAGE };
    }
  } catch (error) {
    found.free();
    throw error;
  }
  found.free();
  return undefined;
}

/**
 * Runs `step` for each of the first `objectCount` objects that `list` has in what it resolves with, which is freed; or for all
 * of them, when that is undefined.
 */
export async function eachListed(
  image: OpenImage,
  objectCount: number,
  context: OperationContext,
  list: (context: OperationContext) => Promise<ObjectBitmap | undefined>,
  step: (objectNo: number) => Promise<unknown>,
): Promise<void> {
  let isBegun = false;
  const onProgress: OperationContext['onProgress'] = (done, total) => {
    isBegun = true;
    context.onProgress(Math.floor(done / 2), total);
  };
  const found = await list({ ...context, onProgress });
  const rest = isBegun ? portion(context, 0.5, 1) : context;
  if (!found) {
    return eachObject(image, rest, objectNumbers(0, objectCount), objectCount, step);
  }
  try {
    const count = objectCount - found.count().nonexistent;
    const scaled = {
      ...rest,
      onProgress: (done: number) =>
        rest.onProgress(Math.floor((objectCount * done) / count), objectCount),
    };
    await eachObject(image, scaled, numbersOf(found), count, step);
    if (count === 0) rest.onProgress(objectCount, objectCount);
  } finally {
    found.free();
  }
}

/** In their order. */
function* numbersOf(objects: ObjectBitmap): Generator<number> {
  const { objectCount } = objects;
  for (let at = objects.next(MAY_EXIST); at >= 0; ) {
    yield at;
    at = at + 1 < objectCount ? objects.next(MAY_EXIST, at + 1) : -1;
  }
}

class Listing {
  pages = 0;
  readonly #image: OpenImage;
  readonly #signal: AbortSignal;
  readonly #budget: number;
  readonly #onListed: (position: number) => void;
  #listed = 0;

  constructor(
    image: OpenImage,
    signal: AbortSignal,
    budget: number,
    onListed: (position: number) => void,
  ) {
    this.#image = image;
    this.#signal = signal;
    this.#budget = budget;
    this.#onListed = onListed;
  }

  /** The first page. Undefined: this client may not list. */
  async begin(): Promise<ObjectPage | undefined> {
    try {
      return await this.#page(placeAt(this.#image.dataIoctx.pool.id, 0));
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
  }

  /** The rest of them, from several places on side by side. False: there are too many. */
  async run(first: ObjectPage, found: ObjectBitmap): Promise<boolean> {
    const { pool } = this.#image.dataIoctx;
    const from = positionOf(first.next);
    const lanes = Math.min(MANAGEMENT_OPS_MAX, Math.ceil((LISTING_END - from) / from));
    this.#take(first, found);
    this.#advance(from);
    const bounds = Array.from({ length: lanes }, (_, lane) =>
      Math.floor(from + ((LISTING_END - from) * lane) / lanes),
    );
    await eachLimited(bounds, MANAGEMENT_OPS_MAX, async (position) => {
      const end = bounds[bounds.indexOf(position) + 1] ?? LISTING_END;
      const place = position === from ? first.next : placeAt(pool.id, position);
      await this.#lane(place, end, found);
    });
    return this.pages <= this.#budget;
  }

  async #lane(first: ListingPlace | undefined, end: number, found: ObjectBitmap): Promise<void> {
    let place = first;
    while (place && positionOf(place) < end) {
      if (this.pages > this.#budget) return;
      const page: ObjectPage = await this.#page(place);
      this.#take(page, found);
      this.#advance(Math.min(end, positionOf(page.next)) - positionOf(place));
      place = page.next;
    }
  }

  async #page(place: ListingPlace): Promise<ObjectPage> {
    const signal = this.#signal;
    const { lock, dataIoctx } = this.#image;
    for (let wait = lock?.passObject(signal); wait; wait = lock?.passObject(signal)) await wait;
    this.pages++;
    return dataIoctx.listPage(place, { signal });
  }

  #take({ names }: ObjectPage, found: ObjectBitmap): void {
    const prefix = `${this.#image.objectPrefix}.`;
    for (const name of names) {
      if (!name.startsWith(prefix)) continue;
      const objectNo = objectNoOf(name.slice(prefix.length));
      if (objectNo < found.objectCount) found.set(objectNo, OBJECT_STATE.EXISTS);
    }
  }

  #advance(by: number): void {
    this.#listed += by;
    this.#onListed(this.#listed);
  }
}

/** NaN for what no object of an image is called. */
function objectNoOf(digits: string): number {
  return /^[0-9a-f]{16}$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
}

/** Keys may be for the names of some objects only. */
function isRefusal(error: unknown): error is RadosError {
  return ['EPERM', 'EACCES', 'EOPNOTSUPP'].some((code) => isRadosError(error, code));
}
