// Which epochs make an interval, and in which of them a write may have been acknowledged: an OSD that comes later must call
// an interval by the epoch that its members know it by, and must ask about it only if it may have been served.

import { describe, expect, it } from 'vitest';
import { intervalStart, pastIntervals } from '../../../src/cluster/osd/intervals.js';
import type { MapView } from '../../../src/cluster/osd/pg-host.js';

const PG = { pool: 1, seed: 0 };

/** A map by which these OSDs serve the PG; with none, its pool does not exist. `upThru`: of OSD n. */
function view(
  epoch: number,
  acting: readonly number[],
  { upThru = [], minSize = 1 }: { upThru?: readonly number[]; minSize?: number } = {},
): MapView {
  return {
    epoch,
    map: {
      pool: () => (acting.length > 0 ? { pgNum: 1, size: 2, minSize } : undefined),
      osdInfo: upThru.map((thru) => ({ upFrom: 0, upThru: thru })),
    },
    placement: {
      pgToUpActing: () => ({ up: acting, upPrimary: acting[0], acting, actingPrimary: acting[0] }),
    },
  } as unknown as MapView;
}

const among = (maps: readonly MapView[]) => (epoch: number) =>
  maps.find((map) => map.epoch === epoch);

const startAt = (epoch: number, maps: readonly MapView[]) =>
  intervalStart(PG, among(maps)(epoch) as MapView, among(maps));

describe('an interval', () => {
  it('begins with the first epoch of those that serve', () => {
    const maps = [view(3, [0]), view(4, [1]), view(5, [1]), view(6, [1])];
    expect(startAt(6, maps)).toEqual({ epoch: 4, isKnown: true });
    expect(startAt(3, maps)).toEqual({ epoch: 3, isKnown: false });
  });

  it('begins with the pool, or somewhere before the maps that are kept', () => {
    const pool = [view(7, []), view(8, [0]), view(9, [0])];
    expect(startAt(9, pool)).toEqual({ epoch: 8, isKnown: true });
    expect(startAt(9, pool.slice(1))).toEqual({ epoch: 8, isKnown: false });
    expect(startAt(2, [view(1, [0]), view(2, [0])])).toEqual({ epoch: 1, isKnown: true });
  });
});

describe('a later peering asks about', () => {
  const asksAbout = (maps: readonly MapView[], first: number, last: number) =>
    pastIntervals(PG, first, last, among(maps), () => [0, 1, 2]).map((interval) => [
      interval.first,
      interval.last,
      interval.acting.join(),
    ]);

  it('an interval whose primary lived to serve it', () => {
    const maps = [
      view(3, [0], { upThru: [0, 0] }),
      view(4, [1], { upThru: [0, 0] }),
      view(5, [1], { upThru: [0, 4] }),
      view(6, [0], { upThru: [0, 4] }),
    ];
    expect(asksAbout(maps, 4, 5)).toEqual([[4, 5, '1']]);
  });

  it('none whose primary was there for a moment only', () => {
    const maps = [
      view(3, [0], { upThru: [3, 0] }),
      // Alive, but before it had this PG.
      view(4, [1], { upThru: [3, 3] }),
      view(5, [0], { upThru: [3, 3] }),
    ];
    expect(asksAbout(maps, 4, 4)).toEqual([]);
  });

  it('none with fewer members than min_size', () => {
    const alone = { upThru: [9, 9], minSize: 2 };
    expect(asksAbout([view(3, [0, 1]), view(4, [1], alone), view(5, [0, 1])], 4, 4)).toEqual([]);
  });

  it('the rest of an interval that it saw the beginning of', () => {
    const upThru = [0, 4];
    const maps = [view(3, [0]), ...[4, 5, 6, 7].map((epoch) => view(epoch, [1], { upThru }))];
    expect(asksAbout(maps, 6, 7)).toEqual([[6, 7, '1']]);
  });

  it('any whose beginning or end is in maps that nobody keeps', () => {
    const nobody = { upThru: [0, 0, 0] };
    expect(asksAbout([view(4, [1], nobody), view(5, [0], nobody)], 4, 4)).toEqual([[4, 4, '1']]);
    const gap = [view(3, [0], nobody), view(4, [1], nobody), view(6, [0], nobody)];
    expect(asksAbout(gap, 4, 5)).toEqual([
      [4, 5, '0'],
      [4, 5, '1'],
      [4, 5, '2'],
      [4, 5, '1'],
    ]);
  });
});
