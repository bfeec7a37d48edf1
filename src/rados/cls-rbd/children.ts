/** A snapshot's clones: of format 2 on the parent's `rbd_header.ID`, of format 1 on `rbd_children` in the clone's pool. */

import { encodeWith, type Infer, list, s64n, since, string, struct } from '../../encoding/codec.js';
import type { Encoder } from '../../encoding/encoder.js';
import { reads, writes } from './calls.js';

const childImageSpec = struct(
  'ChildImageSpec',
  { version: 2, compat: 1 },
  { poolId: s64n, imageId: string, poolNamespace: since(2, string, () => '') },
);
export type ChildImageSpec = Infer<typeof childImageSpec>;

// ---- clones of format 2 ----

/** ENOENT: there is no such snapshot, or it is in the trash; EEXIST. */
export const attachChild = (snapId: bigint, child: ChildImageSpec) =>
  writes('child_attach', (e) => e.u64(snapId).raw(encodeWith(childImageSpec, child)));
/** ENOENT: there is no such snapshot, or it has no such clone. */
export const detachChild = (snapId: bigint, child: ChildImageSpec) =>
  writes('child_detach', (e) => e.u64(snapId).raw(encodeWith(childImageSpec, child)));
/** ENOENT: there is no such snapshot, or it has no clones of this format. */
export const listChildren = (snapId: bigint) =>
  reads('children_list', list(childImageSpec), (e) => e.u64(snapId));

// ---- clones of format 1 ----

/** A snapshot in the same namespace as its clones: this format knows no others. */
export interface ParentSnapshot {
  readonly poolId: number;
  readonly imageId: string;
  readonly snapId: bigint;
}

const putParent = (e: Encoder, { poolId, imageId, snapId }: ParentSnapshot) =>
  e.s64n(poolId).string(imageId).u64(snapId);

/** EEXIST. */
export const addChild = (parent: ParentSnapshot, childId: string) =>
  writes('add_child', (e) => putParent(e, parent).string(childId));
/** ENOENT. */
export const removeChild = (parent: ParentSnapshot, childId: string) =>
  writes('remove_child', (e) => putParent(e, parent).string(childId));
/** The clones' ids. ENOENT: there are none in this pool. */
export const getChildren = (parent: ParentSnapshot) =>
  reads('get_children', list(string), (e) => putParent(e, parent));
