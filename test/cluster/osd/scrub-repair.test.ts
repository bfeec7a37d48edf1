// What a repair does while the object that it mends is being changed.

import { afterEach, expect, it } from 'vitest';
import { PIPELINE_MODES } from '../../../src/cluster/osd/pipeline/pg-pipeline.js';
import { OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import { type EntityAddr, msgr2Addr } from '../../../src/encoding/entity.js';
import { OP, WATCH_OP, writeFullOp } from '../../../src/messages/osd-op.js';
import { FakeMon } from './support/fake-mon.js';
import './support/pipeline-rules.js';
import { RawClient, testMessenger } from './support/raw-client.js';

const PG = { pool: 1, seed: 0 };
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const watchOp = {
  code: OP.WATCH,
  flags: 0,
  arg: {
    kind: 'watch' as const,
    ...{ cookie: 3n, version: 0n, op: WATCH_OP.WATCH, gen: 0, timeout: 0 },
  },
  indata: new Uint8Array(0),
};

it.each(PIPELINE_MODES)('puts no older copy over a newer one: mode %s', async (pipelineMode) => {
  const { crc32c } = testMessenger();
  const mon = new FakeMon({ crc32c, osds: 3, pools: [{ id: 1, name: 'p', pgNum: 1, size: 3 }] });
  const osds = new Map<number, OsdDaemon>();
  const stores = [new MemoryStore(), new MemoryStore(), new MemoryStore()] as const;
  for (const [id, objectStore] of stores.entries()) {
    const osd = await OsdDaemon.start({
      ...testMessenger(),
      ...{ id, host: '127.0.0.1', mon, objectStore, pipelineMode },
      peers: { osd: (peer) => osds.get(peer)?.peer },
      onReachable: (reachable) => osds.set(id, reachable),
    });
    cleanups.push(() => osd.stop());
  }
  const states = () => [...osds.values()].flatMap((osd) => [...osd.pgStates().values()]);
  while (states().join() !== 'active+clean') await sleep(5);
  const all = [...osds.values()];
  const primary = all.find((osd) => osd.pgStates().size > 0) as OsdDaemon;
  const wrong = all.find((osd) => osd !== primary) as OsdDaemon;
  const client = await RawClient.connect(
    {
      addr: msgr2Addr(primary.addrs) as EntityAddr,
      ...{ pool: 1, pgNum: 1, epoch: mon.map.epoch },
    },
    { globalId: 900n, nonce: 1 },
  );
  cleanups.push(() => client.close());
  await client.operate({ oid: 'o', ops: [writeFullOp(Buffer.from('content'))] });
  await client.operate({ oid: 'o', ops: [watchOp] });
  const [id] = wrong.store.list('1.0', undefined, 1);
  if (!id) throw new Error('there is no object');
  await wrong.store.apply({
    collection: '1.0',
    ops: [{ op: 'write', id, offset: 0, data: Buffer.from('CONTENT') }],
  });

  let begun = () => {};
  const pushed = new Promise<void>((resolve) => {
    begun = resolve;
  });
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const push = wrong.peer.push.bind(wrong.peer);
  wrong.peer.push = async (...args) => {
    begun();
    await held;
    return push(...args);
  };
  primary.scrub(PG, { deep: true, repair: true });
  await pushed;
  const pg = primary.servedPg(PG);
  const [watch] = pg?.watches() ?? [];
  if (!pg || !watch) throw new Error('nobody watches');
  const dropped = pg.dropWatch(watch);
  await sleep(50);
  release();
  await dropped;
  while (states().join() !== 'active+clean') await sleep(5);
  const copies = stores.map((store) => store.get('1.0', id));
  for (const copy of copies) {
    expect(Buffer.from(copy?.read(0, 100) ?? []).toString()).toBe('content');
    expect(copy?.meta).toEqual(copies[primary.whoami]?.meta);
    expect(copy?.meta.info.watchers).toEqual([]);
  }
});
