// Several clients pass the lock round under load, watches break, clients die: never do two of them write at a time.

import { expect, it } from 'vitest';
import { isRadosError, RadosError } from '../../src/base/errors.js';
import { type LockClient, LockWorld } from '../support/lock-world.js';
import { seededRandom } from '../../src/sim/random.js';

/** Writes until told to stop, or until the image is closed; what was acknowledged. */
async function writer(
  client: LockClient,
  name: string,
  state: { stop: boolean },
): Promise<string[]> {
  const done: string[] = [];
  for (let n = 0; !state.stop; n++) {
    const what = `${name}.${n}`;
    try {
      await client.write(what, n % 5 === 0 ? 3 : 1);
      done.push(what);
    } catch (error) {
      // A client whose watch is gone for a moment counts as dead for that moment, and may be fenced.
      if (isRadosError(error, 'EBLOCKLISTED')) return done;
      if (!state.stop || !isRadosError(error, 'ECANCELED')) throw error;
    }
  }
  return done;
}

const writesOf = (at: LockWorld, client: string) =>
  at.writes.filter((what) => what.startsWith(`${client}-`)).length;

for (const clients of [2, 3]) {
  it(`passes the lock round among ${clients} clients that never stop writing, to each its share`, async () => {
    const at = new LockWorld(clients);
    const all = Array.from({ length: clients }, () => at.client());
    const state = { stop: false };
    const writers = all.flatMap((client, i) =>
      Array.from({ length: 4 }, (_, lane) => writer(client, `${i}-${lane}`, state)),
    );
    const handedOver = () =>
      all.reduce((sum, { lock }) => sum + lock.status().counters.handedOver, 0);
    await at.world.until(() => handedOver() >= 200);
    state.stop = true;
    const done = (await at.world.until(Promise.all(writers))).flat();
    expect(at.intruders).toEqual([]);
    expect(at.blocklist.size).toBe(0);
    for (const { lock } of all) {
      const { acquired } = lock.status().counters;
      expect(acquired).toBeGreaterThan(200 / clients / 3);
    }
    for (let i = 0; i < clients; i++) expect(writesOf(at, `${i}`)).toBeGreaterThan(50);
    // Each hand-over got something written, and nothing that was acknowledged is missing.
    expect(at.writes.length).toBeGreaterThan(200);
    const written = new Set(at.writes.map((what) => what.split('.').slice(0, 2).join('.')));
    expect(done.filter((what) => !written.has(what))).toEqual([]);
    await at.world.until(Promise.all(all.map(({ lock }) => lock.shutdown())));
    expect(at.owner).toBeUndefined();
  });
}

it.each(Array.from({ length: 12 }, (_, i) => i + 1))(
  'never has two owners while watches are lost, cookies refused, owners killed (seed %i)',
  async (seed) => {
    const at = new LockWorld(seed);
    const random = seededRandom(seed * 7919);
    const draw = (n: number) => Math.floor(random.float() * n);
    const state = { stop: false };
    const writers = new Map<LockClient, Promise<unknown>>();
    const start = () => {
      const client = at.client();
      const lanes = [0, 1].map((lane) => writer(client, `${client.id}-${lane}`, state));
      writers.set(client, Promise.all(lanes));
    };
    const living = () =>
      [...writers.keys()].filter(({ alive, addrText }) => alive && !at.blocklist.has(addrText));
    for (let i = 0; i < 3; i++) start();
    at.onRequest = (_, text) => {
      if (text.includes('set_cookie') && draw(3) === 0) {
        throw RadosError.fromErrno(-95, { outcome: 'not-applied' });
      }
    };
    const disturb = (client: LockClient, step: number) => {
      switch (draw(4)) {
        case 0:
          if (!client.watchGood) return;
          client.loseWatch();
          void client.reregister();
          return;
        case 1:
          void client.lock.release();
          return;
        case 2:
          client.lock.onAcquiredLock({ gid: 99n, handle: 1n });
          return;
        default:
          if (step % 20 > 0) return;
          client.kill(draw(5000));
      }
    };
    for (let step = 0; step < 60; step++) {
      await at.world.advance(draw(40));
      const clients = living();
      disturb(clients[draw(clients.length)] as LockClient, step);
      while (living().length < 3) start();
    }
    // And it goes on: whoever lives gets its turn, if a dead owner's watch has to go first or not.
    const before = new Map(living().map((client) => [client, writesOf(at, `${client.id}`)]));
    const moved = (client: LockClient) =>
      writesOf(at, `${client.id}`) > (before.get(client) ?? 0) || !living().includes(client);
    await at.world.until(() => [...before.keys()].every(moved));
    expect(living().length).toBeGreaterThan(0);
    expect(at.intruders).toEqual([]);
    state.stop = true;
    const closed = living().map((client) =>
      Promise.all([client.lock.shutdown(), writers.get(client)]),
    );
    await at.world.until(Promise.all(closed));
    expect(at.owner).toBeUndefined();
    expect(at.intruders).toEqual([]);
  },
);
