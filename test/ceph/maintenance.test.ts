// Goal: librbd and we do each other's maintenance: what the one asks of the owner of the lock, the other does, tells of its
// progress, and is believed. Method: rbd's commands beside an owner of ours, and our requests to an owner in librbd, on a
// real cluster and on the embedded one.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { Image, type OpenOptions } from '../../src/rbd/image.js';
import { rejection } from '../support/rejection.js';
import { describeCeph } from './support/ceph-cluster.js';
import { FaultyNetwork } from './support/faulty-network.js';
import { lastWords, runLinger } from './support/linger-cli.js';
import { WITHOUT_LOG } from './support/processes.js';
import { LibrbdClient, LockHolder } from './support/lock-clients.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const MIB = 2 ** 20;
/** Small objects, and so many that their removal is told of on the way. */
const OBJECTS = 3000;

for (const server of SERVERS) {
  describeCeph(`maintenance on ${server.name}`, () => maintenance(server));
}

function maintenance(server: ServerKind): void {
  let cluster: Server;
  let client: RadosClient;
  let name: string;
  let images = 0;

  beforeAll(async () => {
    cluster = await server.start({ osds: 1, pools: [{ name: 'rbd', size: 1 }] });
    client = await connectTo(cluster);
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });
  beforeEach(async () => {
    name = `image${++images}`;
    const size = ['--size', `${OBJECTS * 4}K`, '--object-size', '4K'];
    await cluster.rbd('create', ...size, '--image-feature', 'layering,exclusive-lock', name);
  });

  const open = (options: OpenOptions = {}, by = client) =>
    Image.open(by, { pool: 'rbd', name }, options);
  const info = async () =>
    JSON.parse(await cluster.rbd('info', '--format', 'json', name)) as {
      size: number;
      features: string[];
    };
  const rbd = (...args: string[]) => cluster.run('rbd', args, WITHOUT_LOG);
  /** As `rbd`, of an owner with this network, who takes its time until the command has shown that it is on the way. */
  const rbdOnTheWay = (network: FaultyNetwork, ...args: string[]) => {
    network.sendDelayMs = 50;
    let said = '';
    return cluster.run('rbd', args, {
      ...WITHOUT_LOG,
      onStderr: (text) => {
        said += text;
        if (percents(said).some((percent) => percent > 0)) network.sendDelayMs = 0;
      },
    });
  };
  /** What a command said of its progress, in per cent. */
  const percents = (stderr: string) =>
    [...stderr.matchAll(/(\d+)% complete/g)].map(([, percent]) => Number(percent));

  /** Makes `name` a clone, all of which its parent shows through. */
  async function makeClone(): Promise<void> {
    const parent = `${name}-parent`;
    await cluster.rbd('rename', name, parent);
    await cluster.rbd(
      'bench',
      '--io-type',
      'write',
      ...`--io-total 4M --io-size 4K ${parent}`.split(' '),
    );
    await cluster.rbd('snap', 'create', '--no-progress', `${parent}@s`);
    await cluster.rbd('snap', 'protect', `${parent}@s`);
    const features = 'layering,exclusive-lock';
    await cluster.rbd(
      'clone',
      '--image-feature',
      features,
      '--object-size',
      '4K',
      `${parent}@s`,
      name,
    );
  }

  /** An image of ours that has the lock, with something in it. */
  async function owner(options: OpenOptions = {}, by = client): Promise<Image> {
    const image = await open(options, by);
    await image.acquireLock();
    await image.write(0, Buffer.from('ours'));
    return image;
  }

  describe('that rbd asks an owner of ours for', () => {
    it('M1 resizes the image there, and tells how far it is', async () => {
      const network = new FaultyNetwork();
      using slow = await connectTo(cluster, {}, network.env);
      await using image = await owner({}, slow);
      await cluster.rbd('resize', '--size', '16M', name);
      expect(image.size).toBe(16 * MIB);
      const shrink = await rbdOnTheWay(
        network,
        ...['resize', '--size', '40K', '--allow-shrink', name],
      );
      expect(shrink.code).toBe(0);
      const seen = percents(shrink.stderr);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(seen.filter((percent) => percent > 0 && percent < 100).length).toBeGreaterThan(0);
      expect([image.size, (await info()).size]).toEqual([40 * KIB, 40 * KIB]);
      expect(image.lock?.status().counters.handedOver).toBe(0);
    });

    it('M1 flattens the image there, and tells how far it is', async () => {
      await makeClone();
      const network = new FaultyNetwork();
      using slow = await connectTo(cluster, {}, network.env);
      await using image = await owner({}, slow);
      const flatten = await rbdOnTheWay(network, 'flatten', name);
      expect(flatten.code).toBe(0);
      const seen = percents(flatten.stderr);
      expect(seen.filter((percent) => percent > 0 && percent < 100).length).toBeGreaterThan(0);
      expect(image.header.parent).toBeUndefined();
      expect(await info()).not.toHaveProperty('parent');
      expect(image.lock?.status().counters.handedOver).toBe(0);
      const again = await rbd('flatten', name);
      expect(lastWords('rbd', again)).toContain('flatten error: (22) Invalid argument');
    });

    it('M14, M16 creates a snapshot there, once under each name', async () => {
      await using image = await owner();
      const create = () => rbd('snap', 'create', `${name}@a`);
      // What librbd has asked for and hears to exist, it takes for done.
      const both = await Promise.all([create(), create()]);
      for (const { code } of both) expect([0, 17]).toContain(code);
      expect(both.map(({ code }) => code)).toContain(0);
      const again = await create();
      expect(lastWords('rbd', again)).toContain('failed to create snapshot: (17) File exists');
      expect(image.header.snapshots.map((snapshot) => snapshot.name)).toEqual(['a']);
      await cluster.rbd('snap', 'rename', `${name}@a`, `${name}@b`);
      await cluster.rbd('snap', 'rm', `${name}@b`);
      await expect.poll(() => image.header.snapshots).toEqual([]);
      expect(image.lock?.status().counters.handedOver).toBe(0);
    });

    it('sets and removes metadata, and switches the lock off', async () => {
      await using image = await owner();
      await cluster.rbd('image-meta', 'set', name, 'key', 'value');
      expect(await cluster.rbd('image-meta', 'get', name, 'key')).toBe('value\n');
      await cluster.rbd('image-meta', 'rm', name, 'key');
      const gone = await rbd('image-meta', 'rm', name, 'key');
      expect(lastWords('rbd', gone)).toContain('(2) No such file or directory');
      expect(image.lock?.status().counters.handedOver).toBe(0);
      await cluster.rbd('feature', 'disable', name, 'exclusive-lock');
      expect((await info()).features).toEqual(['layering']);
      expect(image.hasExclusiveLock).toBe(false);
      await image.write(0, Buffer.from('unlocked'));
      await cluster.rbd('feature', 'enable', name, 'exclusive-lock');
      await image.write(0, Buffer.from('locked'));
      expect(image.hasExclusiveLock).toBe(true);
    });

    it('renames the image under its owner', async () => {
      await using image = await owner();
      await cluster.rbd('rename', name, `${name}-new`);
      name = `${name}-new`;
      await image.resize(16 * MIB);
      expect((await info()).size).toBe(16 * MIB);
    });

    it('M11 is done by rbd when the owner does nothing for others', async () => {
      const holder = await LockHolder.open(client, name);
      holder.acceptRequest = () => 0 as never;
      await holder.lock.acquire();
      await cluster.rbd('resize', '--size', '16M', name);
      expect((await info()).size).toBe(16 * MIB);
      expect(holder.events).toContain('lost: requested');
      await holder.close();
    });

    it('M25 is done by an owner that keeps the lock', async () => {
      await using image = await owner({ lock: { transitions: 'manual' } });
      await cluster.rbd('resize', '--size', '16M', name);
      expect(image.size).toBe(16 * MIB);
      const written = await rbd('bench', '--io-type', 'write', '--io-total', '4K', name);
      expect(written.stderr).toContain('(30) Read-only file system');
      expect(image.lock?.state).toBe('locked');
    });

    it('M8 is done in the end when the lock goes to another meanwhile', async () => {
      await using image = await owner();
      const peer = await LibrbdClient.open(cluster.confPath, name);
      const asked = rbd('resize', '--size', '40K', '--allow-shrink', name);
      await expect.poll(() => image.writableSize).toBe(40 * KIB);
      await peer.call('write', 0, 'theirs');
      expect((await asked).code).toBe(0);
      expect((await info()).size).toBe(40 * KIB);
      await peer.call('close');
      await image.refresh();
      expect(image.size).toBe(40 * KIB);
    });
  });

  describe('that we ask an owner in librbd for', () => {
    let peer: LibrbdClient;
    beforeEach(async () => {
      peer = await LibrbdClient.open(cluster.confPath, name);
      await peer.call('write', 0, 'theirs');
      return async () => {
        peer.kill();
      };
    });

    it('M1 resizes the image there, and hears how far it is', async () => {
      await using image = await open();
      await image.resize(16 * MIB);
      expect([image.size, (await info()).size]).toEqual([16 * MIB, 16 * MIB]);
      const seen: number[] = [];
      await image.resize(40 * KIB, {
        allowShrink: true,
        onProgress: (done, total) => seen.push(done / total),
      });
      expect(seen.filter((share) => share > 0 && share < 1).length).toBeGreaterThan(0);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect([image.size, (await info()).size]).toEqual([40 * KIB, 40 * KIB]);
      expect(await peer.call('owner')).toBe(true);
      expect(image.lock?.status().counters.acquired).toBe(0);
    });

    it('M1 flattens the image there, and hears how far it is', async () => {
      await peer.call('close');
      await makeClone();
      peer = await LibrbdClient.open(cluster.confPath, name);
      await peer.call('write', 0, 'theirs');
      await using image = await open();
      const seen: number[] = [];
      await image.flatten({ onProgress: (done, total) => seen.push(done / total) });
      expect(seen.filter((share) => share > 0 && share < 1).length).toBeGreaterThan(0);
      expect(await info()).not.toHaveProperty('parent');
      expect(await peer.call('owner')).toBe(true);
      expect(image.lock?.status().counters.acquired).toBe(0);
      expect(await rejection(image.flatten())).toMatchObject({ code: 'EINVAL' });
    });

    it('M14, M16 creates a snapshot there, once under each name', async () => {
      await using image = await open();
      await using other = await open();
      const create = (by: Image) =>
        by.snapshots.create('a').then(
          () => 'done',
          (error: unknown) => (error as { code: string }).code,
        );
      const both = await Promise.all([create(image), create(other)]);
      expect(both.sort()).toEqual(['EEXIST', 'done']);
      expect(await create(image)).toBe('EEXIST');
      const listed = JSON.parse(await cluster.rbd('snap', 'ls', '--format', 'json', name));
      expect((listed as { name: string }[]).map((snapshot) => snapshot.name)).toEqual(['a']);
      await image.snapshots.remove('a');
      expect(await peer.call('owner')).toBe(true);
    });

    it('shows its progress as rbd does', async () => {
      const shrink = await runLinger(cluster.confPath, [
        ...['resize', '--progress', '--size', '40K', '--allow-shrink', name],
      ]);
      expect(shrink.code).toBe(0);
      expect(shrink.stderr).toMatch(/Resizing image: 100% complete\.\.\.done\.\n$/);
      expect(percents(shrink.stderr).filter((p) => p > 0 && p < 100).length).toBeGreaterThan(0);
      expect(await peer.call('owner')).toBe(true);
    });

    it('sets metadata, and switches the lock off', async () => {
      await using image = await open();
      await image.setMetadata('key', 'value');
      expect(await cluster.rbd('image-meta', 'get', name, 'key')).toBe('value\n');
      await image.removeMetadata('key');
      expect(await rejection(image.removeMetadata('key'))).toMatchObject({ code: 'ENOENT' });
      expect(await peer.call('owner')).toBe(true);
      await image.updateFeatures(4n, false);
      expect((await info()).features).toEqual(['layering']);
      expect(image.hasExclusiveLock).toBe(false);
    });

    it('M25 is done by an owner that keeps the lock', async () => {
      await peer.call('acquire');
      await using image = await open();
      expect(await rejection(image.write(0, Buffer.from('ours')))).toMatchObject({ code: 'EROFS' });
      await image.resize(16 * MIB);
      expect((await info()).size).toBe(16 * MIB);
      expect(await peer.call('owner')).toBe(true);
    });

    it('M19 goes on there when we do not wait for it any more', async () => {
      await using image = await open();
      const control = new AbortController();
      const asked = image.resize(40 * KIB, {
        allowShrink: true,
        onProgress: () => control.abort(),
        signal: control.signal,
      });
      expect(await rejection(asked)).toMatchObject({ code: 'ECANCELED' });
      await expect.poll(() => image.size, { timeout: 20_000 }).toBe(40 * KIB);
      expect(await peer.call('owner')).toBe(true);
    });

    it('M8 is done in the end when the lock goes to another meanwhile', async () => {
      await using image = await open();
      await using other = await open();
      let written: Promise<number> | undefined;
      await image.resize(40 * KIB, {
        allowShrink: true,
        onProgress: () => {
          written ??= other.write(0, Buffer.from('other'));
        },
      });
      await written;
      expect((await info()).size).toBe(40 * KIB);
      expect(await peer.call('owner')).toBe(false);
    });
  });
}
