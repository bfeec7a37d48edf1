/**
 * CRUSH's fixed-point logarithm, for all 65,536 arguments that straw2 can ask for (`crush_ln` in `crush/mapper.c`).
 *
 * Ceph computes 2^44 * log2(u + 1) from two tables: reciprocals and logarithms at 129 coarse points (RH, LH) and
 * logarithms at 256 fine ones (LL). The tables follow formulas, but LL was once computed badly and placement now
 * depends on every wrong bit: `LL_EXCEPTIONS` holds the entries that no formula gives. The tests compare the
 * tables with the digests of Ceph's own.
 */

/** LL[k] where it is not 2^48 * log2(1 + k / 2^15) + LL_OFFSET, as `k: value` in hexadecimal values. */
const LL_EXCEPTIONS = `
0:0 1:2e2a60a00 56:a2b07f3458 127:16df6ca19bd 134:182b07f3458 181:209c06e6212 184:212b07f3458 188:21d6a73a78f
193:22c23679b4e 198:23a2c3b0ea4 199:23d13ee805b 200:24035e9221f 203:247ed646bfe 207:25492644d65 210:25d13ee805b
212:26296453882 216:26d32f798a9 222:27e6580aecb 225:287bdbf5255 227:28d13ee805b 228:29035e9221f 229:29296453882
231:29902a37aab 233:29deabd1083 235:2a4c7605d61 236:2a7bdbf5255 237:2a96056dafc 238:2ac3daf14ef 239:2af1b019eca
240:2b296453882 241:2b5d022d80f 243:2ba9012e713 244:2bd6d4901cc 245:2c04a796cf6 246:2c327a428a6 247:2c61a5e8f4c
248:2c8e1e891f6 249:2cbbf023fc2 250:2ce9c163e6e 251:2d179248e13 252:2d4562d2ec6 253:2d73330209d 254:2da102d63b0
255:2dced24f814`;

const LL_OFFSET = 0x147700000;
const TWO_48 = 2 ** 48;

/** Pairs of RH[k] and LH[k]: 2^48 / (1 + k/128) rounded up, 2^48 * log2(1 + k/128) rounded down. k = 0..128. */
export function reciprocalAndLogTable(): number[] {
  const table: number[] = [];
  for (let k = 0; k <= 128; k++) {
    // 2^55 / (128 + k) in integers: a double would round the quotient.
    const reciprocal = ((1n << 55n) + BigInt(127 + k)) / BigInt(128 + k);
    table.push(Number(reciprocal), Math.floor(TWO_48 * Math.log2(1 + k / 128)));
  }
  // log2(2) is 2^48; Ceph's table ends a little lower.
  table[257] = 0xffff_0000_0000;
  return table;
}

/** LL[k], k = 0..255. */
export function fineLogTable(): number[] {
  const table = Array.from(
    { length: 256 },
    (_, k) => Math.floor(TWO_48 * Math.log2(1 + k / 32768)) + LL_OFFSET,
  );
  for (const [, k, value] of LL_EXCEPTIONS.matchAll(/(\d+):([0-9a-f]+)/g)) {
    table[Number(k)] = Number.parseInt(value as string, 16);
  }
  return table;
}

let straw2Logs: Float64Array | undefined;

/**
 * `crush_ln(u) - 2^48` for u = 0..65535: what straw2 divides by an item's weight. Negative integers of at most 48
 * bits, in doubles, which hold them exactly.
 */
export function straw2LogTable(): Float64Array {
  straw2Logs ??= computeStraw2Logs();
  return straw2Logs;
}

function computeStraw2Logs(): Float64Array {
  const coarse = reciprocalAndLogTable();
  const fine = fineLogTable();
  return Float64Array.from({ length: 65536 }, (_, u) => {
    // Normalise to 2^15 <= x <= 2^16; `exponent` is what was shifted out.
    const shift = Math.max(0, Math.clz32(u + 1) - 16);
    const x = (u + 1) << shift;
    const index = ((x >> 8) << 1) - 256;
    const fraction = productBits48(x, coarse[index] as number) & 0xff;
    const mantissa = (coarse[index + 1] as number) + (fine[fraction] as number);
    return (15 - shift) * 2 ** 44 + Math.floor(mantissa / 16) - TWO_48;
  });
}

/** floor(x * y / 2^48) for x of 17 and y of 49 bits: the product itself would not fit a double. */
function productBits48(x: number, y: number): number {
  const high = Math.floor(y / 2 ** 24);
  const low = y - high * 2 ** 24;
  return Math.floor((x * high + Math.floor((x * low) / 2 ** 24)) / 2 ** 24);
}
