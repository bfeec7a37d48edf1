/** What a CRUSH map must promise before a rule may run over it. */

import { DecodeError } from '../encoding/decoder.js';
import type { CrushBucket, CrushFields } from './crush-map.js';

/** The two ids above mark empty places of a result. */
const MAX_DEVICE = 0x7fff_fffd;

/**
 * Refuses maps that a rule could not run over safely. What a valid map promises, and both `crush-twin.ts` and the
 * kernel rely on:
 *
 * Invariant: every item is a device or a bucket that exists.
 * Invariant: no bucket contains itself, at any depth, so that every descent ends.
 * Invariant: all lists of a bucket (weights, straws, nodes, overrides) have the length that its size asks for.
 */
export function validateCrushMap(fields: CrushFields): void {
  const refuse = (reason: string): never => {
    throw new DecodeError(reason, 0);
  };
  const { buckets } = fields;
  buckets.forEach((bucket, slot) => {
    if (!bucket) return;
    if (bucket.id !== -1 - slot) refuse(`bucket ${bucket.id} in slot ${slot}`);
    if (bucket.type === 0) refuse(`bucket ${bucket.id} claims to be a device`);
    if (bucket.hash !== 0) refuse(`bucket ${bucket.id} has unknown hash ${bucket.hash}`);
    for (const item of bucket.items) {
      if (item >= 0 ? item > MAX_DEVICE : buckets[-1 - item] === undefined) {
        refuse(`bucket ${bucket.id} contains ${item}, which does not exist`);
      }
    }
    const lengths = listLengths(bucket);
    if (lengths.actual.some((length) => length !== lengths.expected)) {
      refuse(`bucket ${bucket.id} of ${bucket.items.length} items has lists of other lengths`);
    }
  });
  refuseCycles(fields, refuse);
  for (const [index, args] of fields.chooseArgs) {
    for (const { bucketIndex, weightSet, ids } of args) {
      const size = buckets[bucketIndex]?.items.length;
      if (bucketIndex >= buckets.length) refuse(`choose_args ${index} for bucket ${bucketIndex}`);
      // An empty slot's arguments are never looked at.
      if (size === undefined) continue;
      if ((ids.length > 0 && ids.length !== size) || weightSet.some((w) => w.length !== size)) {
        refuse(`choose_args ${index} of bucket ${-1 - bucketIndex} do not fit its ${size} items`);
      }
    }
  }
}

function listLengths(bucket: CrushBucket): { expected: number; actual: number[] } {
  const size = bucket.items.length;
  if ('nodeWeights' in bucket) {
    return { expected: treeNodes(size), actual: [bucket.nodeWeights.length] };
  }
  const actual: number[] = [];
  if ('itemWeights' in bucket) actual.push(bucket.itemWeights.length);
  if ('sumWeights' in bucket) actual.push(bucket.sumWeights.length);
  if ('straws' in bucket) actual.push(bucket.straws.length);
  return { expected: size, actual };
}

/** Nodes of the smallest complete binary tree with `size` leaves, counted as Ceph does: a power of two. */
export function treeNodes(size: number): number {
  return size === 0 ? 0 : 2 << Math.ceil(Math.log2(size));
}

/** Depth-first over all buckets, without recursion: a hostile chain may be as deep as the map has buckets. */
function refuseCycles(fields: CrushFields, refuse: (reason: string) => never): void {
  const VISITING = 1;
  const DONE = 2;
  const state = new Uint8Array(fields.buckets.length);
  fields.buckets.forEach((_, start) => {
    const path: { slot: number; next: number }[] = [{ slot: start, next: 0 }];
    while (path.length > 0) {
      const top = path[path.length - 1] as { slot: number; next: number };
      if (top.next === 0) {
        if (state[top.slot] === DONE) {
          path.pop();
          continue;
        }
        state[top.slot] = VISITING;
      }
      const items = fields.buckets[top.slot]?.items ?? [];
      while (top.next < items.length && (items[top.next] as number) >= 0) top.next++;
      if (top.next >= items.length) {
        state[top.slot] = DONE;
        path.pop();
        continue;
      }
      const child = -1 - (items[top.next++] as number);
      if (state[child] === VISITING) refuse(`bucket ${-1 - child} contains itself`);
      if (state[child] !== DONE) path.push({ slot: child, next: 0 });
    }
  });
}
