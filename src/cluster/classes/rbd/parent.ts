/** Class `rbd`, an image's parent: today's methods, and those from before Mimic. */

import { optional, u64 } from '../../../encoding/codec.js';
import { encode } from '../../../encoding/encoder.js';
import { NOSNAP } from '../../../encoding/types.js';
import { byteString, latin1Bytes } from '../../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import {
  allSnaps,
  FEATURE,
  findKey,
  hasFeature,
  NO_PARENT,
  OP_FEATURE,
  type Parent,
  parentExists,
  parentRecord,
  parentSpec,
  readKey,
  readSnap,
  removeKey,
  requireExists,
  requireFeature,
  setOpFeatures,
  snapHasParent,
  snapKey,
  snapRecord,
  writeKey,
  writeSnap,
} from './values.js';

function attach(object: ClassObject, parent: Parent, reattach: boolean): void {
  requireExists(object);
  requireFeature(object, FEATURE.LAYERING);
  const overlap = parent.headOverlap ?? 0n;
  if (!parentExists(parent) || overlap === 0n) throw new ClassError('EINVAL');
  const stored = findKey(object, 'parent', parentRecord);
  // A spec that only snapshots need still may become the head's parent again.
  const free = !stored || (stored.headOverlap === undefined && sameSpec(stored, parent));
  if (!free && !reattach) throw new ClassError('EEXIST');
  const size = readKey(object, 'size', u64);
  const headOverlap = overlap < size ? overlap : size;
  writeKey(object, 'parent', parentRecord, { ...parent, headOverlap });
}

function sameSpec(a: Parent, b: Parent): boolean {
  return a.pool === b.pool && a.nspace === b.nspace && a.image === b.image && a.snap === b.snap;
}

function detach(object: ClassObject, legacy: boolean): void {
  requireExists(object);
  requireFeature(object, FEATURE.LAYERING);
  const parent = readKey(object, 'parent', parentRecord);
  if (legacy && parent.nspace !== '') throw new ClassError('EXDEV');
  if (parent.headOverlap === undefined) throw new ClassError('ENOENT');

  const dependents = allSnaps(object).filter(snapHasParent);
  if (dependents.length > 0 && !hasFeature(object, FEATURE.DEEP_FLATTEN)) {
    // The snapshots were not flattened: they need the parent still, the head does not.
    writeKey(object, 'parent', parentRecord, { ...parent, headOverlap: undefined });
    return;
  }
  for (const snap of dependents) {
    writeSnap(object, { ...snap, legacyParent: NO_PARENT, parentOverlap: undefined });
  }
  removeKey(object, 'parent');
  setOpFeatures(object, 0n, OP_FEATURE.CLONE_CHILD);
}

const parentGet = readMethod((object) => {
  requireExists(object);
  let parent = NO_PARENT;
  if (hasFeature(object, FEATURE.LAYERING)) {
    parent =
      findKey(object, 'parent', parentRecord) ??
      allSnaps(object).findLast((snap) => parentExists(snap.legacyParent))?.legacyParent ??
      NO_PARENT;
  }
  return encode((e) => parentSpec.encode(e, parent));
});

const parentOverlapGet = readMethod((object, input) => {
  const snapid = input.u64();
  let overlap: bigint | undefined;
  if (hasFeature(object, FEATURE.LAYERING)) {
    if (snapid === NOSNAP) {
      overlap = findKey(object, 'parent', parentRecord)?.headOverlap;
    } else {
      const { parentOverlap, legacyParent } = readSnap(object, snapid);
      overlap = parentOverlap ?? legacyParent.headOverlap;
    }
  }
  return encode((e) => optional(u64).encode(e, overlap));
});

const parentAttach = writeMethod((object, input) => {
  const spec = parentSpec.decode(input);
  const headOverlap = input.u64();
  const reattach = input.remaining > 0 && input.bool();
  attach(object, { ...spec, headOverlap }, reattach);
});

/** The parent of the head or of a snapshot, as clients before Mimic ask for it. */
function legacyParentOf(object: ClassObject, snapid: bigint): Parent {
  if (!hasFeature(object, FEATURE.LAYERING)) return NO_PARENT;
  const parent = findKey(object, 'parent', parentRecord) ?? NO_PARENT;
  if (parent.nspace !== '') throw new ClassError('EXDEV');
  if (snapid === NOSNAP) return parent;
  const snap = findKey(object, snapKey(snapid), snapRecord);
  if (snap && parentExists(snap.legacyParent)) return snap.legacyParent;
  if (snap?.parentOverlap === undefined) return NO_PARENT;
  if (!parentExists(parent)) throw new ClassError('EINVAL');
  return { ...parent, headOverlap: snap.parentOverlap };
}

const getParent = readMethod((object, input) => {
  const { pool, image, snap, headOverlap } = legacyParentOf(object, input.u64());
  return encode((e) =>
    e
      .s64n(pool)
      .blob(latin1Bytes(image))
      .u64(snap)
      .u64(headOverlap ?? 0n),
  );
});

const setParent = writeMethod((object, input) => {
  const pool = input.s64n();
  const image = byteString.decode(input);
  const snap = input.u64();
  const headOverlap = input.u64();
  attach(object, { pool, nspace: '', image, snap, headOverlap }, false);
});

export const parentMethods = {
  parent_get: parentGet,
  parent_overlap_get: parentOverlapGet,
  parent_attach: parentAttach,
  parent_detach: writeMethod((object) => detach(object, false)),
  get_parent: getParent,
  set_parent: setParent,
  remove_parent: writeMethod((object) => detach(object, true)),
};
