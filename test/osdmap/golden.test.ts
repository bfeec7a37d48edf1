// Goal: every golden encoding of the types of this folder decodes to its last byte, with its checksum, and those of the
// release that we write (16.2) come out again identically. The files are Ceph's own `encode()` output.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { type Codec, decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { pgId, spgId } from '../../src/encoding/types.js';
import { crc32cTwin } from '../../src/kernels/crc32c.js';
import { CrushMap, encodeCrushFields } from '../../src/osdmap/crush-map.js';
import { decodeIncremental, encodeIncremental } from '../../src/osdmap/incremental.js';
import { decodeOsdMap, encodeOsdMap, osdInfo, osdXinfo } from '../../src/osdmap/osdmap.js';
import { pgPool, poolOptions, poolSnapInfo } from '../../src/osdmap/pool.js';

const GOLDEN = '/work/shared/golden';
const RELEASES = existsSync(GOLDEN)
  ? readdirSync(GOLDEN).filter((name) => /^\d+\./.test(name))
  : [];
if (RELEASES.length === 0) console.warn(`SKIPPED: no golden encodings at ${GOLDEN}`);

/** Decodes, and encodes again. */
type RoundTrip = (bytes: Uint8Array) => Uint8Array;

function codec<T>(name: string, type: Codec<T>): [string, RoundTrip] {
  return [name, (bytes) => encodeWith(type, decodeAll(name, type, bytes))];
}

const TYPES = new Map<string, RoundTrip>([
  ['OSDMap', (bytes) => encodeOsdMap(decodeOsdMap(bytes, crc32cTwin), crc32cTwin)],
  [
    'OSDMap::Incremental',
    (bytes) => encodeIncremental(decodeIncremental(bytes, crc32cTwin), crc32cTwin),
  ],
  ['CrushWrapper', (bytes) => encodeCrushFields(CrushMap.decode(bytes))],
  codec('pg_pool_t', pgPool),
  codec('pool_opts_t', poolOptions),
  codec('pool_snap_info_t', poolSnapInfo),
  codec('osd_info_t', osdInfo),
  codec('osd_xinfo_t', osdXinfo),
  codec('pg_t', pgId),
  codec('spg_t', spgId),
]);

describe.skipIf(RELEASES.length === 0)('golden encodings', () => {
  for (const release of RELEASES) {
    for (const [type, roundTrip] of TYPES) {
      const folder = join(GOLDEN, release, type);
      const files = existsSync(folder) ? readdirSync(folder) : [];

      it(`${type} of ${release} decodes to the last byte`, () => {
        expect(files.length).toBeGreaterThan(0);
        for (const file of files) {
          const bytes = new Uint8Array(readFileSync(join(folder, file)));
          const again = roundTrip(bytes);
          if (release.startsWith('16.2')) {
            expect(Buffer.from(again).equals(bytes), `${file} encodes differently`).toBe(true);
          }
        }
      });
    }
  }
});
