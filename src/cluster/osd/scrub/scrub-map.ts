/** What one copy of a PG has in a range of objects, for a scrub to compare (`ScrubMap`). Plain data. */

import { isRadosError } from '../../../base/errors.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import { compareObjects, type ObjectId } from '../../store/object-id.js';
import { DIGEST_SEED, type ObjectMeta } from '../../store/object-meta.js';
import type { ObjectStore, StoredObject } from '../../store/object-store.js';

/** Objects from `from` on, before `to`; undefined is the beginning, and the end. */
export interface ScrubRange {
  readonly from: ObjectId | undefined;
  readonly to: ObjectId | undefined;
}

export interface ScrubbedObject {
  readonly id: ObjectId;
  readonly meta: ObjectMeta;
  readonly size: number;
  readonly attrs: ReadonlyMap<string, Uint8Array>;
  /** Of a deep scrub, where it could be read. */
  readonly dataDigest: number | undefined;
  readonly omapDigest: number | undefined;
  readonly readError: boolean;
}

export interface ScrubMapOptions {
  readonly store: ObjectStore;
  readonly collection: string;
  readonly crc32c: Crc32c;
  readonly range: ScrubRange;
  /** Data and omaps too, not only what is known of them. */
  readonly deep: boolean;
  /** Lets others have their turn. */
  readonly yield: () => Promise<void>;
}

export function inRange(id: ObjectId, { from, to }: ScrubRange): boolean {
  if (from && compareObjects(id, from) < 0) return false;
  return !to || compareObjects(id, to) < 0;
}

/** More than this in a chunk's range: copies that nobody should have. */
const MAX_OBJECTS = 10_000;
/** `osd_deep_scrub_stride` */
const STRIDE = 512 * 1024;

export async function scrubMap(options: ScrubMapOptions): Promise<ScrubbedObject[]> {
  const { store, collection, range, deep } = options;
  const found: ScrubbedObject[] = [];
  for (const id of store.list(collection, range.from, MAX_OBJECTS)) {
    if (!inRange(id, range)) break;
    const object = store.get(collection, id);
    if (!object) continue;
    found.push(describe(object, deep ? await digests(object, options) : NOT_LOOKED_AT));
    if (deep) await options.yield();
  }
  return found;
}

interface Digests {
  dataDigest: number | undefined;
  omapDigest: number | undefined;
  readError: boolean;
}

const NOT_LOOKED_AT: Digests = { dataDigest: undefined, omapDigest: undefined, readError: false };

function describe(object: StoredObject, digested: Digests): ScrubbedObject {
  const { id, meta, size } = object;
  return { id, meta, size, attrs: new Map(object.xattrs()), ...digested };
}

async function digests(object: StoredObject, options: ScrubMapOptions): Promise<Digests> {
  const { crc32c } = options;
  const omapDigest = digestOmap(object, crc32c);
  let dataDigest = DIGEST_SEED;
  try {
    for (let at = 0; at < object.size; at += STRIDE) {
      dataDigest = crc32c(dataDigest, object.read(at, Math.min(STRIDE, object.size - at)));
      if (at + STRIDE < object.size) await options.yield();
    }
  } catch (error) {
    if (!isRadosError(error, 'EIO')) throw error;
    return { dataDigest: undefined, omapDigest, readError: true };
  }
  return { dataDigest: dataDigest >>> 0, omapDigest, readError: false };
}

function digestOmap(object: StoredObject, crc32c: Crc32c): number {
  let digest = crc32c(DIGEST_SEED, object.omapHeader);
  for (const [key, value] of object.omapFrom('')) {
    digest = crc32c(digest, Buffer.from(key, 'latin1'));
    digest = crc32c(digest, value);
  }
  return digest >>> 0;
}
