/** GETXATTR, GETXATTRS, CMPXATTR, SETXATTR, RMXATTR. Names are byte strings, kept one character per byte (latin1). */

import { ERRNO } from '../../../base/errors.js';
import { encode } from '../../../encoding/encoder.js';
import { CMP } from '../../../messages/osd-op.js';
import { copyBytes, latin1, latin1Bytes } from '../../byte-string.js';
import type { OpContext } from '../op-context.js';
import { argOf, type LiveOp, type OpHandler } from './live-op.js';

/** Name and value, or undefined when the lengths exceed the data (a real OSD throws there). */
function nameAndValue(op: LiveOp): { name: string; value: Uint8Array } | undefined {
  const { nameLength, valueLength } = argOf(op, 'xattr');
  if (nameLength + valueLength > op.indata.length) return undefined;
  return {
    name: latin1(op.indata.subarray(0, nameLength)),
    // Copied: it outlives the message that it came in.
    value: copyBytes(op.indata.subarray(nameLength, nameLength + valueLength)),
  };
}

/** The value from before the vector, or an errno. */
export function getXattr(ctx: OpContext, name: string): Uint8Array | number {
  if (!ctx.before) return -ERRNO.ENOENT;
  return ctx.before.xattr(name) ?? -ERRNO.ENODATA;
}

export function setXattr(ctx: OpContext, name: string, value: Uint8Array): void {
  ctx.create();
  ctx.change({ op: 'setXattr', id: ctx.id, name, value });
}

export const get: OpHandler = (ctx, op) => {
  const arg = argOf(op, 'xattr');
  if (arg.nameLength > op.indata.length) return -ERRNO.EINVAL;
  const value = getXattr(ctx, latin1(op.indata.subarray(0, arg.nameLength)));
  if (typeof value === 'number') return value;
  arg.valueLength = value.length;
  op.outdata = value;
  return 0;
};

export const getAll: OpHandler = (ctx, op) => {
  const xattrs = ctx.before?.xattrs() ?? [];
  op.outdata = encode((e) => {
    e.u32(xattrs.length);
    for (const [name, value] of xattrs) e.blob(latin1Bytes(name)).blob(value);
  });
  return ctx.before ? 0 : -ERRNO.ENOENT;
};

const CMP_MODE = { STRING: 1, U64: 2 } as const;

/** `given OP stored`: the opposite direction of OMAP_CMP. A missing attribute counts as empty. */
export const compare: OpHandler = (ctx, op) => {
  const { nameLength, valueLength, cmpOp, cmpMode } = argOf(op, 'xattr');
  if (nameLength > op.indata.length) return -ERRNO.EINVAL;
  const found = getXattr(ctx, latin1(op.indata.subarray(0, nameLength)));
  if (found === -ERRNO.ENOENT) return found;
  const stored = typeof found === 'number' ? new Uint8Array(0) : found;
  const given = op.indata.subarray(nameLength);
  let order: number;
  if (cmpMode === CMP_MODE.STRING) {
    if (valueLength > given.length) return -ERRNO.EINVAL;
    order = Buffer.compare(given.subarray(0, valueLength), stored);
  } else if (cmpMode === CMP_MODE.U64) {
    if (given.length < 8) return -ERRNO.EINVAL;
    const value = new DataView(given.buffer, given.byteOffset).getBigUint64(0, true);
    const other = decimalPrefix(latin1(stored));
    order = value < other ? -1 : value > other ? 1 : 0;
  } else {
    return -ERRNO.EINVAL;
  }
  const holds = compares(cmpOp, order);
  if (holds === undefined) return -ERRNO.EINVAL;
  return holds ? 1 : -ERRNO.ECANCELED;
};

function compares(cmpOp: number, order: number): boolean | undefined {
  switch (cmpOp) {
    case CMP.EQ:
      return order === 0;
    case CMP.NE:
      return order !== 0;
    case CMP.GT:
      return order > 0;
    case CMP.GTE:
      return order >= 0;
    case CMP.LT:
      return order < 0;
    case CMP.LTE:
      return order <= 0;
    default:
      return undefined;
  }
}

/** C's `atoll`: leading white space, a sign, digits; whatever follows is ignored. */
function decimalPrefix(text: string): bigint {
  const digits = /^[\t-\r ]*([+-]?\d+)/.exec(text)?.[1];
  return digits === undefined ? 0n : BigInt.asUintN(64, BigInt(digits.replace('+', '')));
}

export const set: OpHandler = (ctx, op) => {
  const { nameLength, valueLength } = argOf(op, 'xattr');
  const { maxXattrBytes, maxXattrNameBytes } = ctx.pg.limits;
  if (maxXattrBytes > 0 && valueLength > maxXattrBytes) return -ERRNO.EFBIG;
  if (nameLength > maxXattrNameBytes) return -ERRNO.ENAMETOOLONG;
  const pair = nameAndValue(op);
  if (!pair) return -ERRNO.EINVAL;
  setXattr(ctx, pair.name, pair.value);
  return 0;
};

export const remove: OpHandler = (ctx, op) => {
  const { nameLength } = argOf(op, 'xattr');
  if (nameLength > op.indata.length) return -ERRNO.EINVAL;
  if (!ctx.visible) return -ERRNO.ENOENT;
  const name = latin1(op.indata.subarray(0, nameLength));
  ctx.change({ op: 'removeXattr', id: ctx.id, name });
  return 0;
};
