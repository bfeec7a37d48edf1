/** What executing requests sees of a PG. */

import { RadosError } from '../../base/errors.js';
import type { IntervalSet, PgId } from '../../encoding/types.js';
import { intervalsContain } from '../../osdmap/interval-set.js';
import type { PgView } from './op-context.js';
import type { PgHost } from './pg-host.js';
import type { PgStorage } from './pg-storage.js';

/** Snapshots of the pool that were removed: they are not read and not cloned for any more. */
export function removedSnaps(host: PgHost, pool: number): IntervalSet {
  return host.view.map.removedSnapsQueue.get(pool) ?? [];
}

export function createPgView(
  pg: PgId,
  host: PgHost,
  storage: PgStorage,
  watchesOf: PgView['watchesOf'],
): PgView {
  return {
    store: host.store,
    collection: storage.collection,
    poolId: pg.pool,
    seed: pg.seed,
    limits: host.limits,
    crc32c: host.crc32c,
    watchesOf,
    isRemovedSnap: (snap) => intervalsContain(removedSnaps(host, pg.pool), snap),
    nextNotifyId: () => host.nextNotifyId(),
    nowMs: () => host.env.clock.now(),
    randomBytes: (length) => host.env.random.bytes(length),
    get pool() {
      const pool = host.view.map.pool(pg.pool);
      if (!pool) throw new RadosError('ENOENT', `pool ${pg.pool} is gone`);
      return pool;
    },
    get epoch() {
      return host.view.epoch;
    },
    get lastUpdate() {
      return storage.info.lastUpdate;
    },
    get lastUserVersion() {
      return storage.info.lastUserVersion;
    },
  };
}
