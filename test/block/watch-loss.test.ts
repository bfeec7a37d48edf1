// A device whose watch is lost, on the embedded cluster with its faults: nothing goes by an old header, and all goes on.

import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlockDevice, type Cluster, connect, EmbeddedCluster } from '../../src/index.js';
import { FEATURE } from '../../src/rbd/features.js';
import { rejection } from './support/hosts.js';

const MIB = 1024 * 1024;
const LOCKED = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK;

describe.each([1, 0])('a device that loses its watch (threads: %i)', (threads) => {
  let embedded: EmbeddedCluster;
  let cluster: Cluster;
  let other: Cluster;

  beforeAll(async () => {
    embedded = await EmbeddedCluster.start({ osds: 3, pools: ['rbd'], inThread: threads === 1 });
    cluster = await connect(embedded, { threads });
    other = await connect(embedded, { threads: 0 });
  });
  afterAll(async () => {
    await cluster?.close();
    await other?.close();
    await embedded?.stop();
  });

  const create = async (name: string, features = FEATURE.LAYERING) => {
    const { images } = cluster.pool('rbd');
    await images.create(name, { size: 8 * MIB, features });
    const { id } = await images.info(name);
    return { spec: `rbd/${name}`, header: { pool: 'rbd', object: `rbd_header.${id}` } };
  };
  const watchers = async (header: { object: string }) => embedded.faults.watches(header);

  it('W3, W5: hears of it by the next ping, registers again, and knows what was changed meanwhile', async () => {
    const { spec, header } = await create(`dropped-${threads}`);
    await using device = await cluster.map(spec);
    const [before] = await watchers(header);
    const lost = once(device, 'watch-error');
    const restored = once(device, 'watch-restored');
    await using fault = await embedded.faults.dropWatch(header);
    expect(await fault.fired()).toBe(1);
    // Nobody tells us of this one.
    await other.pool('rbd').images.resize(spec.slice(4), 16 * MIB);
    expect(await lost).toEqual([expect.objectContaining({ code: 'ENOTCONN' })]);
    await restored;
    await device.write(0, Buffer.from('x'));
    await expect.poll(() => device.size).toBe(16 * MIB);
    await device.write(12 * MIB, Buffer.from('beyond'));
    const [after, ...more] = await watchers(header);
    expect(more).toEqual([]);
    expect(after?.cookie).not.toBe(before?.cookie);
  });

  it('W3, W4: carries its lock over to the new watch, and no write is lost', async () => {
    const { spec, header } = await create(`carried-${threads}`, LOCKED);
    await using device = await cluster.map(spec);
    const lost: string[] = [];
    device.on('lock-lost', (reason) => lost.push(reason));
    const restored = once(device, 'watch-restored');
    let stop = false;
    let written = 0;
    const writer = (async () => {
      while (!stop) await device.write((written++ % 64) * 4096, Buffer.alloc(4096, 1));
    })();
    await using fault = await embedded.faults.dropWatch(header);
    await restored;
    const atRestore = written;
    await expect.poll(() => written).toBeGreaterThan(atRestore + 10);
    stop = true;
    await writer;
    expect(await fault.fired()).toBe(1);
    expect(lost).toEqual([]);
    // Whoever asks for it gets it, from a live owner.
    await using next = await other.map(spec);
    await next.write(0, Buffer.alloc(4096, 2));
    expect(lost).toEqual(['requested']);
    expect((await next.read(4096, 4096)).every((byte) => byte === 1)).toBe(true);
  });

  it('W8: does not go by the header of before when a notification came and went while it was cut off', async () => {
    const { spec, header } = await create(`gap-${threads}`);
    await using device = await cluster.map(spec);
    await device.write(0, Buffer.from('x'));
    const client = device.attributes.clientId.replace('client', 'client.');
    const hole = await embedded.faults.blackHole({ client });
    await other.pool('rbd').images.resize(spec.slice(4), 12 * MIB);
    await using reset = await embedded.faults.resetConnections({ client });
    await hole.stop();
    await expect.poll(() => device.size, { timeout: 20_000 }).toBe(12 * MIB);
    await device.write(11 * MIB, Buffer.from('beyond'));
    expect(await watchers(header)).toHaveLength(1);
    expect(await reset.fired()).toBeGreaterThan(0);
  });

  it('W17: fails for good when it was fenced', async () => {
    const { spec } = await create(`fenced-${threads}`, LOCKED);
    await using fenced = await connect(embedded, { threads });
    const device: BlockDevice = await fenced.map(spec);
    const failed = once(device, 'error');
    await using fault = await embedded.faults.blocklist({
      client: device.attributes.clientId.replace('client', 'client.'),
    });
    expect(await failed).toEqual([expect.objectContaining({ code: 'EBLOCKLISTED' })]);
    expect(await rejection(device.write(0, Buffer.from('x')))).toMatchObject({
      code: 'EBLOCKLISTED',
    });
    await device.close();
    expect(await fault.fired()).toBeGreaterThan(0);
  });
});
