/**
 * Publishes the next slot at the very moment when the reader has read the one before, which is when it is about to
 * fall asleep. Says how many were read, at the end or when the reader does not move for three seconds.
 */

import { parentPort, workerData } from 'node:worker_threads';

import { ChannelMemory, RingWriter } from '../../../src/block/ring.js';

interface Setup {
  buffer: SharedArrayBuffer;
  /** One word: how many slots were read. */
  seen: SharedArrayBuffer;
  slots: number;
}

const { buffer, seen, slots } = workerData as Setup;
const read = new Int32Array(seen);
const writer = new RingWriter(new ChannelMemory(buffer, 0, 1).completions, {
  doorbell: () => parentPort!.postMessage('bell'),
});

let published = 0;
let stalled = false;
while (published < slots && !stalled) {
  writer.slot();
  writer.publish();
  writer.wake();
  published++;
  const giveUpAt = performance.now() + 3000;
  for (let spins = 1; Atomics.load(read, 0) < published && !stalled; spins++) {
    // Odd gaps: the window is some tens of nanoseconds wide.
    if (spins % 100_000 === 0) stalled = performance.now() > giveUpAt;
  }
  for (let spins = published % 61; spins > 0; spins--) Atomics.load(read, 0);
}
parentPort!.postMessage({ read: Atomics.load(read, 0) });
