// One script of raw requests, answered by a real 16.2 OSD and by ours, compared byte for byte: results, echoed
// operations, output, flags, and versions (as distances, since what a PG did before differs).

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OsdDaemon } from '../../src/cluster/osd-daemon.js';
import { MemoryStore } from '../../src/cluster/store/memory-store.js';
import { type EntityAddr, msgr2Addr } from '../../src/encoding/entity.js';
import { writeOp } from '../../src/messages/osd-op.js';
import { FakeMon } from '../cluster/osd/support/fake-mon.js';
import { RawClient, type RawTarget, testMessenger } from '../cluster/osd/support/raw-client.js';
import { omapSteps, xattrSteps } from './differential/attr-ops.js';
import { copySteps } from './differential/copy-ops.js';
import { dataSteps } from './differential/data-ops.js';
import { listingSequence } from './differential/listing-sequence.js';
import { lockSteps, OWN_GLOBAL_ID } from './differential/lock-class.js';
import {
  rbdDataSteps,
  rbdDirectorySteps,
  rbdHeaderSteps,
  rbdMissingSteps,
  rbdObjectMapSteps,
  rbdParentSteps,
  rbdSnapshotSteps,
} from './differential/rbd-class.js';
import { snapSteps } from './differential/snap-ops.js';
import { describeReply, type Step } from './differential/step.js';
import { watchSequence } from './differential/watch-sequence.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';

const NONCE = 424242;
const STEP_TIMEOUT_MS = 3000;

const SCRIPTS: Record<string, Step[]> = {
  'object data': dataSteps,
  'copy-from': copySteps,
  xattrs: xattrSteps,
  omap: omapSteps,
  snapshots: snapSteps,
  'class lock': lockSteps,
  'class rbd on missing and empty objects': rbdMissingSteps,
  'class rbd, header': rbdHeaderSteps,
  'class rbd, snapshots': rbdSnapshotSteps,
  'class rbd, parents and children': rbdParentSteps,
  'class rbd, directory, trash, namespaces': rbdDirectorySteps,
  'class rbd, object maps': rbdObjectMapSteps,
  'class rbd, data objects': rbdDataSteps,
};

type Answer = Record<string, unknown>;

async function answers(target: RawTarget, steps: readonly Step[]): Promise<Answer[]> {
  const client = await RawClient.connect(target, { globalId: OWN_GLOBAL_ID, nonce: NONCE });
  try {
    // The versions of the script count from here.
    const first = await client.operate({ oid: 'base', ops: [writeOp(0, new Uint8Array(1))] });
    const base = first.reply.replayVersion.version;
    const found: Answer[] = [];
    for (const step of steps) {
      found.push(
        await client
          .operate({ ...step, ops: step.build?.(target.pool) ?? step.ops }, STEP_TIMEOUT_MS)
          .then(
            (reply) => describeReply(reply, base, step.mask),
            (error: Error) => ({ error: error.message }),
          ),
      );
    }
    return found;
  } finally {
    client.close();
  }
}

/** Text, so that a failure shows what differs. */
const lines = (answer: Answer | undefined) => JSON.stringify(answer, null, 1).split('\n');

async function realTarget(cluster: CephCluster, pool: string, pgNum = 1): Promise<RawTarget> {
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
  let cluster: CephCluster;
  let ours: OsdDaemon;
  let ourTarget: (pool: number, pgNum?: number) => RawTarget;
  const pools = new Map(Object.keys(SCRIPTS).map((name, i) => [name, i + 1]));
  const WATCH_POOL = 90;
  /** By number of PGs: also one that is no power of two. */
  const LISTING_POOLS = new Map([
    [1, 91],
    [8, 92],
    [6, 93],
  ]);

  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 1, auth: 'none', pools: [] });
    const { crc32c } = testMessenger();
    const mon = new FakeMon({
      crc32c,
      osds: 1,
      pools: [
        ...[...pools].map(([name, id]) => ({ id, name, pgNum: 1 })),
        { id: WATCH_POOL, name: 'watch', pgNum: 1 },
        ...[...LISTING_POOLS].map(([pgNum, id]) => ({ id, name: `list${pgNum}`, pgNum })),
      ],
    });
    ours = await OsdDaemon.start({
      ...testMessenger(),
      id: 0,
      host: '127.0.0.1',
      mon,
      peers: { osd: () => undefined },
      objectStore: new MemoryStore(),
    });
    const addr = msgr2Addr(ours.addrs) as EntityAddr;
    ourTarget = (pool, pgNum = 1) => ({ addr, pool, pgNum, epoch: mon.map.epoch });
  });

  afterAll(async () => {
    await ours?.stop();
    await cluster?.stop();
  });

  it('watches and notifies', async () => {
    const expected = await watchSequence(await realTarget(cluster, 'watch'));
    expect(await watchSequence(ourTarget(WATCH_POOL))).toEqual(expected);
  });

  it.each([...LISTING_POOLS])('lists the objects of a pool with %i PGs', async (pgNum, pool) => {
    const expected = await listingSequence(await realTarget(cluster, `list${pgNum}`, pgNum));
    expect(await listingSequence(ourTarget(pool, pgNum))).toEqual(expected);
  });

  for (const [name, steps] of Object.entries(SCRIPTS)) {
    describe(name, () => {
      let expected: Answer[];
      let actual: Answer[];

      beforeAll(async () => {
        expected = await answers(await realTarget(cluster, `p${pools.get(name)}`), steps);
        actual = await answers(ourTarget(pools.get(name) as number), steps);
      });

      for (const [i, { name: stepName, oid }] of steps.entries()) {
        it(`${i} ${oid.slice(0, 24)}: ${stepName}`, () => {
          expect(lines(actual[i])).toEqual(lines(expected[i]));
        });
      }
    });
  }
});
