// Goal: PGs are mapped as osdmaptool mapped them (captured answers), each once per map, and objects find their PG.

import { describe, expect, it } from 'vitest';

import { utf8Bytes } from '../../src/encoding/encoder.js';
import { crc32cTwin } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';
import { buildSimpleCrushMap, createOsdMap } from '../../src/osdmap/build.js';
import type { CrushMapper } from '../../src/osdmap/crush-mapper.js';
import { twinMappers } from '../../src/osdmap/crush-twin.js';
import { wasmMappers } from '../../src/osdmap/crush-wasm.js';
import { rjenkinsHash } from '../../src/osdmap/object-hash.js';
import { decodeOsdMap, OsdMap, type OsdMapFields } from '../../src/osdmap/osdmap.js';
import { objectToPg, Placement } from '../../src/osdmap/placement.js';
import { createPool } from '../../src/osdmap/pool.js';
import { readCaptured } from './support/captured.js';
import { ourPlacements } from './support/our-mappings.js';
import { FSID } from './support/random-osdmap.js';

const wasm = wasmMappers(loadKernels());

function mapWith(change: Partial<OsdMapFields> = {}): OsdMap {
  const osds = [0, 1, 2, 3].map((id) => ({ id, uuid: FSID, host: `h${id}`, weight: 1 }));
  const map = createOsdMap({
    fsid: FSID,
    epoch: 1,
    created: { sec: 1, nsec: 0 },
    crush: buildSimpleCrushMap({ osds }),
    osds,
    pools: [{ id: 4, name: 'p', pool: createPool({ size: 3, pgNum: 12 }) }],
  });
  return new OsdMap({ ...map, ...change });
}

describe('Placement', () => {
  it('maps every PG as osdmaptool does, in WebAssembly and in TypeScript', () => {
    for (const { map: encoded, mappings } of readCaptured('placements')) {
      const map = decodeOsdMap(Buffer.from(encoded, 'base64'), crc32cTwin);
      expect(Object.fromEntries(ourPlacements(map, wasm))).toEqual(mappings);
      expect(Object.fromEntries(ourPlacements(map, twinMappers))).toEqual(mappings);
    }
  });

  it('runs CRUSH once per PG, however often it is asked', () => {
    const map = mapWith();
    let runs = 0;
    const counting: CrushMapper = {
      doRule: (input) => {
        runs++;
        return twinMappers(map.crush).doRule(input);
      },
    };
    const placement = new Placement(map, counting);
    const first = placement.pgToUpActing({ pool: 4, seed: 7 });
    for (let i = 0; i < 10; i++) expect(placement.pgToUpActing({ pool: 4, seed: 7 })).toBe(first);
    expect(runs).toBe(1);
  });

  it('maps nothing for a pool or PG that does not exist, or a pool without a rule', () => {
    const map = mapWith();
    const placement = new Placement(map, wasm(map.crush));
    const nothing = { up: [], upPrimary: -1, acting: [], actingPrimary: -1 };
    expect(placement.pgToUpActing({ pool: 9, seed: 0 })).toEqual(nothing);
    expect(placement.pgToUpActing({ pool: 4, seed: 12 })).toEqual(nothing);
    const pool = createPool({ size: 3, pgNum: 1, crushRule: 5 });
    const ruleless = mapWith({ pools: new Map([[4, pool]]) });
    expect(
      new Placement(ruleless, wasm(ruleless.crush)).pgToUpActing({ pool: 4, seed: 0 }),
    ).toEqual(nothing);
  });

  it("lets Reef's pg_upmap_primaries swap another member to the front, unless that is out", () => {
    const pg = { pool: 4, seed: 3 };
    const plain = mapWith();
    const raw = new Placement(plain, wasm(plain.crush)).pgToUpActing(pg).up;
    const pgUpmapPrimaries = new Map([['4.3', raw[2] as number]]);
    const swapped = mapWith({ pgUpmapPrimaries });
    expect(new Placement(swapped, wasm(swapped.crush)).pgToUpActing(pg).up).toEqual([
      raw[2],
      raw[1],
      raw[0],
    ]);
    const stranger = [0, 1, 2, 3].find((osd) => !raw.includes(osd)) as number;
    const ignored = mapWith({ pgUpmapPrimaries: new Map([['4.3', stranger]]) });
    expect(new Placement(ignored, wasm(ignored.crush)).pgToUpActing(pg).up).toEqual(raw);
  });
});

describe('objectToPg', () => {
  it('hashes the name, or the key, or takes the hash that it is given', () => {
    const map = mapWith();
    // 12 PGs: hashes whose low four bits are 12 to 15 fall back to three bits.
    expect(objectToPg(map, { pool: 4, oid: 'x', hash: 13 })?.pg).toEqual({ pool: 4, seed: 5 });
    expect(objectToPg(map, { pool: 4, oid: 'x', hash: 11 })?.pg).toEqual({ pool: 4, seed: 11 });
    const hash = rjenkinsHash(utf8Bytes('foo'));
    expect(objectToPg(map, { pool: 4, oid: 'foo', hash: -1 })?.hash).toBe(hash);
    expect(objectToPg(map, { pool: 4, oid: 'bar', key: 'foo' })?.hash).toBe(hash);
  });

  it('knows no PG in a pool that does not exist', () => {
    expect(objectToPg(mapWith(), { pool: 1, oid: 'foo' })).toBeUndefined();
  });
});
