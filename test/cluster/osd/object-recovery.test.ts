// Recovery of an object that several want at the same time, inside of its lane and outside, as in mode `seed`.

import { expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { Interval } from '../../../src/cluster/osd/interval.js';
import { ObjectRecovery } from '../../../src/cluster/osd/object-recovery.js';
import type { PgHost } from '../../../src/cluster/osd/pg-host.js';
import type { PgStorage } from '../../../src/cluster/osd/pg-storage.js';
import { RecoverySlots } from '../../../src/cluster/osd/recovery-slots.js';
import { headKey, type ObjectId } from '../../../src/cluster/store/object-id.js';
import { NEW_PG_INFO } from '../../../src/cluster/store/pg-record.js';
import { NOSNAP } from '../../../src/encoding/types.js';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const object = (oid: string): ObjectId => ({
  ...{ pool: 1, nspace: '', oid, key: '', hash: 0, snap: NOSNAP },
});

it('gets and sends each copy once, and is through when all have theirs', async () => {
  const [own, theirs, other] = [object('own'), object('theirs'), object('other')];
  const pulled: string[] = [];
  const pushed: string[] = [];
  let recovered = 0;
  let hold = () => {};
  const held = new Promise<void>((resolve) => {
    hold = resolve;
  });
  const member = {
    pull: async (_pg: unknown, _since: unknown, id: ObjectId) => {
      pulled.push(id.oid);
      if (id === other) await held;
      else await sleep(5);
      return { id, object: undefined };
    },
    push: async (_pg: unknown, _since: unknown, objects: { id: ObjectId }[]) => {
      pushed.push(...objects.map(({ id }) => id.oid));
      await sleep(5);
    },
  };
  const env = nodeEnvironment();
  const host = {
    ...{ env, log: env.log.osd, whoami: 0 },
    store: { dump: () => undefined },
    peers: { osd: () => member },
    recoverySlots: new RecoverySlots(3),
    view: { map: { hasFlag: () => false } },
  };
  const storage = { collection: '1.0', info: NEW_PG_INFO, recovered: () => sleep(5) };
  const recovery = new ObjectRecovery({
    pg: { pool: 1, seed: 0 },
    host: host as unknown as PgHost,
    storage: storage as unknown as PgStorage,
    interval: new Interval({ epoch: 1, isKnown: true }),
    missing: new Map([
      [0, [own, other]],
      [1, [theirs]],
    ]),
    incomplete: new Set(),
    inLane: (_key, act) => act().catch(() => {}),
    onPulled: () => {},
    onRecovered: () => {
      recovered++;
    },
  });
  expect(recovery.left).toBe(3);
  recovery.start();
  const wanted = [own, theirs].flatMap((id) =>
    [true, false, true].flatMap((mayWrite) => recovery.blocker(headKey(id), mayWrite) ?? []),
  );
  // Reads do not wait for what others lack.
  expect(wanted).toHaveLength(5);
  await Promise.all(wanted);
  // What is left is still missed.
  expect([recovery.left, recovered]).toEqual([1, 0]);
  const last = recovery.blocker(headKey(other), false);
  expect(last).toBeDefined();
  hold();
  await last;
  expect([recovery.left, recovered]).toEqual([0, 1]);
  expect(pulled.sort()).toEqual(['other', 'own']);
  expect(pushed).toEqual(['theirs']);
});
