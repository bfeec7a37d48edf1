// Which epochs make an interval: an OSD that comes later must call it by the epoch that its members know it by.

import { expect, it } from 'vitest';
import { intervalStart } from '../../../src/cluster/osd/intervals.js';
import type { MapView } from '../../../src/cluster/osd/pg-host.js';

const PG = { pool: 1, seed: 0 };

/** A map by which these OSDs serve the PG; with none, its pool does not exist. */
function view(epoch: number, acting: readonly number[]): MapView {
  return {
    epoch,
    map: {
      pool: () => (acting.length > 0 ? { pgNum: 1, size: 1, minSize: 1 } : undefined),
      osdInfo: [],
    },
    placement: {
      pgToUpActing: () => ({ up: acting, upPrimary: acting[0], acting, actingPrimary: acting[0] }),
    },
  } as unknown as MapView;
}

function startAt(epoch: number, maps: readonly MapView[]): number {
  const at = (wanted: number) => maps.find((map) => map.epoch === wanted);
  return intervalStart(PG, at(epoch) as MapView, at);
}

it('an interval begins with the first epoch of those that serve', () => {
  const maps = [view(3, [0]), view(4, [1]), view(5, [1]), view(6, [1])];
  expect(startAt(6, maps)).toBe(4);
  expect(startAt(3, maps)).toBe(3);
});

it('it begins with the pool, or where the kept maps do', () => {
  expect(startAt(9, [view(7, []), view(8, [0]), view(9, [0])])).toBe(8);
  expect(startAt(9, [view(8, [0]), view(9, [0])])).toBe(8);
});
