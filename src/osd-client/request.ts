/** What the layers above hand to the OsdClient, and what they get back. */

import { RadosError, type RadosErrorOptions, strerror } from '../base/errors.js';
import type { SnapContext } from '../encoding/types.js';

/** An object by name: where it lies is the OsdClient's business. */
export interface ObjectTarget {
  /** Pool id. */
  pool: number;
  /** RADOS namespace, `''` for the default one. */
  nspace: string;
  oid: string;
  /** Locator key: when set, it is hashed in place of the name. */
  key?: string;
  /** Overrides the hash: what addresses a whole PG (listing) rather than an object. */
  hash?: number;
}

export interface OperateOptions {
  /** Read at this snapshot instead of the head. */
  snapid?: bigint;
  /** Snapshots that a write must preserve. */
  snapContext?: SnapContext;
  /** More `OSD_FLAG`s, e.g. FULL_TRY. READ and WRITE are set from the operations. */
  flags?: number;
  /** For an op vector with a class call that writes: the opcode alone does not tell. */
  write?: boolean;
  /**
   * Where the output of a lone READ or CALL belongs. A large payload is read from the socket straight into it. What a CALL
   * answers beyond its length comes in a buffer of its own. The buffer belongs to the client until the call settles.
   */
  into?: Uint8Array;
  /** Gives up; a write in flight then has an unknown outcome. */
  signal?: AbortSignal;
  /** Gives up after so many milliseconds; 0 waits for ever. Default: the client's `osdOpTimeoutMs`. */
  timeoutMs?: number;
  /** Whether what the operation was made by still holds when it is sent: it may wait for its OSD, or its turn, for long. */
  gate?: SendGate;
  /** The gate's `seq` when the operation was made. */
  madeAt?: number;
}

/** Asked from within what sends an operation, the first time only: what was sent once is sent again as it was. */
export interface SendGate {
  /** Another whenever what operations are made by is out of date. */
  readonly seq: number;
  /** False: it is not sent, and rejects with a `HeldBackError`. */
  admits(madeAt: number): boolean;
  onSent(madeAt: number): void;
}

/** Of an operation that is made now, and asks the gate again when it is sent. */
export function madeNow(options: OperateOptions, gate: SendGate | undefined): OperateOptions {
  if (!gate) return options;
  options.gate = gate;
  options.madeAt = gate.seq;
  return options;
}

/** Nothing was sent, because the operation's gate was shut by then: to be decided anew by whoever asked for it. */
export class HeldBackError extends RadosError {
  constructor({ op, target }: RadosErrorOptions) {
    super('EAGAIN', `${op} ${target}: held back`, { op, target, outcome: 'not-applied' });
  }
}

export interface OpOutput {
  rval: number;
  /** Valid until the caller lets go of it; with `into`, a view of that buffer. */
  outdata: Uint8Array;
}

export interface OperateResult {
  /** 0, or the positive result of a read or class call. */
  result: number;
  ops: OpOutput[];
  /** The object's version as `assertVersionOp` takes it. */
  userVersion: bigint;
}

/** The whole pool is gone. ENOENT, as librados has it; but a missing object reads as zeros in an image, this must not. */
export class PoolGoneError extends RadosError {
  constructor(pool: number, { op, target, outcome }: RadosErrorOptions) {
    const where = [op, target].filter(Boolean).join(' ');
    const message = `${where}: (2) ${strerror(2)}: pool ${pool} does not exist`;
    super('ENOENT', message, { op, target, outcome });
  }
}
