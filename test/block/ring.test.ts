import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';

import { type BlockRequest, decodeRequest, encodeRequest, OP } from '../../src/block/requests.js';
import {
  ChannelMemory,
  channelBytes,
  MAX_QUEUE_DEPTH,
  RingReader,
  RingWriter,
  ringCapacity,
} from '../../src/block/ring.js';
import { buildSupport } from './support/build.js';

function newMemory(capacity: number): ChannelMemory {
  const memory = new ChannelMemory(new SharedArrayBuffer(channelBytes(capacity)), 0, capacity);
  memory.reset();
  return memory;
}

describe('a ring within one thread', () => {
  it.each([true, false])(
    'rings once for a batch, and again after the reader slept (eager: %s)',
    async (eager) => {
      const memory = newMemory(8);
      let bells = 0;
      let now = 1000;
      const seen: number[] = [];
      const writer = new RingWriter(memory.requests, {
        doorbell: () => bells++,
        eager: eager ? () => now : undefined,
      });
      const reader = new RingReader(memory.requests, {
        visit: (slot) => seen.push(memory.words[slot]!),
        maxPerTurn: 100,
        nextTurn: () => {},
      });
      const put = (value: number) => {
        memory.words[writer.slot()] = value;
        writer.publish();
      };
      put(1);
      put(2);
      expect(bells).toBe(eager ? 1 : 0);
      await Promise.resolve();
      expect(bells).toBe(1);
      reader.turn();
      expect(seen).toEqual([1, 2]);
      put(3);
      await Promise.resolve();
      expect(bells).toBe(2);
      // The reader is awake: no bell.
      put(4);
      await Promise.resolve();
      expect(bells).toBe(2);
      reader.poll();
      expect(seen).toEqual([1, 2, 3, 4]);
      // Looked at before the reader slept, published before, rung at the end of the batch.
      put(5);
      reader.turn();
      put(6);
      await Promise.resolve();
      expect(bells).toBe(eager ? 4 : 3);
      put(7);
      writer.wake();
      expect(bells).toBe(eager ? 4 : 3);
      // In one batch, with a reader that falls asleep again and again: once a millisecond, or not before the end.
      reader.turn();
      const before = bells;
      for (let i = 0; i < 10; i++) {
        put(8);
        reader.turn();
        now += 0.25;
      }
      expect(bells - before).toBe(eager ? 2 : 0);
    },
  );

  it('reads at most so many slots in a turn, and the rest in the next', () => {
    const memory = newMemory(16);
    const turns: (() => void)[] = [];
    let seen = 0;
    const writer = new RingWriter(memory.requests, { doorbell: () => {} });
    const reader = new RingReader(memory.requests, {
      visit: () => seen++,
      maxPerTurn: 5,
      nextTurn: (callback) => turns.push(callback),
    });
    for (let i = 0; i < 12; i++) writer.publish();
    reader.turn();
    expect([seen, turns.length]).toEqual([5, 1]);
    reader.turn();
    expect([seen, turns.length]).toEqual([5, 1]);
    turns.shift()!();
    expect([seen, turns.length]).toEqual([10, 1]);
    turns.shift()!();
    expect([seen, turns.length]).toEqual([12, 0]);
  });

  it('carries every field of a request', () => {
    const words = new Int32Array(32);
    const request: BlockRequest = {
      tag: 127,
      op: OP.COMPARE_AND_WRITE,
      flags: 3,
      offset: Number.MAX_SAFE_INTEGER - 5,
      length: 2 ** 33 + 7,
      address: 0xfffff000,
      bytes: 0x80000001,
    };
    encodeRequest(words, 16, request);
    const back = { ...request, tag: 0, op: OP.READ, flags: 0, offset: 0, length: 0 };
    decodeRequest(words, 16, back as BlockRequest);
    expect(back).toEqual(request);
  });

  it('has a power of two of slots, and a limit', () => {
    expect([1, 2, 3, 128, 129].map(ringCapacity)).toEqual([1, 2, 4, 128, 256]);
    expect(() => ringCapacity(0)).toThrow(/queue_depth/);
    expect(() => ringCapacity(MAX_QUEUE_DEPTH + 1)).toThrow(/queue_depth/);
  });
});

/**
 * Goal: no lost wake-up, no lost or doubled slot, whatever the timing. Method: a worker answers at odd times while
 * this side submits in random batches, sleeps in its event loop or blocks, and bounds its turns. A lost
 * wake-up shows as a stall, which is reported with both sides' counts.
 */
describe('a ring between two threads', () => {
  it.each([
    { seed: 1, capacity: 1, maxPerTurn: 1, requests: 20_000, blocking: 0, eager: true },
    { seed: 2, capacity: 16, maxPerTurn: 3, requests: 100_000, blocking: 0, eager: true },
    { seed: 3, capacity: 128, maxPerTurn: 128, requests: 200_000, blocking: 0, eager: false },
    { seed: 4, capacity: 16, maxPerTurn: 16, requests: 50_000, blocking: 0.3, eager: true },
    { seed: 5, capacity: 128, maxPerTurn: 7, requests: 100_000, blocking: 0.02, eager: false },
  ])(
    'loses nothing: %o',
    async (parameters) => {
      const { capacity, maxPerTurn, requests, seed, eager } = parameters;
      const memory = newMemory(capacity);
      const worker = new Worker(new URL(buildSupport('ring-echo')), {
        workerData: { buffer: memory.words.buffer, capacity, maxPerTurn, seed, eager },
      });
      try {
        await new Promise((resolve) => worker.once('message', resolve));
        const result = await exchange(memory, worker, parameters);
        expect(result).toEqual({ answered: requests, wrong: 0, stalled: false });
      } finally {
        await worker.terminate();
      }
    },
    60_000,
  );
});

describe('a reader that falls asleep', () => {
  it('misses nothing that is published at that very moment', async () => {
    const slots = 300_000;
    const memory = newMemory(1);
    const seen = new Int32Array(new SharedArrayBuffer(4));
    const reader = new RingReader(memory.completions, {
      visit: () => void Atomics.add(seen, 0, 1),
      maxPerTurn: 1000,
      nextTurn: (callback) => void setImmediate(callback),
    });
    const worker = new Worker(new URL(buildSupport('ring-racer')), {
      workerData: { buffer: memory.words.buffer, seen: seen.buffer, slots },
    });
    try {
      const result = await new Promise((resolve) => {
        worker.on('message', (message: 'bell' | { read: number }) => {
          if (message === 'bell') reader.turn();
          else resolve(message);
        });
      });
      expect(result).toEqual({ read: slots });
    } finally {
      await worker.terminate();
    }
  }, 60_000);
});

function exchange(
  memory: ChannelMemory,
  worker: Worker,
  options: { requests: number; maxPerTurn: number; seed: number; blocking: number; eager: boolean },
): Promise<{ answered: number; wrong: number; stalled: boolean }> {
  let state = options.seed * 7919;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
  return new Promise((resolve) => {
    const expected = new Map<number, number>();
    const free = Array.from({ length: memory.capacity }, (_, tag) => tag);
    let sent = 0;
    let answered = 0;
    let wrong = 0;
    let submitting = false;
    const writer = new RingWriter(memory.requests, {
      doorbell: () => worker.postMessage(0),
      eager: options.eager ? () => performance.now() : undefined,
    });
    const reader = new RingReader(memory.completions, {
      visit(slot) {
        const tag = memory.words[slot]!;
        if (expected.get(tag) !== memory.words[slot + 1]) wrong++;
        expected.delete(tag);
        free.push(tag);
        answered++;
        if (answered === options.requests) finish(false);
        else if (!submitting) scheduleSubmit();
      },
      maxPerTurn: options.maxPerTurn,
      nextTurn: (callback) => void setImmediate(callback),
    });
    worker.on('message', () => reader.turn());

    const submit = () => {
      submitting = false;
      const batch = 1 + Math.floor(random() * memory.capacity);
      for (let i = 0; i < batch && free.length > 0 && sent < options.requests; i++) {
        const tag = free.pop()!;
        const request: BlockRequest = {
          tag,
          op: OP.READ,
          flags: 0,
          offset: Math.floor(random() * 2 ** 50),
          length: sent,
          address: 0,
          bytes: 0,
        };
        expected.set(tag, (request.offset + request.length) % 1_000_003);
        encodeRequest(memory.words, writer.slot(), request);
        writer.publish();
        sent++;
      }
      if (random() < options.blocking) {
        // As a synchronous call does: wait for something to arrive, then go back to events.
        writer.wake();
        reader.block(1000);
        reader.drain(memory.capacity);
        reader.turn();
      }
    };
    const scheduleSubmit = () => {
      submitting = true;
      const mood = random();
      if (mood < 0.7) queueMicrotask(submit);
      else if (mood < 0.99) setImmediate(submit);
      else setTimeout(submit, 1);
    };

    let answeredBefore = -1;
    const watchdog = setInterval(() => {
      if (answered === answeredBefore) finish(true);
      answeredBefore = answered;
    }, 5000);
    const finish = (stalled: boolean) => {
      clearInterval(watchdog);
      resolve({ answered, wrong, stalled });
    };
    submit();
  });
}
