// PGs whose members lack objects: they serve at once, and nobody ever sees what is not as the log says.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { LOG_ENTRIES_MAX } from '../../../src/cluster/store/pg-record.js';
import type { ClusterSettingsInput } from '../../../src/cluster/settings.js';
import { loadKernels } from '../../../src/kernels/load.js';
import {
  appendOp,
  createOp,
  deleteOp,
  setXattrOp,
  writeFullOp,
} from '../../../src/messages/osd-op.js';
import { connectRados } from '../../../src/rados/connect.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import './support/pipeline-rules.js';

const PGS = 4;
const OBJECTS = 24;
const names = Array.from({ length: OBJECTS }, (_, i) => `object-${i}`);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const bytes = (text: string) => Buffer.from(text);

interface Scene {
  cluster: EmbeddedCluster;
  io: IoContext;
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(settings: ClusterSettingsInput): Promise<Scene> {
  const cluster = await EmbeddedCluster.start({
    inThread: true,
    pools: [{ name: 'rbd', pgNum: PGS }],
    ...settings,
  });
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions);
  cleanups.push(async () => {
    client.close();
    await cluster.stop();
  });
  return { cluster, io: await client.ioctx('rbd') };
}

async function directory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'linger-recovery-'));
  cleanups.push(() => rm(dir, { recursive: true }));
  return dir;
}

const write = (io: IoContext, name: string, text: string) =>
  io.operate(name, [writeFullOp(bytes(text))], { timeoutMs: 0 });
const writeAll = (io: IoContext, text: string) =>
  Promise.all(names.map((name) => write(io, name, `${text} ${name}`)));

async function read(io: IoContext, name: string): Promise<string> {
  return Buffer.from(await io.read(name, 0, 0, { timeoutMs: 0 })).toString();
}

async function untilState(cluster: EmbeddedCluster, wanted: (state: string) => boolean) {
  for (;;) {
    const states = Object.keys((await cluster.status()).pgs);
    if (states.length > 0 && states.every(wanted)) return;
    await sleep(10);
  }
}

const clean = (cluster: EmbeddedCluster) =>
  untilState(cluster, (state) => state === 'active+clean');

/** `none yet` when it does not come for a while: what comes must be right whenever it comes. */
async function soon<T>(answer: Promise<T>): Promise<T | 'none yet'> {
  return Promise.race([answer, sleep(700).then(() => 'none yet' as const)]);
}

/** osd.1 missed a write to every object, is back, and nothing is recovered in the background. */
async function withGaps({ cluster, io }: Scene): Promise<{ recover: () => Promise<void> }> {
  await writeAll(io, 'old');
  await clean(cluster);
  await cluster.killOsd(1);
  await writeAll(io, 'new');
  const flags = await cluster.faults.setFlags('norecover');
  await cluster.startOsd(1);
  await untilState(cluster, (state) => state.startsWith('active') && !state.includes('undersized'));
  return { recover: () => flags.stop() };
}

describe('a PG with a member that missed writes', () => {
  it('is active before anything is recovered, says so, and is clean in the end', async () => {
    const scene = await start({ osds: 2, size: 2 });
    const { recover } = await withGaps(scene);
    const { pgs } = await scene.cluster.status();
    expect(pgs['active+recovering+degraded']).toBeGreaterThan(0);
    await recover();
    await clean(scene.cluster);
    for (const osd of [0, 1]) {
      await scene.cluster.killOsd(osd);
      for (const name of names) expect(await read(scene.io, name)).toBe(`new ${name}`);
      await scene.cluster.startOsd(osd);
      await clean(scene.cluster);
    }
  });

  it('answers reads of everything, and lists everything', async () => {
    const scene = await start({ osds: 2, size: 2 });
    await withGaps(scene);
    for (const name of names) expect(await read(scene.io, name)).toBe(`new ${name}`);
  });

  it('recovers the objects that requests need, and only those', async () => {
    const { cluster, io } = await start({ osds: 2, size: 2 });
    const { recover } = await withGaps({ cluster, io });
    const [wanted = '', other = ''] = names;
    await io.operate(wanted, [appendOp(bytes('!'))]);
    // Nobody but osd.1 is left: it has what the write brought, and does not pass off what it had before.
    await cluster.killOsd(0);
    expect(await read(io, wanted)).toBe(`new ${wanted}!`);
    const answer = read(io, other);
    expect(await soon(answer)).toBe('none yet');
    await untilState(cluster, (state) => state.includes('degraded'));
    await cluster.startOsd(0);
    expect(await answer).toBe(`new ${other}`);
    await recover();
    await clean(cluster);
  });

  it('makes no difference between objects that changed, came and went', async () => {
    const { cluster, io } = await start({ osds: 2, size: 2 });
    await writeAll(io, 'old');
    await clean(cluster);
    await cluster.killOsd(1);
    const [gone = '', again = ''] = names;
    await io.operate(gone, [deleteOp()]);
    await io.operate(again, [deleteOp()]);
    await io.operate(again, [createOp(true)]);
    await write(io, 'fresh', 'fresh');
    await cluster.startOsd(1);
    await clean(cluster);
    await cluster.killOsd(0);
    await expect(read(io, gone)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await read(io, again)).toBe('');
    expect(await read(io, 'fresh')).toBe('fresh');
  });

  it('knows what is missing after a crash of everybody', async () => {
    const { cluster, io } = await start({ osds: 2, size: 2, dataDir: await directory() });
    const { recover } = await withGaps({ cluster, io });
    const [wanted = '', other = ''] = names;
    await io.operate(wanted, [appendOp(bytes('!'))]);
    await cluster.killOsd(0);
    await cluster.killOsd(1);
    await cluster.startOsd(1);
    // Recovered before the crash; and still missing.
    expect(await read(io, wanted)).toBe(`new ${wanted}!`);
    const answer = read(io, other);
    expect(await soon(answer)).toBe('none yet');
    await cluster.startOsd(0);
    expect(await answer).toBe(`new ${other}`);
    await recover();
    await clean(cluster);
  });

  it('takes writes of everything while it recovers', async () => {
    const { cluster, io } = await start({ osds: 3, size: 3 });
    const { recover } = await withGaps({ cluster, io });
    const writing = names.map(async (name) => {
      for (let i = 0; i < 5; i++) await io.operate(name, [appendOp(bytes(`${i}`))]);
    });
    await recover();
    await Promise.all(writing);
    await clean(cluster);
    for (const osd of [0, 1, 2]) {
      await cluster.killOsd(osd);
      for (const name of names) expect(await read(io, name)).toBe(`new ${name}01234`);
      await cluster.startOsd(osd);
      await clean(cluster);
    }
  });
});

describe('a PG with a member whose log is too old', () => {
  /** More changes than logs keep, all of them while an OSD was away; nothing is copied yet. */
  async function farBehind(
    { cluster, io }: Scene,
    away = 1,
  ): Promise<{ backfill: () => Promise<void> }> {
    await writeAll(io, 'old');
    await write(io, 'gone', 'gone');
    await clean(cluster);
    await cluster.killOsd(away);
    await io.operate('gone', [deleteOp()]);
    await writeAll(io, 'new');
    const rounds = Math.ceil((2 * LOG_ENTRIES_MAX) / OBJECTS) + 1;
    await Promise.all(
      names.map(async (name) => {
        for (let i = 0; i < rounds; i++)
          await io.operate(name, [setXattrOp('round', bytes(`${i}`))]);
      }),
    );
    const flags = await cluster.faults.setFlags('nobackfill');
    await cluster.startOsd(away);
    await untilState(cluster, (state) => state.includes('backfilling'));
    return { backfill: () => flags.stop() };
  }

  const settings = { osds: 2, size: 2, pools: [{ name: 'rbd', pgNum: 1 }] };

  // One of them is its primary otherwise.
  it.each([0, 1])(
    'serves meanwhile, by those who have everything (osd.%i)',
    async (away) => {
      const scene = await start(settings);
      const { cluster, io } = scene;
      const { backfill } = await farBehind(scene, away);
      for (const name of names) expect(await read(io, name)).toBe(`new ${name}`);
      // Both before and while it is filled.
      const writing = Promise.all(
        names.map(async (name) => {
          for (let i = 0; i < 5; i++) await io.operate(name, [appendOp(bytes(`${i}`))]);
          await write(io, `fresh-${name}`, name);
        }),
      );
      await backfill();
      await writing;
      await clean(cluster);
      for (const osd of [0, 1]) {
        await cluster.killOsd(osd);
        for (const name of names) {
          expect(await read(io, name)).toBe(`new ${name}01234`);
          expect(await read(io, `fresh-${name}`)).toBe(name);
        }
        await expect(read(io, 'gone')).rejects.toMatchObject({ code: 'ENOENT' });
        await cluster.startOsd(osd);
        await clean(cluster);
      }
    },
    30_000,
  );

  it('never takes its half of a copy for the whole', async () => {
    const scene = await start(settings);
    const { cluster, io } = scene;
    const { backfill } = await farBehind(scene);
    await writeAll(io, 'newest');
    await cluster.killOsd(0);
    await untilState(cluster, (state) => state.includes('incomplete'));
    const answers = Promise.all(names.map((name) => read(io, name)));
    expect(await soon(answers)).toBe('none yet');
    await cluster.startOsd(0);
    expect(await answers).toEqual(names.map((name) => `newest ${name}`));
    await backfill();
    await clean(cluster);
  }, 30_000);

  it('is filled in the end, whoever crashes while it is', async () => {
    const scene = await start({ ...settings, dataDir: await directory() });
    const { cluster, io } = scene;
    const { backfill } = await farBehind(scene);
    await backfill();
    const appended = names.map(() => '');
    for (let round = 0; round < 6; round++) {
      const writing = names.map(async (name, i) => {
        await io.operate(name, [appendOp(bytes(`${round}`))], { timeoutMs: 0 });
        appended[i] += `${round}`;
      });
      await sleep(3 * round);
      await cluster.killOsd(round % 2);
      await cluster.startOsd(round % 2);
      await Promise.all(writing);
    }
    await clean(cluster);
    await cluster.killOsd(0);
    const found = await Promise.all(names.map((name) => read(io, name)));
    expect(found).toEqual(names.map((name, i) => `new ${name}${appended[i]}`));
  }, 30_000);
});

describe('what was acknowledged', () => {
  /** Every order in which some of the OSDs can go. */
  function orders(osds: readonly number[], most: number): number[][] {
    if (most === 0) return [[]];
    const longer = osds.flatMap((osd) =>
      orders(
        osds.filter((other) => other !== osd),
        most - 1,
      ).map((rest) => [osd, ...rest]),
    );
    return [[], ...longer];
  }

  it.each([
    { size: 3, osds: 3 },
    { size: 2, osds: 2 },
  ])(
    'is there whoever dies after the answer, in whatever order (size $size)',
    async ({ size, osds }) => {
      const { cluster, io } = await start({ osds, size });
      const all = Array.from({ length: osds }, (_, osd) => osd);
      const most = size - 1;
      let round = 0;
      for (const order of orders(all, most)) {
        round++;
        await writeAll(io, `${round}`);
        for (const osd of order) await cluster.killOsd(osd);
        const minSize = size - Math.floor(size / 2);
        const reads = Promise.all(names.map((name) => read(io, name)));
        if (osds - order.length >= minSize) {
          expect(await reads).toEqual(names.map((name) => `${round} ${name}`));
          await writeAll(io, `${round}b`);
        }
        for (const osd of [...order].reverse()) await cluster.startOsd(osd);
        await reads;
        const last = osds - order.length >= minSize ? `${round}b` : `${round}`;
        for (const name of names) expect(await read(io, name)).toBe(`${last} ${name}`);
      }
      await clean(cluster);
    },
    30_000,
  );
});
