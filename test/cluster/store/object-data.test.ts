import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, ObjectData } from '../../../src/cluster/store/object-data.js';
import { ReceivedData, SpareBuffers } from '../../../src/cluster/store/spare-buffers.js';

/** Bytes and "was it written" marks, one by one: what ObjectData must agree with. */
class Reference {
  bytes: number[] = [];
  written: boolean[] = [];

  write(offset: number, data: Uint8Array): void {
    while (this.bytes.length < offset + data.length) this.#grow();
    data.forEach((byte, i) => {
      this.bytes[offset + i] = byte;
      this.written[offset + i] = true;
    });
  }

  zero(offset: number, length: number): void {
    for (let i = offset; i < Math.min(offset + length, this.bytes.length); i++) {
      this.bytes[i] = 0;
      this.written[i] = false;
    }
  }

  truncate(size: number): void {
    this.bytes.length = Math.min(this.bytes.length, size);
    this.written.length = this.bytes.length;
    while (this.bytes.length < size) this.#grow();
  }

  extents(): [number, number][] {
    const found: [number, number][] = [];
    this.written.forEach((is, i) => {
      const last = found.at(-1);
      if (!is) return;
      if (last && last[0] + last[1] === i) last[1]++;
      else found.push([i, 1]);
    });
    return found;
  }

  #grow(): void {
    this.bytes.push(0);
    this.written.push(false);
  }
}

const offset = fc.oneof(fc.nat(3000), fc.integer({ min: CHUNK_BYTES - 40, max: CHUNK_BYTES + 40 }));
const step = fc.oneof(
  fc.record({ op: fc.constant('write' as const), offset, data: fc.uint8Array({ maxLength: 200 }) }),
  fc.record({ op: fc.constant('zero' as const), offset, length: fc.nat(CHUNK_BYTES + 100) }),
  fc.record({ op: fc.constant('truncate' as const), size: offset }),
  fc.record({ op: fc.constant('clone' as const) }),
  fc.record({ op: fc.constant('share' as const), offset, length: fc.nat(3 * CHUNK_BYTES) }),
  fc.record({
    op: fc.constant('write chunks' as const),
    byte: fc.nat(255),
    isOwn: fc.boolean(),
  }),
);

describe('object data', () => {
  it('reads what was written, knows the written ranges exactly, and leaves clones and shared bytes alone', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        let data = new ObjectData();
        const reference = new Reference();
        const clones: { clone: ObjectData; expected: Buffer }[] = [];
        const shared: { pieces: readonly Uint8Array[]; expected: Buffer }[] = [];
        for (const each of steps) {
          switch (each.op) {
            case 'write':
              data.write(each.offset, each.data.slice());
              if (each.data.length > 0) reference.write(each.offset, each.data);
              break;
            case 'zero':
              data.zero(each.offset, each.length);
              reference.zero(each.offset, each.length);
              break;
            case 'truncate':
              data.truncate(each.size);
              reference.truncate(each.size);
              break;
            case 'clone':
              // Going on with the copy or with the original must make no difference.
              clones.push({ clone: data, expected: Buffer.from(reference.bytes) });
              data = data.clone();
              break;
            case 'share': {
              const expected = Buffer.from(data.read(each.offset, each.length));
              shared.push({ pieces: data.readShared(each.offset, each.length), expected });
              break;
            }
            case 'write chunks': {
              const chunks = new Uint8Array(2 * CHUNK_BYTES).fill(each.byte);
              reference.write(0, chunks);
              data.write(0, chunks, { ownsData: each.isOwn });
              break;
            }
          }
          expect(data.size).toBe(reference.bytes.length);
        }
        const all = data.read(0, data.size);
        expect(Buffer.compare(all, Buffer.from(reference.bytes))).toBe(0);
        expect(data.extents(0, Number.MAX_SAFE_INTEGER)).toEqual(reference.extents());
        for (const { clone, expected } of clones) {
          expect(Buffer.compare(clone.read(0, clone.size), expected)).toBe(0);
        }
        for (const { pieces, expected } of shared) {
          expect(Buffer.compare(Buffer.concat(pieces), expected)).toBe(0);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('keeps whole chunks of a write without copying them, and copies one before it changes', () => {
    const data = new ObjectData();
    const written = Buffer.alloc(4 * CHUNK_BYTES, 7);
    data.write(0, written);
    data.write(CHUNK_BYTES + 10, Buffer.from([1, 2, 3]));
    expect(written.every((byte) => byte === 7)).toBe(true);
    expect([...data.read(CHUNK_BYTES + 9, 5)]).toEqual([7, 1, 2, 3, 7]);
  });

  it('changes whole chunks that are its alone where they are, until somebody else has them', () => {
    const data = new ObjectData();
    const written = Buffer.alloc(4 * CHUNK_BYTES, 7);
    data.write(0, written, { ownsData: true });
    data.write(10, Buffer.from([1]));
    expect(written[10]).toBe(1);
    const [piece] = data.readShared(0, CHUNK_BYTES);
    data.write(11, Buffer.from([2]));
    expect([written[11], piece?.[11], ...data.read(10, 2)]).toEqual([7, 7, 1, 2]);
    data.clone();
    data.write(CHUNK_BYTES, Buffer.from([3]));
    expect(written[CHUNK_BYTES]).toBe(7);
  });

  it('gives nothing back of which anybody could read a byte', () => {
    const LARGE = 16 * CHUNK_BYTES;
    const at = fc.integer({ min: 0, max: 24 }).map((chunks) => chunks * CHUNK_BYTES);
    const large = fc.oneof(
      fc.record({
        op: fc.constant('write' as const),
        at,
        byte: fc.nat(255),
        ownsData: fc.boolean(),
      }),
      fc.record({
        op: fc.constant('write' as const),
        at: fc.nat(LARGE),
        byte: fc.nat(255),
        ownsData: fc.boolean(),
      }),
      fc.record({ op: fc.constant('touch' as const), at: fc.nat(2 * LARGE) }),
      fc.record({ op: fc.constant('zero' as const), at, length: at }),
      fc.record({ op: fc.constant('truncate' as const), at }),
      fc.record({ op: fc.constant('clone' as const) }),
      fc.record({ op: fc.constant('share' as const), at, length: at }),
    );
    let given = 0;
    fc.assert(
      fc.property(fc.array(large, { minLength: 5, maxLength: 30 }), (steps) => {
        const spare = new SpareBuffers();
        let data = new ObjectData();
        let expected = Buffer.alloc(0);
        const kept: { bytes: () => Uint8Array; expected: Buffer }[] = [];
        const write = (offset: number, bytes: Uint8Array, ownsData: boolean) => {
          const end = Math.max(expected.length, offset + bytes.length);
          expected = Buffer.concat([expected, Buffer.alloc(end - expected.length)]);
          expected.set(bytes, offset);
          const received = ReceivedData.of(bytes, spare);
          received?.use();
          data.write(offset, bytes, { ownsData, received });
          received?.drop();
        };
        for (const step of steps) {
          if (step.op === 'write')
            write(step.at, new Uint8Array(LARGE).fill(step.byte), step.ownsData);
          else if (step.op === 'touch') write(step.at, Uint8Array.of(1), true);
          else if (step.op === 'zero') {
            data.zero(step.at, step.length);
            expected.subarray(step.at, step.at + step.length).fill(0);
          } else if (step.op === 'truncate') {
            data.truncate(step.at);
            expected = Buffer.concat([expected, Buffer.alloc(2 * LARGE)]).subarray(0, step.at);
          } else if (step.op === 'clone') {
            const original = data;
            const bytes = () => original.read(0, original.size);
            kept.push({ bytes, expected: Buffer.from(expected) });
            data = data.clone();
          } else {
            const pieces = data.readShared(step.at, step.length);
            const bytes = Buffer.concat(pieces);
            kept.push({ bytes: () => Buffer.concat(pieces), expected: bytes });
          }
          // Whatever is given back gets other content at once.
          for (let buffer = spare.take(LARGE); buffer; buffer = spare.take(LARGE)) {
            buffer.fill(0xee);
            given++;
          }
          expect(Buffer.compare(data.read(0, data.size), expected)).toBe(0);
        }
        for (const { bytes, expected } of kept) {
          expect(Buffer.compare(bytes(), expected)).toBe(0);
        }
      }),
      { numRuns: 60 },
    );
    expect(given).toBeGreaterThan(0);
  });

  it('shares what lies together in memory in one piece', () => {
    const data = new ObjectData();
    data.write(0, Buffer.alloc(4 * CHUNK_BYTES, 7));
    expect(data.readShared(0, 4 * CHUNK_BYTES)).toHaveLength(1);
    data.write(CHUNK_BYTES, Buffer.alloc(10, 1));
    expect(data.readShared(0, 4 * CHUNK_BYTES).map(({ length }) => length / CHUNK_BYTES)).toEqual([
      1, 1, 2,
    ]);
  });

  it('punches holes that reach beyond what a chunk holds in memory', () => {
    const data = new ObjectData();
    data.write(0, Buffer.alloc(5000, 7));
    data.truncate(CHUNK_BYTES);
    data.zero(100, 12_000);
    const bytes = data.read(0, CHUNK_BYTES);
    expect(bytes.subarray(0, 100).every((byte) => byte === 7)).toBe(true);
    expect(bytes.subarray(100).every((byte) => byte === 0)).toBe(true);
  });

  it('cuts extents at the asked range and at the end', () => {
    const data = new ObjectData();
    data.write(100, Buffer.alloc(50, 1));
    data.write(300, Buffer.alloc(50, 1));
    expect(data.extents(120, 200)).toEqual([
      [120, 30],
      [300, 20],
    ]);
    expect(data.extents(340, 1000)).toEqual([[340, 10]]);
    expect(data.extents(1000, 10)).toEqual([]);
  });
});
