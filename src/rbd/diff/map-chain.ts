/** The object maps that a fast diff is made from: of the snapshot that it starts at, of all in between, of its end. */

import { isRadosError } from '../../base/errors.js';
import { DecodeError, Decoder } from '../../encoding/decoder.js';
import { NOSNAP } from '../../encoding/types.js';
import { executeOne } from '../../rados/class-call.js';
import { MAP_FLAG, objectMapLoad } from '../../rados/cls-rbd.js';
import { FEATURE } from '../features.js';
import { objectMapObject } from '../names.js';
import type { ImageHandle } from '../open.js';
import { DiffStates, type StateMap } from './diff-states.js';

export interface MapChainOptions {
  /** 0: the beginning. */
  readonly from: bigint;
  /** NOSNAP: the head. */
  readonly to: bigint;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What became of the objects. Undefined where the maps do not tell: the image has no feature fast-diff, a map is flagged as
 * invalid, or one is missing, corrupt, or too short.
 */
export function changedStates(
  image: ImageHandle,
  options: MapChainOptions,
): Promise<DiffStates | undefined> {
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
 */
export function occupiedStates(
  image: ImageHandle,
  options: MapChainOptions,
): Promise<DiffStates | undefined> {
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
): Promise<DiffStates | undefined> {
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
): Promise<DiffStates> {
  const states = new DiffStates();
  // One is loaded while the one before it is worked on.
  let loading = load(image, versions[0], signal);
  for (const [i, version] of versions.entries()) {
    const current = loading;
    loading = load(image, versions[i + 1], signal);
    // A failure of this one is what is told, not one of the next.
    loading.catch(() => undefined);
    const isEnd = version.id === to;
    const map = await current.catch((error: unknown) => {
      // Its snapshot is being removed: what it knew is in the next one's.
      if (isRadosError(error, 'ENOENT') && version.id !== from && !isEnd) return undefined;
      throw error;
    });
    if (!map) continue;
    const work = version.id === from ? states.start(map) : states.next(map, { isEnd });
    await inTurns(image, work);
  }
  return states;
}

/** Does it with the event loop's turns in between: a map may be large. */
async function inTurns({ context }: ImageHandle, work: Iterable<void>): Promise<void> {
  let first = true;
  for (const _ of work) {
    if (!first) {
      await new Promise<void>((resolve) => context.environment.timers.nextTurn(resolve));
    }
    first = false;
  }
}

async function load(
  { ioctx, id, header }: ImageHandle,
  version: Version | undefined,
  signal: AbortSignal | undefined,
): Promise<StateMap | undefined> {
  if (!version) return undefined;
  const oid = objectMapObject(id, version.id === NOSNAP ? undefined : version.id);
  const map = decodeMap(await executeOne(ioctx, oid, objectMapLoad(), signal ? { signal } : {}));
  const objectCount = header.layout.objectCount(version.size);
  // It may be longer, when a shrink was interrupted.
  if (map.objectCount < objectCount) throw new DecodeError('the object map is too short', 0, [oid]);
  return { bytes: map.bytes, objectCount };
}

/** `ceph::BitVector<2>`, as its class method gives it: checked there, and without checksums. */
function decodeMap(output: Uint8Array): StateMap {
  const decoder = new Decoder(output);
  const header = new Decoder(decoder.blob());
  const objectCount = header.struct('BitVector', 1, () => header.u64n());
  return { bytes: decoder.view(Math.ceil(objectCount / 4)), objectCount };
}
