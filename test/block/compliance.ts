/**
 * The same sentences for every block device, whatever is under it. A device under test starts empty (all zeroes),
 * can be written, and is at least 16 MiB large.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { BlockDevice } from '../../src/block/device.js';
import { sysfsAttributes } from '../../src/block/attributes.js';
import { pattern, rejection, thrown } from './support/hosts.js';

export interface ComplianceTarget {
  device: BlockDevice;
  close(): Promise<void>;
}

export interface ComplianceTraits {
  /** Whether synchronous calls are possible. */
  sync: boolean;
  /** Whether `compareAndWrite` and `writeSame` are. Default true. */
  atomics?: boolean;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export function blockDeviceCompliance(
  name: string,
  open: () => Promise<ComplianceTarget>,
  traits: ComplianceTraits,
): void {
  describe(`a block device: ${name}`, () => {
    let target: ComplianceTarget;
    let device: BlockDevice;

    beforeAll(async () => {
      target = await open();
      ({ device } = target);
    });
    afterAll(async () => {
      await target.close();
    });

    describe('reading and writing', () => {
      it('reads zeroes where nothing was written', async () => {
        expect(await device.read(3 * MIB, 8 * KIB)).toEqual(Buffer.alloc(8 * KIB));
      });

      it('reads back what was written', async () => {
        const data = pattern(64 * KIB, 2);
        await device.write(MIB, data);
        expect(await device.read(MIB, data.length)).toEqual(data);
      });

      it.each([
        [1, 1],
        [511, 2],
        [4095, 4098],
        [MIB - 7, 65_551],
        [4 * MIB - 1, 2],
        [4 * MIB - 3, 4 * MIB + 6],
      ])('takes any offset and length: %i, %i', async (offset, length) => {
        const data = pattern(length, offset);
        await device.write(offset, data);
        expect(Buffer.compare(await device.read(offset, length), data)).toBe(0);
      });

      it('keeps the bytes beside an unaligned write', async () => {
        await device.write(2 * MIB, Buffer.alloc(16, 0xaa));
        await device.write(2 * MIB + 5, Buffer.from([1, 2, 3]));
        const expected = Buffer.alloc(16, 0xaa);
        expected.set([1, 2, 3], 5);
        expect(await device.read(2 * MIB, 16)).toEqual(expected);
      });

      it('fills the buffer that it is given, and returns it', async () => {
        const data = pattern(5000, 3);
        await device.write(MIB + 100, data);
        const into = new Uint8Array(5000);
        expect(await device.read(MIB + 100, into)).toBe(into);
        expect(Buffer.from(into)).toEqual(data);
        const again = new Uint8Array(5000);
        await device.readInto(MIB + 100, again);
        expect(Buffer.from(again)).toEqual(data);
      });

      it('moves more than its memory holds in one call', async () => {
        const length = Math.min(device.size, 48 * MIB);
        const data = pattern(length, 4);
        await device.write(0, data);
        expect(Buffer.compare(await device.read(0, length), data)).toBe(0);
        await device.writeZeroes(0, length);
      });

      it('copies the data on call', async () => {
        const data = Buffer.alloc(4 * KIB, 1);
        const writes = Array.from({ length: 300 }, (_, i) => {
          data.fill(i);
          return device.write(5 * MIB + i * data.length, data);
        });
        data.fill(0xff);
        await Promise.all(writes);
        for (let i = 0; i < writes.length; i += 37) {
          const block = await device.read(5 * MIB + i * data.length, data.length);
          expect(block.every((byte) => byte === (i & 0xff))).toBe(true);
        }
      });

      it('scatters and gathers', async () => {
        const parts = [pattern(3, 5), pattern(8192, 6), pattern(0, 7), pattern(700, 8)];
        await device.writev(7 * MIB - 1000, parts);
        const whole = await device.read(7 * MIB - 1000, 8895);
        expect(whole).toEqual(Buffer.concat(parts));
        const into = [Buffer.alloc(1), Buffer.alloc(4097), Buffer.alloc(4797)];
        await device.readv(7 * MIB - 1000, into);
        expect(Buffer.concat(into)).toEqual(Buffer.concat(parts));
      });

      it('shows bytes in a view until it is released', async () => {
        const data = pattern(9000, 9);
        await device.write(8 * MIB, data);
        const view = await device.readView(8 * MIB, 9000);
        expect(Buffer.compare(view.data, data)).toBe(0);
        // The view stays as it was while other requests come and go.
        await Promise.all(Array.from({ length: 64 }, (_, i) => device.read(i * 4096, 4096)));
        expect(Buffer.compare(view.data, data)).toBe(0);
        view.release();
        view.release();
        expect(device.load.viewBytes).toBe(0);
      });

      it('does nothing for an empty range, also at the end', async () => {
        expect(await device.read(device.size, 0)).toHaveLength(0);
        await device.write(device.size, new Uint8Array(0));
        await device.discard(0, 0);
      });
    });

    describe('changing ranges', () => {
      it('reads zeroes after writeZeroes, and keeps the neighbours', async () => {
        await device.write(9 * MIB, Buffer.alloc(64 * KIB, 7));
        await device.writeZeroes(9 * MIB + 1000, 30_000);
        const expected = Buffer.alloc(64 * KIB, 7);
        expected.fill(0, 1000, 31_000);
        expect(await device.read(9 * MIB, 64 * KIB)).toEqual(expected);
        await device.writeZeroes(9 * MIB, 64 * KIB, { noUnmap: true });
        expect(await device.read(9 * MIB, 64 * KIB)).toEqual(Buffer.alloc(64 * KIB));
      });

      it('discards whole objects', async () => {
        await device.write(0, Buffer.alloc(4096, 9));
        await device.discard(0, wholeObjects(device));
        expect(await device.read(0, 4096)).toEqual(Buffer.alloc(4096));
      });

      if (traits.atomics ?? true) {
        it('repeats a pattern', async () => {
          const part = pattern(512, 10);
          await device.writeSame(10 * MIB, 512 * 7, part);
          const expected = Buffer.concat(Array.from({ length: 7 }, () => part));
          expect(await device.read(10 * MIB, 512 * 7)).toEqual(expected);
          const odd = await rejection(device.writeSame(10 * MIB, 1000, part));
          expect(odd).toMatchObject({ code: 'EINVAL', outcome: 'not-applied' });
        });

        it('compares and writes in one step', async () => {
          const before = pattern(512, 11);
          const after = pattern(512, 12);
          await device.write(11 * MIB, before);
          await device.compareAndWrite(11 * MIB, before, after);
          expect(await device.read(11 * MIB, 512)).toEqual(after);
          const error = await rejection(device.compareAndWrite(11 * MIB, before, before));
          expect(error).toMatchObject({ code: 'EILSEQ', errno: -84 });
          expect(await device.read(11 * MIB, 512)).toEqual(after);
        });
      }

      it('flushes', async () => {
        await device.write(0, pattern(4096, 13), { fua: true });
        await device.flush();
      });
    });

    describe('order', () => {
      it('lets overlapping writes take effect in the order of the calls', async () => {
        const writes: Promise<void>[] = [];
        for (let i = 0; i < 100; i++) {
          writes.push(device.write(12 * MIB + (i % 7) * 100, Buffer.alloc(4096, i)));
        }
        const seen = device.read(12 * MIB, 5000);
        writes.push(device.write(12 * MIB, Buffer.alloc(5000, 0xee)));
        const expected = Buffer.alloc(5000);
        for (let i = 0; i < 100; i++) expected.fill(i, (i % 7) * 100, (i % 7) * 100 + 4096);
        expect((await seen).subarray(0, 4696)).toEqual(expected.subarray(0, 4696));
        await Promise.all(writes);
        expect(await device.read(12 * MIB, 5000)).toEqual(Buffer.alloc(5000, 0xee));
      });
    });

    describe('bounds', () => {
      it.each([
        ['read beyond the end', () => device.read(device.size - 1, 2)],
        ['write at the end', () => device.write(device.size, Buffer.alloc(1))],
        ['discard across the end', () => device.discard(device.size - 4096, 8192)],
        ['writeZeroes beyond the end', () => device.writeZeroes(2 ** 50, 1)],
      ])('refuses: %s', async (_, call) => {
        expect(await rejection(call())).toMatchObject({ code: 'EINVAL', errno: -22 });
      });

      it.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses %d as an offset', async (offset) => {
        expect(await rejection(device.read(offset, 1))).toBeInstanceOf(RangeError);
        expect(await rejection(device.write(offset, Buffer.alloc(1)))).toBeInstanceOf(RangeError);
        expect(await rejection(device.read(0, offset))).toBeInstanceOf(RangeError);
      });
    });

    describe('giving up', () => {
      it('refuses at once when the signal is aborted already', async () => {
        const signal = AbortSignal.abort();
        const read = await rejection(device.read(0, 4096, { signal }));
        expect(read).toMatchObject({ code: 'ECANCELED', op: 'read' });
        const write = await rejection(device.write(0, Buffer.alloc(1), { signal }));
        expect(write).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
      });

      it('works on after an abort in flight', async () => {
        const abort = new AbortController();
        const write = device.write(13 * MIB, pattern(4096, 14), { signal: abort.signal });
        abort.abort();
        const error = await rejection(write);
        expect(error).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
        // Ordered after the aborted one, whether that took effect or not.
        await device.write(13 * MIB, pattern(4096, 15));
        expect(await device.read(13 * MIB, 4096)).toEqual(pattern(4096, 15));
      });
    });

    describe('synchronous calls', () => {
      if (traits.sync) {
        it('read, write, discard and flush', () => {
          const data = pattern(100_000, 16);
          device.writeSync(14 * MIB - 7, data);
          device.flushSync();
          expect(Buffer.compare(device.readSync(14 * MIB - 7, data.length), data)).toBe(0);
          const into = Buffer.alloc(512);
          expect(device.readSync(14 * MIB, into)).toBe(into);
          expect(into).toEqual(data.subarray(7, 519));
          device.discardSync(0, wholeObjects(device));
          expect(device.readSync(0, 16)).toEqual(Buffer.alloc(16));
        });

        it('keep their order with asynchronous calls', async () => {
          const first = device.write(15 * MIB, Buffer.alloc(4096, 1));
          expect(device.readSync(15 * MIB, 4096)).toEqual(Buffer.alloc(4096, 1));
          const read = device.read(15 * MIB, 4096);
          device.writeSync(15 * MIB, Buffer.alloc(4096, 2));
          expect(await read).toEqual(Buffer.alloc(4096, 1));
          await first;
          expect(await device.read(15 * MIB, 4096)).toEqual(Buffer.alloc(4096, 2));
        });

        it('throw what the asynchronous ones reject with', () => {
          expect(thrown(() => device.readSync(device.size, 1))).toMatchObject({ code: 'EINVAL' });
          expect(thrown(() => device.writeSync(-1, Buffer.alloc(1)))).toBeInstanceOf(RangeError);
        });
      } else {
        it('are refused, because nobody else could answer', () => {
          expect(thrown(() => device.readSync(0, 1))).toMatchObject({ code: 'EOPNOTSUPP' });
          expect(thrown(() => device.flushSync())).toMatchObject({ code: 'EOPNOTSUPP' });
        });
      }
    });

    describe('what it says about itself', () => {
      it('shows the attributes of krbd in sysfs', () => {
        const sysfs = sysfsAttributes(device.attributes);
        expect(sysfs['size']).toBe(String(device.size));
        expect(sysfs['features']).toMatch(/^0x[0-9a-f]{16}$/);
        expect(sysfs['client_id']).toMatch(/^client\d+$/);
        expect(sysfs['current_snap']).toBe('-');
        expect(sysfs['parent']).toBe('(no parent image)');
      });

      it('is idle when all calls are settled', async () => {
        await device.flush();
        expect(device.load).toEqual({ inFlight: 0, waiting: 0, viewBytes: 0 });
      });
    });

    describe('the end', () => {
      it('refuses calls after close, which waits for those before', async () => {
        const data = pattern(4096, 17);
        const write = device.write(0, data);
        let closed = 0;
        device.on('close', () => closed++);
        await Promise.all([device.close(), device.close()]);
        await write;
        await device[Symbol.asyncDispose]();
        expect(closed).toBe(1);
        expect(await rejection(device.read(0, 1))).toMatchObject({ code: 'EBADF' });
        expect(await rejection(device.write(0, data))).toMatchObject({
          code: 'EBADF',
          outcome: 'not-applied',
        });
        expect(await rejection(device.flush())).toMatchObject({ code: 'EBADF' });
      });
    });
  });
}

/** Where the first objects end that stripes go over: less than whole objects need not be discarded. */
function wholeObjects({ attributes, size }: BlockDevice): number {
  return Math.min(attributes.objectSize * attributes.stripeCount, size);
}
