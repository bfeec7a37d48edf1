/** The object maps that a fast diff is made from: of the snapshot that it starts at, of all in between, of its end. */

import { isRadosError } from '../../base/errors.js';
import { DecodeError } from '../../encoding/decoder.js';
import { NOSNAP } from '../../encoding/types.js';
import { DiffChain, type ObjectBitmap } from '../../kernels/bitmap.js';
import { threadBitmapMemory } from '../../kernels/bitmap-memory.js';
import { threadKernelPool } from '../../kernels/pool.js';
import { MAP_FLAG } from '../../rados/cls-rbd.js';
import { FEATURE } from '../features.js';
import { StoredMap } from '../object-map/stored-map.js';
import type { ImageHandle } from '../open.js';

export interface MapChainOptions {
  /** 0: the beginning. */
  readonly from: bigint;
  /** NOSNAP: the head. */
  readonly to: bigint;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Which objects changed. Undefined where the maps do not tell: the image has no feature fast-diff, a map is flagged as
 * invalid, or one is missing, corrupt, or too short. To be freed.
 */
export function changedObjects(
  image: ImageHandle,
  options: MapChainOptions,
): Promise<DiffChain | undefined> {
  const { from, to } = options;
  // From the beginning, nothing but the end matters.
  const versions = versionsOf(image).filter(
    ({ id }) => id === to || (from > 0n && id >= from && id < to),
  );
  const isUsable =
    hasFeature(image, FEATURE.FAST_DIFF) && !areFlagged(versions, MAP_FLAG.FAST_DIFF_INVALID);
  return isUsable ? followChain(image, versions, options) : Promise.resolve(undefined);
}

/**
 * Which objects exist at the diff's end, or did at its start; not which of them changed in between: librbd 16.2 restores
 * an old map together with the objects when it rolls an image back, and what was written before that seems clean.
 * Undefined as above, but for the feature, which is object-map. To be freed.
 */
export function occupiedObjects(
  image: ImageHandle,
  options: MapChainOptions,
): Promise<DiffChain | undefined> {
  const { from, to } = options;
  const versions = versionsOf(image).filter(({ id }) => id === to || id === from);
  const isUsable =
    hasFeature(image, FEATURE.OBJECT_MAP) && !areFlagged(versions, MAP_FLAG.OBJECT_MAP_INVALID);
  return isUsable ? followChain(image, versions, options) : Promise.resolve(undefined);
}

/** A snapshot, or the head. */
interface Version {
  readonly id: bigint;
  readonly flags: bigint;
  readonly size: number;
}

/** Oldest first. */
function versionsOf({ header }: ImageHandle): Version[] {
  return [
    ...header.snapshots.map(({ id, flags, imageSize }) => ({ id, flags, size: imageSize })),
    { id: NOSNAP, flags: header.flags, size: header.size },
  ];
}

const hasFeature = ({ header }: ImageHandle, feature: bigint) => (header.features & feature) !== 0n;

const areFlagged = (versions: readonly Version[], flag: bigint) =>
  versions.some(({ flags }) => (flags & flag) !== 0n);

async function followChain(
  image: ImageHandle,
  versions: readonly Version[],
  options: MapChainOptions,
): Promise<DiffChain | undefined> {
  try {
    return await applyMaps(image, versions, options);
  } catch (error) {
    const isUnusable =
      error instanceof DecodeError ||
      isRadosError(error, 'ENOENT') ||
      isRadosError(error, 'EINVAL');
    if (isUnusable) return undefined;
    throw error;
  }
}

async function applyMaps(
  image: ImageHandle,
  versions: readonly Version[],
  { from, to, signal }: MapChainOptions,
): Promise<DiffChain> {
  const loads = new MapLoads(image, versions, signal);
  let chain = from === 0n ? DiffChain.begin(threadBitmapMemory()) : undefined;
  try {
    for (const version of versions) {
      const isEnd = version.id === to;
      const map = await loads.next().catch((error: unknown) => {
        // Its snapshot is being removed: what it knew is in the next one's.
        if (isRadosError(error, 'ENOENT') && version.id !== from && !isEnd) return undefined;
        throw error;
      });
      if (!map) continue;
      if (!chain) {
        chain = DiffChain.start(map);
        continue;
      }
      try {
        // What a smaller snapshot in between has not, was there before all the same. `rbd diff` forgets it.
        if (!isEnd && map.objectCount < chain.objectCount) map.resize(chain.objectCount);
        await threadKernelPool().step(chain, map, { isLast: isEnd, signal });
      } finally {
        map.free();
      }
    }
    return chain as DiffChain;
  } catch (error) {
    chain?.free();
    throw error;
  } finally {
    await loads.close();
  }
}

/** The maps one after the other, the next of which is loaded while the one before it is worked on. */
class MapLoads {
  readonly #image: ImageHandle;
  readonly #versions: readonly Version[];
  readonly #signal: AbortSignal | undefined;
  readonly #ahead: Promise<ObjectBitmap>[] = [];
  #begun = 0;

  constructor(image: ImageHandle, versions: readonly Version[], signal: AbortSignal | undefined) {
    this.#image = image;
    this.#versions = versions;
    this.#signal = signal;
    this.#begin();
  }

  next(): Promise<ObjectBitmap> {
    this.#begin();
    return this.#ahead.shift() as Promise<ObjectBitmap>;
  }

  /** Frees what nobody took. */
  async close(): Promise<void> {
    for (const loading of this.#ahead) {
      await loading.then(
        (map) => map.free(),
        () => undefined,
      );
    }
  }

  #begin(): void {
    const version = this.#versions[this.#begun++];
    if (!version) return;
    const loading = load(this.#image, version, this.#signal);
    // Its failure is met when its turn comes, if it does.
    loading.catch(() => undefined);
    this.#ahead.push(loading);
  }
}

async function load(
  { ioctx, id, header }: ImageHandle,
  version: Version,
  signal: AbortSignal | undefined,
): Promise<ObjectBitmap> {
  const stored = new StoredMap(ioctx, id, version.id === NOSNAP ? undefined : version.id);
  const objectCount = header.layout.objectCount(version.size);
  const map = await stored.load(objectCount, signal ? { signal } : {});
  if (map.objectCount < objectCount) {
    map.free();
    throw new DecodeError('the object map is too short', 0, [stored.oid]);
  }
  // It may be longer, when a shrink was interrupted.
  map.resize(objectCount);
  return map;
}
