// OSDs die and return while clients write. Whatever was acknowledged must be there at the end, once and in order.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { loadKernels } from '../../../src/kernels/load.js';
import {
  appendOp,
  omapGetValsByKeysOp,
  omapSetValsOp,
  readOp,
  writeOp,
} from '../../../src/messages/osd-op.js';
import { connectRados } from '../../../src/rados/connect.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import './support/pipeline-rules.js';

const OBJECTS = 24;
const SECTOR = 512;
const PGS = 8;

/** A small generator (mulberry32), so that a failing run can be had again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const stamp = (value: number) => {
  const bytes = Buffer.alloc(SECTOR);
  for (let at = 0; at < SECTOR; at += 4) bytes.writeUInt32LE(value, at);
  return bytes;
};
const word = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

describe('acknowledged writes', () => {
  let client: Awaited<ReturnType<typeof connectRados>>['client'];
  let cluster: EmbeddedCluster;
  let io: IoContext;

  beforeAll(async () => {
    cluster = await EmbeddedCluster.start({
      inThread: true,
      osds: 3,
      size: 2,
      pools: [{ name: 'rbd', pgNum: PGS }],
    });
    ({ client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions));
    io = await client.ioctx('rbd');
  });

  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  /** Every PG is served, by members that all have everything. */
  async function healthy(): Promise<void> {
    for (;;) {
      const { pgs } = await cluster.status();
      if (pgs['active+clean'] === PGS) return;
      await sleep(10);
    }
  }

  /** Kills and starts OSDs until told to stop; all are back at the end. */
  async function thrash(seed: number, maxDead: number, running: () => boolean): Promise<number> {
    const draw = random(seed);
    const dead = new Set<number>();
    let kills = 0;
    while (running()) {
      const osd = Math.floor(draw() * 3);
      if (dead.has(osd)) {
        await cluster.startOsd(osd);
        dead.delete(osd);
      } else if (dead.size < maxDead) {
        await cluster.killOsd(osd);
        dead.add(osd);
        kills++;
      }
      await sleep(draw() * 120);
    }
    for (const osd of dead) await cluster.startOsd(osd);
    return kills;
  }

  /** Writes, appends and sets keys, each next one after the last was acknowledged. Returns how many. */
  async function writer(name: string, running: () => boolean): Promise<number> {
    let done = 0;
    while (running()) {
      const next = done + 1;
      const place = (next % 8) * SECTOR;
      await io.operate(`${name}.data`, [writeOp(place, stamp(next))], { timeoutMs: 0 });
      await io.operate(`${name}.log`, [appendOp(word(next))], { timeoutMs: 0 });
      await io.operate(`${name}.log`, [omapSetValsOp(new Map([[`k${next}`, word(next)]]))], {
        timeoutMs: 0,
      });
      done = next;
    }
    return done;
  }

  async function verify(name: string, done: number): Promise<void> {
    const { ops } = await io.operate(`${name}.log`, [
      readOp(0, 0),
      omapGetValsByKeysOp([`k${done}`]),
    ]);
    const log = Buffer.from(ops[0]?.outdata ?? []);
    const words = Array.from({ length: log.length / 4 }, (_, i) => log.readUInt32LE(4 * i));
    expect(words, `${name}: appended once each, in order`).toEqual(
      Array.from({ length: done }, (_, i) => i + 1),
    );
    expect(ops[1]?.outdata.length, `${name}: the last key`).toBeGreaterThan(4);
    const data = Buffer.from(await io.read(`${name}.data`, 0, 0));
    for (let slot = 0; slot < 8; slot++) {
      let last = done;
      while (last > 0 && last % 8 !== slot) last--;
      if (last <= 0) continue;
      const sector = data.subarray(slot * SECTOR, (slot + 1) * SECTOR);
      expect(Buffer.compare(sector, stamp(last)), `${name}: sector ${slot}`).toBe(0);
    }
  }

  it.each([
    { maxDead: 1, seed: 11 },
    { maxDead: 2, seed: 12 },
    { maxDead: 2, seed: 13 },
  ])('survive up to $maxDead of 3 OSDs dying at a time (seed $seed)', async ({ maxDead, seed }) => {
    const until = Date.now() + 5000;
    const running = () => Date.now() < until;
    const names = Array.from({ length: OBJECTS }, (_, i) => `object-${seed}-${i}`);
    const thrashing = thrash(seed, maxDead, running);
    const counts = await Promise.all(names.map((name) => writer(name, running)));
    const kills = await thrashing;
    expect(kills).toBeGreaterThan(5);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(OBJECTS);
    for (const [i, name] of names.entries()) await verify(name, counts[i] as number);
  });

  it('are on every copy: each OSD alone can serve them', async () => {
    await io.operate('everywhere', [writeOp(0, stamp(77))]);
    for (let osd = 0; osd < 3; osd++) {
      await healthy();
      await cluster.killOsd(osd);
      expect(Buffer.compare(Buffer.from(await io.read('everywhere', 0, SECTOR)), stamp(77))).toBe(
        0,
      );
      await cluster.startOsd(osd);
    }
  });

  it('wait for the OSD that has them, when the others only have older copies', async () => {
    await using pair = await EmbeddedCluster.start({
      inThread: true,
      osds: 2,
      size: 2,
      pools: [{ name: 'rbd', pgNum: PGS }],
    });
    const { client: own } = await connectRados(
      nodeEnvironment(),
      loadKernels(),
      pair.connectOptions,
    );
    const both = await own.ioctx('rbd');
    await both.operate('waiting', [writeOp(0, stamp(1))]);
    await pair.killOsd(0);
    await both.operate('waiting', [writeOp(0, stamp(2))]);
    await pair.killOsd(1);
    await pair.startOsd(0);
    const read = both.read('waiting', 0, SECTOR);
    expect(await Promise.race([read, sleep(1500).then(() => 'none yet')])).toBe('none yet');
    await pair.startOsd(1);
    expect(Buffer.compare(Buffer.from(await read), stamp(2))).toBe(0);
    own.close();
  });

  it('wait for no OSD that was to serve them and did not live to', async () => {
    await using pair = await EmbeddedCluster.start({
      inThread: true,
      osds: 2,
      size: 2,
      pools: [{ name: 'rbd', pgNum: PGS }],
    });
    const connected = await connectRados(nodeEnvironment(), loadKernels(), pair.connectOptions);
    using own = connected.client;
    const both = await own.ioctx('rbd');
    await both.operate('short', [writeOp(0, stamp(1))]);
    // It does not hear that all is its own now.
    const frozen = await pair.faults.freezeOsd({ osd: 1 });
    await pair.killOsd(0);
    await frozen.untilFired();
    await pair.killOsd(1);
    await frozen.stop();
    await pair.startOsd(0);
    expect(Buffer.compare(Buffer.from(await both.read('short', 0, SECTOR)), stamp(1))).toBe(0);
  });

  it('come back to an OSD that lost its disk', async () => {
    await io.operate('replaced', [writeOp(0, stamp(5))]);
    for (let osd = 0; osd < 3; osd++) {
      await healthy();
      await cluster.killOsd(osd);
      await cluster.startOsd(osd, { lost: true });
      expect(Buffer.compare(Buffer.from(await io.read('replaced', 0, SECTOR)), stamp(5))).toBe(0);
    }
  });
});
