/** Class `rbd`, the clones of a snapshot: in the parent's header (clone v2), or in `rbd_children` (clone v1). */

import { encodeWith, list } from '../../../encoding/codec.js';
import type { Decoder } from '../../../encoding/decoder.js';
import { encode } from '../../../encoding/encoder.js';
import { byBytes, byteString, latin1, latin1Bytes } from '../../byte-string.js';
import { ClassError, readMethod, writeMethod } from '../class-registry.js';
import {
  allSnaps,
  childSpec,
  childSpecs,
  compareChildren,
  findKey,
  OP_FEATURE,
  readKey,
  readSnap,
  removeKey,
  SNAP_NAMESPACE,
  setOpFeatures,
  snapChildrenKey,
  writeKey,
  writeSnap,
} from './values.js';

// ---- clone v2 ----

const childAttach = writeMethod((object, input) => {
  const id = input.u64();
  const child = childSpec.decode(input);
  const snap = readSnap(object, id);
  // A snapshot in the trash waits for its last clone to go: it takes no new one.
  if (snap.nspace.type === SNAP_NAMESPACE.TRASH) throw new ClassError('ENOENT');
  const key = snapChildrenKey(id);
  const children = findKey(object, key, childSpecs) ?? [];
  if (children.some((other) => compareChildren(other, child) === 0)) {
    throw new ClassError('EEXIST');
  }
  writeKey(object, key, childSpecs, [...children, child].sort(compareChildren));
  writeSnap(object, { ...snap, childCount: snap.childCount + 1 });
  setOpFeatures(object, OP_FEATURE.CLONE_PARENT, OP_FEATURE.CLONE_PARENT);
});

const childDetach = writeMethod((object, input) => {
  const id = input.u64();
  const child = childSpec.decode(input);
  const snap = readSnap(object, id);
  const key = snapChildrenKey(id);
  const children = findKey(object, key, childSpecs) ?? [];
  if (snap.childCount !== children.length) throw new ClassError('EINVAL', 'child count');
  const left = children.filter((other) => compareChildren(other, child) !== 0);
  if (left.length === children.length) throw new ClassError('ENOENT');
  if (left.length === 0) removeKey(object, key);
  else writeKey(object, key, childSpecs, left);
  writeSnap(object, { ...snap, childCount: left.length });
  const inUse = allSnaps(object).some((other) => other.id !== id && other.childCount > 0);
  if (left.length === 0 && !inUse) setOpFeatures(object, 0n, OP_FEATURE.CLONE_PARENT);
});

const childrenList = readMethod((object, input) => {
  const id = input.u64();
  readSnap(object, id);
  return encodeWith(childSpecs, readKey(object, snapChildrenKey(id), childSpecs));
});

// ---- clone v1 ----

const names = list(byteString);

/** The key is the parent's packed spec: bytes, not text. */
function readParentKey(input: Decoder): string {
  const pool = input.u64();
  const image = byteString.decode(input);
  const snap = input.u64();
  return latin1(encode((e) => e.u64(pool).blob(latin1Bytes(image)).u64(snap)));
}

const addChild = writeMethod((object, input) => {
  const key = readParentKey(input);
  const child = byteString.decode(input);
  const children = findKey(object, key, names) ?? [];
  if (children.includes(child)) throw new ClassError('EEXIST');
  writeKey(object, key, names, [...children, child].sort(byBytes));
});

const removeChild = writeMethod((object, input) => {
  const key = readParentKey(input);
  const child = byteString.decode(input);
  const children = readKey(object, key, names);
  if (!children.includes(child)) throw new ClassError('ENOENT');
  const left = children.filter((other) => other !== child);
  if (left.length === 0) object.omapRemove(key);
  else writeKey(object, key, names, left);
});

export const childrenMethods = {
  child_attach: childAttach,
  child_detach: childDetach,
  children_list: childrenList,
  add_child: addChild,
  remove_child: removeChild,
  get_children: readMethod((object, input) =>
    encodeWith(names, readKey(object, readParentKey(input), names)),
  ),
};
