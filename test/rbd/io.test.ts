import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { HeldBackError } from '../../src/osd-client/request.js';
import { IoContext } from '../../src/rados/io-context.js';
import { ImageData, type ImageDataOptions } from '../../src/rbd/io.js';
import { Layout } from '../../src/rbd/layout.js';
import { FakeObjects } from '../support/fake-objects.js';

const MIB = 1 << 20;
const HEAD = {};
const SNAPS = { snapContext: { seq: 7n, snaps: [7n, 4n] } };

let objects: FakeObjects;
beforeEach(() => {
  objects = new FakeObjects();
});

function imageData(layout: Layout, options: Partial<ImageDataOptions> = {}): ImageData {
  return new ImageData({
    ioctx: new IoContext(objects, { id: 1, name: 'rbd' }),
    layout,
    objectPrefix: 'p',
    target: 'rbd/vm1',
    allocSize: 1,
    allocHintFlags: 0,
    objectOpsMax: 8,
    background: { states: undefined, existence: undefined, parent: undefined },
    ...options,
  });
}

const name = (objectNo: number) => `p.${objectNo.toString(16).padStart(16, '0')}`;
const bytesOf = (objectNo: number) => objects.objects.get(`1//${name(objectNo)}`)?.data;

describe('image data against a model', () => {
  const SIZE = 60_000;
  const range = fc
    .tuple(fc.integer({ min: 0, max: SIZE - 1 }), fc.integer({ min: 1, max: SIZE }))
    .map(([offset, length]) => ({ offset, length: Math.min(length, SIZE - offset) }));
  const step = fc.record({
    kind: fc.constantFrom('write', 'writeZeroes', 'discard', 'writeSame', 'read', 'caw'),
    range,
    fill: fc.integer({ min: 1, max: 255 }),
  });
  const layout = fc
    .record({
      order: fc.integer({ min: 9, max: 14 }),
      shift: fc.integer({ min: 0, max: 3 }),
      stripeCount: fc.integer({ min: 1, max: 4 }),
    })
    .map(
      ({ order, shift, stripeCount }) =>
        new Layout({ order, stripeUnit: 2 ** (order - shift), stripeCount }),
    );

  it('reads back what any sequence of writes, discards, zeroes and compares left', async () => {
    await fc.assert(
      fc.asyncProperty(layout, fc.array(step, { minLength: 1, maxLength: 8 }), async (l, steps) => {
        objects = new FakeObjects();
        const image = imageData(l);
        const model = Buffer.alloc(SIZE);
        for (const { kind, range: r, fill } of steps) {
          const { offset } = r;
          let { length } = r;
          const data = Buffer.from(Array.from({ length }, (_, i) => (fill + i) & 0xff));
          switch (kind) {
            case 'write':
              await image.write(offset, data, SNAPS);
              data.copy(model, offset);
              break;
            case 'writeZeroes':
              await image.writeZeroes(offset, length, SNAPS);
              model.fill(0, offset, offset + length);
              break;
            case 'discard':
              await image.discard(offset, length, SNAPS);
              model.fill(0, offset, offset + length);
              break;
            case 'writeSame': {
              const pattern = data.subarray(0, 1 + (fill % Math.min(7, length)));
              length -= length % pattern.length;
              await image.writeSame(offset, length, pattern, SNAPS);
              model.fill(pattern, offset, offset + length);
              break;
            }
            case 'caw': {
              const { stripeUnit } = l;
              length = Math.min(length, stripeUnit - (offset % stripeUnit));
              const expected = Buffer.from(model.subarray(offset, offset + length));
              await image.compareAndWrite(offset, expected, data.subarray(0, length), SNAPS);
              data.copy(model, offset, 0, length);
              break;
            }
            case 'read': {
              const into = Buffer.alloc(length, 0xee);
              const read = await image.read(offset, length, into, HEAD);
              expect(read.buffer).toBe(into.buffer);
              expect(Buffer.compare(into, model.subarray(offset, offset + length))).toBe(0);
              break;
            }
          }
          expect(objects.inFlight).toBe(0);
        }
        expect(Buffer.compare(await image.read(0, SIZE, undefined, HEAD), model)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the operations of a request', () => {
  const plain = () => new Layout({ order: 16 });

  it('hint and write a part of an object', async () => {
    await imageData(plain()).write(65_536 + 512, Buffer.alloc(1024, 1), SNAPS);
    expect(objects.log()).toEqual([`${name(1)}: setallochint, write`]);
    const { options, ops } = objects.requests[0] ?? expect.fail();
    expect(options.snapContext).toBe(SNAPS.snapContext);
    expect(ops[0]?.arg).toEqual({
      kind: 'allocHint',
      expectedObjectSize: 65_536,
      expectedWriteSize: 65_536,
      flags: 0,
    });
    expect(ops[1]?.arg).toMatchObject({ offset: 512, length: 1024 });
  });

  it('replace a whole object', async () => {
    await imageData(plain()).write(0, Buffer.alloc(65_536 * 2, 1), SNAPS);
    expect(objects.log().sort()).toEqual([
      `${name(0)}: setallochint, writefull`,
      `${name(1)}: setallochint, writefull`,
    ]);
  });

  it('zero the middle, truncate the tail and delete the whole of objects', async () => {
    await imageData(plain()).writeZeroes(1000, 2 * 65_536 + 1000, SNAPS);
    expect(objects.log().sort()).toEqual([
      `${name(0)}: truncate`,
      `${name(1)}: delete`,
      `${name(2)}: zero`,
    ]);
    expect(objects.requests.every(({ options }) => options.snapContext?.seq === 7n)).toBe(true);
  });

  it('shrink a discard inwards to the alloc size, and skip what is left empty', async () => {
    const image = imageData(new Layout({ order: 22 }), { allocSize: 65_536 });
    await image.discard(4096, 4096, SNAPS);
    expect(objects.requests).toEqual([]);
    await image.discard(1000, 200_000, SNAPS);
    expect(objects.requests[0]?.ops[0]?.arg).toMatchObject({
      offset: 65_536,
      length: 131_072,
    });
    // Up to the object's end is a multiple by itself.
    await image.discard(3 * MIB + 1, MIB, SNAPS);
    expect(objects.log().slice(1)).toEqual([`${name(0)}: truncate`]);
  });

  it('cut no discard at the object’s end when the alloc size is the object’s', async () => {
    const image = imageData(plain(), { allocSize: MIB });
    await image.discard(100, 65_536 - 100, SNAPS);
    await image.discard(0, 1000, SNAPS);
    expect(objects.log()).toEqual([`${name(0)}: truncate`]);
  });

  it('never round write-zeroes', async () => {
    await imageData(plain(), { allocSize: 65_536 }).writeZeroes(10, 5, SNAPS);
    expect(objects.requests[0]?.ops[0]?.arg).toMatchObject({ offset: 10, length: 5 });
  });

  it('send a pattern once where it fits, turned to the object’s start', async () => {
    await imageData(plain()).writeSame(65_536 - 3, 9, Buffer.from('abc'), SNAPS);
    await imageData(plain()).writeSame(2 * 65_536 - 4, 12, Buffer.from('abc'), SNAPS);
    expect(objects.log().sort()).toEqual([
      `${name(0)}: setallochint, writesame`,
      `${name(1)}: setallochint, write`,
      `${name(1)}: setallochint, writesame`,
      `${name(2)}: setallochint, write`,
    ]);
    expect(bytesOf(2)?.toString()).toBe('bcabcabc');
  });

  it('read at the snapshot that was asked for', async () => {
    await imageData(plain()).read(0, 10, undefined, { snapId: 4n });
    expect(objects.requests[0]?.options.snapid).toBe(4n);
  });

  it('are limited in number at a time', async () => {
    await imageData(plain(), { objectOpsMax: 3 }).write(0, Buffer.alloc(20 * 65_536, 1), SNAPS);
    expect(objects.requests).toHaveLength(20);
    expect(objects.inFlightMax).toBe(3);
  });
});

describe('reads', () => {
  it('give zeros for missing objects and past an object’s end, also in a used buffer', async () => {
    const image = imageData(new Layout({ order: 16 }));
    await image.write(65_536, Buffer.from('end'), SNAPS);
    const into = Buffer.alloc(3 * 65_536, 0xff);
    await image.read(0, into.length, into, HEAD);
    expect(into.indexOf('end')).toBe(65_536);
    expect(into.filter((byte) => byte !== 0)).toHaveLength(3);
    expect(Buffer.from(await image.read(65_534, 10, undefined, HEAD)).toString('latin1')).toBe(
      '\0\0end\0\0\0\0\0',
    );
  });

  it('refuse a reply that is longer than what was asked for', async () => {
    const image = imageData(new Layout({ order: 16 }));
    objects.operate = async () => ({
      result: 0,
      ops: [{ rval: 0, outdata: new Uint8Array(11) }],
      userVersion: 1n,
    });
    await expect(image.read(0, 10, undefined, HEAD)).rejects.toMatchObject({ code: 'EBADMSG' });
  });

  it('pass an object’s error on, once nothing is in flight any more', async () => {
    const image = imageData(new Layout({ order: 16 }));
    objects.onRequest = ({ oid }) => {
      if (oid === name(3)) throw RadosError.fromErrno(-5, {});
    };
    await expect(image.read(0, 8 * 65_536, undefined, HEAD)).rejects.toMatchObject({ code: 'EIO' });
    expect(objects.inFlight).toBe(0);
  });
});

describe('compare-and-write', () => {
  const layout = new Layout({ order: 16 });

  it('writes when the bytes are as expected, and tells where they are not', async () => {
    const image = imageData(layout);
    await image.write(70_000, Buffer.from('hello'), SNAPS);
    await image.compareAndWrite(70_000, Buffer.from('hello'), Buffer.from('world'), SNAPS);
    await expect(
      image.compareAndWrite(70_000, Buffer.from('wording'), Buffer.from('nothing'), SNAPS),
    ).rejects.toMatchObject({
      code: 'EILSEQ',
      mismatchOffset: 70_003,
      outcome: 'not-applied',
    });
    expect(
      bytesOf(1)
        ?.subarray(70_000 - 65_536)
        .toString(),
    ).toBe('world');
  });

  it('takes a missing object for zeros', async () => {
    const image = imageData(layout);
    await expect(
      image.compareAndWrite(10, Buffer.from('\0\0x'), Buffer.from('abc'), SNAPS),
    ).rejects.toMatchObject({ code: 'EILSEQ', mismatchOffset: 12 });
    await image.compareAndWrite(10, Buffer.alloc(3), Buffer.from('abc'), SNAPS);
    expect(bytesOf(0)?.subarray(10).toString()).toBe('abc');
  });

  it('is refused over the end of an object', async () => {
    await expect(
      imageData(layout).compareAndWrite(65_535, Buffer.alloc(2), Buffer.alloc(2), SNAPS),
    ).rejects.toMatchObject({ code: 'EINVAL' });
    expect(objects.requests).toEqual([]);
  });
});

describe('operations with a gate', () => {
  const gate = { seq: 5, admits: () => true, onSent: () => {} };

  it('say by what they were made, and fail as one when one of them is held back', async () => {
    const image = imageData(new Layout({ order: 16 }));
    const context = { ...SNAPS, gate };
    await image.write(0, Buffer.alloc(3 * 65_536, 1), context);
    await image.read(0, 10, undefined, { gate });
    await image.discard(0, 65_536, context);
    const made = objects.requests.map(({ options }) => [options.gate, options.madeAt]);
    expect(made).toEqual(made.map(() => [gate, 5]));
    expect(made.length).toBeGreaterThanOrEqual(5);
    objects.onRequest = ({ oid }) => {
      if (oid === name(1)) throw new HeldBackError({ op: 'write', target: oid });
    };
    const held = image.write(0, Buffer.alloc(3 * 65_536, 2), context);
    await expect(held).rejects.toBeInstanceOf(HeldBackError);
  });
});

describe('a write that fails', () => {
  const failOn = (objectNo: number) => {
    objects.onRequest = ({ oid }) => {
      if (oid === name(objectNo)) {
        throw RadosError.fromErrno(-108, { outcome: 'not-applied', target: oid });
      }
    };
  };

  it('keeps the outcome of its only object', async () => {
    failOn(0);
    await expect(
      imageData(new Layout({ order: 16 })).write(0, Buffer.alloc(10), SNAPS),
    ).rejects.toMatchObject({ code: 'EBLOCKLISTED', outcome: 'not-applied' });
  });

  it('has an unknown outcome when other objects were written', async () => {
    failOn(1);
    await expect(
      imageData(new Layout({ order: 16 })).write(0, Buffer.alloc(3 * 65_536), SNAPS),
    ).rejects.toMatchObject({ code: 'EBLOCKLISTED', outcome: 'unknown' });
    expect(objects.inFlight).toBe(0);
  });
});
