/** COPY_FROM and COPY_FROM2: the object becomes a copy of another, which may live on another OSD. */

import { ERRNO } from '../../../base/errors.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { type ObjectLocator, objectLocator } from '../../../encoding/types.js';
import { OP, type OsdOp } from '../../../messages/osd-op.js';
import type { OpHandler } from './live-op.js';

const TRUNCATE_SEQ_FLAG = 32;
const KNOWN_FLAGS = 63;

export interface CopyRequest {
  oid: string;
  locator: ObjectLocator;
  snapid: bigint;
  truncateSeq: number;
  truncateSize: number;
}

/** What to fetch, or -EINVAL. */
export function parseCopyFrom(op: OsdOp): CopyRequest | number {
  if (op.arg.kind !== 'copyFrom') return -ERRNO.EINVAL;
  const { snapid, flags } = op.arg;
  const second = op.code === OP.COPY_FROM2;
  if (second && (flags & ~KNOWN_FLAGS) !== 0) return -ERRNO.EINVAL;
  try {
    const input = new Decoder(op.indata);
    const oid = input.string();
    const locator = objectLocator.decode(input);
    const truncates = second && (flags & TRUNCATE_SEQ_FLAG) !== 0;
    const truncateSeq = truncates ? input.u32() : 0;
    const truncateSize = truncates ? input.u64n() : 0;
    return { oid, locator, snapid, truncateSeq, truncateSize };
  } catch (error) {
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
}

export const copyFrom: OpHandler = (ctx, op) => {
  const parsed = parseCopyFrom(op);
  if (typeof parsed === 'number') return parsed;
  const source = ctx.copySources.get(op.index);
  // Not fetched: an object cannot be copied onto itself.
  if (!source || 'errno' in source) return -ERRNO.EINVAL;
  const { object } = source;
  if (ctx.exists) ctx.change({ op: 'remove', id: ctx.id });
  ctx.markModified(0, Math.max(ctx.size, object.data.size));
  ctx.change({ op: 'install', object: { ...object, id: ctx.id } });
  ctx.exists = true;
  ctx.size = object.data.size;
  ctx.hasOmap = object.omap.length > 0 || object.omapHeader.length > 0;
  ctx.info = {
    ...ctx.info,
    whiteout: false,
    mtime: object.meta.info.mtime,
    truncateSeq: parsed.truncateSeq,
    truncateSize: parsed.truncateSize,
  };
  ctx.dataDigest = object.meta.info.dataDigest;
  ctx.forcedUserVersion = source.userVersion;
  return 0;
};
