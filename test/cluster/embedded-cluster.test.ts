import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CryptoKey } from '../../src/auth/crypto-key.js';
import { Keyring } from '../../src/auth/keyring.js';
import { resolveClientConfig } from '../../src/auth/ceph-conf.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { packageFile } from '../../src/base/paths.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { resolveSettings } from '../../src/cluster/settings.js';
import { loadKernels } from '../../src/kernels/load.js';
import { writeOp } from '../../src/messages/osd-op.js';
import { connectRados } from '../../src/rados/connect.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { claimPorts } from '../support/ports.js';

const env = nodeEnvironment();
const kernels = loadKernels();
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'linger-test-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function write(io: IoContext, oid: string, data: Uint8Array): Promise<void> {
  await io.operate(oid, [writeOp(0, data)]);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(satisfied: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await satisfied())) {
    if (Date.now() > deadline) throw new Error(`not so after ${timeoutMs} ms: ${satisfied}`);
    await sleep(20);
  }
}

describe.each([
  ['in a thread of its own', false],
  ['in the caller’s thread', true],
])('an embedded cluster %s', (_, inThread) => {
  it('is ready when it has started: healthy, with all OSDs up and the pools that were asked for', async () => {
    await using cluster = await EmbeddedCluster.start({
      inThread,
      pools: ['rbd', { name: 'other', pgNum: 8, size: 3, application: 'test' }],
    });
    const status = await cluster.status();
    expect(status).toMatchObject({ fsid: cluster.fsid, monHost: cluster.monHost });
    expect([status.health, status.healthChecks]).toEqual(['HEALTH_OK', []]);
    expect(status.osds.map(({ up, running }) => [up, running])).toEqual([
      [true, true],
      [true, true],
      [true, true],
    ]);
    expect(status.pools).toEqual([
      { id: 1, name: 'rbd', size: 2, pgNum: 32 },
      { id: 2, name: 'other', size: 3, pgNum: 8 },
    ]);
  });

  it('stores what a client writes', async () => {
    await using cluster = await EmbeddedCluster.start({ inThread, pools: ['rbd'] });
    const { client } = await connectRados(env, kernels, cluster.connectOptions);
    try {
      const io = await client.ioctx('rbd');
      const written = Buffer.from('over the wire');
      await write(io, 'object', written);
      expect(Buffer.from(await io.read('object', 0, 100))).toEqual(written);
    } finally {
      client.close();
    }
  });

  it('has a killed OSD down and the others serving, and takes it back', async () => {
    await using cluster = await EmbeddedCluster.start({ inThread, pools: ['rbd'] });
    await cluster.killOsd(1);
    let { osds, health } = await cluster.status();
    expect(osds[1]).toMatchObject({ up: false, in: true, running: false });
    expect(health).toBe('HEALTH_WARN');
    await expect(cluster.killOsd(1)).rejects.toMatchObject({ code: 'ENOENT', errno: -2 });
    await cluster.startOsd(1);
    ({ osds, health } = await cluster.status());
    expect(osds[1]).toMatchObject({ up: true, running: true });
    expect(health).toBe('HEALTH_OK');
    await expect(cluster.startOsd(1)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(cluster.startOsd(7)).rejects.toThrow(RangeError);
  });

  it('starts an OSD once, however many ask for it at a time', async () => {
    await using cluster = await EmbeddedCluster.start({ inThread, pools: ['rbd'] });
    await cluster.killOsd(1);
    const starts = [1, 2, 3].map(() => cluster.startOsd(1).then(() => 'started'));
    const results = await Promise.all(starts.map((start) => start.catch(({ code }) => code)));
    expect(results.sort()).toEqual(['EEXIST', 'EEXIST', 'started']);
  });

  it('starts an OSD again that was killed before the monitor had it up', async () => {
    await using cluster = await EmbeddedCluster.start({ inThread, osds: 2, pools: ['rbd'] });
    const { client } = await connectRados(env, kernels, cluster.connectOptions);
    await cluster.killOsd(1);
    await client.command({ prefix: 'osd set', key: 'noup' });
    const first = expect(cluster.startOsd(1)).rejects.toMatchObject({ code: 'EAGAIN' });
    await until(async () => (await cluster.status()).osds[1]?.running === true);
    await cluster.killOsd(1);
    const second = cluster.startOsd(1);
    await client.command({ prefix: 'osd unset', key: 'noup' });
    await Promise.all([first, second]);
    expect((await cluster.status()).osds[1]).toMatchObject({ up: true, running: true });
    client.close();
  });

  it('says which address is taken', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const { port } = blocker.address() as AddressInfo;
    const failure = await EmbeddedCluster.start({ inThread, port }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'EADDRINUSE' });
    expect(failure.message).toContain(`127.0.0.1:${port}`);
    blocker.close();
  });

  it('is gone when it is stopped, with its temporary files; calls then reject', async () => {
    await using claimed = await claimPorts(1);
    const port = claimed.ports[0] as number;
    const cluster = await EmbeddedCluster.start({ inThread, port });
    expect(existsSync(cluster.confPath)).toBe(true);
    await Promise.all([cluster.stop(), cluster.stop()]);
    expect(await cluster.ended).toBeUndefined();
    expect(existsSync(cluster.dir)).toBe(false);
    const again = await EmbeddedCluster.start({ inThread, port });
    await again.stop();
  });
});

describe('an embedded cluster', () => {
  it('writes a ceph.conf and a keyring that clients read, the keyring for its owner only', async () => {
    const own = join(dir, 'made', 'when', 'missing');
    await using cluster = await EmbeddedCluster.start({ dir: own });
    const conf = await readFile(cluster.confPath, 'utf8');
    expect(conf.endsWith('\n')).toBe(true);
    expect(conf).toContain(`mon host = ${cluster.monHost}\n`);
    expect((await stat(cluster.keyringPath)).mode & 0o777).toBe(0o600);
    const keyring = Keyring.parse(await readFile(cluster.keyringPath), 'keyring');
    expect(keyring.get('client.admin')?.caps).toMatchObject({ mon: 'allow *', osd: 'allow *' });
    const config = await resolveClientConfig(env, { conf: cluster.confPath });
    expect(config.key?.equals(keyring.get('client.admin')?.key as CryptoKey)).toBe(true);
    await cluster.stop();
    expect(existsSync(cluster.confPath)).toBe(true);
  });

  it('shows no key when it is printed', async () => {
    await using cluster = await EmbeddedCluster.start({ inThread: true });
    const key = /key = (\S+)/.exec(await readFile(cluster.keyringPath, 'utf8'))?.[1] as string;
    const { inspect } = await import('node:util');
    const shown = inspect(cluster, { depth: 10, showHidden: true });
    expect(shown).not.toContain(key);
    expect(JSON.stringify(cluster.connectOptions)).not.toContain(key);
  });

  it('works without authentication', async () => {
    await using cluster = await EmbeddedCluster.start({ auth: 'none', pools: ['rbd'] });
    const { client } = await connectRados(env, kernels, cluster.connectOptions);
    const io = await client.ioctx('rbd');
    await write(io, 'object', Buffer.from('x'));
    client.close();
  });

  it('is found where it says that it is, and warns when it listens beyond this machine', async () => {
    const warnings: { code?: string; message: string }[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    // All of 127/8 is this machine's.
    const advertise = '127.0.0.2';
    await using cluster = await EmbeddedCluster.start({
      ...{ host: '0.0.0.0', advertise, pools: ['rbd'], inThread: true },
    });
    expect(cluster.monHost).toMatch(/^\[v2:127\.0\.0\.2:\d+\/0\]$/);
    for (const { addr } of (await cluster.status()).osds) {
      expect(addr).toMatch(/^v2:127\.0\.0\.2:/);
    }
    const { client } = await connectRados(env, kernels, cluster.connectOptions);
    await write(await client.ioctx('rbd'), 'object', Buffer.from('x'));
    client.close();
    await sleep(0);
    process.off('warning', listen);
    expect(warnings).toMatchObject([
      { code: 'LINGER_CLUSTER_EXPOSED', message: expect.stringContaining('0.0.0.0') },
    ]);
  });

  it('with a lost disk starts empty and gets everything back from the others', async () => {
    await using cluster = await EmbeddedCluster.start({ osds: 2, size: 2, pools: ['rbd'] });
    const { client } = await connectRados(env, kernels, cluster.connectOptions);
    const io = await client.ioctx('rbd');
    const names = Array.from({ length: 20 }, (_, i) => `object ${i}`);
    await Promise.all(names.map((name) => write(io, name, Buffer.from(name))));
    await cluster.killOsd(0);
    await cluster.startOsd(0, { lost: true });
    // What osd.0 has now came from osd.1, which goes.
    await until(async () => Object.keys((await cluster.status()).pgs).every(isSettled));
    await sleep(200);
    await cluster.killOsd(1);
    for (const name of names) {
      expect(Buffer.from(await io.read(name, 0, 100)).toString()).toBe(name);
    }
    client.close();
  });

  it('runs in a process whose own code is no file', async () => {
    const module = packageFile('dist/bundle/index.js');
    const script = `
      import { EmbeddedCluster } from ${JSON.stringify(module)};
      const cluster = await EmbeddedCluster.start();
      console.log((await cluster.status()).health);
      await cluster.stop();`;
    const args = ['--input-type=module', '-e', script];
    expect((await promisify(execFile)(process.execPath, args)).stdout).toBe('HEALTH_OK\n');
  });

  it('tells of options that make no sense', () => {
    const resolve = (options: object) => () => resolveSettings(options, () => randomUUID());
    expect(resolve({ osds: 0 })).toThrow(/osds must be a whole number from 1 to 64, not 0/);
    expect(resolve({ osds: 1.5 })).toThrow(RangeError);
    expect(resolve({ osds: 2, size: 3 })).toThrow(/size/);
    expect(resolve({ pools: [{ name: 'a', size: 4 }] })).toThrow(/size/);
    expect(resolve({ pools: ['a', 'a'] })).toThrow(/same name/);
    expect(resolve({ pools: [''] })).toThrow(/name/);
    expect(resolve({ port: 70000 })).toThrow(/port/);
    expect(resolve({ auth: 'password' })).toThrow(/auth/);
    expect(resolve({ fsid: 'x' })).toThrow(/uuid/);
    expect(resolve({ watchTimeoutS: 0 })).toThrow(/watchTimeoutS/);
    for (const host of ['0.0.0.0', '::', '']) {
      expect(resolve({ host })).toThrow(/advertise/);
      expect(resolve({ host, advertise: '10.0.0.1' })()).toMatchObject({ advertise: '10.0.0.1' });
    }
    for (const advertise of ['', 'name', '0.0.0.0', '::', '10.0.0.1:80']) {
      expect(resolve({ advertise })).toThrow(/advertise must be an IP address/);
    }
  });

  it('refuses a directory that a ceph.conf cannot name', async () => {
    for (const name of ['with space', 'a,b', 'a#b', '$dir', '']) {
      await expect(EmbeddedCluster.start({ dir: name && join(dir, name) })).rejects.toThrow(
        TypeError,
      );
    }
  });
});

const isSettled = (state: string) => state === 'active+clean';
