/** Ctrl-C and its likes, as an AbortSignal for everything that a command has under way. */

import { Interrupt, type InterruptSignal } from './errors.js';

const SIGNALS: readonly InterruptSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** One Ctrl-C may come twice: from the terminal, and from npm, `timeout` or a shell that passes it on. */
const SAME_INTERRUPT_MS = 1000;

/** Aborts at the first signal. Another one ends a process that does not come to an end by itself. */
export function interruptSignal(): AbortSignal {
  const interrupt = new AbortController();
  let patienceEnds = 0;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const reason = new Interrupt(signal);
      if (!interrupt.signal.aborted) {
        patienceEnds = performance.now() + SAME_INTERRUPT_MS;
        interrupt.abort(reason);
      } else if (performance.now() > patienceEnds) {
        process.exit(reason.exitCode);
      }
    });
  }
  return interrupt.signal;
}
