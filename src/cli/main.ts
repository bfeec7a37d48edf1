#!/usr/bin/env node
/** The `linger` command. */

import { interruptSignal } from './interrupt.js';

const signal = interruptSignal();
// Listened to before all that takes its time to load.
const { main } = await import('./program.js');
// A reader that leaves is met where the write is waited for.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

process.exitCode = await main(process.argv.slice(2), process, process.env, signal);
// What an interrupted command left under way, such as a connection being made, must not keep the process.
if (signal.aborted) process.exit();
