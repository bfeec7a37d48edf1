// Goal: W21. While the main thread does nothing but compute, its devices stay good neighbours: the watch is kept, header
// updates are acknowledged, the lock is given to whoever asks. Others are measured by a process of their own.
//
// LINGER_BLOCKED_MS=120000 blocks it for two minutes instead.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BlockDevice, type Cluster, connect, EmbeddedCluster } from '../../src/index.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { runOrThrow } from './support/processes.js';

const MIB = 1024 * 1024;
const BLOCKED_MS = Number(process.env['LINGER_BLOCKED_MS'] ?? 8000);
const TIMEOUT_MS = BLOCKED_MS + 120_000;

/** Waits until our main thread is blocked, then has real rbd write and resize, and tells how long each took. */
const NEIGHBOUR = `
import json, subprocess, sys, time
time.sleep(0.5)
took = {}
def run(what, *args):
    started = time.monotonic()
    subprocess.run(['rbd', *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took[what] = (time.monotonic() - started) * 1000
locked, plain = sys.argv[1:]
run('bench', 'bench', '--io-type', 'write', '--io-size', '4K', '--io-total', '4K', '--io-threads', '1', locked)
run('resize', 'resize', '--no-progress', plain, '--size', '24M')
print(json.dumps(took))
`;

interface Took {
  bench: number;
  resize: number;
}

interface RunningCluster {
  confPath: string;
  stop(): Promise<void>;
}

describeCeph('a blocked main thread on a real cluster', () =>
  blockedMain(() => CephCluster.start({ osds: 2 })),
);
// In a thread of its own: it has to go on while this one is blocked.
describeCeph('a blocked main thread on the embedded cluster', () =>
  blockedMain(() => EmbeddedCluster.start({ osds: 2, pools: ['rbd'] })),
);

function blockedMain(start: () => Promise<RunningCluster>): void {
  let cluster: RunningCluster;
  beforeAll(async () => {
    cluster = await start();
  });
  afterAll(() => cluster?.stop());

  const env = () => ({ ...process.env, CEPH_CONF: cluster.confPath, CEPH_ARGS: undefined });
  const rbd = async (...args: string[]) => (await runOrThrow('rbd', args, { env: env() })).stdout;
  const watchers = async (spec: string) =>
    (
      JSON.parse(await rbd('status', spec, '--format', 'json')) as {
        watchers: { client: string; cookie: string }[];
      }
    ).watchers;

  /** A pair of images, mapped by one client: one with the exclusive lock, which is held, and one without. */
  async function pair(ours: Cluster, name: string) {
    await rbd('create', '--size', '16M', '--image-feature', 'layering', `rbd/${name}-plain`);
    await rbd(
      ...['create', '--size', '16M', '--image-feature', 'layering,exclusive-lock'],
      `rbd/${name}-locked`,
    );
    const [plain, locked] = await Promise.all([
      ours.map(`rbd/${name}-plain`),
      ours.map(`rbd/${name}-locked`),
    ]);
    await locked.write(8 * MIB, Buffer.from('before'));
    return { plain, locked, names: [`rbd/${name}-locked`, `rbd/${name}-plain`] as const };
  }

  /** Blocks this thread, and returns what the neighbour measured meanwhile. */
  async function blockBeside(names: readonly string[]): Promise<Took> {
    const child = spawn('/usr/bin/python3', ['-c', NEIGHBOUR, ...names], {
      env: env(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    const ended = once(child, 'close');
    const until = performance.now() + BLOCKED_MS;
    while (performance.now() < until);
    expect(await ended).toEqual([0, null]);
    return JSON.parse(Buffer.concat(output).toString()) as Took;
  }

  it(
    'W21: keeps the watch, acknowledges header updates and hands the lock over',
    async () => {
      await using ours = await connect({ conf: cluster.confPath });
      const { plain, locked, names } = await pair(ours, 'worker');
      const before = await Promise.all(names.map(watchers));
      const events: string[] = [];
      for (const device of [plain, locked])
        device.on('watch-error', () => events.push('watch-error'));
      plain.on('resize', (size) => events.push(`resize ${size / MIB}`));
      locked.on('lock-lost', (reason) => events.push(`lock-lost ${reason}`));
      const took = await blockBeside(names);
      // Start of rbd included.
      expect(took.bench).toBeLessThan(BLOCKED_MS);
      expect(took.resize).toBeLessThan(BLOCKED_MS);
      // In no certain order: each device has its own way to here.
      await expect.poll(() => events.toSorted()).toEqual(['lock-lost requested', 'resize 24']);
      expect(plain.size).toBe(24 * MIB);
      expect(await Promise.all(names.map(watchers))).toEqual(before);
      expect(before.map((each) => each.length)).toEqual([1, 1]);
      // And takes it back.
      await writesAndReads(locked);
    },
    TIMEOUT_MS,
  );

  it(
    'W21: with threads: 0 others wait as long as the thread is blocked, and nothing is lost',
    async () => {
      await using ours = await connect({ conf: cluster.confPath }, { threads: 0 });
      const { plain, locked, names } = await pair(ours, 'inline');
      const took = await blockBeside(names);
      // From half a second after the beginning to its end, or the end of librbd's patience.
      expect(took.bench + took.resize).toBeGreaterThan(5000);
      await expect.poll(() => plain.size).toBe(24 * MIB);
      await writesAndReads(locked);
    },
    TIMEOUT_MS,
  );

  async function writesAndReads(device: BlockDevice): Promise<void> {
    await device.write(9 * MIB, Buffer.from('after'));
    expect(Buffer.from(await device.read(8 * MIB, 6)).toString()).toBe('before');
    expect(Buffer.from(await device.read(9 * MIB, 5)).toString()).toBe('after');
  }
}
