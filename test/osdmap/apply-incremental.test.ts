// Goal: applying incrementals leads to the very maps that Ceph's monitor has. Method: the whole history of a live 16.2.15
// cluster (81 epochs: OSDs created, up, down, out, lost, destroyed and removed; pools created, changed, renamed and
// deleted; snapshots, quotas, upmaps, temps, blocklist, profiles, weight sets, tunables) is applied one by one, and
// each map must encode to the checksum that the monitor put into the incremental.

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { crc32cTwin } from '../../src/kernels/crc32c.js';
import { applyIncremental } from '../../src/osdmap/apply-incremental.js';
import { buildSimpleCrushMap, createOsdMap } from '../../src/osdmap/build.js';
import { blocklistKey } from '../../src/osdmap/collections.js';
import {
  decodeIncremental,
  emptyIncremental,
  encodeIncremental,
  type Incremental,
} from '../../src/osdmap/incremental.js';
import {
  decodeOsdMap,
  emptyOsdMapFields,
  encodeOsdMap,
  fullMapCrc,
  MAX_PRIMARY_AFFINITY,
  OSD_STATE,
  OsdMap,
} from '../../src/osdmap/osdmap.js';
import { createPool } from '../../src/osdmap/pool.js';

const FSID = '00010203-0405-0607-0809-0a0b0c0d0e0f';

/** The incrementals of epochs 1 to 81, and the full map of epoch 81. */
function readHistory(): { incrementals: Uint8Array[]; last: Uint8Array } {
  const file = gunzipSync(readFileSync(packageFile('test/fixtures/osdmap/history-16.2.15.gz')));
  const decoder = new Decoder(file);
  const parts: Uint8Array[] = [];
  while (decoder.remaining > 0) parts.push(decoder.blob());
  return { incrementals: parts.slice(0, -1), last: parts.at(-1) as Uint8Array };
}

function smallMap(): OsdMap {
  return createOsdMap({
    fsid: FSID,
    epoch: 1,
    created: { sec: 100, nsec: 0 },
    crush: buildSimpleCrushMap({
      osds: [0, 1, 2].map((id) => ({ id, host: `h${id}`, weight: 1 })),
    }),
    osds: [0, 1, 2].map((id) => ({ id, uuid: FSID })),
    pools: [{ id: 1, name: 'rbd', pool: createPool({ size: 2, pgNum: 8 }) }],
  });
}

function apply(map: OsdMap, change: Partial<Incremental>): OsdMap {
  return applyIncremental(map, { ...emptyIncremental(map), ...change }, crc32cTwin);
}

const addr = (port: number, nonce: number) => ({ type: 3, nonce, host: '10.0.0.1', port });

describe('applyIncremental', () => {
  it("follows a live cluster's history to the same checksum at every epoch", () => {
    const { incrementals, last } = readHistory();
    let map = new OsdMap(emptyOsdMapFields());
    for (const bytes of incrementals) {
      const incremental = decodeIncremental(bytes, crc32cTwin);
      const again = encodeIncremental(incremental, crc32cTwin);
      expect(Buffer.from(again).equals(bytes), `incremental ${incremental.epoch}`).toBe(true);
      map = applyIncremental(map, incremental, crc32cTwin);
      const crc = fullMapCrc(encodeOsdMap(map, crc32cTwin));
      expect(crc, `epoch ${map.epoch}`).toBe(incremental.fullCrc);
    }
    expect(map.epoch).toBe(81);
    expect(Buffer.from(encodeOsdMap(map, crc32cTwin)).equals(last)).toBe(true);
    expect(Buffer.from(encodeOsdMap(decodeOsdMap(last, crc32cTwin), crc32cTwin)).equals(last)).toBe(
      true,
    );
  });

  it('leaves the old map alone and shares what did not change', () => {
    const map = smallMap();
    const before = Uint8Array.from(encodeOsdMap(map, crc32cTwin));
    const next = apply(map, { newWeight: new Map([[1, 0]]) });
    expect([...next.osdWeight]).toEqual([0x10000, 0, 0x10000]);
    expect(Buffer.from(encodeOsdMap(map, crc32cTwin)).equals(before)).toBe(true);
    for (const key of [
      'crush',
      'pools',
      'osdState',
      'clientAddrs',
      'pgUpmap',
      'blocklist',
    ] as const) {
      expect(next[key], key).toBe(map[key]);
    }
  });

  it('takes 0 in newState for UP, and processes it before newUpClient', () => {
    const map = smallMap();
    const down = apply(map, { newState: new Map([[0, 0]]) });
    expect(down.isUp(0)).toBe(false);
    expect(down.osdInfo[0]?.downAt).toBe(2);
    const moved = apply(map, {
      newState: new Map([[0, OSD_STATE.UP]]),
      newUpClient: new Map([[0, [addr(6800, 9)]]]),
    });
    expect(moved.isUp(0)).toBe(true);
    expect(moved.osdAddrs(0)).toEqual([addr(6800, 9)]);
    expect(moved.osdInfo[0]).toMatchObject({ downAt: 2, upFrom: 2 });
  });

  it('wipes an OSD whose EXISTS bit is flipped away', () => {
    const up = apply(smallMap(), {
      newUpClient: new Map([[2, [addr(6800, 1)]]]),
      newPrimaryAffinity: new Map([[2, 5]]),
    });
    const gone = apply(up, { newState: new Map([[2, OSD_STATE.EXISTS]]) });
    expect(gone.exists(2)).toBe(false);
    expect(gone.osdState[2]).toBe(0);
    expect(gone.clientAddrs[2]).toEqual([]);
    expect(gone.primaryAffinity[2]).toBe(MAX_PRIMARY_AFFINITY);
  });

  it('removes exceptions by their empty values and by the removal lists', () => {
    const full = apply(smallMap(), {
      newPgTemp: new Map([['1.3', [1, 2]]]),
      newPrimaryTemp: new Map([['1.3', 2]]),
      newPgUpmap: new Map([['1.4', [0, 1]]]),
      newPgUpmapItems: new Map([['1.5', [[0, 1]]]]),
    });
    expect(full.pgTemp.get('1.3')).toEqual([1, 2]);
    const empty = apply(full, {
      newPgTemp: new Map([['1.3', []]]),
      newPrimaryTemp: new Map([['1.3', -1]]),
      oldPgUpmap: [{ pool: 1, seed: 4 }],
      oldPgUpmapItems: [{ pool: 1, seed: 5 }],
    });
    for (const key of ['pgTemp', 'primaryTemp', 'pgUpmap', 'pgUpmapItems'] as const) {
      expect(empty[key].size, key).toBe(0);
    }
  });

  it('keeps the end of a blocklist entry that is there, and removes after it adds', () => {
    const entry = (sec: number) => {
      const value = { addr: addr(0, 7), until: { sec, nsec: 0 } };
      return new Map([[blocklistKey(value.addr), value]]);
    };
    const first = apply(smallMap(), { newBlocklist: entry(10) });
    const second = apply(first, { newBlocklist: entry(99) });
    expect([...second.blocklist.values()][0]?.until.sec).toBe(10);
    expect(second.isBlocklisted({ ...addr(0, 7), type: 2 })).toBe(true);
    const third = apply(second, { newBlocklist: entry(99), oldBlocklist: [addr(0, 7)] });
    expect(third.isBlocklisted(addr(0, 7))).toBe(false);
  });

  it('takes a full map in place of everything else', () => {
    const map = smallMap();
    const other = apply(map, { newMaxOsd: 9 });
    const next = apply(map, {
      fullmap: encodeOsdMap(other, crc32cTwin),
      newFlags: 0,
    });
    expect(next.maxOsd).toBe(9);
    expect(next.flags).toBe(map.flags);
  });

  it('refuses the incremental of another epoch, cluster or OSD beyond max_osd', () => {
    const map = smallMap();
    expect(() => apply(map, { epoch: 5 })).toThrow(/does not follow epoch 1/);
    expect(() => apply(map, { fsid: '11111111-0405-0607-0809-0a0b0c0d0e0f' })).toThrow(
      /of cluster/,
    );
    expect(() => apply(map, { newWeight: new Map([[3, 1]]) })).toThrow(/osd\.3, max_osd is 3/);
    expect(() => apply(map, { newState: new Map([[-1, 1]]) })).toThrow(/osd\.-1/);
    expect(() => apply(map, { newMaxOsd: 0x7fff_ffff })).toThrow(/max_osd/);
    expect(() => apply(map, { newMaxOsd: 40_000 })).toThrow(/max_osd 40000 is over/);
    expect(apply(map, { newMaxOsd: 10_000 }).maxOsd).toBe(10_000);
  });
});

describe('decodeIncremental', () => {
  it('refuses a flipped bit anywhere, by checksum or by structure', () => {
    const map = smallMap();
    const bytes = encodeIncremental(
      { ...emptyIncremental(map), newWeight: new Map([[1, 77]]), fullCrc: 1 },
      crc32cTwin,
    );
    for (let at = 0; at < bytes.length; at++) {
      const broken = Uint8Array.from(bytes);
      broken[at]! ^= 0x10;
      expect(() => decodeIncremental(broken, crc32cTwin), `byte ${at}`).toThrow(
        expect.objectContaining({ code: 'EPROTO' }),
      );
    }
  });
});
