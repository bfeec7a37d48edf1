/** An object's full name within its pool, and the order in which a PG lists its objects (`hobject_t`). */

import { NOSNAP } from '../../encoding/types.js';

/** Plain data: names travel in transactions and between OSDs. */
export interface ObjectId {
  readonly pool: number;
  readonly nspace: string;
  readonly oid: string;
  /** Locator key: when set, it was hashed in place of the name. */
  readonly key: string;
  /** The 32-bit placement hash. */
  readonly hash: number;
  /** NOSNAP for the head, else the id of a clone. */
  readonly snap: bigint;
}

/** The head of that name. A locator key that is the name itself is none, as in `hobject_t`: one object has one name. */
export function headId({ pool, nspace, oid, key, hash }: Omit<ObjectId, 'snap'>): ObjectId {
  return { pool, nspace, oid, key: key === oid ? '' : key, hash, snap: NOSNAP };
}

/** The same object at another snapshot. */
export function atSnap(id: ObjectId, snap: bigint): ObjectId {
  return { ...id, snap };
}

const NUL = 0;

/**
 * A map key that is unique within a PG: of a head with nothing but a name that name, which is asked for several times for each
 * request. All others begin with a NUL; lengths keep `('a', 'bc')` apart from `('ab', 'c')`.
 */
export function objectKey({ snap, nspace, key, oid }: ObjectId): string {
  const isHead = snap === NOSNAP;
  if (isHead && nspace === '' && key === '' && oid.charCodeAt(0) !== NUL) return oid;
  const which = isHead ? 'head' : snap.toString(16);
  return `\0${which}/${nspace.length}/${key.length}/${nspace}${key}${oid}`;
}

/** For people: `rbd_data.1f.0 (snap 4)`, with its namespace before it. */
export function formatObject({ nspace, oid, snap }: ObjectId): string {
  const name = nspace === '' ? oid : `${nspace}/${oid}`;
  return snap === NOSNAP ? name : `${name} (snap ${snap})`;
}

/** The lane of an object: its head and its clones share one. */
export function headKey(id: ObjectId): string {
  return objectKey(id.snap === NOSNAP ? id : atSnap(id, NOSNAP));
}

/** The 32 bits of a hash in reverse order: what PGs and listings are sorted by. */
export function reverseBits(hash: number): number {
  let v = hash >>> 0;
  v = ((v >>> 1) & 0x55555555) | ((v & 0x55555555) << 1);
  v = ((v >>> 2) & 0x33333333) | ((v & 0x33333333) << 2);
  v = ((v >>> 4) & 0x0f0f0f0f) | ((v & 0x0f0f0f0f) << 4);
  v = ((v >>> 8) & 0x00ff00ff) | ((v & 0x00ff00ff) << 8);
  return ((v >>> 16) | (v << 16)) >>> 0;
}

/** Order within one pool: reversed hash, namespace, locator key or name, name, snapshot (`common/hobject.cc`). */
export function compareObjects(a: ObjectId, b: ObjectId): number {
  if (a.hash !== b.hash) return reverseBits(a.hash) - reverseBits(b.hash);
  return (
    compareUtf8(a.nspace, b.nspace) ||
    compareUtf8(a.key || a.oid, b.key || b.oid) ||
    compareUtf8(a.oid, b.oid) ||
    (a.snap < b.snap ? -1 : a.snap > b.snap ? 1 : 0)
  );
}

/**
 * Compares texts as their UTF-8 bytes compare. JavaScript's own order is by UTF-16 unit, which puts the surrogates
 * (code points from U+10000) below U+E000.
 */
function compareUtf8(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return surrogatesLast(x) - surrogatesLast(y);
  }
  return a.length - b.length;
}

function surrogatesLast(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
