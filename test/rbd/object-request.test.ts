import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { Decoder } from '../../src/encoding/decoder.js';
import type { SnapContext } from '../../src/encoding/types.js';
import { OP } from '../../src/messages/osd-op.js';
import { Layout } from '../../src/rbd/layout.js';
import type { ParentBytes } from '../../src/rbd/parent.js';
import { FakeClone, pause } from '../support/fake-clone.js';
import { FakeObjects, type FakeRequest } from '../support/fake-objects.js';

const OBJECT = 8192;
const SIZE = 5 * OBJECT + 5000;

let objects: FakeObjects;
let clone: FakeClone;
beforeEach(() => {
  objects = new FakeObjects();
  clone = new FakeClone(objects, new Layout({ order: 13 }), parentBytes());
});

/** Different everywhere, but for a run of zeros that is no whole number of blocks. */
function parentBytes(): Buffer {
  const bytes = Buffer.from(
    Array.from({ length: SIZE }, (_, i) => ((i * 7 + (i >> 8)) & 0xff) | 1),
  );
  return bytes.fill(0, OBJECT - 100, 2 * OBJECT + 5000);
}

describe('the objects of a clone against a model', () => {
  const layout = fc
    .record({
      order: fc.integer({ min: 12, max: 14 }),
      shift: fc.integer({ min: 0, max: 3 }),
      stripeCount: fc.integer({ min: 1, max: 3 }),
    })
    .map(
      ({ order, shift, stripeCount }) =>
        new Layout({ order, stripeUnit: 2 ** (order - shift), stripeCount }),
    );
  interface Requested {
    kind: string;
    length: number;
    gap: number;
    fill: number;
  }
  const change: fc.Arbitrary<Requested> = fc.record({
    kind: fc.constantFrom('write', 'writeZeroes', 'discard', 'writeSame', 'caw'),
    length: fc.integer({ min: 1, max: SIZE }),
    gap: fc.integer({ min: 0, max: OBJECT }),
    fill: fc.integer({ min: 1, max: 255 }),
  });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.array(change, { minLength: 1, maxLength: 6 }) },
    { weight: 2, arbitrary: fc.constantFrom('snapshot' as const, 'read' as const) },
    { weight: 1, arbitrary: fc.constantFrom('flatten' as const, 'map' as const) },
  );

  async function apply(
    { kind, fill }: Requested,
    offset: number,
    size: number,
    model: Buffer,
  ): Promise<void> {
    const { data, write, layout: l } = clone;
    let length = size;
    const bytes = Buffer.from(Array.from({ length }, (_, i) => (fill + i) & 0xff));
    switch (kind) {
      case 'write':
        bytes.copy(model, offset);
        return data.write(offset, bytes, write);
      case 'writeZeroes':
        model.fill(0, offset, offset + length);
        return data.writeZeroes(offset, length, write);
      case 'discard':
        model.fill(0, offset, offset + length);
        return data.discard(offset, length, write);
      case 'writeSame': {
        const pattern = bytes.subarray(0, 1 + (fill % Math.min(7, length)));
        length -= length % pattern.length;
        model.fill(pattern, offset, offset + length);
        return data.writeSame(offset, length, pattern, write);
      }
      default: {
        length = Math.min(length, l.stripeUnit - (offset % l.stripeUnit));
        const expected = Buffer.from(model.subarray(offset, offset + length));
        bytes.copy(model, offset, 0, length);
        return data.compareAndWrite(offset, expected, bytes.subarray(0, length), write);
      }
    }
  }

  /** Changes of ranges that do not meet, though they may meet in an object, all at once. */
  async function applyAtOnce(changes: readonly Requested[], model: Buffer): Promise<void> {
    const under: Promise<void>[] = [];
    let offset = 0;
    for (const each of changes) {
      offset += each.gap;
      const length = Math.min(each.length % (2 * OBJECT) || 1, SIZE - offset);
      if (length <= 0) break;
      under.push(apply(each, offset, length, model));
      offset += length;
    }
    await Promise.all(under);
  }

  it('shows what was written over what the parent has, at the head and at each snapshot', async () => {
    const overlap = fc.integer({ min: 1, max: SIZE });
    await fc.assert(
      fc.asyncProperty(layout, overlap, fc.array(step, { maxLength: 10 }), async (l, o, steps) => {
        objects = new FakeObjects();
        clone = new FakeClone(objects, l, parentBytes());
        clone.parent = clone.parentOf(o);
        const model = Buffer.alloc(SIZE);
        clone.parentBytes.copy(model, 0, 0, o);
        const snapshots: { id: bigint; then: Buffer; parent: ParentBytes | undefined }[] = [];
        const flattened = new Set<bigint>();
        for (const each of steps) {
          if (Array.isArray(each)) await applyAtOnce(each, model);
          else if (each === 'snapshot') {
            const then = Buffer.from(model);
            snapshots.push({ id: clone.snapshot(), then, parent: clone.parent });
          } else if (each === 'map' && objects.objects.size === 0) {
            clone.mapped();
          } else if (each === 'flatten' && clone.parent) {
            for (let no = 0; no < l.objectCount(o); no++) {
              await clone.data.objects.copyUp(no, clone.write);
            }
            for (const { id } of snapshots) flattened.add(id);
            clone.parent = undefined;
          }
          const read = Buffer.from(await clone.data.read(0, SIZE, undefined, {}));
          expect(read.compare(model)).toBe(0);
          expect(objects.inFlight).toBe(0);
        }
        for (const { id, then, parent } of snapshots) {
          expect(Buffer.from(await clone.at(id, parent)).compare(then)).toBe(0);
          if (!flattened.has(id)) continue;
          expect(Buffer.from(await clone.at(id, undefined)).compare(then)).toBe(0);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('the requests of a clone', () => {
  const SNAPS: SnapContext = { seq: 7n, snaps: [7n, 4n] };
  const log = () => objects.log().map((line) => line.replace(/p\.0{15}/, ''));
  const sparseCopyup = () => {
    const request = objects.requests.find(({ text }) =>
      text.includes('sparse_copyup'),
    ) as FakeRequest;
    const { indata, arg } = request.ops.find(({ code }) => code === OP.CALL) ?? expect.fail();
    if (arg.kind !== 'cls') return expect.fail();
    const d = new Decoder(indata.subarray(arg.classLength + arg.methodLength));
    const extents = Array.from({ length: d.u32() }, () => [d.u64n(), d.u64n()]);
    return { extents, length: d.u32() };
  };
  const write = (offset: number, length: number) =>
    clone.data.write(offset, Buffer.alloc(length, 'w'), clone.write);

  it('see that the object is there before they change it', async () => {
    objects.put('1//p.0000000000000003', 'there');
    await write(3 * OBJECT, 100);
    await clone.data.writeZeroes(3 * OBJECT + 100, 100, clone.write);
    await clone.data.writeZeroes(4 * OBJECT - 100, 100, clone.write);
    expect(log()).toEqual(['3: stat, setallochint, write', '3: stat, zero', '3: stat, truncate']);
    expect(clone.parentReads).toBe(0);
  });

  it('do not look where the parent does not reach, and where all is overwritten', async () => {
    clone.parent = clone.parentOf(2 * OBJECT);
    await write(2 * OBJECT, 100);
    await write(0, OBJECT);
    await clone.data.discard(OBJECT, OBJECT, clone.write);
    expect(log()).toEqual([
      '2: setallochint, write',
      '0: setallochint, writefull',
      '1: create, truncate',
    ]);
    expect(clone.parentReads).toBe(0);
  });

  it('bring along what the parent has and they do not overwrite', async () => {
    await write(3 * OBJECT + 1000, 500);
    expect(log()).toEqual([
      '3: stat, setallochint, write',
      '3: rbd.sparse_copyup, setallochint, write',
    ]);
    expect(sparseCopyup()).toEqual({
      extents: [
        [0, 1000],
        [1500, OBJECT - 1500],
      ],
      length: OBJECT - 500,
    });
  });

  it('bring no zeros along', async () => {
    await write(OBJECT + 1000, 500);
    expect(sparseCopyup()).toEqual({ extents: [], length: 0 });
  });

  it('leave the snapshots what they overwrite: all of it goes first, under no snapshot', async () => {
    clone.write.snapContext = SNAPS;
    await write(3 * OBJECT + 1000, 500);
    expect(log()).toEqual([
      '3: stat, setallochint, write',
      '3: rbd.sparse_copyup, setallochint',
      '3: stat, setallochint, write',
    ]);
    expect(sparseCopyup()).toEqual({ extents: [[0, OBJECT]], length: OBJECT });
    expect(objects.requests.map(({ options }) => options.snapContext?.seq)).toEqual([7n, 0n, 7n]);
  });

  it('need no copy-up under no snapshot where the parent has zeros', async () => {
    clone.write.snapContext = SNAPS;
    await write(OBJECT + 1000, 500);
    expect(log()[1]).toBe('1: rbd.sparse_copyup, setallochint, write');
    expect(objects.requests[1]?.options.snapContext).toBe(SNAPS);
  });

  it('go by the object map: no look at what is absent, no hint for what exists', async () => {
    clone.mapped(3);
    objects.put('1//p.0000000000000003', 'there');
    await write(3 * OBJECT, 100);
    await write(4 * OBJECT, 100);
    expect(log()).toEqual(['3: stat, write', '4: rbd.sparse_copyup, setallochint, write']);
    expect(clone.states?.exists).toContain(4);
    objects.requests.length = 0;
    await clone.data.read(0, 2 * OBJECT, undefined, {});
    expect(log()).toEqual([]);
  });

  it('compare what was copied up before', async () => {
    const at = 3 * OBJECT + 10;
    const wrong = Buffer.alloc(20, 'x');
    const right = clone.parentBytes.subarray(at, at + 20);
    await expect(clone.data.compareAndWrite(at, wrong, wrong, clone.write)).rejects.toMatchObject({
      code: 'EILSEQ',
      mismatchOffset: at,
    });
    expect(log()).toEqual([
      '3: stat, setallochint, cmpext, write',
      '3: rbd.sparse_copyup, setallochint',
      '3: stat, setallochint, cmpext, write',
    ]);
    await clone.data.compareAndWrite(at, right, wrong, clone.write);
    expect(clone.parentReads).toBe(1);
  });

  it('cut an object with what the parent has before the cut', async () => {
    await clone.data.objects.cut(3, 1000, clone.write);
    expect(sparseCopyup()).toEqual({ extents: [[0, 1000]], length: 1000 });
    expect(log()).toEqual(['3: stat, truncate', '3: rbd.sparse_copyup, setallochint, truncate']);
  });

  it('copy an object up only where it has none and the parent has bytes', async () => {
    objects.put('1//p.0000000000000003', 'there');
    for (let no = 0; no < 7; no++) await clone.data.objects.copyUp(no, clone.write);
    expect(log()).toEqual([
      '0: stat',
      '0: rbd.sparse_copyup, setallochint',
      '1: stat',
      '2: stat',
      '2: rbd.sparse_copyup, setallochint',
      '3: stat',
      '4: stat',
      '4: rbd.sparse_copyup, setallochint',
      '5: stat',
      '5: rbd.sparse_copyup, setallochint',
    ]);
  });
});

describe('a copy-up', () => {
  const at = (i: number) => 3 * OBJECT + 100 * i;
  const copyUps = () => objects.requests.filter(({ text }) => text.includes('sparse_copyup'));

  it('is one for all who write to an object at once', async () => {
    for (const snaps of [[], [7n]]) {
      objects.objects.clear();
      objects.requests.length = 0;
      clone.parentReads = 0;
      clone.write.snapContext = { seq: 7n, snaps };
      const writers = Array.from({ length: 30 }, (_, i) =>
        clone.data.write(at(i), Buffer.alloc(50, 'w'), clone.write),
      );
      await Promise.all(writers);
      expect(copyUps()).toHaveLength(1);
      expect(clone.parentReads).toBe(1);
      const expected = Buffer.from(clone.parentBytes.subarray(3 * OBJECT, 4 * OBJECT));
      for (let i = 0; i < 30; i++) expected.fill('w', 100 * i, 100 * i + 50);
      expect(objects.objects.get('1//p.0000000000000003')?.data.equals(expected)).toBe(true);
    }
  });

  it('that one gives up is done by another who waits for it', async () => {
    const control = new AbortController();
    let second: Promise<unknown> | undefined;
    clone.onParentRead = async () => {
      if (second) return;
      second = clone.data.write(at(1), Buffer.alloc(50, 'w'), clone.write);
      for (let turns = 0; turns < 10; turns++) await pause();
      control.abort();
      throw RadosError.fromErrno(-125, {});
    };
    const { signal } = control;
    const first = clone.data.write(at(0), Buffer.alloc(50, 'w'), { ...clone.write, signal });
    await expect(first).rejects.toMatchObject({ code: 'ECANCELED' });
    await second;
    expect(copyUps()).toHaveLength(1);
  });

  it('fails with what the parent’s read failed with, and is tried again by the next write', async () => {
    clone.onParentRead = () => Promise.reject(RadosError.fromErrno(-5, { target: 'parent' }));
    const write = () => clone.data.write(at(0), Buffer.alloc(50, 'w'), clone.write);
    await expect(write()).rejects.toMatchObject({ code: 'EIO', target: 'parent' });
    clone.onParentRead = pause;
    await write();
    expect(copyUps()).toHaveLength(1);
  });

  it.each<[string, () => void]>([
    ['the image was flattened', () => (clone.parent = undefined)],
    ['less of the parent is seen', () => (clone.parent = clone.parentOf(3 * OBJECT + 200))],
  ])('begins anew when %s while the parent was read', async (_, change) => {
    let changes = 0;
    clone.onParentRead = async () => {
      if (changes++ === 0) change();
      // Whoever has flattened it may have removed the parent since.
      if (!clone.parent) throw RadosError.fromErrno(-2, {});
      await pause();
    };
    await clone.data.write(at(0) + 10, Buffer.from('w'), clone.write);
    const { data } = objects.objects.get('1//p.0000000000000003') ?? expect.fail();
    const expected = Buffer.alloc(clone.parent ? 200 : 11);
    if (clone.parent) clone.parentBytes.copy(expected, 0, 3 * OBJECT, 3 * OBJECT + 200);
    expected.write('w', 10);
    expect(data.equals(expected)).toBe(true);
  });

  it('begins anew with a snapshot that was taken meanwhile', async () => {
    clone.onParentRead = async () => {
      clone.snapshot();
      clone.onParentRead = pause;
    };
    await clone.data.write(at(0), Buffer.from('w'), clone.write);
    const then = Buffer.from(await clone.at(3n, clone.parent));
    expect(then.equals(clone.parentBytes)).toBe(true);
  });
});

describe('a read of what the parent shows', () => {
  it('is repeated when the image was flattened meanwhile', async () => {
    clone.onParentRead = async () => {
      objects.put('1//p.0000000000000003', 'own bytes');
      clone.parent = undefined;
      throw RadosError.fromErrno(-2, {});
    };
    const read = await clone.data.read(3 * OBJECT, 9, undefined, {});
    expect(Buffer.from(read).toString()).toBe('own bytes');
  });

  it('waits until the header is known to be fresh before it believes the parent', async () => {
    let refreshed = false;
    let admissions = 0;
    const admit = () => {
      if (++admissions !== 2) return undefined;
      return pause().then(() => {
        refreshed = true;
        objects.put('1//p.0000000000000003', 'own bytes');
        clone.parent = undefined;
      });
    };
    const read = await clone.data.read(3 * OBJECT, 9, undefined, { admit });
    expect(refreshed).toBe(true);
    expect(Buffer.from(read).toString()).toBe('own bytes');
  });

  it('fails with what the parent’s read failed with', async () => {
    clone.onParentRead = () => Promise.reject(RadosError.fromErrno(-5, {}));
    await expect(clone.data.read(0, 10, undefined, {})).rejects.toMatchObject({ code: 'EIO' });
  });
});
