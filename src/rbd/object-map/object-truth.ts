/** What a map should say of an object, by what the OSD says of it (`librbd/operation/ObjectMapIterate.cc`). */

import { NOSNAP } from '../../encoding/types.js';
import { OBJECT_STATE, type ObjectState } from '../../kernels/object-state.js';
import type { CloneInfo, ListSnapsReply } from '../../messages/list-snaps.js';
import { FEATURE } from '../features.js';
import type { ImageHeader } from '../header.js';

const { NONEXISTENT, EXISTS, EXISTS_CLEAN } = OBJECT_STATE;

/**
 * The state that the object should have in the map of the head (NOSNAP) or of a snapshot. A version that a snapshot sees is
 * clean there if an older snapshot sees it too.
 */
export function trueState(
  versions: ListSnapsReply | undefined,
  { snapshots, features }: ImageHeader,
  snapId: bigint,
): ObjectState {
  /** Snapshots of which the image knows nothing any more are not trimmed yet. */
  const nextKnown = (id: bigint) => snapshots.find((each) => each.id >= id)?.id ?? NOSNAP;
  for (const version of versions?.clones ?? []) {
    const [from, to] = seenFrom(version, versions?.seq ?? 0n);
    if (to < snapId) continue;
    const oldest = nextKnown(from);
    if (snapId < oldest) break;
    const isClean = (features & FEATURE.FAST_DIFF) !== 0n && oldest !== snapId;
    return isClean ? EXISTS_CLEAN : EXISTS;
  }
  return NONEXISTENT;
}

/** The oldest and the newest that see it. */
function seenFrom({ cloneId, snaps }: CloneInfo, seq: bigint): [bigint, bigint] {
  if (cloneId === NOSNAP) return [seq + 1n, NOSNAP];
  return [snaps[0] ?? cloneId, snaps.at(-1) ?? cloneId];
}
