/** On `rbd_header.ID` of a clone: its parent. */

import {
  encodeWith,
  type Infer,
  optional,
  s64n,
  string,
  struct,
  u64,
  u64n,
} from '../../encoding/codec.js';
import { NOSNAP } from '../../encoding/types.js';
import { reads, writes } from './calls.js';

const parentImageSpec = struct(
  'ParentImageSpec',
  { version: 1, compat: 1 },
  { poolId: s64n, poolNamespace: string, imageId: string, snapId: u64 },
);
export type ParentImageSpec = Infer<typeof parentImageSpec>;

/** An image without a parent answers pool -1. */
export const getParent = () => reads('parent_get', parentImageSpec);
/** Bytes from the start that the parent still backs, of the head or a snapshot; absent: none. */
export const getParentOverlap = (snapId = NOSNAP) =>
  reads('parent_overlap_get', optional(u64n), (e) => e.u64(snapId));

/**
 * `overlap`: bytes from the start that the parent backs, at most the image's size. EEXIST: it has a parent, unless it is to be
 * attached anew. ENOEXEC: the image lacks feature layering.
 */
export const attachParent = (parent: ParentImageSpec, overlap: number, reattach = false) =>
  writes('parent_attach', (e) => {
    e.raw(encodeWith(parentImageSpec, parent)).u64n(overlap).bool(reattach);
  });
/** ENOENT: the head has no parent. With deep-flatten the snapshots lose theirs, too; without, they keep it. */
export const detachParent = () => writes('parent_detach');
