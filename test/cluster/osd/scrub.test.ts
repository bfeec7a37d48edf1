// Copies of objects that differ: a scrub finds them under load, the monitor tells of them, a repair mends them.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { encode } from '../../../src/encoding/encoder.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { OSD_CHANNEL, type OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import type { CorruptObjectOptions } from '../../../src/cluster/faults/fault-spec.js';
import type { ClusterSettingsInput } from '../../../src/cluster/settings.js';
import { loadKernels } from '../../../src/kernels/load.js';
import {
  appendOp,
  callOp,
  cmpExtOp,
  deleteOp,
  OP,
  OP_FLAG,
  omapSetValsOp,
  readOp,
  setXattrOp,
  truncateOp,
  writeFullOp,
  writeOp,
  writeSameOp,
  zeroOp,
} from '../../../src/messages/osd-op.js';
import { connectRados } from '../../../src/rados/connect.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import './support/pipeline-rules.js';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** By how many bytes, and that blocks without any are given back. */
const SPARSIFY = encode((e) => e.u64(1024n).bool(true));

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Scene {
  cluster: EmbeddedCluster;
  client: RadosClient;
  io: IoContext;
}

async function start(settings: ClusterSettingsInput = {}): Promise<Scene> {
  const cluster = await EmbeddedCluster.start({
    inThread: true,
    size: 3,
    pools: [{ name: 'rbd', pgNum: 1 }],
    ...settings,
  });
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions);
  cleanups.push(async () => {
    client.close();
    await cluster.stop();
  });
  const io = await client.ioctx('rbd');
  // Clean: before it, a scrub would wait.
  while (Object.keys((await cluster.status()).pgs).join() !== 'active+clean') await sleep(5);
  return { cluster, client, io };
}

const put = (io: IoContext, name: string, text: string) =>
  io.operate(name, [
    writeFullOp(Buffer.from(text)),
    setXattrOp('tag', Buffer.from('tag')),
    omapSetValsOp(new Map([['key', Buffer.from('value')]])),
  ]);

async function scrub({ cluster, client }: Scene, word: 'scrub' | 'deep-scrub' | 'repair') {
  const answer = await client.command({ prefix: `pg ${word}`, pgid: '1.0' });
  expect(answer.status).toMatch(new RegExp(`^instructing pg 1.0 on osd.\\d to ${word}$`));
  // It was told in the same turn, so what is scrubbing now is this.
  for (;;) {
    const [state = ''] = Object.keys((await cluster.status()).pgs);
    if (!state.includes('scrubbing')) return state;
    await sleep(5);
  }
}

const damages: Required<Pick<CorruptObjectOptions, 'what'>>['what'][] = [
  'data',
  'xattr',
  'omap',
  'size',
  'missing',
];

describe('a scrub', () => {
  it.each(damages)('finds a copy with other %s, and a repair mends it', async (what) => {
    const scene = await start();
    const { cluster, io } = scene;
    for (let i = 0; i < 60; i++) await put(io, `object-${i}`, `content ${i}`);
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
    for (const osd of [0, 1, 2]) {
      await cluster.faults.corruptObject({ pool: 'rbd', object: 'object-7', osd, what });
      const isShallow = what !== 'data' && what !== 'omap';
      expect((await scrub(scene, 'scrub')).includes('inconsistent')).toBe(isShallow);
      expect(await scrub(scene, 'deep-scrub')).toBe('active+clean+inconsistent');
      expect((await cluster.status()).health).toBe('HEALTH_ERR');
      expect((await cluster.status()).healthChecks).toEqual([
        '1 scrub errors',
        'Possible data damage: 1 pg inconsistent',
      ]);
      expect(await scrub(scene, 'repair')).toBe('active+clean');
      expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
      expect((await cluster.status()).health).toBe('HEALTH_OK');
      expect(Buffer.from(await io.read('object-7', 0, 0)).toString()).toBe('content 7');
    }
  });

  it('does not choose between two that differ', async () => {
    const scene = await start({ osds: 2, size: 2 });
    await put(scene.io, 'object', 'one');
    // From then on nobody knows the digest of all of it.
    await scene.io.operate('object', [writeOp(1, Buffer.from('N'))]);
    await scene.cluster.faults.corruptObject({ pool: 'rbd', object: 'object' });
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean+inconsistent');
    expect(await scrub(scene, 'repair')).toBe('active+clean+inconsistent');
    // Somebody who knows writes it anew.
    await put(scene.io, 'object', 'two');
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
  });

  it('believes of two that differ the one that is as it was written', async () => {
    const scene = await start({ osds: 2, size: 2 });
    const { cluster, io } = scene;
    for (const osd of [0, 1]) {
      await put(io, 'object', 'one');
      await io.operate('object', [writeOp(3, Buffer.from(' and two'))]);
      await io.operate('object', [appendOp(Buffer.from(' and three'))]);
      await cluster.faults.corruptObject({ pool: 'rbd', object: 'object', osd });
      expect(await scrub(scene, 'deep-scrub')).toBe('active+clean+inconsistent');
      expect(await scrub(scene, 'repair')).toBe('active+clean');
      expect(Buffer.from(await io.read('object', 0, 0)).toString()).toBe('one and two and three');
    }
  });

  it('finds that a single copy is not what was written', async () => {
    const scene = await start({ osds: 1, size: 1 });
    await put(scene.io, 'object', 'one');
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
    await scene.cluster.faults.corruptObject({ pool: 'rbd', object: 'object' });
    expect(await scrub(scene, 'scrub')).toBe('active+clean');
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean+inconsistent');
    expect(await scrub(scene, 'repair')).toBe('active+clean+inconsistent');
    await put(scene.io, 'object', 'two');
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
  });

  it('knows the digests of what all kinds of writes leave', async () => {
    const scene = await start({ osds: 1, size: 1 });
    const { cluster, io } = scene;
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const extent = { offset: fc.nat(60), data: fc.uint8Array({ minLength: 1, maxLength: 40 }) };
    const op = fc.oneof(
      fc.record(extent).map(({ offset, data }) => writeOp(offset, data)),
      fc.record(extent).map(({ data }) => writeOp(0, data)),
      fc.uint8Array({ maxLength: 60 }).map((data) => writeFullOp(data)),
      fc.uint8Array({ maxLength: 20 }).map((data) => appendOp(data)),
      fc.nat(80).map((size) => truncateOp(size)),
      fc.record(extent).map(({ offset, data }) => zeroOp(offset, data.length)),
      fc.record(extent).map(({ offset, data }) => writeSameOp(offset, 3 * data.length, data)),
      fc.constant(deleteOp()),
    );
    const vector = fc.record({
      name: fc.constantFrom(...names),
      ops: fc.array(op, { minLength: 1, maxLength: 3 }),
    });
    let found = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(vector, { minLength: 20, maxLength: 40 }), async (vectors) => {
        for (const { name, ops } of vectors) await io.operate(name, ops).catch(() => {});
        expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
        for (const object of names) {
          await cluster.faults.corruptObject({ pool: 'rbd', object }).catch(() => {});
        }
        if ((await scrub(scene, 'deep-scrub')) !== 'active+clean') found++;
        for (const name of names) await io.operate(name, [deleteOp()]).catch(() => {});
      }),
      { numRuns: 25 },
    );
    expect(found).toBeGreaterThan(10);
  });

  it('finds nothing while everything is being written', async () => {
    const scene = await start({ osds: 3 });
    const { io } = scene;
    let stop = false;
    let writes = 0;
    const writers = Array.from({ length: 8 }, async (_, w) => {
      for (let i = 0; !stop; i++) {
        await put(io, `object-${w}-${i % 40}`, `content ${w} ${i}`);
        writes++;
      }
    });
    for (let i = 0; i < 10; i++) {
      const before = writes;
      expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
      while (writes === before) await sleep(1);
    }
    stop = true;
    await Promise.all(writers);
  });
});

describe('a block that the disk has lost', () => {
  const content = 'not lost '.repeat(2000);

  /** What begins with `content` at one of the members: the first is the primary. */
  async function damaged(member: number, size: number): Promise<Scene> {
    const dir = await mkdtemp(join(tmpdir(), 'linger-scrub-'));
    cleanups.push(() => rm(dir, { recursive: true }));
    const settings = { osds: size, size, dataDir: dir };
    const scene = await start(settings);
    await put(scene.io, 'object', content);
    const osd = (await actingOf(scene))[member];
    await cleanups.pop()?.();
    await flipBit(join(dir, `osd.${osd}`), 'not lost ');
    return start(settings);
  }

  const read = async ({ io }: Scene) => Buffer.from(await io.read('object', 0, 0)).toString();

  it('is read from another member, and the copy is whole again', async () => {
    const scene = await damaged(0, 2);
    expect(await scrub(scene, 'scrub')).toBe('active+clean');
    expect(await read(scene)).toBe(content);
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
  });

  it('is found by a deep scrub before anybody reads it', async () => {
    const scene = await damaged(1, 2);
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean+inconsistent');
    expect(await scrub(scene, 'repair')).toBe('active+clean');
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
  });

  const guard = cmpExtOp(0, Buffer.from('not lost '));
  it.each([
    ['compares it', [guard, writeOp(4, Buffer.from('LOST'))]],
    ['may fail to', [{ ...guard, flags: OP_FLAG.FAILOK }, writeOp(4, Buffer.from('LOST'))]],
    [
      'reads it in a class method',
      [callOp('rbd', 'sparsify', SPARSIFY), appendOp(Buffer.from('!'))],
    ],
  ])('does not fail a write that %s', async (_, ops) => {
    const scene = await damaged(0, 2);
    await scene.io.operate('object', ops);
    const isAppended = ops[1]?.code === OP.APPEND;
    expect(await read(scene)).toBe(isAppended ? `${content}!` : content.replace('lost', 'LOST'));
    expect(await scrub(scene, 'deep-scrub')).toBe('active+clean');
  });

  it('fails a write that wants it, and leaves no trace of it, while nobody has a copy', async () => {
    const osds: OsdDaemon[] = [];
    const onOsd = (osd: unknown) => osds.push(osd as OsdDaemon);
    subscribe(OSD_CHANNEL, onOsd);
    cleanups.push(async () => {
      unsubscribe(OSD_CHANNEL, onOsd);
    });
    const scene = await damaged(0, 1);
    const lastUpdate = () => osds.at(-1)?.store.pgInfo('1.0')?.lastUpdate;
    const before = lastUpdate();
    for (const ops of [[guard, writeOp(0, Buffer.from('LOST'))], [readOp(0, 0)]]) {
      await expect(scene.io.operate('object', ops)).rejects.toMatchObject({ code: 'EIO' });
    }
    expect(lastUpdate()).toEqual(before);
    await scene.io.operate('object', [writeFullOp(Buffer.from('anew'))]);
    expect(await read(scene)).toBe('anew');
    expect(lastUpdate()).not.toEqual(before);
  });
});

async function actingOf({ client }: Scene): Promise<number[]> {
  const { output: out } = await client.command({ prefix: 'pg map', pgid: '1.0', format: 'json' });
  return (JSON.parse(Buffer.from(out).toString()) as { acting: number[] }).acting;
}

/** In the data of a store that was closed in order. */
async function flipBit(dir: string, text: string): Promise<void> {
  const file = join(dir, 'data');
  const bytes = await readFile(file);
  const at = bytes.indexOf(text);
  if (at < 0) throw new Error('the data are not there');
  bytes[at] = (bytes[at] as number) ^ 1;
  await writeFile(file, bytes);
}
