import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestTable } from '../../src/osd-client/request-table.js';

const request = (tid: number) => ({ tid });

describe('a table of requests', () => {
  it('has what a map has, in the same order, whatever comes and goes', () => {
    // Many of them want the same slots.
    const tids = fc.oneof(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 0, max: 40 }).map((n) => n * 64 + 63),
      fc.constantFrom(2 ** 31 - 1, 2 ** 31, 2 ** 32 + 63, Number.MAX_SAFE_INTEGER),
    );
    const step = fc.record({ tid: tids, kind: fc.constantFrom('add', 'add', 'delete') });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new RequestTable<{ tid: number }>();
        const map = new Map<number, { tid: number }>();
        for (const { tid, kind } of steps) {
          if (kind === 'delete') expect(table.delete(tid)).toBe(map.delete(tid));
          else {
            const added = map.get(tid) ?? request(tid);
            map.set(tid, added);
            table.add(added);
          }
          expect(table.get(tid)).toBe(map.get(tid));
        }
        expect(table.size).toBe(map.size);
        expect([...table]).toEqual([...map.values()]);
        for (const { tid } of steps) {
          expect(table.get(tid)).toBe(map.get(tid));
          expect(table.has(tid)).toBe(map.has(tid));
        }
      }),
    );
  });

  it('grows with what is in it', () => {
    const table = new RequestTable<{ tid: number }>();
    for (let tid = 1; tid <= 10_000; tid++) table.add(request(tid * 64));
    expect(table.size).toBe(10_000);
    for (let tid = 1; tid <= 10_000; tid++) expect(table.get(tid * 64)).toEqual(request(tid * 64));
    for (let tid = 1; tid <= 10_000; tid += 2) expect(table.delete(tid * 64)).toBe(true);
    expect([...table].length).toBe(5000);
    expect(table.get(64)).toBeUndefined();
    expect(table.get(128)).toEqual(request(128));
  });

  it('keeps what is there when it is added again', () => {
    const table = new RequestTable<{ tid: number }>();
    const first = request(7);
    table.add(first);
    table.add(request(7));
    expect(table.get(7)).toBe(first);
    expect(table.size).toBe(1);
  });
});
