/**
 * The order of objects within a pool, as listings and backoff ranges use it (`cmp_bitwise` in `common/hobject.cc`):
 * by the placement hash with its bits reversed, so that the objects of one PG lie together before and after a split.
 */

import { type Hobject, NOSNAP } from '../encoding/types.js';

/** Negative, zero or positive, as for `Array.sort`. */
export function compareHobject(a: Hobject, b: Hobject): number {
  return (
    a.max - b.max ||
    compareBigint(a.pool, b.pool) ||
    reverseBits(a.hash) - reverseBits(b.hash) ||
    compareText(a.nspace, b.nspace) ||
    compareText(a.key || a.oid, b.key || b.oid) ||
    compareText(a.oid, b.oid) ||
    compareBigint(a.snap, b.snap)
  );
}

/** As Ceph prints it: `1:18137794:::a:head` is object `a` of pool 1, by the bits of its hash in reverse. */
export function formatHobject({ pool, hash, nspace, key, oid, snap, max }: Hobject): string {
  if (max !== 0) return 'MAX';
  const at = reverseBits(hash).toString(16).padStart(8, '0');
  return `${pool}:${at}:${nspace}:${key}:${oid}:${snap === NOSNAP ? 'head' : snap.toString(16)}`;
}

/** Bit 0 becomes bit 31 and so on. */
export function reverseBits(value: number): number {
  let v = value;
  v = ((v >>> 1) & 0x55555555) | ((v & 0x55555555) << 1);
  v = ((v >>> 2) & 0x33333333) | ((v & 0x33333333) << 2);
  v = ((v >>> 4) & 0x0f0f0f0f) | ((v & 0x0f0f0f0f) << 4);
  v = ((v >>> 8) & 0x00ff00ff) | ((v & 0x00ff00ff) << 8);
  return ((v >>> 16) | (v << 16)) >>> 0;
}

function compareBigint(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** By bytes, as `std::string`. */
function compareText(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}
