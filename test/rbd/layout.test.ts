import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dataObject, Layout } from '../../src/rbd/layout.js';

/** Layouts small enough that extents of a few KiB meet many objects. */
const layouts = fc
  .record({
    order: fc.integer({ min: 9, max: 13 }),
    unitShift: fc.integer({ min: 0, max: 5 }),
    stripeCount: fc.integer({ min: 1, max: 7 }),
  })
  .map(({ order, unitShift, stripeCount }) => {
    const stripeUnit = 2 ** (order - unitShift);
    return new Layout({ order, stripeUnit, stripeCount });
  });
const extents = fc.record({
  offset: fc.integer({ min: 0, max: 200_000 }),
  length: fc.integer({ min: 1, max: 100_000 }),
});

describe('Layout', () => {
  it('places bytes where a striped image of a real cluster has them', () => {
    const layout = new Layout({ order: 20, stripeUnit: 65_536, stripeCount: 4 });
    const placed: [number, number, number][] = [
      [0, 0, 0],
      [65_536, 1, 0],
      [262_144, 0, 65_536],
      [327_780, 1, 65_636],
      [1_048_576, 0, 262_144],
      [4_194_304, 4, 0],
      [4_653_057, 7, 65_537],
    ];
    for (const [imageOffset, objectNo, offset] of placed) {
      expect(layout.locate(imageOffset)).toEqual({ objectNo, offset });
    }
  });

  it('cuts an extent at object boundaries when there is no striping', () => {
    const layout = new Layout({ order: 22 });
    expect(layout.striped).toBe(false);
    expect(layout.objectExtents(4_194_300, 4_194_310)).toEqual([
      { objectNo: 0, offset: 4_194_300, length: 4, pieces: [{ start: 0, length: 4 }] },
      { objectNo: 1, offset: 0, length: 4_194_304, pieces: [{ start: 4, length: 4_194_304 }] },
      { objectNo: 2, offset: 0, length: 2, pieces: [{ start: 4_194_308, length: 2 }] },
    ]);
  });

  it('merges the units of one object into one extent', () => {
    const layout = new Layout({ order: 13, stripeUnit: 4096, stripeCount: 2 });
    expect(layout.objectExtents(1000, 12_000)).toEqual([
      {
        objectNo: 0,
        offset: 1000,
        length: 7192,
        pieces: [
          { start: 0, length: 3096 },
          { start: 7192, length: 4096 },
        ],
      },
      {
        objectNo: 1,
        offset: 0,
        length: 4808,
        pieces: [
          { start: 3096, length: 4096 },
          { start: 11_288, length: 712 },
        ],
      },
    ]);
  });

  it('maps every byte of an extent to the place that the byte alone has, once', () => {
    fc.assert(
      fc.property(layouts, extents, (layout, { offset, length }) => {
        let covered = 0;
        const objects = new Set<number>();
        for (const extent of layout.objectExtents(offset, length)) {
          expect(objects.has(extent.objectNo)).toBe(false);
          objects.add(extent.objectNo);
          expect(extent.offset + extent.length).toBeLessThanOrEqual(layout.objectSize);
          let inObject = extent.offset;
          for (const piece of extent.pieces) {
            const first = offset + piece.start;
            for (const at of [0, piece.length - 1]) {
              expect(layout.locate(first + at)).toEqual({
                objectNo: extent.objectNo,
                offset: inObject + at,
              });
            }
            inObject += piece.length;
            covered += piece.length;
          }
          expect(inObject).toBe(extent.offset + extent.length);
        }
        expect(covered).toBe(length);
      }),
    );
  });

  it('maps object extents back to the image extents that they came from', () => {
    fc.assert(
      fc.property(layouts, extents, (layout, { offset, length }) => {
        for (const extent of layout.objectExtents(offset, length)) {
          const back = layout.imageExtents(extent.objectNo, extent.offset, extent.length);
          const pieces = extent.pieces.reduce<{ offset: number; length: number }[]>(
            (all, piece) => {
              const at = offset + piece.start;
              const last = all.at(-1);
              if (last && last.offset + last.length === at) last.length += piece.length;
              else all.push({ offset: at, length: piece.length });
              return all;
            },
            [],
          );
          expect(back).toEqual(pieces);
        }
      }),
    );
  });

  it('knows how much of an object lies below a size', () => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 0, max: 100_000 }), (layout, size) => {
        const bytes = new Map<number, number>();
        for (const { objectNo, length } of layout.objectExtents(0, size))
          bytes.set(objectNo, length);
        for (let objectNo = 0; objectNo < layout.objectCount(size) + 3; objectNo++) {
          expect(layout.objectBytes(objectNo, size)).toBe(bytes.get(objectNo) ?? 0);
        }
      }),
    );
  });

  it('counts exactly the objects that bytes below a size can be in', () => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 1, max: 100_000 }), (layout, size) => {
        const objects = layout.objectExtents(0, size).map(({ objectNo }) => objectNo);
        expect(layout.objectCount(size)).toBe(Math.max(...objects) + 1);
      }),
    );
    expect(new Layout({ order: 22 }).objectCount(0)).toBe(0);
    expect(new Layout({ order: 22 }).objectCount(2 ** 50)).toBe(2 ** 28);
  });

  it('keeps offsets of petabytes exact', () => {
    const layout = new Layout({ order: 22, stripeUnit: 65_536, stripeCount: 5 });
    const at = 2 ** 52 + 12_345;
    const { objectNo, offset } = layout.locate(at);
    expect(layout.imageExtents(objectNo, offset, 1)).toEqual([{ offset: at, length: 1 }]);
  });

  it('refuses layouts that cannot be', () => {
    const refused = [
      { order: 8 },
      { order: 32 },
      { order: 22.5 },
      { order: 22, stripeUnit: 0, stripeCount: 1 },
      { order: 22, stripeUnit: 3_000_000, stripeCount: 2 },
      { order: 22, stripeUnit: 65_536, stripeCount: 0 },
      { order: 22, stripeUnit: 65_536, stripeCount: 2 ** 40 },
    ];
    for (const fields of refused) {
      expect(() => new Layout(fields)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    }
  });

  it('names objects by 16 hexadecimal digits', () => {
    expect(dataObject('rbd_data.1.131564aa7c2b', 42)).toBe(
      'rbd_data.1.131564aa7c2b.000000000000002a',
    );
  });
});
