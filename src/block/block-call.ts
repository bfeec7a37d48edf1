/** One call of the block-device API on its way: from submission, as one or several requests, to its settlement. */

import { totalBytes } from '../base/total-bytes.js';
import { copyBytes } from '../base/copy-bytes.js';
import { RadosError } from '../base/errors.js';
import { newOrderState, type Ordered, type OrderState } from './ordering.js';
import { OP, type Op, opName } from './requests.js';

export interface BlockCallOptions {
  op: Op;
  flags?: number;
  offset: number;
  length: number;
  /** Where a read's bytes go, or where a write's come from, one after the other. */
  vector?: readonly Uint8Array[];
  /** The caller leaves its buffers alone until the call settles, so nothing needs to be copied meanwhile. */
  borrowed?: boolean;
  /** The caller's buffer may be read or written at any time until the backend answered. */
  inPlace?: boolean;
  /** A read whose bytes stay in the arena, in one piece, until the view of them is released. */
  keepsPayload?: boolean;
}

/**
 * waiting: for earlier overlapping calls, or for room; active: at least one request was issued;
 * settled: the caller has its answer (after an abort, requests may still be in flight).
 */
export type BlockCallState = 'waiting' | 'active' | 'settled';

export class BlockCall implements Ordered {
  readonly op: Op;
  readonly flags: number;
  readonly start: number;
  readonly end: number;
  readonly length: number;
  /** Bytes that cross: of data, pattern, or compare data and data. */
  readonly payloadBytes: number;
  readonly changes: boolean;
  readonly barrier: boolean;
  readonly inPlace: boolean;
  readonly keepsPayload: boolean;
  readonly borrowed: boolean;
  readonly order: OrderState = newOrderState();

  state: BlockCallState = 'waiting';
  /** Of the image's range, or of nothing at all for requests without one. */
  issuedBytes = 0;
  /** Requests that were issued, and those of them that are not answered. */
  issued = 0;
  inFlight = 0;
  allIssued = false;
  /** The first thing that went wrong. */
  error: RadosError | undefined;
  /** How much of its payload waits in a copy. */
  copiedBytes = 0;
  /** Where the bytes of a read that keeps its payload lie. */
  keptAddress = -1;

  /** Told once. Called with no lock held and nothing half done: may submit again. */
  onSettled: (error: RadosError | undefined) => void = () => {};

  #vector: readonly Uint8Array[];
  /** Position of the first byte of the vector within the payload. */
  #vectorBase = 0;

  constructor(options: BlockCallOptions) {
    const { op, offset, length, vector = [] } = options;
    this.op = op;
    this.flags = options.flags ?? 0;
    this.start = offset;
    this.end = offset + length;
    this.length = length;
    this.payloadBytes = options.keepsPayload ? length : totalBytes(vector);
    this.changes = op !== OP.READ && op !== OP.FLUSH;
    this.barrier = op === OP.FLUSH;
    this.inPlace = options.inPlace ?? false;
    this.keepsPayload = options.keepsPayload ?? false;
    this.borrowed = options.borrowed ?? false;
    this.#vector = vector;
  }

  get settled(): boolean {
    return this.state === 'settled';
  }

  /** Whether it may cross as several requests. */
  get splits(): boolean {
    return (this.op === OP.READ || this.op === OP.WRITE) && !this.keepsPayload;
  }

  /** Copies payload from `position` on into `target`. */
  gather(position: number, target: Uint8Array): void {
    let at = 0;
    this.#walk(position, target.length, (part) => {
      copyBytes(target, part, at);
      at += part.length;
    });
  }

  /** Copies `source` to where the payload from `position` on belongs. */
  scatter(position: number, source: Uint8Array): void {
    let at = 0;
    this.#walk(position, source.length, (part) => {
      const whole = part.length === source.length;
      copyBytes(part, whole ? source : source.subarray(at, at + part.length));
      at += part.length;
    });
  }

  /** The place of `bytes` of the payload if it is in one buffer. */
  contiguous(position: number, bytes: number): Uint8Array | undefined {
    let found: Uint8Array | undefined;
    this.#walk(position, bytes, (part) => {
      if (part.length === bytes) found = part;
    });
    return found;
  }

  /** Takes a copy of what was not issued yet: from here on the caller may do as it likes with its buffers. */
  detach(): void {
    const rest = Buffer.allocUnsafe(this.payloadBytes - this.issuedBytes);
    this.gather(this.issuedBytes, rest);
    this.#vector = [rest];
    this.#vectorBase = this.issuedBytes;
  }

  #walk(position: number, bytes: number, visit: (part: Uint8Array) => void): void {
    let skip = position - this.#vectorBase;
    let left = bytes;
    for (const buffer of this.#vector) {
      if (left === 0) return;
      if (skip >= buffer.length) {
        skip -= buffer.length;
        continue;
      }
      const part =
        skip === 0 && buffer.length <= left ? buffer : buffer.subarray(skip, skip + left);
      visit(part);
      left -= part.length;
      skip = 0;
    }
  }

  /** `error` as this call's: with its name, and with what is known about its effect. */
  errorOf(error: RadosError, target: string): RadosError {
    const op = opName(this.op);
    return new RadosError(error.errno, `${op} ${target}: ${error.message}`, {
      op,
      target,
      retryable: this.op === OP.READ,
      outcome: this.op === OP.READ ? undefined : this.issued === 0 ? 'not-applied' : 'unknown',
      cause: error.cause ?? error,
    });
  }
}
