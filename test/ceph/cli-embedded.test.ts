// The embedded cluster as a process, and `rbd`, `rados` and `ceph` as its clients beside `linger`.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCeph } from './support/ceph-cluster.js';
import { LINGER, runLinger } from './support/linger-cli.js';
import { runOrThrow, runProcess } from './support/processes.js';
import { transferKinds, transferTests } from './support/transfer-script.js';

interface Described {
  pid: number;
  fsid: string;
  mon_host: string;
  conf: string;
  keyring: string;
  osds: number;
}

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'linger-cli-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const linger = (...args: string[]) => runLinger('/nonexistent', args);
const started = async (dir: string, ...args: string[]): Promise<Described> => {
  const result = await linger('cluster', 'start', '--dir', dir, '--format', 'json', ...args);
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Described;
};
/** A process that has ended counts as gone, even while nobody has asked for its exit code. */
const isAlive = async (pid: number) => {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
  return !state.slice(state.lastIndexOf(')')).startsWith(') Z');
};

describeCeph('images by command on the embedded cluster', () => {
  const place = { confPath: '', dir: '' };
  let dir: string;

  beforeAll(async () => {
    dir = join(base, 'embedded');
    place.dir = join(base, 'files');
    await mkdir(place.dir);
    const { conf } = await started(dir, '--pools', 'rbd,second', '--osds', '3');
    place.confPath = conf;
    await tool('rbd', 'namespace', 'create', 'rbd/ns');
  });
  afterAll(() => linger('cluster', 'stop', '--dir', dir));

  const tool = async (command: string, ...args: string[]) => {
    const result = await runProcess(command, args, { env: { CEPH_CONF: place.confPath } });
    expect(result.code, result.stderr).toBe(0);
    return result.stdout;
  };

  transferTests(() => place, transferKinds('second'));

  it('linger and rbd describe the same images alike', async () => {
    const layout = ['--image-feature', 'layering', '--stripe-unit', '64K', '--stripe-count', '4'];
    await tool('rbd', 'create', '--size', '10G', '--data-pool', 'second', ...layout, 'theirs');
    await runLinger(place.confPath, ['create', '--size', '1G', 'ours']);
    await tool('rbd', 'image-meta', 'set', 'ours', 'key', 'value');
    for (const line of [
      'ls',
      'ls -l',
      'info ours',
      'info theirs',
      'image-meta ls ours',
      'namespace ls',
    ]) {
      for (const format of [[], ['--format', 'json']]) {
        const args = [...line.split(' '), ...format];
        const ours = await runLinger(place.confPath, args);
        expect(ours.stdout).toBe(await tool('rbd', ...args));
      }
    }
    for (const name of ['ours', 'theirs']) await tool('rbd', 'rm', '--no-progress', name);
  });

  it('serves rados and ceph', async () => {
    const file = join(place.dir, 'object');
    await writeFile(file, 'bytes');
    await tool('rados', '-p', 'rbd', 'put', 'an object', file);
    expect(await tool('rados', '-p', 'rbd', 'stat', 'an object')).toContain('size 5');
    await tool('rados', '-p', 'rbd', 'get', 'an object', `${file}.back`);
    expect(await readFile(`${file}.back`, 'utf8')).toBe('bytes');
    await tool('rados', '-p', 'rbd', 'rm', 'an object');
    expect(await tool('rados', '-p', 'rbd', 'ls')).not.toContain('an object');
    const dump = JSON.parse(await tool('ceph', 'osd', 'dump', '-f', 'json')) as { osds: unknown[] };
    expect(dump.osds).toHaveLength(3);
  });
});

describe('linger cluster', () => {
  it('starts, tells how it is, and stops with nothing left', async () => {
    const dir = join(base, 'life');
    const { pid, fsid, conf, keyring, mon_host } = await started(dir, '--osds', '2', '--memory');
    expect(await isAlive(pid)).toBe(true);
    expect([conf, keyring]).toEqual([join(dir, 'ceph.conf'), join(dir, 'keyring')]);
    expect((await stat(keyring)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(join(dir, 'cluster.json'), 'utf8'))).toMatchObject({
      pid,
      fsid,
    });
    expect(await readFile(conf, 'utf8')).toContain(`fsid = ${fsid}\n`);

    const status = await linger('cluster', 'status', '--dir', dir, '--format', 'json');
    expect(JSON.parse(status.stdout)).toMatchObject({
      ...{ pid, fsid, mon_host, health: 'HEALTH_OK' },
      osds: [
        { id: 0, up: true, in: true },
        { id: 1, up: true, in: true },
      ],
      pools: [{ name: 'rbd', size: 2 }],
    });
    const plain = await linger('cluster', 'status', '--dir', dir);
    expect(plain.stdout).toContain('OSDs       2: 2 up, 2 in\n');
    expect((await runLinger(conf, ['create', '--size', '1', 'image'])).code).toBe(0);

    expect(await linger('cluster', 'stop', '--dir', dir)).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect(await isAlive(pid)).toBe(false);
    await expect(stat(dir)).rejects.toThrow('ENOENT');
  });

  it('serves beyond this machine where it is told to, at the address that it advertises', async () => {
    const dir = join(base, 'open');
    const line = ['--dir', dir, '--host', '0.0.0.0', '--advertise', '127.0.0.2'];
    const { code, stderr } = await linger('cluster', 'start', ...line);
    try {
      expect([code, stderr]).toEqual([
        0,
        expect.stringContaining('warning: it listens on 0.0.0.0'),
      ]);
      const env = { CEPH_CONF: join(dir, 'ceph.conf') };
      await runOrThrow('rbd', ['create', '--size', '1M', 'image'], { env });
      for (const dump of ['mon', 'osd']) {
        const { stdout } = await runOrThrow('ceph', [dump, 'dump'], { env });
        expect(stdout).toContain('v2:127.0.0.2:');
        expect(stdout).not.toContain('0.0.0.0:');
      }
    } finally {
      await linger('cluster', 'stop', '--dir', dir);
    }
  });

  it('tells what its daemons are at, and takes faults, from another process', async () => {
    const dir = join(base, 'asked');
    await started(dir, '--osds', '2');
    const ask = async (...args: string[]) => {
      const [word = '', ...rest] = args;
      const result = await linger('cluster', word, '--dir', dir, '--format', 'json', ...rest);
      expect(result.code, result.stderr).toBe(0);
      return JSON.parse(result.stdout) as unknown;
    };
    expect(await ask('daemon', 'osd.1', 'status')).toMatchObject({ whoami: 1, state: 'active' });
    expect(await ask('daemon', 'osd.0', 'config', 'get', 'osd_max_pgls')).toEqual({
      osd_max_pgls: '1024',
    });
    const { id } = (await ask('fault', 'arm', 'killOsd', '{"osd": 1}')) as { id: number };
    const dead = await linger('cluster', 'daemon', '--dir', dir, 'osd.1', 'status');
    expect(dead).toMatchObject({ code: 2, stderr: expect.stringContaining('not running') });
    expect(await ask('fault', 'stop', String(id))).toEqual({ id, fired: 1 });
    expect(await ask('daemon', 'osd.1', 'dump_ops_in_flight')).toMatchObject({ num_ops: 0 });
    const none = await linger('cluster', 'daemon', '--dir', dir, 'osd.1', 'nosuch');
    expect(none).toMatchObject({ code: 22, stderr: expect.stringContaining('nosuch') });
    expect((await linger('cluster', 'stop', '--dir', dir)).code).toBe(0);
    const gone = await linger('cluster', 'fault', '--dir', dir, 'ls');
    expect(gone).toMatchObject({ code: 2, stderr: expect.stringContaining('cluster.asok') });
  });

  it('says where everything is, with lines to try', async () => {
    const dir = join(base, 'words');
    const { stdout } = await linger('cluster', 'start', '--dir', dir, '--osds', '1');
    expect(stdout).toMatch(/^The cluster is ready: 1 OSD, objects in one copy\.\n/);
    expect(stdout).toContain('The data live in memory');
    for (const line of [
      `  ceph.conf  ${dir}/ceph.conf\n`,
      `  keyring    ${dir}/keyring\n`,
      `  ceph -c ${dir}/ceph.conf -s\n`,
      `linger cluster stop --dir ${dir}\n`,
    ]) {
      expect(stdout).toContain(line);
    }
    await linger('cluster', 'stop', '--dir', dir);
  });

  it('leaves what others put into its directory', async () => {
    const dir = join(base, 'shared');
    await mkdir(dir);
    await writeFile(join(dir, 'mine'), '');
    await started(dir, '--osds', '1');
    await linger('cluster', 'stop', '--dir', dir);
    expect(await readdir(dir)).toEqual(['mine']);
  });

  it('does not start twice in one directory, not even at once', async () => {
    const dir = join(base, 'twice');
    const start = () => linger('cluster', 'start', '--dir', dir, '--osds', '1', '--format', 'json');
    const results = await Promise.all([start(), start(), start()]);
    expect(results.map(({ code }) => code).sort()).toEqual([0, 17, 17]);
    const late = await start();
    expect(late.code).toBe(17);
    expect(late.stderr).toMatch(/^linger: a cluster runs in .* already \(pid \d+\)\n$/);
    // The one that runs is whole.
    expect((await linger('cluster', 'status', '--dir', dir)).code).toBe(0);
    expect((await linger('cluster', 'stop', '--dir', dir)).code).toBe(0);
  });

  it('recognises a process that is gone, and another one with its number', async () => {
    const dir = join(base, 'stale');
    const { pid } = await started(dir, '--osds', '1');
    process.kill(pid, 'SIGKILL');
    const gone = await linger('cluster', 'status', '--dir', dir);
    expect(gone.code).toBe(2);
    expect(gone.stderr).toContain(`process ${pid}, which ran it, is gone`);
    const record = join(dir, 'cluster.json');
    const old = JSON.parse(await readFile(record, 'utf8')) as object;
    await writeFile(record, JSON.stringify({ ...old, pid: process.pid }));
    expect((await linger('cluster', 'status', '--dir', dir)).code).toBe(2);
    // Neither is in the way of a new one, nor is this process harmed by stopping the old one.
    const stopped = await linger('cluster', 'stop', '--dir', dir);
    expect([stopped.code, stopped.stderr]).toEqual([
      0,
      expect.stringContaining('was gone already'),
    ]);
    expect((await linger('cluster', 'stop', '--dir', dir)).code).toBe(2);
    await mkdir(dir, { recursive: true });
    await writeFile(record, JSON.stringify({ ...old, pid: process.pid }));
    await started(dir, '--osds', '1');
    expect((await linger('cluster', 'stop', '--dir', dir)).code).toBe(0);
  });

  it('refuses what cannot work, in one line, and leaves nothing', async () => {
    const before = await readdir(base);
    const taken = join(base, 'taken');
    const { mon_host } = await started(taken, '--osds', '1');
    const port = /:(\d+)\//.exec(mon_host)?.[1] as string;
    const file = join(base, 'file');
    await writeFile(file, '');
    await mkdir(join(base, 'junk'));
    await writeFile(join(base, 'junk', 'cluster.json'), 'junk');
    for (const [args, code, message] of [
      [['--dir', join(base, 'x'), '--port', port], 98, '(98) Address already in use'],
      [['--dir', join(base, 'x'), '--host', '192.0.2.7'], 5, 'cannot start the cluster'],
      [['--dir', join(base, 'a b')], 22, 'a ceph.conf cannot name a keyring'],
      [['--dir', '/proc/x'], 2, 'cannot create /proc/x'],
      [['--dir', file], 20, 'Not a directory'],
      [['--dir', join(base, 'missing', 'x')], 2, 'No such file or directory'],
      [['--dir', join(base, 'junk')], 22, 'does not describe a cluster'],
    ] as const) {
      const result = await linger('cluster', 'start', ...args);
      expect(result.stderr).toContain(message);
      expect(result.stderr.trim().split('\n')).toHaveLength(1);
      expect([result.code, result.stdout]).toEqual([code, '']);
    }
    await linger('cluster', 'stop', '--dir', taken);
    for (const name of ['file', 'junk']) await rm(join(base, name), { recursive: true });
    expect(await readdir(base)).toEqual(before);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'in the foreground it ends by %s, with nothing left',
    async (signal) => {
      const dir = join(base, 'foreground');
      const child = spawnLinger('cluster', 'start', '--dir', dir, '--foreground', '--osds', '1');
      await once(child.stdout as NodeJS.ReadableStream, 'data');
      expect((await linger('cluster', 'status', '--dir', dir)).code).toBe(0);
      child.kill(signal);
      // The end that `cluster stop` asks for is a good one.
      expect(await once(child, 'close')).toEqual([signal === 'SIGINT' ? 130 : 0, null]);
      await expect(stat(join(dir, 'cluster.json'))).rejects.toThrow('ENOENT');
      await rm(dir, { recursive: true, force: true });
    },
  );

  it('has no cluster come to life when the command that starts it is ended, however that goes', async () => {
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      for (const delayMs of [50, 150, 250, 350]) {
        const dir = join(base, `ended-${signal}-${delayMs}`);
        const child = spawnLinger('cluster', 'start', '--dir', dir, '--osds', '1');
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        child.kill(signal);
        await once(child, 'close');
        // Too late, whatever it ended by: the cluster was ready, and is there to be stopped as usual.
        if (await isReady(dir)) await linger('cluster', 'stop', '--dir', dir);
        const deadline = Date.now() + 30_000;
        while ((await processesOf(dir)).length > 0 && Date.now() < deadline) {
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        expect(await processesOf(dir)).toEqual([]);
        const left = await readdir(dir).catch(() => []);
        expect(left.filter((name) => !name.startsWith('cluster.log'))).toEqual([]);
        await rm(dir, { recursive: true, force: true });
      }
    }
  });
});

function spawnLinger(...args: string[]): ChildProcess {
  return spawn(process.execPath, [LINGER, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function isReady(dir: string): Promise<boolean> {
  const record = await readFile(join(dir, 'cluster.json'), 'utf8').catch(() => '{}');
  return (JSON.parse(record) as { state?: string }).state === 'ready';
}

/** Processes with the directory in their command line. */
async function processesOf(dir: string): Promise<string[]> {
  const { stdout } = await runProcess('pgrep', ['-f', `cluster start.*${dir}`]);
  return stdout.split('\n').filter(Boolean);
}
