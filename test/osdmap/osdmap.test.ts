import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';
import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { Encoder } from '../../src/encoding/encoder.js';
import { crc32cTwin } from '../../src/kernels/crc32c.js';
import { blocklistKey } from '../../src/osdmap/collections.js';
import {
  decodeOsdMap,
  emptyOsdMapFields,
  encodeOsdMap,
  fullMapCrc,
  OSD_STATE,
  OSDMAP_FLAG,
  OsdMap,
  type OsdMapFields,
} from '../../src/osdmap/osdmap.js';
import { createPool, pgPool } from '../../src/osdmap/pool.js';
import { seeded } from './support/random-crush.js';

/** The last map of the captured cluster history. */
function liveMap(): Uint8Array {
  const file = gunzipSync(readFileSync(packageFile('test/fixtures/osdmap/history-16.2.15.gz')));
  const decoder = new Decoder(file);
  let last = new Uint8Array();
  while (decoder.remaining > 0) last = Uint8Array.from(decoder.blob());
  return last;
}

function mapWith(change: Partial<OsdMapFields>): OsdMap {
  return new OsdMap({ ...emptyOsdMapFields(), ...change });
}

const addr = (host: string, port: number, nonce: number, type = 3) => ({ type, nonce, host, port });

function blocklistOf(...addrs: ReturnType<typeof addr>[]) {
  return new Map(
    addrs.map((entry) => [blocklistKey(entry), { addr: entry, until: { sec: 1, nsec: 0 } }]),
  );
}

describe('OsdMap', () => {
  it('reads a live map: pools by name, OSD states and addresses, flags', () => {
    const map = decodeOsdMap(liveMap(), crc32cTwin);
    expect(map.epoch).toBe(81);
    expect(map.poolByName('rbd')?.id).toBe(1);
    expect(map.poolByName('rbd')?.pool.quotaMaxBytes).toBe(18446744073709551n);
    expect(map.pool(1)?.opts.options.size).toBe(2);
    expect(map.poolByName('ec')).toBeUndefined();
    expect(map.isUp(0)).toBe(true);
    expect(map.exists(2)).toBe(false);
    expect(map.exists(-1)).toBe(false);
    expect(map.exists(1000)).toBe(false);
    expect(map.osdAddrs(0)[0]).toMatchObject({ type: 2, host: '127.0.0.1', port: 6832 });
    expect(map.osdAddrs(1000)).toEqual([]);
    expect(map.hasFlag(OSDMAP_FLAG.SORTBITWISE)).toBe(true);
    expect(map.hasFlag(OSDMAP_FLAG.PAUSEWR)).toBe(false);
    expect(map.requireOsdRelease).toBe(16);
    expect(map.crush.itemId('osd.0')).toBe(0);
    expect(map.crush.itemId('default')).toBe(-1);
  });

  it('refuses a map that was cut short or has one wrong bit', () => {
    const bytes = liveMap();
    for (let length = 0; length < bytes.length; length += 7) {
      expect(() => decodeOsdMap(bytes.subarray(0, length), crc32cTwin)).toThrow(
        expect.objectContaining({ code: 'EPROTO' }),
      );
    }
    for (let at = 0; at < bytes.length; at += 11) {
      const broken = Uint8Array.from(bytes);
      broken[at]! ^= 1;
      expect(() => decodeOsdMap(broken, crc32cTwin), `byte ${at}`).toThrow(
        expect.objectContaining({ code: 'EPROTO' }),
      );
    }
  });

  it('never fails otherwise than by a typed error, whatever the bytes, checksum matching or not', () => {
    const bytes = liveMap();
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const draw = seeded(seed);
        const broken = Uint8Array.from(bytes);
        for (let i = draw(5); i >= 0; i--) broken[draw(broken.length - 4)] = draw(256);
        const crc = crc32cTwin(0xffff_ffff, broken.subarray(0, broken.length - 4));
        new DataView(broken.buffer).setUint32(broken.length - 4, crc, true);
        try {
          decodeOsdMap(broken, crc32cTwin);
        } catch (error) {
          expect(error).toMatchObject({ code: 'EPROTO' });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('refuses the layouts from before Nautilus by their version', () => {
    const bytes = encodeOsdMap(mapWith({}), crc32cTwin);
    // The client section's version stands behind the wrapper's header of six bytes.
    bytes[6] = 7;
    expect(() => decodeOsdMap(bytes, crc32cTwin)).toThrow(/version 7 is older than Nautilus/);
  });

  it('refuses a max_osd that is not the number of OSDs that it describes', () => {
    const bytes = encodeOsdMap(mapWith({ maxOsd: 0x7fff_ffff }), crc32cTwin);
    expect(() => decodeOsdMap(bytes, crc32cTwin)).toThrow(/max_osd 2147483647 with 0 states/);
  });

  it('writes its collections in key order, however they were built', () => {
    const pool = createPool({ size: 1, pgNum: 1 });
    const forward = mapWith({
      pools: new Map([
        [1, pool],
        [2, pool],
      ]),
      pgTemp: new Map([
        ['1.9', [1]],
        ['1.a', [2]],
        ['2.1', [3]],
      ]),
      erasureCodeProfiles: new Map([
        ['a', new Map()],
        ['é', new Map()],
      ]),
      blocklist: blocklistOf(addr('10.0.0.1', 0, 1), addr('10.0.0.2', 0, 1), addr('::1', 0, 1)),
    });
    const backward = mapWith({
      pools: new Map([...forward.pools].reverse()),
      pgTemp: new Map([...forward.pgTemp].reverse()),
      erasureCodeProfiles: new Map([...forward.erasureCodeProfiles].reverse()),
      blocklist: new Map([...forward.blocklist].reverse()),
    });
    expect(encodeOsdMap(backward, crc32cTwin)).toEqual(encodeOsdMap(forward, crc32cTwin));
  });

  it('ends its encoding with the checksum of what is before it', () => {
    const bytes = encodeOsdMap(mapWith({ epoch: 5 }), crc32cTwin);
    expect(fullMapCrc(bytes)).toBe(crc32cTwin(0xffff_ffff, bytes.subarray(0, bytes.length - 4)));
  });

  it('knows that an OSD is up only if it exists', () => {
    const map = mapWith({
      maxOsd: 2,
      osdState: Uint32Array.of(OSD_STATE.UP, OSD_STATE.UP | OSD_STATE.EXISTS),
      osdWeight: Uint32Array.of(0, 1),
    });
    expect([map.isUp(0), map.isUp(1)]).toEqual([false, true]);
    expect([map.isOut(0), map.isOut(1), map.isOut(2)]).toEqual([true, false, true]);
  });
});

describe('isBlocklisted', () => {
  it('compares addresses without regard to their type', () => {
    const map = mapWith({ blocklist: blocklistOf(addr('10.0.0.1', 0, 7)) });
    expect(map.isBlocklisted(addr('10.0.0.1', 0, 7, 2))).toBe(true);
    expect(map.isBlocklisted(addr('10.0.0.1', 0, 8, 2))).toBe(false);
    expect(map.isBlocklisted(addr('10.0.0.2', 0, 7, 2))).toBe(false);
  });

  it('fences all of a host by its address without port and nonce', () => {
    const map = mapWith({ blocklist: blocklistOf(addr('10.0.0.1', 0, 0)) });
    expect(map.isBlocklisted(addr('10.0.0.1', 6800, 7, 2))).toBe(true);
    expect(map.isBlocklisted(addr('10.0.0.11', 6800, 7, 2))).toBe(false);
    expect(map.isBlocklisted(addr('', 0, 0))).toBe(false);
  });

  it('fences networks of version 4 and 6', () => {
    const CIDR = 4;
    const rangeBlocklist = blocklistOf(
      addr('10.1.128.0', 0, 17, CIDR),
      addr('fd00::', 0, 10, CIDR),
    );
    const map = mapWith({ rangeBlocklist });
    expect(map.isBlocklisted(addr('10.1.200.7', 1, 1))).toBe(true);
    expect(map.isBlocklisted(addr('10.1.127.7', 1, 1))).toBe(false);
    expect(map.isBlocklisted(addr('fd20::1', 1, 1))).toBe(true);
    expect(map.isBlocklisted(addr('fd40::1', 1, 1))).toBe(false);
    const everything = mapWith({ rangeBlocklist: blocklistOf(addr('0.0.0.0', 0, 0, CIDR)) });
    expect(everything.isBlocklisted(addr('8.8.8.8', 1, 1))).toBe(true);
    expect(everything.isBlocklisted(addr('::1', 1, 1))).toBe(false);
  });
});

describe('pg_pool_t', () => {
  it('comes back as it was written, whatever is in it', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const bytes = encodeWith(pgPool, pgPool.sample(seeded(seed)));
        expect(encodeWith(pgPool, decodeAll('pg_pool_t', pgPool, bytes))).toEqual(bytes);
      }),
    );
  });

  it('skips what newer releases append', () => {
    const pool = createPool({ size: 3, pgNum: 8 });
    const bytes = encodeWith(pgPool, pool);
    const newer = new Encoder();
    // Version 32: an absent set of peering limits, and two bytes more.
    newer.struct(32, 5, () => newer.raw(bytes.subarray(6)).u8(0).u8(0).u8(0));
    expect(decodeAll('pg_pool_t', pgPool, newer.bytes)).toEqual(pool);
  });
});
