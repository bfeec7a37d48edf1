// The central configuration of the embedded monitor, used by Ceph's own tools and by librbd.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { describeCeph } from './support/ceph-cluster.js';
import { runOrThrow, runProcess } from './support/processes.js';

describeCeph('the central configuration of the embedded cluster', () => {
  let cluster: EmbeddedCluster;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'linger-config-'));
    cluster = await EmbeddedCluster.start({ pools: ['rbd'], dataDir: join(dir, 'data') });
  });
  afterAll(async () => {
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const options = () => ({
    env: { ...process.env, CEPH_CONF: cluster.confPath, CEPH_ARGS: undefined },
  });
  const run = async (command: string, ...args: string[]) =>
    (await runOrThrow(command, args, options())).stdout;
  const ceph = (...args: string[]) => run('ceph', ...args);
  const rbd = (...args: string[]) => run('rbd', ...args);

  it('is honoured by librbd', async () => {
    await ceph('config', 'set', 'client', 'rbd_default_order', '23');
    await ceph('config', 'set', 'client.admin', 'rbd_default_features', 'layering,exclusive-lock');
    await rbd('create', '--size', '16M', 'configured');
    const info = JSON.parse(await rbd('info', 'configured', '--format', 'json')) as {
      order: number;
      features: string[];
    };
    expect(info.order).toBe(23);
    expect(info.features).toEqual(['layering', 'exclusive-lock']);
    await ceph('config', 'rm', 'client', 'rbd_default_order');
    await ceph('config', 'rm', 'client.admin', 'rbd_default_features');
    await rbd('create', '--size', '16M', 'plain');
    expect(await rbd('info', 'plain')).toContain('order 22');
  });

  it('is set and shown by rbd config for all, for a pool and for an image', async () => {
    await rbd('config', 'global', 'set', 'global', 'rbd_cache', 'false');
    expect(await rbd('config', 'global', 'get', 'global', 'rbd_cache')).toBe('false\n');
    expect(await rbd('config', 'global', 'ls', 'global')).toMatch(/rbd_cache +false +global/);
    await rbd('config', 'pool', 'set', 'rbd', 'rbd_cache_size', '16777216');
    expect(await rbd('config', 'pool', 'get', 'rbd', 'rbd_cache_size')).toBe('16777216\n');
    expect(await rbd('config', 'pool', 'ls', 'rbd')).toMatch(/rbd_cache_size +16777216 +pool/);
    expect(await rbd('config', 'pool', 'ls', 'rbd')).toMatch(/rbd_cache +false +config/);
    await rbd('config', 'image', 'set', 'plain', 'rbd_cache_size', '8388608');
    expect(await rbd('config', 'image', 'ls', 'plain')).toMatch(/rbd_cache_size +8388608 +image/);
    expect(await ceph('config', 'dump')).toContain('rbd_config_pool_override_update_timestamp');
    await rbd('config', 'global', 'rm', 'global', 'rbd_cache');
  });

  it('is taken over from a file by the ceph tool, and keyrings with it', async () => {
    const conf = join(dir, 'old.conf');
    await writeFile(conf, '[client]\nrbd_cache_max_dirty = 1M\nnope = 1\n');
    const rest = await ceph('config', 'assimilate-conf', '-i', conf);
    expect(rest).toContain('nope = 1');
    expect(await ceph('config', 'get', 'client.x', 'rbd_cache_max_dirty')).toBe('1048576\n');
    expect(await ceph('config', 'generate-minimal-conf')).toContain(`fsid = ${cluster.fsid}`);

    const keyring = join(dir, 'keyring');
    const created = await ceph('auth', 'get-or-create', 'client.moved', 'mon', 'profile rbd');
    const key = /key = (\S+)/.exec(created)?.[1];
    await ceph('auth', 'export', 'client.moved', '-o', keyring);
    await ceph('auth', 'rm', 'client.moved');
    await ceph('auth', 'import', '-i', keyring);
    expect(await ceph('auth', 'print-key', 'client.moved')).toBe(`${key}`);
  });

  it('lets clients of a network in, and others not', async () => {
    for (const [name, network] of [
      ['client.near', '127.0.0.0/8'],
      ['client.far', '10.0.0.0/8'],
    ] as const) {
      const keyring = join(dir, name);
      const caps = ['mon', `allow r network ${network}`, 'osd', `allow * network ${network}`];
      await ceph('auth', 'get-or-create', name, ...caps, '-o', keyring);
      const args = ['-n', name, '--keyring', keyring, 'osd', 'dump'];
      const { code } = await runProcess('timeout', ['20', 'ceph', ...args], options());
      expect([name, code === 0]).toEqual([name, name === 'client.near']);
    }
  });

  it('is there after a restart', async () => {
    await ceph('config', 'set', 'client', 'rbd_default_order', '24');
    await ceph('config-key', 'set', 'mine', 'x');
    await cluster.stop();
    cluster = await EmbeddedCluster.start({ dataDir: join(dir, 'data') });
    expect(await ceph('config', 'get', 'client', 'rbd_default_order')).toBe('24\n');
    expect(await ceph('config-key', 'get', 'mine')).toBe('x');
    await rbd('create', '--size', '16M', 'later');
    expect(await rbd('info', 'later')).toContain('order 24');
  });
});
