/** The far side of a channel for test/block/ring.test.ts: answers every request with its own tag, at odd times. */

import { parentPort, workerData } from 'node:worker_threads';

import { decodeRequest, OP, type BlockRequest } from '../../../src/block/requests.js';
import { ChannelMemory, RingReader, RingWriter } from '../../../src/block/ring.js';

interface Setup {
  buffer: SharedArrayBuffer;
  capacity: number;
  maxPerTurn: number;
  seed: number;
  eager: boolean;
}

const { buffer, capacity, maxPerTurn, seed, eager } = workerData as Setup;
const port = parentPort!;
const memory = new ChannelMemory(buffer, 0, capacity);
const completions = new RingWriter(memory.completions, {
  doorbell: () => port.postMessage(0),
  eager: eager ? () => performance.now() : undefined,
});
const request: BlockRequest = {
  tag: 0,
  op: OP.READ,
  flags: 0,
  offset: 0,
  length: 0,
  address: 0,
  bytes: 0,
};

let state = seed | 1;
const random = (below: number) => {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return (state >>> 8) % below;
};

const answer = (tag: number, result: number) => {
  const slot = completions.slot();
  memory.words[slot] = tag;
  memory.words[slot + 1] = result;
  completions.publish();
};

const requests = new RingReader(memory.requests, {
  visit(slot) {
    decodeRequest(memory.words, slot, request);
    const { tag } = request;
    // What was put in comes out: a torn or stale slot shows here.
    const sum = (request.offset + request.length) % 1_000_003;
    const mood = random(100);
    if (mood < 90) answer(tag, sum);
    else if (mood < 97) queueMicrotask(() => answer(tag, sum));
    else if (mood < 99) setImmediate(() => answer(tag, sum));
    else setTimeout(() => answer(tag, sum), 1);
  },
  maxPerTurn,
  nextTurn: (callback) => void setImmediate(callback),
});
port.on('message', () => requests.turn());
port.postMessage('ready');
