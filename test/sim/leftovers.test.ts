// Goal: what no image has is seen, and what only a removed snapshot needed.

import { describe, expect, it } from 'vitest';
import type { OsdDaemon } from '../../src/cluster/osd-daemon.js';
import { NOSNAP } from '../../src/encoding/types.js';
import { checkOrphans, checkTrimmed } from '../../src/sim/checkers/leftovers.js';

interface Kept {
  keys?: string[];
  whiteout?: boolean;
  snaps?: bigint[];
}

/** One OSD with one PG. */
function osds(objects: Record<string, Kept>, removed: [bigint, bigint][] = []) {
  const daemon = {
    view: {
      map: { pools: new Map([[1, { pgNum: 1 }]]), removedSnapsQueue: new Map([[1, removed]]) },
      placement: { pgToUpActing: () => ({ acting: [0], actingPrimary: 0 }) },
    },
    store: {
      list: () =>
        Object.keys(objects).map((oid) => ({
          ...{ pool: 1, nspace: '', oid, key: '', hash: 0, snap: NOSNAP },
        })),
      get: (_: string, { oid }: { oid: string }) => {
        const { keys = [], whiteout = false, snaps } = objects[oid] as Kept;
        return {
          meta: { info: { whiteout }, snapSet: { clones: snaps ? [{ id: 9n, snaps }] : [] } },
          omapFrom: () => keys.map((key) => [key, Buffer.alloc(0)]),
        };
      },
    },
  };
  return new Map([[0, daemon as unknown as OsdDaemon]]);
}

const LIVE = {
  rbd_directory: { keys: ['id_1a', 'name_vm'] },
  'rbd_id.vm': {},
  'rbd_header.1a': {},
  'rbd_object_map.1a': {},
  'rbd_object_map.1a.0000000000000004': {},
  'rbd_data.1a.0000000000000000': {},
};

describe('an object of an image', () => {
  it('belongs to one that has a name, or waits in the trash', () => {
    expect(checkOrphans(osds(LIVE))).toEqual([]);
    const trashed = { ...LIVE, rbd_trash: { keys: ['id_2b'] }, 'rbd_data.2b.00': {} };
    expect(checkOrphans(osds(trashed))).toEqual([]);
  });

  it.each(['rbd_data.2b.00', 'rbd_object_map.2b', 'rbd_header.2b', 'rbd_id.gone'])(
    'that belongs to none is told of: %s',
    (oid) => {
      const [violation, ...more] = checkOrphans(osds({ ...LIVE, [oid]: {} }));
      expect(violation?.message).toBe(`1 objects belong to no image: ${oid}`);
      expect(more).toEqual([]);
    },
  );

  it('of which only clones are left is not there', () => {
    const objects = { ...LIVE, 'rbd_data.2b.00': { whiteout: true } };
    expect(checkOrphans(osds(objects))).toEqual([]);
  });

  it('may be left of a rename that was interrupted', () => {
    const objects = { ...LIVE, 'rbd_id.vm2': {} };
    expect(checkOrphans(osds(objects), ['vm', 'vm2'])).toEqual([]);
    expect(checkOrphans(osds(objects), ['vm'])).toHaveLength(1);
  });
});

it('a clone is of snapshots that are there', () => {
  const objects = { 'rbd_data.1a.00': { snaps: [6n, 4n] } };
  expect(checkTrimmed(osds(objects, [[5n, 1n]]))).toEqual([]);
  expect(checkTrimmed(osds(objects, [[4n, 1n]])).map(({ message }) => message)).toEqual([
    'rbd_data.1a.00 has a clone of snapshot 4, which was removed',
  ]);
});
