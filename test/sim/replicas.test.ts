// Goal: members of a PG are compared by what they hold, not by how their stores keep it.

import { describe, expect, it } from 'vitest';
import type { OsdDaemon } from '../../src/cluster/osd-daemon.js';
import { crc32cTwin } from '../../src/kernels/crc32c.js';
import { checkReplicas } from '../../src/sim/checkers/replicas.js';

/** One PG with one object, on two OSDs. */
function osd(whoami: number, value: Uint8Array, dataDigest?: number): [number, OsdDaemon] {
  const object = {
    ...{ meta: { info: { dataDigest } }, size: value.length },
    read: () => value,
    xattrs: () => [['name', value]],
    omapFrom: () => [['key', value]],
  };
  const daemon = {
    whoami,
    crc32c: crc32cTwin,
    view: {
      map: { pools: new Map([[1, { pgNum: 1 }]]) },
      placement: { pgToUpActing: () => ({ acting: [0, 1], actingPrimary: 0 }) },
    },
    store: {
      pgInfo: () => undefined,
      missing: () => [],
      log: () => [],
      list: () => [{ pool: 1, nspace: '', oid: 'object', key: '', hash: 0, snap: 0n }],
      get: () => object,
    },
  };
  return [whoami, daemon as unknown as OsdDaemon];
}

describe('members of a PG', () => {
  it('hold the same, whatever class their bytes are of', () => {
    const osds = new Map([
      osd(0, Uint8Array.of(1, 2, 3)),
      osd(1, Buffer.of(0, 1, 2, 3).subarray(1)),
    ]);
    expect(checkReplicas(osds)).toEqual([]);
  });

  it('hold something else when one byte is another', () => {
    const osds = new Map([osd(0, Uint8Array.of(1, 2, 3)), osd(1, Buffer.of(1, 2, 4))]);
    expect(checkReplicas(osds)).toHaveLength(1);
  });

  it('hold what their digest says', () => {
    const value = Uint8Array.of(1, 2, 3);
    const osds = (digest: number) => new Map([osd(0, value, digest), osd(1, value, digest)]);
    const digest = crc32cTwin(0xffff_ffff, value);
    expect(checkReplicas(osds(digest))).toEqual([]);
    expect(checkReplicas(osds(digest ^ 1)).map(({ message }) => message)).toEqual([
      '1.0: object (snap 0) has another digest than its data',
    ]);
  });
});
