/** How much of an image's space is used, snapshot by snapshot (`rbd du`). */

import { RadosError } from '../../base/errors.js';
import { MAP_FLAG } from '../../rados/cls-rbd.js';
import { imageError } from '../errors.js';
import { FEATURE } from '../features.js';
import type { ImageSnapshot } from '../header.js';
import type { ImageHandle } from '../open.js';
import { atSnapshot, diffedBytes } from './diff.js';

export interface UsageOptions {
  /** Up to this snapshot. Absent: up to the head. */
  readonly snap?: string | undefined;
  /** Only what came after this snapshot. */
  readonly from?: string | undefined;
  /** Counts the bytes that were written rather than the objects that have any: asks the OSDs about each object. */
  readonly exact?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One snapshot, or the head. */
export interface UsageEntry {
  /** Absent: the head. */
  readonly snapshot: string | undefined;
  readonly snapshotId: bigint | undefined;
  /** Bytes. */
  readonly provisionedSize: number;
  /** Bytes that were written since the snapshot before. */
  readonly usedSize: number;
  /** The object maps do not serve: every object was asked for. */
  readonly isFastDiffInvalid: boolean;
}

export interface ImageUsage {
  readonly name: string | undefined;
  readonly id: string;
  readonly hasFastDiff: boolean;
  /** Oldest first. */
  readonly entries: readonly UsageEntry[];
}

/** ENOENT: no such snapshot. EINVAL: `from` is newer than `snap`. */
export async function imageUsage(
  image: ImageHandle,
  options: UsageOptions = {},
): Promise<ImageUsage> {
  const { header, name, id, target } = image;
  try {
    const versions: (ImageSnapshot | undefined)[] = header.snapshots.filter(
      ({ namespace }) => namespace.type === 'user',
    );
    versions.push(undefined);
    const entries: UsageEntry[] = [];
    for (const [at, before] of counted(versions, options)) {
      entries.push(await usageOf(image, at, before, options));
    }
    const hasFastDiff = (header.features & FEATURE.FAST_DIFF) !== 0n;
    return { name, id, hasFastDiff, entries };
  } catch (error) {
    throw imageError(error, 'usage of', target);
  }
}

type Version = ImageSnapshot | undefined;

/** Which versions are counted, each with the one before it. */
function counted(
  versions: readonly Version[],
  { snap, from }: UsageOptions,
): (readonly [Version, Version])[] {
  const find = (name: string | undefined, absent: number) => {
    if (name === undefined) return absent;
    const index = versions.findIndex((version) => version?.name === name);
    if (index < 0) throw new RadosError('ENOENT', `the image has no snapshot '${name}'`);
    return index;
  };
  const last = find(snap, versions.length - 1);
  const start = find(from, -1);
  if (start > last) throw new RadosError('EINVAL', 'the start is newer than the end');
  return versions
    .map((version, i) => [version, versions[i - 1]] as const)
    .slice(start + 1, last + 1);
}

async function usageOf(
  image: ImageHandle,
  at: Version,
  before: Version,
  { exact = false, signal }: UsageOptions,
): Promise<UsageEntry> {
  const { header } = image;
  const usedSize = await diffedBytes(atSnapshot(image, at), {
    from: before?.id,
    wholeObject: !exact,
    signal,
  });
  return {
    snapshot: at?.name,
    snapshotId: at?.id,
    provisionedSize: at?.imageSize ?? header.size,
    usedSize,
    isFastDiffInvalid: ((at?.flags ?? header.flags) & MAP_FLAG.FAST_DIFF_INVALID) !== 0n,
  };
}
