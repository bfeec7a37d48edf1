// The harness itself: a cluster comes up, does what it says with its daemons, and leaves nothing.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { sleep } from './support/processes.js';

describeCeph('a cluster of two copies with cephx', () => {
  let cluster: CephCluster;

  beforeAll(async () => {
    cluster = await CephCluster.start({
      size: 2,
      pools: [{ name: 'rbd' }, { name: 'ec', erasure: { k: 2, m: 1 } }],
    });
  });
  afterAll(() => cluster?.stop());

  it('has every OSD up and in when it is started', async () => {
    const { num_up_osds, num_in_osds } = JSON.parse(
      await cluster.ceph('osd', 'stat', '-f', 'json'),
    ) as Record<string, number>;
    expect({ num_up_osds, num_in_osds }).toEqual({ num_up_osds: 3, num_in_osds: 3 });
  });

  it('serves images through the object classes', async () => {
    await cluster.rbd('create', 'image', '--size', '16M');
    expect(await cluster.rbd('ls')).toBe('image\n');
    expect(await cluster.rbd('info', 'image')).toContain('exclusive-lock');
  });

  it('serves images whose data stand in an erasure-coded pool', async () => {
    await cluster.rbd('create', 'in-ec', '--size', '16M', '--data-pool', 'ec');
    const written = join(cluster.dir, 'written');
    await writeFile(written, Buffer.alloc(1 << 20, 'linger'));
    await cluster.rbd('import', '--data-pool', 'ec', written, 'imported');
    expect(await cluster.rbd('export', 'imported', join(cluster.dir, 'read'))).toBe('');
    expect(await readFile(join(cluster.dir, 'read'))).toEqual(await readFile(written));
  });

  it('throws with what the tool said when a command fails', async () => {
    await expect(cluster.rbd('info', 'missing')).rejects.toThrow(
      /rbd info missing .*No such file/s,
    );
    const { code, stderr } = await cluster.run('rbd', ['info', 'missing']);
    expect(code).toBe(2);
    expect(stderr).toContain('No such file');
  });

  it('passes input to a tool', async () => {
    await cluster.runOrThrow('rados', ['-p', 'rbd', 'put', 'object', '-'], { input: 'contents' });
    expect(await cluster.rados('-p', 'rbd', 'get', 'object', '-')).toBe('contents');
  });

  it('keeps the data of an OSD that is stopped and started', async () => {
    const collections = () => cluster.askDaemon('osd.1', 'status') as Promise<{ num_pgs: number }>;
    const { num_pgs } = await collections();
    expect(num_pgs).toBeGreaterThan(0);
    await cluster.stopOsd(1);
    expect(() => cluster.osdPid(1)).toThrow('osd.1 is not running');
    await cluster.startOsd(1);
    expect((await collections()).num_pgs).toBe(num_pgs);
    await cluster.settled();
  });

  it('marks a killed OSD down, serves from the other copy, and takes it back', async () => {
    const pid = cluster.osdPid(0);
    await cluster.killOsd(0);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    await until(async () => !(await upOsds(cluster)).includes(0));
    expect(await cluster.rados('-p', 'rbd', 'get', 'object', '-')).toBe('contents');

    await cluster.startOsd(0);
    expect(cluster.osdPid(0)).not.toBe(pid);
    expect(await upOsds(cluster)).toEqual([0, 1, 2]);
    await cluster.settled();
    expect(await cluster.rados('-p', 'rbd', 'get', 'object', '-')).toBe('contents');
  });

  it('makes a user whose keyring holds only its own key', async () => {
    const keyring = await cluster.createUser('client.reader', {
      mon: 'profile rbd',
      osd: 'profile rbd-read-only',
    });
    expect((await readFile(keyring, 'utf8')).match(/^\[.*\]$/gm)).toEqual(['[client.reader]']);
    const as = ['--id', 'reader', '--keyring', keyring];
    expect((await cluster.run('rbd', [...as, 'info', 'image'])).code).toBe(0);
    expect((await cluster.run('rbd', [...as, 'rm', 'image'])).code).not.toBe(0);
  });

  it('leaves no process and no directory when it is stopped, not even a hung tool', async () => {
    await cluster.killOsd(2, 'SIGSTOP');
    const hung = cluster.run('rados', ['-p', 'rbd', 'bench', '600', 'write']);
    await until(async () => processesOf(cluster).length === 5);
    await cluster.stop();
    expect(processesOf(cluster)).toEqual([]);
    expect(existsSync(cluster.dir)).toBe(false);
    expect((await hung).code).toBe(128 + 9);
    await cluster.stop();
  });
});

describeCeph('a cluster of three monitors without authentication', () => {
  it('goes on with two of them, and takes the third back', async () => {
    await using cluster = await CephCluster.start({ mons: 3, auth: 'none', osds: 1 });
    expect(cluster.monAddrs).toHaveLength(3);
    await cluster.killMon(0);
    await cluster.addPool({ name: 'after', pgNum: 4 });
    await cluster.startMon(0);
    const quorum = JSON.parse(await cluster.ceph('quorum_status')) as { quorum_names: string[] };
    expect([...quorum.quorum_names].sort()).toEqual(['a', 'b', 'c']);
  });
});

describeCeph('two clusters at once', () => {
  it('do not get in each other’s way', async () => {
    await using first = await CephCluster.start({ osds: 1 });
    await using second = await CephCluster.start({ osds: 1, conf: 'osd pool default pg num = 3' });
    await first.rbd('create', 'mine', '--size', '1M');
    expect(await second.rbd('ls')).toBe('');
    await first.stop();
    expect(processesOf(second)).toHaveLength(2);
    expect(await second.ceph('fsid')).toBe(`${second.fsid}\n`);
  });
});

describeCeph('a cluster one of whose daemons crashed', () => {
  it('says so when it is stopped, after cleaning up', async () => {
    const cluster = await CephCluster.start({ osds: 1 });
    await cluster.killOsd(0, 'SIGABRT');
    await expect(cluster.stop()).rejects.toThrow(/osd\.0 crashed: .*Caught signal \(Aborted\)/);
    expect(processesOf(cluster)).toEqual([]);
    expect(existsSync(cluster.dir)).toBe(false);
  });
});

describeCeph('a test run that is killed', () => {
  it('leaves no process and no directory', async () => {
    const harness = join(dirname(fileURLToPath(import.meta.url)), 'support', 'ceph-cluster.ts');
    const script = `
      import { runnerImport } from 'vite';
      const { module } = await runnerImport(${JSON.stringify(harness)});
      const { confPath, dir } = await module.CephCluster.start({ osds: 1 });
      console.log(JSON.stringify({ confPath, dir }));
      setInterval(() => {}, 1000);`;
    const run = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(run.stdout), 'line')) as [string];
    const orphan = JSON.parse(line) as { confPath: string; dir: string };
    expect(processesOf(orphan)).toHaveLength(2);
    run.kill('SIGKILL');
    await until(async () => processesOf(orphan).length === 0 && !existsSync(orphan.dir));
  });
});

/** Every process with the cluster's CEPH_CONF in its environment: its daemons and tools. */
function processesOf({ confPath }: { readonly confPath: string }): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${Number(pid)}/environ`, 'utf8');
      return environment.split('\0').includes(`CEPH_CONF=${confPath}`);
    } catch {
      return false;
    }
  });
}

async function upOsds(cluster: CephCluster): Promise<number[]> {
  const { osds } = JSON.parse(await cluster.ceph('osd', 'dump', '-f', 'json')) as {
    osds: { osd: number; up: number }[];
  };
  return osds.filter(({ up }) => up === 1).map(({ osd }) => osd);
}

async function until(satisfied: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await satisfied())) {
    if (Date.now() > deadline) throw new Error(`not so after ${timeoutMs} ms: ${satisfied}`);
    await sleep(100);
  }
}
