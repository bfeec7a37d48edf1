/** What a device says of calls that it refuses or gives up itself, before or without the backend. */

import { abortError, RadosError } from '../base/errors.js';
import type { DeviceAttributes } from './attributes.js';
import type { BlockCall } from './block-call.js';
import { OP, type Op, opName } from './requests.js';

export class CallErrors {
  /** `rbd/ns/vm1@s1` */
  readonly target: string;

  constructor(target: string) {
    this.target = target;
  }

  invalid(op: Op, why: string): RadosError {
    return this.refused('EINVAL', op, why);
  }

  refused(code: 'EINVAL' | 'EROFS' | 'EOPNOTSUPP', op: Op, why: string): RadosError {
    return new RadosError(code, `${opName(op)} ${this.target}: ${why}`, {
      op: opName(op),
      target: this.target,
      outcome: notApplied(op),
    });
  }

  /** `name`: what is not a request to the backend has one of its own. */
  closed(op: Op, name: string, failure: RadosError | undefined): RadosError {
    const options = { op: name, target: this.target, outcome: notApplied(op), cause: failure };
    return new RadosError('EBADF', `${name} ${this.target}: the device is closed`, options);
  }

  failed(op: Op, name: string, failure: RadosError): RadosError {
    const message = `${name} ${this.target}: the device failed: ${failure.message}`;
    const options = { op: name, target: this.target, outcome: notApplied(op), cause: failure };
    return new RadosError(failure.errno, message, options);
  }

  aborted(op: Op, signal: AbortSignal, call: BlockCall | undefined): RadosError {
    const sent = (call?.issued ?? 0) > 0;
    return abortError(signal, {
      op: opName(op),
      target: this.target,
      retryable: op === OP.READ,
      outcome: sent && op !== OP.READ ? 'unknown' : notApplied(op),
    });
  }
}

function notApplied(op: Op): 'not-applied' | undefined {
  return op === OP.READ ? undefined : 'not-applied';
}

export function checkInteger(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${name} ${value} is not a non-negative integer`);
  }
}

export function describeTarget({ pool, poolNs, name, currentSnap }: DeviceAttributes): string {
  const path = [pool, poolNs, name].filter((part) => part !== '').join('/');
  return currentSnap === '-' ? path : `${path}@${currentSnap}`;
}
