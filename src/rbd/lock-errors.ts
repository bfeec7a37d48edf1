/** Errors of the exclusive lock: whatever was to be done under it was not. */

import { type ErrnoCode, RadosError } from '../base/errors.js';

/** `lock rbd/vm1: why`. */
export function lockError(
  target: string,
  code: ErrnoCode | number,
  why: string,
  cause?: Error,
): RadosError {
  return new RadosError(code, `lock ${target}: ${why}`, {
    op: 'lock',
    target,
    outcome: 'not-applied',
    retryable: code === 'EAGAIN',
    ...(cause && { cause }),
  });
}
