/** CALL: runs a method of an object class on the object. */

import { ERRNO } from '../../../base/errors.js';
import { utimeFromMs } from '../../../encoding/types.js';
import type { OsdOp } from '../../../messages/osd-op.js';
import { latin1 } from '../../byte-string.js';
import {
  CLS_METHOD,
  ClassError,
  type ClassMethod,
  type ClassObject,
  type ClassRegistry,
  runMethod,
} from '../../classes/class-registry.js';
import type { OpContext } from '../op-context.js';
import { readData } from './data-reads.js';
import { createObject, deleteObject, truncateData, writeAll, writeData } from './data-writes.js';
import { argOf, type LiveOp } from './live-op.js';
import { omapEntries, omapGet, omapRemove, omapSet } from './omap.js';
import { getXattr, setXattr } from './xattrs.js';

interface Call {
  className: string;
  methodName: string;
  method: ClassMethod;
  input: Uint8Array;
}

/** Resolves a call; a negative errno for unknown names (EOPNOTSUPP) or lengths that lie (EINVAL). */
export function resolveCall(
  classes: ClassRegistry,
  op: Pick<OsdOp, 'arg' | 'indata'>,
): Call | number {
  if (op.arg.kind !== 'cls') return -ERRNO.EINVAL;
  const { classLength, methodLength, indataLength } = op.arg;
  const inputAt = classLength + methodLength;
  if (inputAt + indataLength > op.indata.length) return -ERRNO.EINVAL;
  const className = latin1(op.indata.subarray(0, classLength));
  const methodName = latin1(op.indata.subarray(classLength, inputAt));
  const method = classes.find(className, methodName);
  if (!method) return -ERRNO.EOPNOTSUPP;
  return {
    className,
    methodName,
    method,
    input: op.indata.subarray(inputAt, inputAt + indataLength),
  };
}

export function call(classes: ClassRegistry, ctx: OpContext, op: LiveOp): number {
  const resolved = resolveCall(classes, op);
  if (typeof resolved === 'number') return resolved;
  // By registration: a method that may write counts as one that did.
  if (resolved.method.flags & CLS_METHOD.WR) ctx.userModify = true;
  const output = runMethod(resolved.method, new ObjectOfClass(ctx), resolved.input);
  if (typeof output === 'number') return output;
  argOf(op, 'cls').outputLength = output.length;
  op.outdata = output;
  return 0;
}

/** An operation failed inside a method: the method fails with the same number. */
function check(result: number): void {
  if (result < 0) throw new ClassError(result);
}

/** The op vector's object as a class method sees it (`objclass/class_api.cc`). */
class ObjectOfClass implements ClassObject {
  readonly #ctx: OpContext;

  constructor(ctx: OpContext) {
    this.#ctx = ctx;
  }

  get exists(): boolean {
    return this.#ctx.visible;
  }

  get size(): number {
    if (!this.#ctx.visible) throw new ClassError('ENOENT');
    return this.#ctx.size;
  }

  read(offset: number, length: number): Uint8Array {
    const bytes = length === 0 ? new Uint8Array(0) : readData(this.#ctx, offset, length);
    if (typeof bytes === 'number') throw new ClassError(bytes);
    return bytes;
  }

  readAll(): Uint8Array {
    return this.read(0, this.#ctx.size);
  }

  write(offset: number, data: Uint8Array): void {
    check(writeData(this.#ctx, offset, data));
  }

  writeFull(data: Uint8Array): void {
    check(writeAll(this.#ctx, data));
  }

  truncate(size: number): void {
    check(truncateData(this.#ctx, size));
  }

  create(exclusive: boolean): void {
    check(createObject(this.#ctx, exclusive));
  }

  remove(): void {
    check(deleteObject(this.#ctx));
  }

  xattr(name: string): Uint8Array | undefined {
    const value = getXattr(this.#ctx, name);
    if (value === -ERRNO.ENODATA) return undefined;
    if (typeof value === 'number') throw new ClassError(value);
    return value;
  }

  xattrNames(): string[] {
    return (this.#ctx.before?.xattrs() ?? []).map(([name]) => name);
  }

  setXattr(name: string, value: Uint8Array): void {
    setXattr(this.#ctx, name, value);
  }

  omapGet(key: string): Uint8Array | undefined {
    return omapGet(this.#ctx, key);
  }

  omapEntries(startAfter: string, prefix: string): Iterable<readonly [string, Uint8Array]> {
    return omapEntries(this.#ctx, startAfter, prefix);
  }

  omapSet(...entries: [string, Uint8Array][]): void {
    omapSet(this.#ctx, entries);
  }

  omapRemove(...keys: string[]): void {
    check(omapRemove(this.#ctx, keys));
  }

  get snapSeq(): bigint | undefined {
    const { exists, info, snapSet } = this.#ctx;
    if (!exists || (info.whiteout && snapSet.clones.length === 0)) return undefined;
    return snapSet.seq;
  }

  get origin() {
    return this.#ctx.client.session;
  }

  get crc32c() {
    return this.#ctx.pg.crc32c;
  }

  now() {
    return utimeFromMs(this.#ctx.pg.nowMs());
  }

  randomBytes(length: number): Uint8Array {
    return this.#ctx.pg.randomBytes(length);
  }
}
