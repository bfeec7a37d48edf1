/** The watches that the OSDs have, and how they forget one. */

import { isRadosError, RadosError } from '../../base/errors.js';
import { formatEntityName } from '../../encoding/entity.js';
import { placementOf } from '../mon/mon-state.js';
import { formatClientAddr, matchClient } from './client-match.js';
import type { DropWatchOptions, WatchStatus } from './fault-spec.js';
import type { FaultTargets } from './fault-targets.js';
import { pgOf, poolId } from './map-faults.js';

/** How long `dropWatches` waits for a PG that has no primary right now. */
const PRIMARY_TIMEOUT_MS = 10_000;
const PRIMARY_POLL_MS = 20;

export function listWatches(
  { machinery, state, osds }: FaultTargets,
  { pool, object }: { pool?: string | number; object?: string },
): WatchStatus[] {
  const only = pool === undefined ? undefined : poolId(state, pool);
  const nowMs = machinery.clock.clock.now();
  return osds().flatMap((osd) =>
    osd
      .servedPgs()
      .flatMap((pg) => pg.watches())
      .filter(({ object: id }) => only === undefined || id.pool === only)
      .filter(({ object: id }) => object === undefined || id.oid === object)
      .map(({ object: id, record, connected, lastPingMs }) => ({
        pool: id.pool,
        namespace: id.nspace,
        object: id.oid,
        osd: osd.whoami,
        client: formatEntityName(record.entity),
        addr: formatClientAddr(record.addr),
        cookie: record.cookie,
        timeoutS: record.timeoutS,
        connected,
        silentMs: lastPingMs === undefined ? undefined : nowMs - lastPingMs,
      })),
  );
}

/** Returns how many. ENOENT when nobody who is meant watches the object. */
export async function dropWatches(
  targets: FaultTargets,
  options: DropWatchOptions,
  isClosed: () => boolean,
): Promise<number> {
  const { state, machinery } = targets;
  const { clock, timers } = machinery.env;
  const { namespace = '', object } = options;
  const pool = poolId(state, options.pool);
  const isMeant = options.client === undefined ? () => true : matchClient(options.client);
  const deadline = clock.monotonic() + PRIMARY_TIMEOUT_MS;
  for (let dropped = 0; ; ) {
    const pgId = pgOf(state, { pool, namespace, object });
    const { actingPrimary } = placementOf(state, state.osdMaps.map).pgToUpActing(pgId);
    const pg = targets.osd(actingPrimary)?.servedPg(pgId);
    if (pg) {
      const meant = pg
        .watches()
        .filter(({ object: id }) => id.nspace === namespace && id.oid === object)
        .filter(({ record: { entity, addr } }) => isMeant({ name: entity, addr }));
      try {
        for (const watch of meant) {
          await pg.dropWatch(watch);
          dropped++;
        }
        if (dropped > 0) return dropped;
        throw new RadosError('ENOENT', `nobody meant watches ${object}`, { op: 'dropWatch' });
      } catch (error) {
        // The PG changed hands meanwhile: its new primary has the rest.
        if (!isRadosError(error, 'EAGAIN')) throw error;
      }
    }
    if (isClosed() || clock.monotonic() > deadline) {
      throw new RadosError('ETIMEDOUT', `no primary serves ${object}`, { op: 'dropWatch' });
    }
    await new Promise<void>((resolve) =>
      timers.after(PRIMARY_POLL_MS, resolve, { background: true }),
    );
  }
}
