#!/usr/bin/env node
/** The `linger` command. */

import { Interrupt, type InterruptSignal } from './errors.js';
import { main } from './program.js';

const SIGNALS: readonly InterruptSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const interrupt = new AbortController();
for (const signal of SIGNALS) {
  process.on(signal, () => {
    const reason = new Interrupt(signal);
    // A second one ends a command that does not come to an end by itself.
    if (interrupt.signal.aborted) process.exit(reason.exitCode);
    interrupt.abort(reason);
  });
}
// A reader that leaves is met where the write is waited for.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

process.exitCode = await main(process.argv.slice(2), process, process.env, interrupt.signal);
// What an interrupted command left under way, such as a connection being made, must not keep the process.
if (interrupt.signal.aborted) process.exit();
