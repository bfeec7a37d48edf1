/** READ, SPARSE_READ, MAPEXT, STAT, CMPEXT, CHECKSUM. Data come from before the vector, the size is the pending one. */

import { ERRNO } from '../../../base/errors.js';
import { totalBytes } from '../../../base/total-bytes.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { encode } from '../../../encoding/encoder.js';
import type { Extent } from '../../store/range-set.js';
import type { OpContext } from '../op-context.js';
import { xxhash32, xxhash64 } from '../xxhash.js';
import { argOf, type OpHandler } from './live-op.js';

/** First value of the range that CMPEXT mismatches are reported in (`MAX_ERRNO`). */
const MAX_ERRNO = 4095;

const EMPTY = new Uint8Array(0);

/** A range of the object's bytes, or an errno. `length` 0 means all. */
export function readData(ctx: OpContext, offset: number, length: number): Uint8Array | number {
  const wanted = length === 0 ? ctx.size : length;
  const trimmed = Math.min(wanted, Math.max(0, ctx.size - offset));
  if (trimmed === 0) return EMPTY;
  return ctx.before ? ctx.before.read(offset, trimmed) : -ERRNO.ENOENT;
}

export const read: OpHandler = (ctx, op) => {
  const extent = argOf(op, 'extent');
  const { offset, truncateSeq, truncateSize } = extent;
  let size = ctx.size;
  if (
    ctx.info.truncateSeq < truncateSeq &&
    offset + extent.length > truncateSize &&
    size > truncateSize
  ) {
    size = truncateSize;
  }
  const wanted = extent.length === 0 ? size : extent.length;
  const length = Math.max(0, Math.min(wanted, size - offset));
  extent.length = 0;
  if (length === 0) return 0;
  if (!ctx.before) return -ERRNO.ENOENT;
  op.bulk = ctx.before.readShared(offset, length);
  extent.length = totalBytes(op.bulk);
  return 0;
};

function encodeExtents(extents: readonly Extent[]): Uint8Array {
  return encode((e) => {
    e.u32(extents.length);
    for (const [offset, length] of extents) e.u64n(offset).u64n(length);
  });
}

export const sparseRead: OpHandler = (ctx, op) => {
  const extent = argOf(op, 'extent');
  if (extent.truncateSeq !== 0) return -ERRNO.EINVAL;
  const { before } = ctx;
  if (!before) return -ERRNO.ENOENT;
  const extents = before.extents(extent.offset, extent.length);
  op.bulk = extents.flatMap(([offset, length]) => before.readShared(offset, length));
  extent.length = totalBytes(op.bulk);
  op.outdata = Buffer.concat([encodeExtents(extents), encode((e) => e.u32(extent.length))]);
  return 0;
};

export const mapExtents: OpHandler = (ctx, op, carried) => {
  const { offset, length } = argOf(op, 'extent');
  if (!ctx.before) return -ERRNO.ENOENT;
  op.outdata = encodeExtents(ctx.before.extents(offset, length));
  return carried;
};

export const stat: OpHandler = (ctx, op, carried) => {
  if (!ctx.visible) return -ERRNO.ENOENT;
  const { sec, nsec } = ctx.info.mtime;
  op.outdata = encode((e) => e.u64n(ctx.size).u32(sec).u32(nsec));
  return carried;
};

export const compareExtent: OpHandler = (ctx, op) => {
  const extent = argOf(op, 'extent');
  const { offset, truncateSeq, truncateSize } = extent;
  const size =
    ctx.info.truncateSeq < truncateSeq && offset + extent.length > truncateSize
      ? truncateSize
      : ctx.size;
  extent.length = Math.max(0, Math.min(extent.length, size - offset));
  const stored = extent.length > 0 ? ctx.visibleBefore?.read(offset, extent.length) : undefined;
  // Beyond the end the object counts as zeros.
  const mismatch = op.indata.findIndex((byte, i) => byte !== (stored?.[i] ?? 0));
  return mismatch < 0 ? 0 : -(MAX_ERRNO + mismatch);
};

const CHECKSUM_TYPE = { XXHASH32: 0, XXHASH64: 1, CRC32C: 2 } as const;

export const checksum: OpHandler = (ctx, op) => {
  const arg = argOf(op, 'checksum');
  if (arg.chunkSize > 0 && (arg.length === 0 || arg.length % arg.chunkSize !== 0)) {
    return -ERRNO.EINVAL;
  }
  if (arg.offset === 0 && arg.length === 0) {
    arg.length = ctx.size;
  } else if (arg.offset >= ctx.size) {
    return 0;
  } else if (arg.offset + arg.length > ctx.size) {
    arg.length = ctx.size - arg.offset;
    if (arg.chunkSize > 0 && arg.length % arg.chunkSize !== 0) return -ERRNO.EINVAL;
  }
  let sum: (chunk: Uint8Array) => Uint8Array;
  try {
    sum = summer(ctx, arg.type, new Decoder(op.indata));
  } catch (error) {
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
  const bytes = arg.length > 0 ? readData(ctx, arg.offset, arg.length) : EMPTY;
  if (typeof bytes === 'number') return bytes;
  if (bytes.length !== arg.length) return -ERRNO.EINVAL;
  const chunkBytes = arg.chunkSize || bytes.length;
  const sums: Uint8Array[] = [];
  for (let at = 0; chunkBytes > 0 && at + chunkBytes <= bytes.length; at += chunkBytes) {
    sums.push(sum(bytes.subarray(at, at + chunkBytes)));
  }
  op.outdata = Buffer.concat([encode((e) => e.u32(sums.length)), ...sums]);
  return 0;
};

/** The sum of one chunk, from the initial value in the input. Throws DecodeError when that is missing. */
function summer(ctx: OpContext, type: number, input: Decoder): (chunk: Uint8Array) => Uint8Array {
  switch (type) {
    case CHECKSUM_TYPE.XXHASH32: {
      const seed = input.u32();
      return (chunk) => encode((e) => e.u32(xxhash32(seed, chunk)));
    }
    case CHECKSUM_TYPE.XXHASH64: {
      const seed = input.u64();
      return (chunk) => encode((e) => e.u64(xxhash64(seed, chunk)));
    }
    case CHECKSUM_TYPE.CRC32C: {
      const seed = input.u32();
      return (chunk) => encode((e) => e.u32(ctx.pg.crc32c(seed, chunk)));
    }
    default:
      throw new DecodeError(`checksum type ${type}`, 0);
  }
}
