// Goal: whoever serves and whoever asks, a PG that cannot serve has its clients wait, and nothing is lost or turned round by it.
// Method: Ceph's tools and our client against a real cluster and the embedded one, while members are missing.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { loadKernels } from '../../src/kernels/load.js';
import { appendOp, readOp, writeFullOp } from '../../src/messages/osd-op.js';
import { connectRados } from '../../src/rados/connect.js';
import type { IoContext } from '../../src/rados/io-context.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { type RunOptions, type RunResult, runProcess } from './support/processes.js';

const POOL = 'rbd';
const POOLS = [{ name: POOL, pgNum: 4 }];
/** Everything that the tool and its OSDs say to one another, on stderr. */
const TALKATIVE = ['--debug-ms=1', '--log-to-stderr=true', '--err-to-stderr=true'];
const UNTIL_DONE = { timeoutMs: 0 };

/** Two OSDs, and who ends and begins them. */
interface Cluster {
  readonly confPath: string;
  readonly dir: string;
  run(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  stopOsd(id: number): Promise<void>;
  startOsd(id: number): Promise<void>;
  /** Every PG serves. */
  serving(): Promise<void>;
  /** What clients were asked to wait with, where it can be asked. */
  backoffs(osd: number): Promise<readonly { state: string }[] | undefined>;
  stop(): Promise<void>;
}

/** With both members. */
async function allServe(states: () => Promise<readonly string[]>): Promise<void> {
  const isServed = (state: string) => state.startsWith('active') && !state.includes('undersized');
  await expect.poll(async () => (await states()).filter((state) => !isServed(state))).toEqual([]);
}

const real = async (): Promise<Cluster> => {
  const cluster = await CephCluster.start({ osds: 2, size: 2, pools: POOLS });
  const states = async () => {
    const asked = Array.from({ length: 4 }, (_, seed) =>
      Promise.allSettled(
        [0, 1].map(async (osd) => {
          const args = { pgid: `1.${seed}`, cmd: 'query' };
          return ((await cluster.askDaemon(`osd.${osd}`, 'pg', args)) as { state: string }).state;
        }),
      ),
    );
    return (await Promise.all(asked)).map(
      (answers) => answers.find((answer) => answer.status === 'fulfilled')?.value ?? 'unknown',
    );
  };
  return {
    ...{ confPath: cluster.confPath, dir: cluster.dir },
    run: (command, args, options) => cluster.run(command, args, options),
    stopOsd: (id) => cluster.stopOsd(id),
    startOsd: (id) => cluster.startOsd(id),
    serving: () => allServe(states),
    backoffs: async () => undefined,
    stop: () => cluster.stop(),
  };
};

const embedded = async (): Promise<Cluster> => {
  const cluster = await EmbeddedCluster.start({ osds: 2, size: 2, inThread: true, pools: POOLS });
  const states = async () => Object.keys((await cluster.status()).pgs);
  return {
    ...{ confPath: cluster.confPath, dir: cluster.dir },
    run: (command, args, options = {}) =>
      runProcess(command, args, {
        ...options,
        env: { ...process.env, CEPH_CONF: cluster.confPath, CEPH_ARGS: undefined, ...options.env },
      }),
    stopOsd: (id) => cluster.killOsd(id),
    startOsd: (id) => cluster.startOsd(id),
    serving: () => allServe(states),
    backoffs: async (osd) =>
      ((await cluster.daemon(`osd.${osd}`, 'dump_backoffs')) as { backoffs: { state: string }[] })
        .backoffs,
    stop: () => cluster.stop(),
  };
};

for (const [name, start] of [
  ['a real cluster', real],
  ['the embedded cluster', embedded],
] as const) {
  describeCeph(`an OSD of ${name} that cannot serve`, () => suite(start));
}

function suite(start: () => Promise<Cluster>): void {
  let cluster: Cluster;
  let client: RadosClient;
  let io: IoContext;

  const ceph = async (...args: string[]) => {
    const { code, stderr } = await cluster.run('ceph', args);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
  };
  /** A tool that is asked to wait: settles when it has acknowledged that; `told` when it has ended. */
  const waitingRados = async (...args: string[]): Promise<{ told: Promise<RunResult> }> => {
    let said = '';
    const told = cluster.run('rados', ['-p', POOL, ...args, ...TALKATIVE], {
      onStderr: (text) => {
        said += text;
      },
    });
    await expect.poll(() => said).toContain(' ack-block ');
    return { told };
  };
  const write = (oid: string, text: string) =>
    io.operate(oid, [writeFullOp(Buffer.from(text))], UNTIL_DONE);
  const append = (oid: string, text: string) =>
    io.operate(oid, [appendOp(Buffer.from(text))], UNTIL_DONE);
  const textOf = async (oid: string) =>
    Buffer.from(await io.read(oid, 0, 0, UNTIL_DONE)).toString();
  /** Until our client has been asked to wait with the object. */
  const askedToWait = (oid: string) =>
    expect
      .poll(async () => {
        const tried = io.operate(oid, [readOp(0, 1)], { timeoutMs: 500 });
        return tried.then(
          () => 'answered',
          (error: Error) => error.message,
        );
      })
      .toContain('asked to wait');
  /** What a tool and its OSD have said to each other about waiting, by what was to be waited with. */
  const conversation = ({ stderr }: RunResult) =>
    [
      ...stderr.matchAll(/osd_backoff\(\S+ (block|ack-block|unblock) id (\d+) \[(\S+?),(\S+?)\)/g),
    ].map(([, what, id, begin, end]) => ({ what, id, alone: begin === end }));

  beforeAll(async () => {
    cluster = await start();
    ({ client } = await connectRados(nodeEnvironment(), loadKernels(), {
      conf: cluster.confPath,
      mountTimeoutMs: 30_000,
    }));
    io = await client.ioctx(POOL);
    await ceph('osd', 'set', 'noout');
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  it('for want of members, has librados, librbd and our client wait', async () => {
    await write('o', '0');
    expect((await cluster.run('rbd', ['create', '--size', '8M', `${POOL}/i`])).code).toBe(0);
    await ceph('osd', 'pool', 'set', POOL, 'size', '3');
    await ceph('osd', 'pool', 'set', POOL, 'min_size', '3');
    const tool = await waitingRados('append', 'o', '/etc/hostname');
    await askedToWait('o');
    const image = cluster.run('rbd', [
      ...['bench', '--io-type', 'write', '--io-size', '64K', '--io-total', '1M', `${POOL}/i`],
    ]);
    const appends = ['1', '2', '3'].map((text) => append('mine', text));
    const backoffs = async () => [
      ...((await cluster.backoffs(0)) ?? []),
      ...((await cluster.backoffs(1)) ?? []),
    ];
    const notAcked = async () => (await backoffs()).filter(({ state }) => state !== 'acked');
    await expect.poll(notAcked).toEqual([]);
    await ceph('osd', 'pool', 'set', POOL, 'min_size', '2');
    await Promise.all(appends);
    expect(await textOf('mine')).toBe('123');
    const told = await tool.told;
    expect(told.code).toBe(0);
    const hostname = await readFile('/etc/hostname', 'utf8');
    expect(await textOf('o')).toBe(`0${hostname}`);
    const said = conversation(told);
    expect(said.slice(0, 3)).toEqual([
      { what: 'block', id: '1', alone: false },
      { what: 'ack-block', id: '1', alone: false },
      { what: 'unblock', id: '1', alone: false },
    ]);
    expect(told.stderr).toMatch(/RETRY=\d/);
    expect((await image).code).toBe(0);
    await ceph('osd', 'pool', 'set', POOL, 'size', '2');
    await ceph('osd', 'pool', 'set', POOL, 'min_size', '1');
    await cluster.serving();
  });

  it('an object that nobody has, has them wait with that alone', async () => {
    await write('lost', 'old');
    const snap = await io.createSelfManagedSnap();
    await cluster.stopOsd(1);
    await write('lost', 'new');
    await ceph('osd', 'set', 'norecover');
    await cluster.startOsd(1);
    await cluster.serving();
    await cluster.stopOsd(0);
    const out = join(cluster.dir, 'lost');
    const tool = await waitingRados('get', 'lost', out);
    await askedToWait('lost');
    const appends = ['1', '2', '3'].map((text) => append('lost', text));
    const asItWas = io.operate('lost', [readOp(0, 0)], { ...UNTIL_DONE, snapid: snap });
    // Another of the same PG, as likely as not; and what has not been lost is served.
    for (let i = 0; i < 8; i++) await write(`other ${i}`, 'x');
    await cluster.startOsd(0);
    await ceph('osd', 'unset', 'norecover');
    await Promise.all(appends);
    expect(await textOf('lost')).toBe('new123');
    expect(Buffer.from((await asItWas).ops[0]?.outdata ?? []).toString()).toMatch(/^new/);
    const told = await tool.told;
    expect(told.code).toBe(0);
    expect(await readFile(out, 'utf8')).toMatch(/^new1?2?3?$/);
    expect(conversation(told)).toContainEqual({ what: 'block', id: '1', alone: true });
    expect(conversation(told)).toContainEqual({ what: 'unblock', id: '1', alone: true });
  });
}
