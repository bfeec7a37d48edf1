// What we make of a map, in the shape of the tools' answers.

import { formatPgId } from '../../../src/encoding/types.js';
import type { CrushFields } from '../../../src/osdmap/crush-map.js';
import type { CrushMapper, CrushMappers } from '../../../src/osdmap/crush-mapper.js';
import type { OsdMap } from '../../../src/osdmap/osdmap.js';
import { Placement } from '../../../src/osdmap/placement.js';
import type { CrushTest, ToolMapping } from './ceph-tools.js';
import { weightVector } from './random-crush.js';

/** Every PG of every pool. */
export function ourPlacements(map: OsdMap, mappers: CrushMappers): Map<string, ToolMapping> {
  const placement = new Placement(map, mappers(map.crush));
  const mappings = new Map<string, ToolMapping>();
  for (const [poolId, { pgNum }] of map.pools) {
    for (let seed = 0; seed < pgNum; seed++) {
      const pg = { pool: poolId, seed };
      const { up, upPrimary, acting, actingPrimary } = placement.pgToUpActing(pg);
      const raw = placement.pgToRaw(pg);
      mappings.set(formatPgId(pg), {
        raw,
        up: [...up],
        upPrimary,
        acting: [...acting],
        actingPrimary,
      });
    }
  }
  return mappings;
}

/** The items for each x. */
export function ourCrushMappings(
  mapper: CrushMapper,
  fields: CrushFields,
  test: CrushTest,
): number[][] {
  const weights = weightVector(fields, test.weights ?? new Map());
  // crushtool maps as for pool 0.
  const chooseArgs = [0, -1].find((index) => fields.chooseArgs.has(index));
  return Array.from({ length: test.maxX + 1 }, (_, x) => [
    ...mapper.doRule({ rule: test.rule, x, resultMax: test.numRep, weights, chooseArgs }),
  ]);
}
