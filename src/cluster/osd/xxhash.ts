/** xxHash 32 and 64 (Yann Collet's specification), for the CHECKSUM operation. Rare: written for clarity. */

const P32 = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1] as const;

const rotl32 = (x: number, r: number) => (x << r) | (x >>> (32 - r));

export function xxhash32(seed: number, data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [p1, p2, p3, p4, p5] = P32;
  const round = (acc: number, lane: number) =>
    Math.imul(rotl32((acc + Math.imul(lane, p2)) | 0, 13), p1);
  let at = 0;
  let hash: number;
  if (data.length >= 16) {
    let lanes = [seed + p1 + p2, seed + p2, seed, seed - p1];
    for (; at + 16 <= data.length; at += 16) {
      const base = at;
      lanes = lanes.map((acc, i) => round(acc, view.getInt32(base + 4 * i, true)));
    }
    const [a = 0, b = 0, c = 0, d = 0] = lanes;
    hash = (rotl32(a, 1) + rotl32(b, 7) + rotl32(c, 12) + rotl32(d, 18)) | 0;
  } else {
    hash = (seed + p5) | 0;
  }
  hash = (hash + data.length) | 0;
  for (; at + 4 <= data.length; at += 4) {
    hash = Math.imul(rotl32((hash + Math.imul(view.getInt32(at, true), p3)) | 0, 17), p4);
  }
  for (; at < data.length; at++) {
    hash = Math.imul(rotl32((hash + Math.imul(data[at] as number, p5)) | 0, 11), p1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), p2);
  hash = Math.imul(hash ^ (hash >>> 13), p3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const P64 = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
] as const;

const u64 = (x: bigint) => BigInt.asUintN(64, x);
const rotl64 = (x: bigint, r: bigint) => u64(x << r) | (u64(x) >> (64n - r));

export function xxhash64(seed: bigint, data: Uint8Array): bigint {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [p1, p2, p3, p4, p5] = P64;
  const round = (acc: bigint, lane: bigint) => u64(rotl64(u64(acc + lane * p2), 31n) * p1);
  let at = 0;
  let hash: bigint;
  if (data.length >= 32) {
    let lanes = [u64(seed + p1 + p2), u64(seed + p2), seed, u64(seed - p1)];
    for (; at + 32 <= data.length; at += 32) {
      const base = at;
      lanes = lanes.map((acc, i) => round(acc, view.getBigUint64(base + 8 * i, true)));
    }
    const [a = 0n, b = 0n, c = 0n, d = 0n] = lanes;
    hash = u64(rotl64(a, 1n) + rotl64(b, 7n) + rotl64(c, 12n) + rotl64(d, 18n));
    for (const lane of lanes) hash = u64((hash ^ round(0n, lane)) * p1 + p4);
  } else {
    hash = u64(seed + p5);
  }
  hash = u64(hash + BigInt(data.length));
  for (; at + 8 <= data.length; at += 8) {
    hash = u64(rotl64(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * p1 + p4);
  }
  if (at + 4 <= data.length) {
    hash = u64(rotl64(hash ^ u64(BigInt(view.getUint32(at, true)) * p1), 23n) * p2 + p3);
    at += 4;
  }
  for (; at < data.length; at++) {
    hash = u64(rotl64(hash ^ u64(BigInt(data[at] as number) * p5), 11n) * p1);
  }
  hash = u64((hash ^ (hash >> 33n)) * p2);
  hash = u64((hash ^ (hash >> 29n)) * p3);
  return hash ^ (hash >> 32n);
}
