// Goal: for every PG of a map, we and Ceph's own osdmaptool agree on the raw, up and acting OSDs and on the primaries.
// Method: maps are made by us or by the tools, written in Ceph's encoding, mapped by osdmaptool and compared PG by PG.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { formatPgId } from '../../src/encoding/types.js';
import { createCrc32c } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';
import { buildSimpleCrushMap, createOsdMap } from '../../src/osdmap/build.js';
import { CrushMap, encodeCrushFields } from '../../src/osdmap/crush-map.js';
import { twinMappers } from '../../src/osdmap/crush-twin.js';
import { wasmMappers } from '../../src/osdmap/crush-wasm.js';
import { decodeOsdMap, encodeOsdMap, OsdMap } from '../../src/osdmap/osdmap.js';
import { objectToPg } from '../../src/osdmap/placement.js';
import { createPool } from '../../src/osdmap/pool.js';
import { recapture } from './support/captured.js';
import { haveCephTools, osdmaptoolMappings, runTool } from './support/ceph-tools.js';
import { ourPlacements } from './support/our-mappings.js';
import { randomCrush, seeded } from './support/random-crush.js';
import { FSID, randomOsdMap } from './support/random-osdmap.js';

const kernels = loadKernels();
const crc32c = createCrc32c(kernels);
const wasm = wasmMappers(kernels);

/** Every PG of every pool, in both implementations of CRUSH. */
function expectSamePlacement(map: OsdMap): void {
  const expected = osdmaptoolMappings(encodeOsdMap(map, crc32c));
  const pgCount = [...map.pools.values()].reduce((sum, pool) => sum + pool.pgNum, 0);
  expect(expected.size).toBe(pgCount);
  expect(ourPlacements(map, wasm)).toEqual(expected);
  expect(ourPlacements(map, twinMappers)).toEqual(expected);
}

/** A map as the tools make it: `--createsimple`, then a CRUSH map of racks and hosts from `crushtool --build`. */
function toolMadeMap(osds: number, layers: string[]): OsdMap {
  const build = ['-o', 'crush', '--build', '--num_osds', `${osds}`, ...layers];
  const crush = runTool('crushtool', build, {}, (_, folder) => readFileSync(join(folder, 'crush')));
  const create = ['map', '--createsimple', `${osds}`, '--with-default-pool', '--pg-bits', '0'];
  const simple = runTool('osdmaptool', create, {}, (_, dir) => readFileSync(join(dir, 'map')));
  const imported = runTool(
    'osdmaptool',
    ['map', '--import-crush', 'crush'],
    { map: simple, crush },
    (_, folder) => readFileSync(join(folder, 'map')),
  );
  const map = decodeOsdMap(imported, crc32c);
  expect(Buffer.from(encodeOsdMap(map, crc32c)).equals(imported), 'encodes as it was').toBe(true);
  expect(Buffer.from(encodeCrushFields(map.crush)).equals(crush), 'CRUSH too').toBe(true);
  return map;
}

describe.skipIf(!haveCephTools())('placement against osdmaptool', { timeout: 120_000 }, () => {
  it('agrees on random maps with every kind of exception', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const draw = seeded(seed);
      const crush = new CrushMap(randomCrush(draw));
      expectSamePlacement(randomOsdMap(draw, crush, 120));
    }
  });

  it('gets the captured answers of osdmaptool again', () => {
    const captured = recapture('placements', () =>
      Array.from({ length: 8 }, (_, seed) => {
        const draw = seeded(100 + seed);
        const map = encodeOsdMap(randomOsdMap(draw, new CrushMap(randomCrush(draw)), 60), crc32c);
        const mappings = Object.fromEntries(osdmaptoolMappings(map));
        return { map: Buffer.from(map).toString('base64'), mappings };
      }),
    );
    for (const { map, mappings } of captured) {
      const again = osdmaptoolMappings(Buffer.from(map, 'base64'));
      expect(Object.fromEntries(again)).toEqual(mappings);
    }
  });

  it('agrees on a map of a few OSDs made by the tools', () => {
    const map = toolMadeMap(3, ['host', 'straw2', '1', 'root', 'straw2', '0']);
    expectSamePlacement(randomOsdMap(seeded(3), map.crush, 500));
  });

  it('agrees on maps of hundreds of OSDs in racks, of every bucket kind', () => {
    for (const alg of ['uniform', 'list', 'tree', 'straw', 'straw2']) {
      const map = toolMadeMap(240, ['host', alg, '12', 'rack', alg, '5', 'root', alg, '0']);
      expectSamePlacement(randomOsdMap(seeded(240), map.crush, 1000));
    }
  });

  it('agrees on a map of 10,000 OSDs in 25 racks', () => {
    const map = toolMadeMap(10_000, [
      ...['host', 'straw2', '20', 'rack', 'straw2', '20', 'root', 'straw2', '0'],
    ]);
    const { crush, pools } = map;
    const random = randomOsdMap(seeded(10_000), crush, 2048);
    const [pool] = pools.values();
    expectSamePlacement(new OsdMap({ ...random, pools: new Map([...random.pools, [1, pool!]]) }));
  });

  it('agrees on maps of the builder, whose class rules use the shadow trees', () => {
    const crush = buildSimpleCrushMap({
      osds: Array.from({ length: 12 }, (_, id) => ({
        id,
        host: `host${id % 4}`,
        weight: 1 + (id % 3),
        deviceClass: id % 2 ? 'ssd' : 'hdd',
      })),
    });
    const shadow = crush.itemId('default~ssd');
    const steps = crush.rules[0]!.steps.map((step) =>
      step.arg1 === -1 ? { ...step, arg1: shadow! } : step,
    );
    const withClassRule = new CrushMap({
      ...crush,
      rules: [crush.rules[0], { ...crush.rules[0]!, ruleset: 1, steps }],
    });
    const map = randomOsdMap(seeded(12), withClassRule, 200);
    expectSamePlacement(map);
    const all = ourPlacements(
      new OsdMap({ ...map, pgUpmap: new Map(), pgUpmapItems: new Map() }),
      wasm,
    );
    const onSsd = [...all].filter(([pg]) => pg.startsWith('6.')).flatMap(([, { raw }]) => raw);
    expect(onSsd.length).toBeGreaterThan(0);
    expect(onSsd.every((osd) => osd % 2 === 1)).toBe(true);
  });

  it('hashes object names to PGs as osdmaptool does, with unusual names and pool sizes', () => {
    const names = [
      'foo',
      'rbd_data.1f2e3d4c.000000000000002a',
      'a b',
      'ü',
      'x'.repeat(100),
      '12 bytes long',
    ];
    for (const pgNum of [1, 12, 37, 128]) {
      const map = createOsdMap({
        fsid: FSID,
        epoch: 1,
        created: { sec: 1, nsec: 0 },
        crush: buildSimpleCrushMap({ osds: [{ id: 0, host: 'a', weight: 1 }] }),
        osds: [{ id: 0, uuid: FSID }],
        pools: [{ id: 3, name: 'p', pool: createPool({ size: 1, pgNum }) }],
      });
      const file = encodeOsdMap(map, crc32c);
      for (const oid of names) {
        const args = ['map', '--test-map-object', oid, '--pool', '3'];
        const pg = runTool(
          'osdmaptool',
          args,
          { map: file },
          (out) => /-> (3\.[0-9a-f]+) ->/.exec(out)?.[1],
        );
        expect(formatPgId(objectToPg(map, { pool: 3, oid })!.pg), oid).toBe(pg);
      }
    }
  });

  it('prints the maps of the builder', () => {
    const map = createOsdMap({
      fsid: FSID,
      epoch: 7,
      created: { sec: 1_700_000_000, nsec: 5 },
      crush: buildSimpleCrushMap({ osds: [{ id: 0, host: 'a', weight: 1, deviceClass: 'ssd' }] }),
      osds: [
        {
          id: 0,
          uuid: FSID,
          addrs: {
            client: [{ type: 2, nonce: 7, host: '10.0.0.1', port: 6800 }],
            cluster: [{ type: 2, nonce: 7, host: '10.0.0.1', port: 6801 }],
            hbBack: [{ type: 2, nonce: 7, host: '10.0.0.1', port: 6802 }],
            hbFront: [{ type: 2, nonce: 7, host: '::1', port: 6803 }],
          },
        },
      ],
      pools: [
        { id: 1, name: 'rbd', pool: createPool({ size: 1, pgNum: 8, applications: ['rbd'] }) },
      ],
    });
    const printed = runTool(
      'osdmaptool',
      ['map', '--print'],
      { map: encodeOsdMap(map, crc32c) },
      (o) => o,
    );
    expect(printed).toContain('flags sortbitwise,recovery_deletes,purged_snapdirs,pglog_hardlimit');
    expect(printed).toContain('min_compat_client luminous');
    expect(printed).toContain('require_osd_release pacific');
    expect(printed).toContain("pool 1 'rbd' replicated size 1 min_size 1 crush_rule 0");
    expect(printed).toMatch(/osd\.0 up +in +weight 1 .*v2:10\.0\.0\.1:6800\/7/);
    expect(printed).toContain('full_ratio 0.95');
  });
});
