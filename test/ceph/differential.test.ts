// One script of raw requests, answered by a real 16.2 OSD and by ours, compared byte for byte: results, echoed
// operations, output, flags, and versions (as distances, since what a PG did before differs).
//
// With LINGER_RECORD=1 the real OSD's answers are written to the fixture that test/cluster/osd/differential.test.ts
// compares with where no Ceph is installed.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageFile } from '../../src/base/paths.js';
import type { EntityAddr } from '../../src/encoding/entity.js';
import { SCRIPTS } from '../cluster/osd/differential/scripts.js';
import { OsdUnderTest } from '../cluster/osd/support/osd-under-test.js';
import type { RawTarget } from '../cluster/osd/support/raw-client.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';

const FIXTURE = packageFile('test/cluster/osd/fixtures/answers-16.2.15.json');

async function realTarget(cluster: CephCluster, pool: string, pgNum: number): Promise<RawTarget> {
  await cluster.ceph('osd', 'pool', 'create', pool, String(pgNum), String(pgNum));
  await cluster.ceph('osd', 'pool', 'application', 'enable', pool, 'test');
  const dump = JSON.parse(await cluster.ceph('osd', 'dump', '--format', 'json')) as {
    epoch: number;
    pools: { pool: number; pool_name: string }[];
    osds: { public_addrs: { addrvec: { type: string; addr: string; nonce: number }[] } }[];
  };
  const id = dump.pools.find((each) => each.pool_name === pool)?.pool ?? -1;
  const v2 = dump.osds[0]?.public_addrs.addrvec.find(({ type }) => type === 'v2');
  const [host = '', port = ''] = (v2?.addr ?? '').split(':');
  const addr: EntityAddr = { type: 2, nonce: v2?.nonce ?? 0, host, port: Number(port) };
  return { addr, pool: id, pgNum, epoch: dump.epoch };
}

describeCeph('our OSD answers as a real 16.2 OSD', () => {
  const recording = process.env['LINGER_RECORD'] === '1';
  const recorded: Record<string, string[]> = {};
  let cluster: CephCluster;
  let ours: OsdUnderTest;

  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 1, auth: 'none', pools: [] });
    ours = await OsdUnderTest.start(SCRIPTS);
  });

  afterAll(async () => {
    if (recording) {
      mkdirSync(dirname(FIXTURE), { recursive: true });
      writeFileSync(FIXTURE, `${JSON.stringify(recorded, null, 1)}\n`);
    }
    await ours?.stop();
    await cluster?.stop();
  });

  for (const [i, script] of SCRIPTS.entries()) {
    describe(script.name, () => {
      let expected: string[];
      let actual: string[];

      beforeAll(async () => {
        expected = await script.run(await realTarget(cluster, `pool${i}`, script.pgNum));
        recorded[script.name] = expected;
        actual = await script.run(ours.target(script));
      });

      it.skipIf(recording)('the recorded answers are what it says today', () => {
        const fixture = JSON.parse(readFileSync(FIXTURE, 'utf8')) as Record<string, string[]>;
        expect(expected).toEqual(fixture[script.name]);
      });

      const { cases } = script;
      if (!cases) {
        it('the same sequence of events', () => expect(actual).toEqual(expected));
        return;
      }
      it.each(cases.map((name, n) => [name, n] as const))('%s', (_, n) => {
        expect(actual[n]).toBe(expected[n]);
      });
    });
  }
});
