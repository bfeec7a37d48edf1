/** The answer to LIST_SNAPS: what an object was at each snapshot (`obj_list_snap_response_t`, `osd/osd_types.h`). */

import { type Infer, list, struct, tuple, u64, u64n } from '../encoding/codec.js';

/** One version of an object, `cloneId` NOSNAP for the head. */
export const cloneInfo = struct(
  'clone_info',
  { version: 1, compat: 1 },
  {
    cloneId: u64,
    /** Snapshots that see this version, ascending; none for the head. */
    snaps: list(u64),
    /** Start and **length** of what is the same in the next newer version. */
    overlap: list(tuple(u64n, u64n)),
    size: u64n,
  },
);
export type CloneInfo = Infer<typeof cloneInfo>;

export const listSnapsReply = struct(
  'obj_list_snap_response_t',
  { version: 2, compat: 1 },
  {
    /** Oldest first; the head comes last, when the object exists. */
    clones: list(cloneInfo),
    /** The newest snapshot that a write to the object knew of. */
    seq: u64,
  },
);
export type ListSnapsReply = Infer<typeof listSnapsReply>;
