// Where bytes are all zeros: what a sparse copy leaves out.

/** 1 when all bytes are zero. */
export function isZero(ptr: usize, len: usize): i32 {
  const end = ptr + len;
  for (; ptr + 128 <= end; ptr += 128) {
    const a = v128.or(v128.load(ptr), v128.load(ptr, 16));
    const b = v128.or(v128.load(ptr, 32), v128.load(ptr, 48));
    const c = v128.or(v128.load(ptr, 64), v128.load(ptr, 80));
    const d = v128.or(v128.load(ptr, 96), v128.load(ptr, 112));
    if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) return 0;
  }
  for (; ptr + 8 <= end; ptr += 8) {
    if (load<u64>(ptr) !== 0) return 0;
  }
  for (; ptr < end; ptr++) {
    if (load<u8>(ptr) !== 0) return 0;
  }
  return 1;
}

/**
 * The blocks that are not all zeros, neighbours as one: u32 start, u32 end, ascending, from the offset `from` on (a multiple of
 * `block`). The last block may be short. Returns how many u32 were written, at most `capacity` (even): when it is reached,
 * the caller goes on from the last end.
 */
export function dataExtents(
  ptr: usize,
  len: u32,
  block: u32,
  from: u32,
  out: usize,
  capacity: u32,
): u32 {
  let count: u32 = 0;
  let isData = false;
  for (let at = from; at < len; at += block) {
    const zero = isZero(ptr + at, min(block, len - at)) !== 0;
    if (zero !== isData) continue;
    if (!isData && count === capacity) return count;
    store<u32>(out + ((<usize>count) << 2), at);
    count++;
    isData = !isData;
  }
  if (isData) {
    store<u32>(out + ((<usize>count) << 2), len);
    count++;
  }
  return count;
}
