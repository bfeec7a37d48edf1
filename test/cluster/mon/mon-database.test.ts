// Goal: what a monitor has told anybody, it knows after a restart, whenever it ends. The store is one in memory, whose
// changes become durable when a test says so.

import { describe, expect, it } from 'vitest';
import { CephxKeyServer } from '../../../src/auth/cephx-server.js';
import { AuthDatabase } from '../../../src/cluster/mon/auth-database.js';
import { createInitialMap } from '../../../src/cluster/mon/initial-map.js';
import { keepKeyServer } from '../../../src/cluster/mon/kept-keys.js';
import { MonDatabase } from '../../../src/cluster/mon/mon-database.js';
import { currentMonMap } from '../../../src/cluster/mon/mon-map.js';
import { OsdMapService } from '../../../src/cluster/mon/osdmap-service.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import type { Transaction } from '../../../src/cluster/store/transaction.js';
import { OSDMAP_FLAG } from '../../../src/osdmap/osdmap.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { crc32c, FSID, osdAddrs } from './support.js';

/** Durable in whatever order the test likes. */
class SlowStore extends MemoryStore {
  readonly writing: { settle: () => void; fail: (error: Error) => void }[] = [];

  override apply(transaction: Transaction): Promise<void> {
    void super.apply(transaction);
    return new Promise((resolve, reject) => this.writing.push({ settle: resolve, fail: reject }));
  }
}

function openMaps(database: MonDatabase, keptEpochs?: number): OsdMapService {
  const { env } = new VirtualWorld();
  return new OsdMapService({
    env,
    crc32c,
    database,
    initial: () => createInitialMap(env, { fsid: FSID, osds: 3 }),
    ...(keptEpochs === undefined ? {} : { keptEpochs }),
  });
}

const toggleNoout = (service: OsdMapService) =>
  service.commit((incremental, map) => {
    incremental.newFlags = map.flags ^ OSDMAP_FLAG.NOOUT;
  });

/** Callbacks of promises that have settled. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what a monitor tells', () => {
  it('is on disk before, with all that was decided earlier', async () => {
    const store = new SlowStore();
    const { commits, write } = openSlow(store);
    const told: string[] = [];
    commits.after(() => told.push('nothing to wait for'));
    write('a');
    commits.after(() => told.push('a'));
    write('b');
    commits.after(() => told.push('b'));
    expect(told).toEqual(['nothing to wait for']);
    store.writing[1]?.settle();
    await turn();
    expect(told).toEqual(['nothing to wait for']);
    store.writing[0]?.settle();
    await turn();
    expect(told).toEqual(['nothing to wait for', 'a', 'b']);
  });

  it('stays untold when the disk failed, whatever comes later', async () => {
    const store = new SlowStore();
    const { commits, write } = openSlow(store);
    const told: string[] = [];
    write('a');
    commits.after(() => told.push('a'));
    store.writing[0]?.fail(new Error('EIO'));
    await turn();
    write('b');
    store.writing[1]?.settle();
    commits.after(() => told.push('b'));
    await turn();
    expect(told).toEqual([]);
  });

  it('about a new map comes when the map is durable; the next one builds on it before that', async () => {
    const store = new SlowStore();
    const service = openMaps(new MonDatabase(store));
    store.writing.at(-1)?.settle();
    await turn();
    const heard: number[] = [];
    service.subscribe(({ epoch }) => heard.push(epoch));
    toggleNoout(service);
    toggleNoout(service);
    expect([service.epoch, service.published.epoch, heard]).toEqual([3, 1, []]);
    expect(service.updateFrom(1)).toBeUndefined();
    store.writing[1]?.settle();
    await turn();
    expect([service.published.epoch, heard]).toEqual([2, [2]]);
    expect(service.updateFrom(1)?.epoch).toBe(2);
    store.writing[2]?.settle();
    await turn();
    expect(heard).toEqual([2, 3]);
  });
});

function openSlow(store: SlowStore) {
  const database = new MonDatabase(store);
  const write = (name: string) => database.write('auth', { set: [[name, Buffer.from(name)]] });
  return { commits: database.commits, write };
}

const sent = (service: OsdMapService, have: number) => {
  const update = service.updateFrom(have);
  return update && { epoch: update.epoch, front: Buffer.from(update.front) };
};

describe('a monitor that starts again', () => {
  it('has the map and its history, to the byte', async () => {
    const database = new MonDatabase(new MemoryStore());
    const before = openMaps(database);
    for (let i = 0; i < 120; i++) toggleNoout(before);
    await database.commits.settled();
    const after = openMaps(database);
    expect([after.epoch, after.published.epoch, after.oldestEpoch]).toEqual([121, 121, 1]);
    for (const epoch of [1, 2, 49, 50, 51, 99, 100, 120, 121]) {
      expect(after.fullMap(epoch), `epoch ${epoch}`).toEqual(before.fullMap(epoch));
    }
    for (const have of [1, 40, 90, 120]) {
      expect(sent(after, have)).toEqual(sent(before, have));
    }
    toggleNoout(before);
    expect(openMaps(database).fullMap(122)).toEqual(before.fullMap(122));
  });

  it('keeps as many epochs as it needs, and not all there ever were', () => {
    const store = new MemoryStore();
    const database = new MonDatabase(store);
    const before = openMaps(database, 60);
    for (let i = 0; i < 400; i++) toggleNoout(before);
    const names = [...database.entries('osdmap')].map(([name]) => name);
    expect(names.length).toBeLessThan(130);
    expect(names).not.toContain('inc.0000000250');
    const after = openMaps(database, 60);
    expect(after.oldestEpoch).toBeLessThanOrEqual(before.oldestEpoch);
    for (let epoch = before.oldestEpoch; epoch <= 401; epoch += 7) {
      expect(after.fullMap(epoch)).toEqual(before.fullMap(epoch));
    }
  });

  it('has the entities, with their keys and caps as they were last', () => {
    const { env } = new VirtualWorld();
    const database = new MonDatabase(new MemoryStore());
    const before = new AuthDatabase(new CephxKeyServer(env), database);
    const { key } = before.set('client.vm', { mon: 'allow r' });
    before.set('client.vm', { mon: 'profile rbd', osd: 'allow *' });
    before.set('client.gone', {});
    before.remove('client.gone');
    const after = new AuthDatabase(new CephxKeyServer(env), database);
    expect(after.get('client.gone')).toBeUndefined();
    const found = after.get('client.vm');
    expect(found?.key.equals(key)).toBe(true);
    expect([...(found?.caps ?? [])]).toEqual([
      ['mon', 'profile rbd'],
      ['osd', 'allow *'],
    ]);
  });

  it('gives no id to a second client, however many it gave before', () => {
    const { env } = new VirtualWorld();
    const database = new MonDatabase(new MemoryStore());
    let last = 0n;
    for (const clients of [1, 2, 5000, 3]) {
      const keys = new CephxKeyServer(env, keepKeyServer(database));
      for (let i = 0; i < clients; i++) {
        const id = keys.allocateGlobalId();
        expect(id).toBeGreaterThan(last);
        last = id;
      }
    }
  });

  it('has the secrets that its tickets are made with', () => {
    const { env } = new VirtualWorld();
    const database = new MonDatabase(new MemoryStore());
    const before = new CephxKeyServer(env, keepKeyServer(database));
    const after = new CephxKeyServer(env, keepKeyServer(database));
    expect(Buffer.from(after.saveSecrets())).toEqual(Buffer.from(before.saveSecrets()));
  });

  it('says in its map where it is now', () => {
    const database = new MonDatabase(new MemoryStore());
    const mapAt = (osd: number) =>
      currentMonMap(database, { fsid: FSID, addrs: osdAddrs(osd), nowMs: 1000 });
    expect(mapAt(1).epoch).toBe(1);
    expect(mapAt(1).epoch).toBe(1);
    const moved = mapAt(2);
    expect([moved.epoch, moved.monInfo.get('a')?.publicAddrs]).toEqual([2, osdAddrs(2)]);
    expect(mapAt(2).epoch).toBe(2);
  });
});
