// The checksums in the footer of an encoded object map: crc32c of each 4,096 bytes of its data, little-endian.

import { crc32c } from './crc32c';

const BLOCK: usize = 4096;

export function bitVectorChecksums(data: usize, len: usize, out: usize): void {
  for (let at: usize = 0; at < len; at += BLOCK, out += 4) {
    store<u32>(out, crc32c(0, data + at, min(BLOCK, len - at)));
  }
}

/** The first block whose checksum is not the one at `sums`, or -1. */
export function bitVectorBadBlock(data: usize, len: usize, sums: usize): i32 {
  for (let at: usize = 0; at < len; at += BLOCK, sums += 4) {
    if (load<u32>(sums) !== crc32c(0, data + at, min(BLOCK, len - at))) return <i32>(at / BLOCK);
  }
  return -1;
}
