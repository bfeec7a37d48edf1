// What other clients do to an image that is mapped here: real rbd and librbd change it, want its lock, fence us, delete it.

import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BlockDevice, Cluster } from '../../src/index.js';
import { connect } from '../../src/index.js';
import { rejection } from '../block/support/hosts.js';
import { describeCeph } from './support/ceph-cluster.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const MIB = 1024 * 1024;
const LOCKED = ['--image-feature', 'layering,exclusive-lock'];

for (const server of SERVERS) {
  describeCeph(`a mapped image among other clients on ${server.name}`, () => guarded(server));
}

function guarded(server: ServerKind): void {
  let cluster: Server;
  let ours: Cluster;

  beforeAll(async () => {
    cluster = await server.start({ osds: 3, pools: [{ name: 'rbd' }] });
    ours = await connect({ conf: cluster.confPath, mountTimeoutMs: 30_000 });
  });
  afterAll(async () => {
    await ours?.close();
    await cluster?.stop();
  });

  const create = async (name: string, ...args: string[]) => {
    await cluster.rbd('create', '--size', '16M', `rbd/${name}`, ...args);
    return `rbd/${name}`;
  };
  const text = async (spec: string, length: number) =>
    (
      await cluster.runOrThrow('bash', [
        '-c',
        `rbd export --no-progress ${spec} - 2>/dev/null | head -c ${length}`,
      ])
    ).stdout;
  const lockers = async (spec: string) =>
    JSON.parse(await cluster.rbd('lock', 'ls', spec, '--format', 'json')) as {
      id: string;
      locker: string;
    }[];
  const bench = (spec: string) =>
    cluster.run('rbd', [
      ...['bench', '--io-type', 'write', '--io-size', '4K', '--io-total', '256K'],
      ...['--io-threads', '1', spec],
    ]);
  const locker = (device: BlockDevice) => device.attributes.clientId.replace('client', 'client.');

  it('W1: another client’s resize is known here by the time it is over', async () => {
    const spec = await create('resized', '--image-feature', 'layering');
    await using device = await ours.map(spec);
    await device.write(0, Buffer.from('x'));
    const resized = once(device, 'resize');
    await cluster.rbd('resize', '--no-progress', spec, '--size', '24M');
    expect(await resized).toEqual([24 * MIB]);
    expect(device.size).toBe(24 * MIB);
    await device.write(20 * MIB, Buffer.from('beyond'));
    await cluster.rbd('resize', '--no-progress', '--allow-shrink', spec, '--size', '8M');
    await expect.poll(() => device.size).toBe(8 * MIB);
    expect(await rejection(device.write(20 * MIB, Buffer.from('x')))).toMatchObject({
      code: 'EINVAL',
    });
  });

  it.each([
    ['layering', ['--image-feature', 'layering']],
    ['layering and exclusive-lock', LOCKED],
  ])('a snapshot taken while we write is a moment of what was written (%s)', async (kind, args) => {
    const spec = await create(`snapped-${args[1]?.length}`, ...args);
    await using device = await ours.map(spec);
    let writing = true;
    let generation = 0;
    // Every block of a round has its number: a snapshot holds rounds r and r + 1 at most.
    const writer = (async () => {
      while (writing) {
        generation++;
        for (let block = 0; block < 8; block++) {
          const bytes = Buffer.alloc(4096);
          bytes.writeUInt32LE(generation, 0);
          await device.write(block * MIB, bytes);
        }
      }
    })();
    for (const name of ['s1', 's2', 's3']) {
      await cluster.rbd('snap', 'create', '--no-progress', `${spec}@${name}`);
    }
    const atEnd = generation;
    await expect.poll(() => generation, { timeout: 60_000 }).toBeGreaterThan(atEnd + 20);
    writing = false;
    await writer;
    for (const name of ['s1', 's2', 's3']) {
      await using snapshot = await ours.map(`${spec}@${name}`);
      const rounds: number[] = [];
      for (let block = 0; block < 8; block++) {
        rounds.push(Buffer.from(await snapshot.read(block * MIB, 4)).readUInt32LE(0));
      }
      const [first = 0] = rounds;
      expect(first, `${kind} ${name}`).toBeGreaterThan(0);
      // In order: once a block is of the round before, so are those after it.
      const ordered = rounds.every((round, i) => i === 0 || round <= (rounds[i - 1] ?? 0));
      expect([ordered, first - (rounds.at(-1) ?? 0) <= 1], rounds.join(' ')).toEqual([true, true]);
    }
  });

  it('holds the lock as soon as it is mapped, and gives it back when it is closed', async () => {
    const spec = await create('held', ...LOCKED);
    const device = await ours.map(spec);
    expect(await lockers(spec)).toEqual([
      expect.objectContaining({ id: expect.stringMatching(/^auto \d+$/), locker: locker(device) }),
    ]);
    await device.close();
    expect(await lockers(spec)).toEqual([]);
    expect(await cluster.rbd('status', spec)).toContain('Watchers: none');
  });

  it('hands the lock to librbd and takes it back, and no write of either is lost', async () => {
    const spec = await create('shared', ...LOCKED);
    await using device = await ours.map(spec);
    const events: string[] = [];
    device.on('lock-acquired', () => events.push('acquired'));
    device.on('lock-lost', (reason) => events.push(reason));
    for (let round = 1; round <= 5; round++) {
      const mine = Buffer.alloc(4096, round);
      const [result] = await Promise.all([
        bench(spec),
        ...Array.from({ length: 50 }, (_, i) => device.write(8 * MIB + i * 4096, mine)),
      ]);
      expect(result.code).toBe(0);
      await device.write(8 * MIB, mine);
      expect(await lockers(spec)).toEqual([expect.objectContaining({ locker: locker(device) })]);
      const bytes = await device.read(8 * MIB, 50 * 4096);
      expect(bytes.every((byte) => byte === round)).toBe(true);
    }
    expect(events.filter((event) => event === 'requested').length).toBeGreaterThanOrEqual(5);
    expect(events.at(-1)).toBe('acquired');
  });

  it('is refused to others while it is mapped with `exclusive`', async () => {
    const spec = await create('exclusive', ...LOCKED);
    await using device = await ours.map(spec, { exclusive: true });
    await device.write(0, Buffer.from('mine'));
    expect((await bench(spec)).code).not.toBe(0);
    expect(await text(spec, 4)).toBe('mine');
    expect(await lockers(spec)).toEqual([expect.objectContaining({ locker: locker(device) })]);
  });

  it('cannot be had when a person has locked the image, nor when there is none to be had', async () => {
    const spec = await create('by-hand', ...LOCKED);
    await cluster.rbd('lock', 'add', spec, 'by hand');
    expect(await rejection(ours.map(spec))).toMatchObject({ code: 'EBUSY' });
    const plain = await create('without', '--image-feature', 'layering');
    for (const options of [{ exclusive: true }, { lockOnRead: true }]) {
      expect(await rejection(ours.map(plain, options))).toMatchObject({
        code: 'EINVAL',
        message: expect.stringContaining('exclusive-lock feature is not enabled'),
      });
    }
    expect(await cluster.rbd('status', spec)).toContain('Watchers: none');
    expect(await cluster.rbd('status', plain)).toContain('Watchers: none');
  });

  it('goes round among two of ours and librbd, and each write is there', async () => {
    const spec = await create('round', ...LOCKED);
    await using second = await connect({ conf: cluster.confPath });
    await using a = await ours.map(spec);
    await using b = await second.map(spec);
    let handedOver = 0;
    for (const device of [a, b]) device.on('lock-lost', () => handedOver++);
    for (let round = 0; round < 20; round++) {
      await Promise.all([
        a.write(8 * MIB, Buffer.alloc(4096, round)),
        b.write(9 * MIB, Buffer.alloc(4096, round)),
        ...(round % 5 === 4 ? [bench(spec)] : []),
      ]);
      expect((await lockers(spec)).length).toBeLessThanOrEqual(1);
      expect((await b.read(8 * MIB, 1))[0]).toBe(round);
      expect((await a.read(9 * MIB, 1))[0]).toBe(round);
    }
    expect(handedOver).toBeGreaterThanOrEqual(20);
  });

  it('W15: a deleted header ends the device with ENOENT', async () => {
    const spec = await create('deleted', '--image-feature', 'layering');
    const id = (JSON.parse(await cluster.rbd('info', spec, '--format', 'json')) as { id: string })
      .id;
    await using device = await ours.map(spec);
    const failed = once(device, 'error');
    await cluster.rados('-p', 'rbd', 'rm', `rbd_header.${id}`);
    expect(await failed).toEqual([expect.objectContaining({ code: 'ENOENT' })]);
    expect(await rejection(device.write(0, Buffer.from('x')))).toMatchObject({ code: 'ENOENT' });
  });

  it('W17: a fenced client fails all that it is asked, and does not come back by itself', async () => {
    const spec = await create('fenced', ...LOCKED);
    await using fenced = await connect({ conf: cluster.confPath });
    await using device = await fenced.map(spec);
    await device.write(0, Buffer.from('before'));
    const failed = once(device, 'error');
    await cluster.ceph('osd', 'blocklist', 'add', device.attributes.clientAddr);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => device.write(i * 4096, Buffer.alloc(4096, 9))),
    );
    expect(await failed).toEqual([expect.objectContaining({ code: 'EBLOCKLISTED' })]);
    expect(await rejection(device.write(0, Buffer.from('x')))).toMatchObject({
      code: 'EBLOCKLISTED',
    });
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') {
        expect(outcome.reason).toMatchObject({ code: 'EBLOCKLISTED' });
      }
    }
    await expect.poll(() => cluster.rbd('status', spec), { timeout: 40_000 }).toContain('none');
    // Whoever comes next finds the lock free to be taken.
    await using next = await ours.map(spec);
    await next.write(0, Buffer.from('after!'));
    expect(await text(spec, 6)).toBe('after!');
  });
}
