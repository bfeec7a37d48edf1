// Goal: what comes in batches over a port arrives whole and in order, neither side gets ahead of the other by more than a
// few, and each learns when the other has enough or has failed.

import { MessageChannel } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { receiveBatches, sendBatches } from '../../src/block/batches.js';
import { rejection } from '../support/rejection.js';

interface Sender {
  /** Batches that have been asked of the source. */
  produced: number;
  ended: boolean;
}

/** Sends the numbers up to `count`, and then what `atEnd` does. */
function begin(count: number, atEnd: () => void = () => {}) {
  const { port1, port2 } = new MessageChannel();
  const sender: Sender = { produced: 0, ended: false };
  async function* numbers(signal: AbortSignal): AsyncGenerator<number, void, undefined> {
    try {
      while (sender.produced < count && !signal.aborted)
        yield await Promise.resolve(sender.produced++);
      atEnd();
    } finally {
      sender.ended = true;
    }
  }
  const sent = sendBatches(port2, numbers);
  sent.catch(() => undefined);
  return { sender, sent, received: receiveBatches<number>(port1, sent) };
}

const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

async function collect<T>(batches: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

describe('batches over a port', () => {
  it.each([0, 1, 1000])('arrive in order, all of %i', async (count) => {
    const { received, sent } = begin(count);
    expect(await collect(received)).toEqual(Array.from({ length: count }, (_, i) => i));
    await sent;
  });

  it('are made as the receiver takes them', async () => {
    const { received, sender, sent } = begin(1000);
    for (let taken = 1; taken <= 5; taken++) {
      await received.next();
      await turns(50);
      // Two are on their way, and one waits to be.
      expect(sender.produced).toBeLessThanOrEqual(taken + 3);
    }
    await received.return();
    await sent;
  });

  it('end at the sender when the receiver has enough', async () => {
    const { received, sender, sent } = begin(1000);
    for await (const batch of received) if (batch === 3) break;
    await sent;
    expect(sender.ended).toBe(true);
    expect(sender.produced).toBeLessThan(10);
  });

  it('end with the failure of the sender, after those before it', async () => {
    const { received } = begin(5, () => {
      throw new RadosError('EIO', 'no more');
    });
    const taken: number[] = [];
    const failure = await rejection(
      (async () => {
        for await (const batch of received) taken.push(batch);
      })(),
    );
    expect(failure).toMatchObject({ code: 'EIO' });
    expect(taken).toEqual([0, 1, 2, 3, 4]);
  });
});
