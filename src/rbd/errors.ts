/** Errors of images: the same `RadosError`, with the image named. */

import { isRadosError, type Outcome, RadosError, toRadosError } from '../base/errors.js';
import { PoolGoneError } from '../osd-client/request.js';

/** A compare-and-write that found other bytes than expected. Nothing was written. */
export class CompareMismatchError extends RadosError {
  /** Image offset of the first byte that differs. */
  readonly mismatchOffset: number;

  constructor(target: string, mismatchOffset: number) {
    super('EILSEQ', `${target}: the bytes differ from the expected ones at ${mismatchOffset}`, {
      op: 'compare-and-write',
      target,
      outcome: 'not-applied',
    });
    this.mismatchOffset = mismatchOffset;
  }
}

/** The same error, told of the image rather than of the object that it came from (which stays in `cause`). */
export function imageError(
  cause: unknown,
  op: string,
  target: string,
  outcome?: Outcome,
): RadosError {
  const error = toRadosError(cause);
  return new RadosError(error.errno, `${op} ${target}: ${error.message}`, {
    op,
    target,
    cause,
    retryable: error.retryable,
    outcome: outcome ?? error.outcome,
  });
}

/** Where something is said not to have happened, but a part of it may have: of the whole nothing is certain. */
export function ofUnknownOutcome(error: unknown): unknown {
  if (!isRadosError(error) || error.outcome !== 'not-applied') return error;
  const { errno, message, op, target, retryable } = error;
  return new RadosError(errno, message, {
    ...{ op, target, retryable },
    outcome: 'unknown',
    cause: error,
  });
}

/** It is the object that is not there, not the pool with all that was in it. */
export function isMissingObject(error: unknown): boolean {
  return isRadosError(error, 'ENOENT') && !(error instanceof PoolGoneError);
}

/** Runs `step`; an error with the given code counts as success and yields undefined. ENOENT: only of the object. */
export async function unless<T>(code: string, step: Promise<T>): Promise<T | undefined> {
  try {
    return await step;
  } catch (error) {
    if (code === 'ENOENT' ? isMissingObject(error) : isRadosError(error, code)) return undefined;
    throw error;
  }
}
