// crush_hash32_2, _3 and _4: rounds of Robert Jenkins' 96-bit mix over the arguments, two fillers and the hash.
// The scalar ones mix three words in globals, because a function has one result; they are off the hot path.

export const HASH_SEED: i32 = 1315423911;
export const HASH_X: i32 = 231232;
export const HASH_Y: i32 = 1232;

let mixA: u32 = 0;
let mixB: u32 = 0;
let mixH: u32 = 0;

function mix(): void {
  let a = mixA;
  let b = mixB;
  let h = mixH;
  a = (a - b - h) ^ (h >>> 13);
  b = (b - h - a) ^ (a << 8);
  h = (h - a - b) ^ (b >>> 13);
  a = (a - b - h) ^ (h >>> 12);
  b = (b - h - a) ^ (a << 16);
  h = (h - a - b) ^ (b >>> 5);
  a = (a - b - h) ^ (h >>> 3);
  b = (b - h - a) ^ (a << 10);
  h = (h - a - b) ^ (b >>> 15);
  mixA = a;
  mixB = b;
  mixH = h;
}

/** Mixes the hash with `a` and `b`. Returns a's new value; b's is in mixB. */
function mixed(a: u32, b: u32): u32 {
  mixA = a;
  mixB = b;
  mix();
  return mixA;
}

export function hash2(a: u32, b: u32): u32 {
  mixH = HASH_SEED ^ a ^ b;
  a = mixed(a, b);
  b = mixB;
  mixed(HASH_X, a);
  mixed(b, HASH_Y);
  return mixH;
}

export function hash3(a: u32, b: u32, c: u32): u32 {
  mixH = HASH_SEED ^ a ^ b ^ c;
  a = mixed(a, b);
  b = mixB;
  c = mixed(c, HASH_X);
  const x = mixB;
  const y = mixed(HASH_Y, a);
  mixed(b, x);
  mixed(y, c);
  return mixH;
}

export function hash4(a: u32, b: u32, c: u32, d: u32): u32 {
  mixH = HASH_SEED ^ a ^ b ^ c ^ d;
  a = mixed(a, b);
  b = mixB;
  c = mixed(c, d);
  d = mixB;
  mixed(a, HASH_X);
  const x = mixB;
  const y = mixed(HASH_Y, b);
  mixed(c, x);
  mixed(y, d);
  return mixH;
}
