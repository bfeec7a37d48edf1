/** A pool and a namespace to operate in: the counterpart of librados' `IoCtx`. */

import { RadosError } from '../base/errors.js';
import { OSD_FLAG } from '../messages/osd-messages.js';
import { callOp, type OsdOp, readOp } from '../messages/osd-op.js';
import type { ObjectTarget, OperateOptions, OperateResult } from '../osd-client/request.js';
import type {
  NotifyOptions,
  NotifyResult,
  Watch,
  WatchHandler,
  WatchOptions,
} from '../osd-client/watch-types.js';
import { decodePage, type ListingPlace, listOp, type ObjectPage } from './object-listing.js';

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
  /** Registers a watch and keeps it registered until it is closed. */
  watch(target: ObjectTarget, handler: WatchHandler, options?: WatchOptions): Promise<Watch>;
  /** Tells all watchers and waits for their answers. */
  notify(target: ObjectTarget, payload: Uint8Array, options?: NotifyOptions): Promise<NotifyResult>;
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
    return this.#operator.operate(this.#target(oid), ops, options);
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

  /** The objects of the namespace from a place on, as far as one request tells of them. */
  async listPage(place: ListingPlace, options: OperateOptions = {}): Promise<ObjectPage> {
    const target = { ...this.#target(''), hash: place.hash };
    const flags = (options.flags ?? 0) | OSD_FLAG.IGNORE_OVERLAY;
    const { ops } = await this.#operator.operate(target, [listOp(place)], { ...options, flags });
    return decodePage(place, outputOf(ops, 0));
  }

  /** Watches an object: `handler` hears of its notifications, and of doubts about them, until the watch is closed. */
  watch(oid: string, handler: WatchHandler, options?: WatchOptions): Promise<Watch> {
    return this.#operator.watch(this.#target(oid), handler, options);
  }

  /** Tells the watchers of an object; resolves with who answered what, and who did not in time. */
  notify(oid: string, payload: Uint8Array, options?: NotifyOptions): Promise<NotifyResult> {
    return this.#operator.notify(this.#target(oid), payload, options);
  }

  createSelfManagedSnap(): Promise<bigint> {
    return this.#operator.createSelfManagedSnap(this.pool.id);
  }

  removeSelfManagedSnap(snapid: bigint): Promise<void> {
    return this.#operator.removeSelfManagedSnap(this.pool.id, snapid);
  }

  #target(oid: string): ObjectTarget {
    return { pool: this.pool.id, nspace: this.nspace, oid };
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
