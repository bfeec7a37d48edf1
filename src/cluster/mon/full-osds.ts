/**
 * OSDs without room, and what they mean for pools (`OSDMonitor::prepare_full`, `OSDMap::get_full_pools`): while one of
 * them is full, clients hold back what would write to its pools. Here these are all pools, because all OSDs share a disk.
 */

import { OSD_STATE, type OsdMap } from '../../osdmap/osdmap.js';
import { POOL_FLAG } from '../../osdmap/pool.js';
import type { OsdMapService } from './osdmap-service.js';
import { editPool } from './pools.js';

/** One that is out has room to give, and keeps nobody waiting. */
export function fullOsds(map: OsdMap): number[] {
  return Array.from({ length: map.maxOsd }, (_, osd) => osd).filter(
    (osd) => isMarked(map, osd) && map.isUp(osd) && !map.isOut(osd),
  );
}

export function markFull(osdMaps: OsdMapService, osd: number, full: boolean): void {
  const { map } = osdMaps;
  const wasMarked = isMarked(map, osd);
  // Nothing to take back: a pool may be marked for another reason.
  if (!full && !wasMarked) return;
  const poolsFull = full || fullOsds(map).some((other) => other !== osd);
  const pools = [...map.pools].filter(
    ([, { flags }]) => ((flags & POOL_FLAG.FULL) !== 0) !== poolsFull,
  );
  if (wasMarked === full && pools.length === 0) return;
  osdMaps.commit((incremental) => {
    if (wasMarked !== full) incremental.newState.set(osd, OSD_STATE.FULL);
    for (const [id, pool] of pools) {
      const edited = editPool(pool);
      edited.flags ^= POOL_FLAG.FULL;
      incremental.newPools.set(id, edited);
    }
  });
}

function isMarked(map: OsdMap, osd: number): boolean {
  return ((map.osdState[osd] ?? 0) & OSD_STATE.FULL) !== 0;
}
