// Heartbeats among OSDs: who is reported, and who is not.

import { beforeEach, describe, expect, it } from 'vitest';
import { MonReports } from '../../../src/cluster/osd/mon-reports.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';

const GRACE_MS = 20_000;

describe('an OSD', () => {
  let world: VirtualWorld;
  let reports: MonReports;
  let reported: number[];
  let directory: Map<number, { ping: () => Promise<void> }>;
  /** Those that the map has up. */
  let up: Set<number>;
  let frozen: Set<number>;
  let unfreeze: (() => void)[];

  beforeEach(() => {
    world = new VirtualWorld();
    reported = [];
    frozen = new Set();
    unfreeze = [];
    up = new Set([0, 1, 2]);
    const peer = (osd: number) => ({
      ping: () =>
        frozen.has(osd)
          ? new Promise<void>((resolve) => unfreeze.push(resolve))
          : Promise.resolve(),
    });
    directory = new Map([1, 2].map((osd) => [osd, peer(osd)]));
    reports = new MonReports({
      env: world.env,
      whoami: 0,
      mon: {
        reportFailure: (osd: number) => {
          reported.push(osd);
          up.delete(osd);
        },
        reportFull: async () => {},
      } as never,
      peers: { osd: (osd) => directory.get(osd) as never },
      heartbeatMs: undefined,
      heartbeatGraceMs: undefined,
      view: () => ({ map: { maxOsd: 3, isUp: (osd: number) => up.has(osd) } }) as never,
      isFull: () => false,
      onHeartbeat: () => {},
    });
    reports.start();
  });

  it('reports a peer that has not answered for the grace, and no other', async () => {
    await world.advance(5000);
    frozen.add(1);
    await world.advance(GRACE_MS - 1000);
    expect(reported).toEqual([]);
    await world.advance(3000);
    expect(reported).toEqual([1]);
    // It wakes and boots: nobody holds against it what it did not answer.
    frozen.clear();
    for (const answer of unfreeze.splice(0)) answer();
    up.add(1);
    await world.advance(2 * GRACE_MS);
    expect(reported).toEqual([1]);
  });

  it('that is killed while it starts reports nobody', async () => {
    reports.end();
    reports.start();
    expect(world.pendingEvents).toBe(0);
  });

  it('does not report one that answers late', async () => {
    for (let i = 0; i < 5; i++) {
      frozen.add(2);
      await world.advance(GRACE_MS - 3000);
      frozen.clear();
      for (const answer of unfreeze.splice(0)) answer();
      await world.advance(2000);
    }
    expect(reported).toEqual([]);
  });

  it('does not hold against a new incarnation what the old one did not answer', async () => {
    frozen.add(1);
    await world.advance(GRACE_MS - 3000);
    directory.set(1, { ping: () => Promise.resolve() });
    await world.advance(2 * GRACE_MS);
    expect(reported).toEqual([]);
  });

  it('reports one that is gone at once', async () => {
    directory.delete(2);
    await world.advance(2000);
    expect(reported).toEqual([2]);
  });
});
