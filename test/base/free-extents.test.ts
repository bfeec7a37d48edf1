import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FreeExtents } from '../../src/base/free-extents.js';

describe('free extents', () => {
  it('never give a unit out twice, and lose none, however they are taken, given back and grown', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('take' as const), units: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ kind: fc.constant('give' as const), units: fc.nat() }),
      fc.record({ kind: fc.constant('grow' as const), units: fc.nat({ max: 30 }) }),
    );
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.array(step, { maxLength: 200 }), (units, steps) => {
        const extents = new FreeExtents(units);
        const owners: boolean[] = new Array<boolean>(units).fill(false);
        const taken: { start: number; units: number }[] = [];
        for (const { kind, units: n } of steps) {
          if (kind === 'grow') {
            extents.grow(n);
            for (let i = 0; i < n; i++) owners.push(false);
          } else if (kind === 'take') {
            const start = extents.take(n);
            if (start < 0) continue;
            for (let i = start; i < start + n; i++) {
              expect(owners[i]).toBe(false);
              owners[i] = true;
            }
            taken.push({ start, units: n });
          } else if (taken.length > 0) {
            const [one] = taken.splice(n % taken.length, 1);
            extents.give(one!.start, one!.units);
            owners.fill(false, one!.start, one!.start + one!.units);
          }
          expect(extents.units).toBe(owners.length);
          expect(extents.free).toBe(owners.filter((isTaken) => !isTaken).length);
          const lastTaken = owners.lastIndexOf(true);
          expect(extents.freeAtEnd).toBe(owners.length - 1 - lastTaken);
        }
      }),
    );
  });

  it('are merged again: all of the region can be taken at once when all was given back', () => {
    const extents = new FreeExtents(1000);
    const places = Array.from({ length: 500 }, () => extents.take(2));
    for (const index of places.keys()) {
      if (index % 2 === 0) extents.give(places[index]!, 2);
    }
    for (const index of places.keys()) {
      if (index % 2 === 1) extents.give(places[index]!, 2);
    }
    expect(extents.take(1000)).toBe(0);
    expect(extents.take(1)).toBe(-1);
  });
});
