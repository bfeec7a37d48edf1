/** Errors as plain data, so that they keep `code`, `errno` and the rest on their way between threads. */

import {
  isRadosError,
  type Outcome,
  ProtocolError,
  RadosError,
  toRadosError,
} from '../base/errors.js';

export interface PlainError {
  name: string;
  message: string;
  errno: number;
  op?: string | undefined;
  target?: string | undefined;
  retryable: boolean;
  outcome?: Outcome | undefined;
  stack?: string | undefined;
  /** Only its text: a cause may hold anything. */
  cause?: string | undefined;
  /** Where a compare-and-write found other bytes. */
  mismatchOffset?: number | undefined;
}

export function errorToPlain(error: unknown): PlainError {
  const known = isRadosError(error) ? error : toRadosError(error);
  const { cause } = known;
  return {
    name: known.name,
    message: known.message,
    errno: known.errno,
    op: known.op,
    target: known.target,
    retryable: known.retryable,
    outcome: known.outcome,
    stack: known.stack,
    cause: cause === undefined ? undefined : cause instanceof Error ? cause.message : String(cause),
    mismatchOffset: (known as { mismatchOffset?: number }).mismatchOffset,
  };
}

export function errorFromPlain(plain: PlainError): RadosError {
  const options = {
    op: plain.op,
    target: plain.target,
    retryable: plain.retryable,
    outcome: plain.outcome,
    cause: plain.cause === undefined ? undefined : new Error(plain.cause),
  };
  const error =
    plain.name === 'ProtocolError'
      ? new ProtocolError(plain.message, options)
      : new RadosError(plain.errno, plain.message, options);
  if (plain.stack !== undefined) error.stack = plain.stack;
  if (plain.mismatchOffset !== undefined) {
    Object.assign(error, { mismatchOffset: plain.mismatchOffset });
  }
  return error;
}
