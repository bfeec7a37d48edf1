/**
 * Who serves a read: the primary, any member of the acting set, or the nearest one
 * (krbd's `read_from_replica`; `pick_random_replica` and `pick_closest_replica` in `net/ceph/osd_client.c`).
 */

import type { Random } from '../base/environment.js';
import { OSD_FLAG } from '../messages/osd-messages.js';
import { CRUSH_ITEM_NONE } from '../osdmap/crush-map.js';
import type { OsdMap } from '../osdmap/osdmap.js';
import { canShiftOsds } from '../osdmap/pool.js';
import type { Placement } from './op-request.js';
import type { ClientMap } from './target.js';

export interface ReplicaReads {
  /** Answers the placement with the OSD that should serve; `before` is where the read went last. */
  (map: ClientMap, placement: Placement, before: Placement | undefined): Placement;
  /** Marks the reads; 0: every read goes to the primary. */
  readonly flag: number;
}

/** Where the client is in the CRUSH hierarchy: pairs of bucket type and name, e.g. `['rack', 'r7']`. */
export type CrushLocation = readonly (readonly [type: string, name: string])[];

export function primaryOnly(): ReplicaReads {
  return Object.assign((_map: ClientMap, placement: Placement) => placement, { flag: 0 });
}

export function balanced(random: Random): ReplicaReads {
  const pick = (map: ClientMap, placement: Placement, before: Placement | undefined) => {
    const replicas = candidates(map, placement);
    if (replicas.length === 0) return placement;
    // A map change that leaves the acting set alone must not move the read.
    if (before && replicas.includes(before.osd)) return { ...placement, osd: before.osd };
    return { ...placement, osd: replicas[random.u32() % replicas.length] as number };
  };
  return Object.assign(pick, { flag: OSD_FLAG.BALANCE_READS });
}

export function localized(location: CrushLocation): ReplicaReads {
  const pick = (map: ClientMap, placement: Placement) => {
    const replicas = candidates(map, placement);
    const parents = parentsOf(map.osdMap);
    let best = placement.osd;
    let bestDistance = Number.POSITIVE_INFINITY;
    for (const osd of replicas) {
      const distance = distanceTo(map.osdMap, parents, osd, location);
      if (distance < bestDistance) {
        best = osd;
        bestDistance = distance;
      }
    }
    return { ...placement, osd: best };
  };
  return Object.assign(pick, { flag: OSD_FLAG.LOCALIZE_READS });
}

/** Erasure-coded shards each hold another part: only replicas can stand in for one another. */
function candidates(map: ClientMap, placement: Placement): readonly number[] {
  const pool = map.osdMap.pool(placement.pg.pool);
  if (!pool || !canShiftOsds(pool)) return [];
  return placement.acting.filter((osd) => osd !== CRUSH_ITEM_NONE);
}

const parentCache = new WeakMap<object, Map<number, number>>();

/** Item → bucket that holds it, leaving out the shadow trees of device classes. */
function parentsOf({ crush }: OsdMap): Map<number, number> {
  const known = parentCache.get(crush);
  if (known) return known;
  const parents = new Map<number, number>();
  for (const bucket of crush.buckets) {
    if (!bucket || crush.itemNames.get(bucket.id)?.includes('~')) continue;
    for (const item of bucket.items) parents.set(item, bucket.id);
  }
  parentCache.set(crush, parents);
  return parents;
}

/** The type id of the lowest bucket that both are in: a host is nearer than a rack. Infinity when there is none. */
function distanceTo(
  { crush }: OsdMap,
  parents: Map<number, number>,
  osd: number,
  location: CrushLocation,
): number {
  let item = parents.get(osd);
  // A hierarchy is a dozen levels deep at most; a map whose buckets hold each other would be deeper.
  for (let depth = 0; item !== undefined && depth < 32; depth++) {
    const bucket = crush.bucket(item);
    const name = crush.itemNames.get(item);
    const type = bucket && crush.typeNames.get(bucket.type);
    if (bucket && location.some(([t, n]) => t === type && n === name)) return bucket.type;
    item = parents.get(item);
  }
  return Number.POSITIVE_INFINITY;
}
