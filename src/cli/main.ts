#!/usr/bin/env node
/** The `linger` command. */

import { main } from './program.js';

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupt.abort();
    // A second one ends a command that does not come to an end by itself.
    process.once(signal, () => process.exit(130));
  });
}
// A reader that leaves is met where the write is waited for.
process.stdout.on('error', () => {});

process.exitCode = await main(process.argv.slice(2), process, process.env, interrupt.signal);
