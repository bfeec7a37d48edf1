/** The far side of test/block/control.test.ts. */

import { parentPort } from 'node:worker_threads';

import { RadosError } from '../../../src/base/errors.js';
import { exposeControl } from '../../../src/block/control.js';

const control = {
  add: (a: number, b: number) => Promise.resolve(a + b),
  answerAfter: (delayMs: number) =>
    new Promise<string>((resolve) => {
      setTimeout(() => resolve('late'), delayMs);
    }),
  fail: (kind: 'rados' | 'type'): Promise<never> =>
    Promise.reject(
      kind === 'type'
        ? new TypeError('not ours')
        : new RadosError('EBLOCKLISTED', 'fenced', {
            op: 'write',
            target: 'osd.1',
            retryable: true,
            outcome: 'unknown',
            cause: new Error('by an operator'),
          }),
    ),
  exit: (): Promise<void> => process.exit(3),
};
export type FakeControl = typeof control;

exposeControl(control, parentPort!);
