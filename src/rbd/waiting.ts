/** Waiting that can be given up. */

import { abortError } from '../base/errors.js';

/** `step`, or the abort, whichever comes first. The step goes on for the others that wait for it. */
export function unlessAborted(
  step: Promise<void>,
  signal: AbortSignal | undefined,
  target: string,
): Promise<void> {
  if (!signal) return step;
  return new Promise((resolve, reject) => {
    const onAbort = () =>
      reject(abortError(signal, { op: 'wait', target, outcome: 'not-applied' }) as Error);
    if (signal.aborted) {
      step.catch(() => undefined);
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    step.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
