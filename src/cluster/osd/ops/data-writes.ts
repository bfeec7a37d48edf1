/** WRITE, WRITEFULL, WRITESAME, APPEND, ZERO, TRUNCATE, CREATE, DELETE, SETALLOCHINT. */

import { ERRNO } from '../../../base/errors.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { OP, OP_FLAG } from '../../../messages/osd-op.js';
import { DIGEST_SEED } from '../../store/object-meta.js';
import type { OpContext } from '../op-context.js';
import { argOf, type LiveOp, type OpHandler } from './live-op.js';

function checkRange(ctx: OpContext, offset: number, length: number): number {
  const max = ctx.pg.limits.maxObjectBytes;
  return offset >= max || length > max || offset + length > max ? -ERRNO.EFBIG : 0;
}

/** Known where the write is all of the object, or goes on where it ends (`PrimaryLogPG::do_osd_ops`). */
function digestOfWrite(
  ctx: OpContext,
  { offset, data, crc }: { offset: number; data: Uint8Array; crc: number | undefined },
): number | undefined {
  const { size, dataDigest, pg } = ctx;
  if (offset === 0 && data.length >= size) return crc ?? pg.crc32c(DIGEST_SEED, data);
  return offset === size && dataDigest !== undefined ? pg.crc32c(dataDigest, data) : undefined;
}

/** The checksum that the request came with, where it is of these data and no others. */
function knownCrc({ client }: OpContext, op: LiveOp, data: Uint8Array): number | undefined {
  return data === op.indata && data.length === client.dataBytes ? client.dataCrc : undefined;
}

/** Takes `data` over. `crc`: their digest, if it is known. */
export function writeData(ctx: OpContext, offset: number, data: Uint8Array, crc?: number): number {
  const result = checkRange(ctx, offset, data.length);
  if (result < 0) return result;
  ctx.create();
  const end = offset + data.length;
  if (data.length > 0) {
    const digest = digestOfWrite(ctx, { offset, data, crc });
    ctx.changeData({ op: 'write', id: ctx.id, offset, data });
    ctx.dataDigest = digest;
    ctx.markModified(offset, end);
    ctx.size = Math.max(ctx.size, end);
  } else if (offset > ctx.size) {
    ctx.changeData({ op: 'truncate', id: ctx.id, size: offset });
    ctx.size = offset;
  } else {
    ctx.dirty = true;
  }
  return 0;
}

export const write: OpHandler = (ctx, op) => {
  const extent = argOf(op, 'extent');
  if (extent.length !== op.indata.length) return -ERRNO.EINVAL;
  const { truncateSeq, truncateSize } = extent;
  const seq = ctx.info.truncateSeq;
  if (seq !== 0 && seq > truncateSeq && extent.offset + extent.length > ctx.size) {
    // A write from before a truncation that was applied meanwhile (CephFS): what lies beyond is dropped.
    extent.length = Math.max(0, ctx.size - extent.offset);
  }
  if (truncateSeq > seq) {
    // A real OSD follows, and has an object of any size: answering is safer.
    if (truncateSize > ctx.pg.limits.maxObjectBytes) return -ERRNO.EFBIG;
    if (ctx.visible) {
      ctx.changeData({ op: 'truncate', id: ctx.id, size: truncateSize });
      ctx.markModified(truncateSize, ctx.size);
      ctx.size = truncateSize;
    }
    ctx.info = { ...ctx.info, truncateSeq, truncateSize };
  }
  const { length } = extent;
  const data = length === op.indata.length ? op.indata : op.indata.subarray(0, length);
  return writeData(ctx, extent.offset, data, knownCrc(ctx, op, data));
};

/** Replaces all bytes and leaves xattrs and omap alone. */
export function writeAll(ctx: OpContext, data: Uint8Array, crc?: number): number {
  const result = checkRange(ctx, 0, data.length);
  if (result < 0) return result;
  ctx.create();
  if (data.length < ctx.size) ctx.changeData({ op: 'truncate', id: ctx.id, size: data.length });
  if (data.length > 0) ctx.changeData({ op: 'write', id: ctx.id, offset: 0, data });
  ctx.dataDigest = crc ?? ctx.pg.crc32c(DIGEST_SEED, data);
  ctx.dirty = true;
  ctx.markModified(0, ctx.size);
  ctx.size = data.length;
  return 0;
}

export const writeFull: OpHandler = (ctx, op) =>
  argOf(op, 'extent').length === op.indata.length
    ? writeAll(ctx, op.indata, knownCrc(ctx, op, op.indata))
    : -ERRNO.EINVAL;

export const writeSame: OpHandler = (ctx, op) => {
  const { offset, length, dataLength } = argOf(op, 'writesame');
  if (length === 0) return 0;
  if (dataLength === 0 || length % dataLength !== 0 || dataLength !== op.indata.length) {
    return -ERRNO.EINVAL;
  }
  const result = checkRange(ctx, offset, length);
  return result < 0 ? result : writeData(ctx, offset, Buffer.alloc(length, op.indata));
};

export const append: OpHandler = (ctx, op) =>
  argOf(op, 'extent').length === op.indata.length
    ? writeData(ctx, ctx.size, op.indata, knownCrc(ctx, op, op.indata))
    : -ERRNO.EINVAL;

export function truncateData(ctx: OpContext, size: number): number {
  if (!ctx.visible) return 0;
  const result = checkRange(ctx, size, 0);
  if (result < 0) return result;
  ctx.changeData({ op: 'truncate', id: ctx.id, size });
  ctx.markModified(size, ctx.size);
  ctx.size = size;
  return 0;
}

export const truncate: OpHandler = (ctx, op) => {
  const { offset, length, truncateSeq, truncateSize } = argOf(op, 'extent');
  if (!ctx.visible) return 0;
  const result = checkRange(ctx, offset, length);
  if (result < 0) return result;
  if (truncateSeq !== 0) {
    // A real OSD asserts that both sizes agree; a client must not be able to end ours.
    if (offset !== truncateSize) return -ERRNO.EINVAL;
    if (truncateSeq <= ctx.info.truncateSeq) return 0;
    ctx.info = { ...ctx.info, truncateSeq, truncateSize };
  }
  return truncateData(ctx, offset);
};

export const zero: OpHandler = (ctx, op, carried) => {
  const { offset, length } = argOf(op, 'extent');
  const max = ctx.pg.limits.maxObjectBytes;
  const toEnd = length >= 1 && length <= max && offset < max && offset + length >= ctx.size;
  if (ctx.exists && toEnd) {
    if (offset >= ctx.size) return carried;
    op.code = OP.TRUNCATE;
    return truncate(ctx, op, carried);
  }
  const result = checkRange(ctx, offset, length);
  if (result < 0) return result;
  // A real OSD asserts a length; answering is safer than following.
  if (length === 0) return -ERRNO.EINVAL;
  if (!ctx.visible) return 0;
  ctx.changeData({ op: 'zero', id: ctx.id, offset, length });
  ctx.markModified(offset, offset + length);
  return 0;
};

export function createObject(ctx: OpContext, exclusive: boolean): number {
  if (exclusive && ctx.visible) return -ERRNO.EEXIST;
  ctx.create();
  ctx.dirty = true;
  return 0;
}

export const create: OpHandler = (ctx, op) => {
  const exclusive = (op.flags & OP_FLAG.EXCL) !== 0;
  if (exclusive && ctx.visible) return -ERRNO.EEXIST;
  try {
    // An object category, meaningless since Jewel, must still be a string.
    if (op.indata.length > 0) new Decoder(op.indata).blob();
  } catch (error) {
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
  return createObject(ctx, exclusive);
};

/** Deletes the head; it stays as a whiteout while clones need its SnapSet (`_delete_oid`). */
export function deleteObject(ctx: OpContext): number {
  const [newest] = ctx.snapContext.snaps;
  const whiteout =
    ctx.snapSet.clones.length > 0 || (newest !== undefined && newest > ctx.snapSet.seq);
  if (!ctx.exists || (ctx.info.whiteout && whiteout)) return -ERRNO.ENOENT;
  ctx.changeData({ op: 'remove', id: ctx.id });
  ctx.markModified(0, ctx.size);
  for (const record of ctx.info.watchers) ctx.effects.disconnects.push({ record, notify: true });
  ctx.size = 0;
  ctx.info = { ...ctx.info, truncateSeq: 0, truncateSize: 0, watchers: [], whiteout };
  if (whiteout) ctx.change({ op: 'touch', id: ctx.id });
  else ctx.exists = false;
  return 0;
}

export const remove: OpHandler = (ctx) => deleteObject(ctx);

/** The hint itself has no use here, but it creates the object. */
export const setAllocHint: OpHandler = (ctx) => {
  ctx.create();
  ctx.dirty = true;
  return 0;
};
