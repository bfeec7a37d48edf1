// Random OSDMaps over a given CRUSH map: OSDs down, out, reweighted and gone; pools of odd sizes, replicated and
// erasure-coded; every kind of exception from CRUSH's placement.

import { formatPgId } from '../../../src/encoding/types.js';
import { createOsdMap } from '../../../src/osdmap/build.js';
import { CRUSH_ITEM_NONE, type CrushMap } from '../../../src/osdmap/crush-map.js';
import { MAX_PRIMARY_AFFINITY, OSD_STATE, OsdMap } from '../../../src/osdmap/osdmap.js';
import { createPool, POOL_FLAG, POOL_TYPE } from '../../../src/osdmap/pool.js';
import type { Draw } from './random-crush.js';

export const FSID = '00010203-0405-0607-0809-0a0b0c0d0e0f';

/** One pool per rule of the map; pool 7 has choose_args of its own where the map has some for it. */
export function randomOsdMap(draw: Draw, crush: CrushMap, pgNumMax: number): OsdMap {
  const osds = Array.from({ length: crush.maxDevices }, (_, id) => id);
  const pools = crush.rules.flatMap((rule, crushRule) => {
    if (!rule) return [];
    const pgNum = 1 + draw(pgNumMax);
    const pool = createPool({
      type: rule.type,
      size: rule.type === POOL_TYPE.ERASURE ? 2 + draw(5) : 1 + draw(5),
      minSize: 1,
      crushRule,
      pgNum,
      pgpNum: draw(2) ? pgNum : 1 + draw(pgNum),
      flags: draw(4) ? POOL_FLAG.HASHPSPOOL : 0,
    });
    return [{ id: 5 + crushRule, name: `pool${crushRule}`, pool }];
  });
  const base = createOsdMap({
    fsid: FSID,
    epoch: 10,
    created: { sec: 1_700_000_000, nsec: 0 },
    crush,
    osds: osds.map((id) => ({ id, uuid: FSID })),
    pools,
  });

  const osdState = base.osdState.map((state) => {
    if (draw(30) === 0) return 0;
    return draw(12) === 0 ? OSD_STATE.EXISTS : state;
  });
  const osdWeight = base.osdWeight.map((weight) => (draw(6) === 0 ? draw(0x10001) : weight));
  for (let i = osds.length >> 4; i >= 0; i--) osdWeight[draw(osds.length)] = 0;
  const primaryAffinity = draw(2)
    ? Uint32Array.from(osds, () => (draw(2) ? MAX_PRIMARY_AFFINITY : draw(MAX_PRIMARY_AFFINITY)))
    : new Uint32Array();

  const pgTemp = new Map<string, number[]>();
  const primaryTemp = new Map<string, number>();
  const pgUpmap = new Map<string, number[]>();
  const pgUpmapItems = new Map<string, [number, number][]>();
  const someOsds = (count: number) => Array.from({ length: count }, () => draw(osds.length));
  for (const { id, pool } of pools) {
    for (let seed = 0; seed < pool.pgNum; seed++) {
      const pg = formatPgId({ pool: id, seed });
      if (draw(10) === 0) {
        const temp = someOsds(1 + draw(pool.size));
        if (pool.type === POOL_TYPE.ERASURE && draw(2)) temp[0] = CRUSH_ITEM_NONE;
        pgTemp.set(pg, temp);
      }
      if (draw(20) === 0) primaryTemp.set(pg, draw(osds.length));
      if (draw(10) === 0) pgUpmap.set(pg, someOsds(pool.size));
      if (draw(6) === 0) {
        pgUpmapItems.set(
          pg,
          Array.from({ length: 1 + draw(3) }, () => [draw(osds.length), draw(osds.length)]),
        );
      }
    }
  }
  return new OsdMap({
    ...base,
    osdState,
    osdWeight,
    primaryAffinity,
    pgTemp,
    primaryTemp,
    pgUpmap,
    pgUpmapItems,
  });
}
