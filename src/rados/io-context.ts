/** A pool and a namespace to operate in: the counterpart of librados' `IoCtx`. */

import { RadosError } from '../base/errors.js';
import { callOp, type OsdOp, readOp } from '../messages/osd-op.js';
import type { ObjectTarget, OperateOptions, OperateResult } from '../osd-client/request.js';

export type { OperateOptions, OperateResult } from '../osd-client/request.js';

/** What an `IoContext` needs of the OsdClient. */
export interface ObjectOperator {
  /**
   * Sends an op vector and waits for its reply. Rejects with a `RadosError` for a negative result or when the
   * operation could not be carried out; `outcome` tells whether a write may have happened.
   */
  operate(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options?: OperateOptions,
  ): Promise<OperateResult>;
  /** Allocates a self-managed snapshot id (monitor). */
  createSelfManagedSnap(pool: number): Promise<bigint>;
  removeSelfManagedSnap(pool: number, snapid: bigint): Promise<void>;
}

export interface PoolInfo {
  id: number;
  name: string;
}

export class IoContext {
  readonly pool: PoolInfo;
  readonly nspace: string;
  readonly #operator: ObjectOperator;

  constructor(operator: ObjectOperator, pool: PoolInfo, nspace = '') {
    this.#operator = operator;
    this.pool = pool;
    this.nspace = nspace;
  }

  /** The same pool, in another namespace. */
  withNamespace(nspace: string): IoContext {
    return nspace === this.nspace ? this : new IoContext(this.#operator, this.pool, nspace);
  }

  /** Sends one op vector to one object: one transaction when it writes. */
  operate(oid: string, ops: readonly OsdOp[], options?: OperateOptions): Promise<OperateResult> {
    return this.#operator.operate({ pool: this.pool.id, nspace: this.nspace, oid }, ops, options);
  }

  /** Calls a method of an object class and returns its output. Pass `write` for methods that change the object. */
  async call(
    oid: string,
    cls: string,
    method: string,
    input?: Uint8Array,
    options?: OperateOptions,
  ): Promise<Uint8Array> {
    const { ops } = await this.operate(oid, [callOp(cls, method, input)], options);
    return outputOf(ops, 0);
  }

  /** Up to `length` bytes from `offset` (0: to the end); short at the end of the object. ENOENT when it is missing. */
  async read(
    oid: string,
    offset: number,
    length: number,
    options?: OperateOptions,
  ): Promise<Uint8Array> {
    const { ops } = await this.operate(oid, [readOp(offset, length)], options);
    return outputOf(ops, 0);
  }

  createSelfManagedSnap(): Promise<bigint> {
    return this.#operator.createSelfManagedSnap(this.pool.id);
  }

  removeSelfManagedSnap(snapid: bigint): Promise<void> {
    return this.#operator.removeSelfManagedSnap(this.pool.id, snapid);
  }

  /** `pool/namespace/oid`, for messages. */
  describe(oid: string): string {
    return [this.pool.name, this.nspace, oid].filter((part) => part !== '').join('/');
  }
}

function outputOf(ops: OperateResult['ops'], index: number): Uint8Array {
  const op = ops[index];
  if (!op) throw new RadosError('EBADMSG', `the reply has no operation ${index}`);
  return op.outdata;
}
