/** The omap operations. Keys are byte strings (latin1); reads see the omap from before the vector. */

import { ERRNO } from '../../../base/errors.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { Encoder, encode } from '../../../encoding/encoder.js';
import { CMP } from '../../../messages/osd-op.js';
import { copyBytes, latin1, latin1Bytes } from '../../byte-string.js';
import type { OpContext } from '../op-context.js';
import type { OpHandler } from './live-op.js';

type Entry = [key: string, value: Uint8Array];

/** Decodes the input, or -EINVAL. */
function decoded<T>(bytes: Uint8Array, read: (input: Decoder) => T): T | number {
  try {
    return read(new Decoder(bytes));
  } catch (error) {
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
}

const readKey = (input: Decoder) => latin1(input.blob());

function readKeys(input: Decoder): string[] {
  const keys: string[] = [];
  for (let left = input.count(4); left > 0; left--) keys.push(readKey(input));
  return keys;
}

function readEntries(input: Decoder): Entry[] {
  const entries: Entry[] = [];
  // Copied: values outlive the message that they came in.
  for (let left = input.count(8); left > 0; left--) {
    entries.push([readKey(input), copyBytes(input.blob())]);
  }
  return entries;
}

// ---- what class methods use too ----

export function omapGet(ctx: OpContext, key: string): Uint8Array | undefined {
  return ctx.hasOmap ? ctx.before?.omapGet(key) : undefined;
}

/** Entries after `startAfter` (exclusive) that start with `prefix`, in key order. */
export function* omapEntries(
  ctx: OpContext,
  startAfter: string,
  prefix: string,
): Iterable<readonly [string, Uint8Array]> {
  if (!ctx.hasOmap || !ctx.before) return;
  const from = prefix > startAfter ? prefix : startAfter;
  for (const [key, value] of ctx.before.omapFrom(from)) {
    if (key === startAfter && !(prefix > startAfter)) continue;
    if (!key.startsWith(prefix)) return;
    yield [key, value];
  }
}

export function omapSet(ctx: OpContext, values: readonly Entry[]): void {
  ctx.create();
  ctx.change({ op: 'omapSet', id: ctx.id, values });
  ctx.hasOmap = true;
}

export function omapRemove(ctx: OpContext, keys: readonly string[]): number {
  if (!ctx.visible) return -ERRNO.ENOENT;
  ctx.change({ op: 'omapRemove', id: ctx.id, keys });
  return 0;
}

// ---- reads ----

interface Page {
  startAfter: string;
  max: number;
  prefix: string;
}

function encodePage(ctx: OpContext, page: Page, put: (e: Encoder, entry: Entry) => void) {
  const { maxOmapEntries, maxOmapBytes } = ctx.pg.limits;
  const max = Math.min(page.max, maxOmapEntries);
  const body = new Encoder();
  let count = 0;
  let truncated = false;
  for (const entry of omapEntries(ctx, page.startAfter, page.prefix)) {
    if (count >= max || body.length >= maxOmapBytes) {
      truncated = true;
      break;
    }
    put(body, entry as Entry);
    count++;
  }
  return encode((e) => e.u32(count).raw(body.bytes).bool(truncated));
}

export const getKeys: OpHandler = (ctx, op, carried) => {
  const page = decoded(op.indata, (input) => ({
    startAfter: readKey(input),
    max: Number(input.u64()),
    prefix: '',
  }));
  if (typeof page === 'number') return page;
  op.outdata = encodePage(ctx, page, (e, [key]) => e.blob(latin1Bytes(key)));
  return carried;
};

export const getValues: OpHandler = (ctx, op, carried) => {
  const page = decoded(op.indata, (input) => ({
    startAfter: readKey(input),
    max: Number(input.u64()),
    prefix: readKey(input),
  }));
  if (typeof page === 'number') return page;
  op.outdata = encodePage(ctx, page, (e, [key, value]) => e.blob(latin1Bytes(key)).blob(value));
  return carried;
};

export const getHeader: OpHandler = (ctx, op, carried) => {
  if (ctx.hasOmap && ctx.before) op.outdata = ctx.before.omapHeader;
  return carried;
};

export const getValuesByKeys: OpHandler = (ctx, op, carried) => {
  const keys = decoded(op.indata, readKeys);
  if (typeof keys === 'number') return keys;
  const found: Entry[] = [];
  for (const key of [...new Set(keys)].sort(byBytes)) {
    const value = omapGet(ctx, key);
    if (value !== undefined) found.push([key, value]);
  }
  op.outdata = encode((e) => {
    e.u32(found.length);
    for (const [key, value] of found) e.blob(latin1Bytes(key)).blob(value);
  });
  return carried;
};

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `stored OP given`: the opposite direction of CMPXATTR. A missing key counts as empty. */
export const compare: OpHandler = (ctx, op, carried) => {
  if (!ctx.visible) return -ERRNO.ENOENT;
  const assertions = decoded(op.indata, (input) => {
    const byKey = new Map<string, { given: Uint8Array; cmpOp: number }>();
    for (let left = input.count(12); left > 0; left--) {
      byKey.set(readKey(input), { given: input.blob(), cmpOp: input.s32() });
    }
    return [...byKey].sort(([a], [b]) => byBytes(a, b));
  });
  if (typeof assertions === 'number') return assertions;
  for (const [key, { given, cmpOp }] of assertions) {
    const order = Buffer.compare(omapGet(ctx, key) ?? new Uint8Array(0), given);
    if (cmpOp !== CMP.EQ && cmpOp !== CMP.LT && cmpOp !== CMP.GT) return -ERRNO.EINVAL;
    const holds = cmpOp === CMP.EQ ? order === 0 : cmpOp === CMP.LT ? order < 0 : order > 0;
    if (!holds) return -ERRNO.ECANCELED;
  }
  return carried;
};

// ---- writes ----

export const setValues: OpHandler = (ctx, op) => {
  ctx.create();
  const entries = decoded(op.indata, readEntries);
  if (typeof entries === 'number') return entries;
  omapSet(ctx, entries);
  return 0;
};

export const setHeader: OpHandler = (ctx, op) => {
  ctx.create();
  ctx.change({ op: 'omapHeader', id: ctx.id, header: copyBytes(op.indata) });
  ctx.hasOmap = true;
  return 0;
};

export const clear: OpHandler = (ctx) => {
  if (!ctx.visible) return -ERRNO.ENOENT;
  if (ctx.hasOmap) {
    ctx.change({ op: 'omapClear', id: ctx.id });
    ctx.hasOmap = false;
  }
  return 0;
};

export const removeKeys: OpHandler = (ctx, op) => {
  if (!ctx.visible) return -ERRNO.ENOENT;
  const keys = decoded(op.indata, readKeys);
  return typeof keys === 'number' ? keys : omapRemove(ctx, keys);
};

export const removeKeyRange: OpHandler = (ctx, op) => {
  if (!ctx.visible) return -ERRNO.ENOENT;
  const range = decoded(op.indata, (input) => ({ begin: readKey(input), end: readKey(input) }));
  if (typeof range === 'number') return range;
  ctx.change({ op: 'omapRemoveRange', id: ctx.id, ...range });
  return 0;
};
