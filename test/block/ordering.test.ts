import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { newOrderState, type Ordered, OrderingTracker } from '../../src/block/ordering.js';
import { withFake } from './support/hosts.js';

interface Request extends Ordered {
  id: number;
}

function request(
  id: number,
  start: number,
  end: number,
  kind: 'read' | 'write' | 'flush',
): Request {
  const changes = kind === 'write';
  return { id, start, end, changes, barrier: kind === 'flush', order: newOrderState() };
}

describe('the order of overlapping requests', () => {
  it('lets reads go side by side, and writes of other ranges', () => {
    const tracker = new OrderingTracker<Request>(() => {});
    expect(tracker.enter(request(1, 0, 10, 'read'))).toBe(true);
    expect(tracker.enter(request(2, 0, 10, 'read'))).toBe(true);
    expect(tracker.enter(request(3, 10, 20, 'write'))).toBe(true);
    expect(tracker.enter(request(4, 20, 30, 'write'))).toBe(true);
  });

  it('starts a request when the last earlier one that overlaps is done', () => {
    const ready: number[] = [];
    const tracker = new OrderingTracker<Request>(({ id }) => ready.push(id));
    const first = request(1, 0, 10, 'read');
    const second = request(2, 15, 25, 'read');
    const write = request(3, 5, 20, 'write');
    tracker.enter(first);
    tracker.enter(second);
    expect(tracker.enter(write)).toBe(false);
    expect(tracker.enter(request(4, 12, 13, 'read'))).toBe(false);
    tracker.leave(second);
    expect(ready).toEqual([]);
    tracker.leave(first);
    expect(ready).toEqual([3]);
    tracker.leave(write);
    expect(ready).toEqual([3, 4]);
  });

  it('makes a flush wait for the writes before it, and nobody for the flush', () => {
    const ready: number[] = [];
    const tracker = new OrderingTracker<Request>(({ id }) => ready.push(id));
    const write = request(1, 0, 10, 'write');
    tracker.enter(write);
    tracker.enter(request(2, 50, 60, 'read'));
    expect(tracker.enter(request(3, 0, 0, 'flush'))).toBe(false);
    expect(tracker.enter(request(4, 90, 99, 'write'))).toBe(true);
    tracker.leave(write);
    expect(ready).toEqual([3]);
  });

  it('passes over a waiting request that was given up', () => {
    const ready: number[] = [];
    const tracker = new OrderingTracker<Request>(({ id }) => ready.push(id));
    const first = request(1, 0, 10, 'write');
    const second = request(2, 0, 10, 'write');
    tracker.enter(first);
    tracker.enter(second);
    tracker.enter(request(3, 0, 10, 'write'));
    tracker.leave(second);
    expect(ready).toEqual([]);
    tracker.leave(first);
    expect(ready).toEqual([3]);
    expect(tracker.active).toBe(1);
  });
});

/**
 * Goal: what a caller sees equals what a disk would show that did one request after the other. Method: random calls
 * side by side over a small image whose backend answers in random order, each taking effect late; the
 * model applies them in the order of the calls.
 */
describe('a device whose backend answers in any order', () => {
  const SIZE = 4096;
  const call = fc.record({
    kind: fc.constantFrom('read', 'write', 'writev', 'discard', 'zero', 'same', 'flush' as const),
    offset: fc.integer({ min: 0, max: SIZE - 1 }),
    length: fc.integer({ min: 1, max: 600 }),
    wait: fc.boolean(),
  });

  it.each([0, 1] as const)(
    'behaves as one that does one call after the other (threads: %i)',
    async (threads) => {
      await withFake(threads, { size: SIZE, maxDelayTurns: 6, seed: 99 }, async ({ device }) => {
        const model = Buffer.alloc(SIZE);
        let fill = 0;
        await fc.assert(
          fc.asyncProperty(fc.array(call, { maxLength: 80 }), async (calls) => {
            const settled: Promise<unknown>[] = [];
            for (const { kind, offset, length, wait } of calls) {
              const end = Math.min(SIZE, offset + length);
              const bytes = end - offset;
              fill = (fill + 1) & 0xff;
              const data = Buffer.alloc(bytes, fill);
              let done: Promise<unknown>;
              switch (kind) {
                case 'read': {
                  const expected = Buffer.from(model.subarray(offset, end));
                  done = device.read(offset, bytes).then((got) => expect(got).toEqual(expected));
                  break;
                }
                case 'write':
                  done = device.write(offset, data);
                  model.fill(fill, offset, end);
                  break;
                case 'writev':
                  done = device.writev(offset, [data.subarray(0, 1), data.subarray(1)]);
                  model.fill(fill, offset, end);
                  break;
                case 'discard':
                  done = device.discard(offset, bytes);
                  model.fill(0, offset, end);
                  break;
                case 'zero':
                  done = device.writeZeroes(offset, bytes);
                  model.fill(0, offset, end);
                  break;
                case 'same':
                  done = device.writeSame(offset, bytes, data.subarray(0, 1));
                  model.fill(fill, offset, end);
                  break;
                case 'flush':
                  done = device.flush();
                  break;
              }
              settled.push(done);
              if (wait) await done;
            }
            await Promise.all(settled);
            expect(await device.read(0, SIZE)).toEqual(model);
          }),
          { numRuns: 60 },
        );
      });
    },
  );
});
