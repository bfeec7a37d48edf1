// Locks, watchers and the blocklist, by linger and by the real tools: the same images, the same words.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from '../../src/index.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { LINGER, lastWords, runLinger } from './support/linger-cli.js';
import { WITHOUT_LOG } from './support/processes.js';

const LOCKING = ['layering', 'exclusive-lock'].join(',');

describeCeph('locks, watchers and the blocklist beside rbd and ceph', () => {
  let cluster: CephCluster;

  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 1, pools: [{ name: 'rbd' }] });
    await cluster.rbd('namespace', 'create', 'rbd/ns');
    for (const name of ['free', 'held', 'shared', 'two words', 'rbd/ns/inside']) {
      await cluster.rbd('create', '--size', '16M', '--image-feature', 'layering', name);
    }
    await cluster.rbd('create', '--size', '4G', '--image-feature', LOCKING, 'busy');
    await cluster.rbd('lock', 'add', 'held', 'my lock');
    await cluster.rbd('lock', 'add', '--shared', 'a tag', 'shared', 'one');
    await cluster.rbd('lock', 'add', '--shared', 'a tag', 'shared', 'another');
    await cluster.rbd('lock', 'add', 'rbd/ns/inside', 'größe');
  });
  afterAll(() => cluster?.stop());

  const linger = (...args: string[]) => runLinger(cluster.confPath, args);
  const rbd = (...args: string[]) => cluster.run('rbd', args, WITHOUT_LOG);

  interface Lock {
    id: string;
    locker: string;
    address: string;
  }
  const locksOf = async (image: string) =>
    JSON.parse(await cluster.rbd('lock', 'ls', image, '--format', 'json')) as Lock[];

  it.each([
    'lock ls free',
    'lock ls held',
    'lock ls shared',
    'lock ls rbd/ns/inside',
    'lock list held',
    'lock ls --image held',
    'lock ls inside --namespace ns',
    'status free',
    'status --image free',
  ])('%s', async (line) => {
    for (const format of ['', ' --format json', ' --format json --pretty-format']) {
      const args = (line + format).split(' ');
      const theirs = await rbd(...args);
      expect(theirs.code).toBe(0);
      expect(await linger(...args)).toEqual(theirs);
    }
  });

  it.each([
    'lock add held other',
    'lock add held',
    'lock add',
    'lock add missing x',
    'lock add nopool/x y',
    'lock add held@snap x',
    'lock add --shared tag held x',
    'lock add --shared tag shared x',
    'lock add shared x',
    'lock add held x extra',
    'lock ls',
    'lock ls missing',
    'lock ls held extra',
    'lock ls nopool/x',
    'lock ls rbd/nons/x',
    'lock rm held',
    'lock rm held lock',
    'lock rm held lock client.99',
    'lock rm held lock foo',
    'lock rm free lock client.99',
    'lock rm missing a b',
    'lock rm held a client.4 extra',
    'status',
    'status missing',
    'status nopool/x',
    'status free@snap',
  ])('%s fails alike', async (line) => {
    const args = line.split(' ');
    const theirs = await rbd(...args);
    const ours = await linger(...args);
    expect(theirs.code).not.toBe(0);
    expect({ code: ours.code, stdout: ours.stdout }).toEqual({ code: theirs.code, stdout: '' });
    expect(lastWords('linger', ours).replace(/ \[.*\]$/, '')).toBe(lastWords('rbd', theirs));
  });

  it('locks go both ways, and whoever loses one is kept out', async () => {
    expect(await linger('lock', 'add', 'free', 'ours')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect((await rbd('lock', 'add', 'free', 'theirs')).code).toBe(16);
    const [ours] = await locksOf('free');
    expect(ours?.id).toBe('ours');
    await cluster.rbd('lock', 'rm', 'free', 'ours', ours?.locker ?? '');
    expect(await locksOf('free')).toEqual([]);

    await cluster.rbd('lock', 'add', '--shared', 'tag', 'free', 'theirs');
    expect((await linger('lock', 'add', '--shared', 'tag', 'free', 'ours')).code).toBe(0);
    expect(await locksOf('free')).toHaveLength(2);
    for (const { id, locker, address } of await locksOf('free')) {
      expect((await linger('lock', 'rm', 'free', id, locker)).code).toBe(0);
      expect(await cluster.ceph('osd', 'blocklist', 'ls')).toContain(`${address} `);
    }
    expect((await linger('lock', 'ls', 'free')).stdout).toBe('');
  });

  it('a live client’s exclusive lock and watch are shown, and it can be thrown out', async () => {
    const bench = cluster.run('rbd', [
      ...['bench', '--io-type', 'write', '--io-threads', '1', '--io-total', '4G', 'busy'],
    ]);
    await expect.poll(() => locksOf('busy'), { timeout: 20_000 }).toHaveLength(1);
    for (const what of [['lock', 'ls'], ['status']]) {
      for (const format of [[], ['--format', 'json']]) {
        const theirs = await rbd(...what, 'busy', ...format);
        expect(await linger(...what, 'busy', ...format)).toEqual(theirs);
        expect(theirs.stdout).toMatch(/client/);
      }
    }
    const [lock] = await locksOf('busy');
    expect(lock?.id).toMatch(/^auto \d+$/);
    const removed = await linger('lock', 'rm', 'busy', lock?.id ?? '', lock?.locker ?? '');
    expect(removed).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await bench).code).not.toBe(0);
    expect((await linger('status', 'busy')).stdout).toBe('Watchers: none\n');
  });

  it('watch shows what librbd tells of a change, in rbd’s words', async () => {
    await cluster.rbd('create', '--size', '4M', '--image-feature', 'layering', 'watched');
    const watching = spawn(process.execPath, [LINGER, '-c', cluster.confPath, 'watch', 'watched'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let said = '';
    watching.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    try {
      await expect.poll(() => cluster.rbd('status', 'watched')).toContain('watcher=');
      await cluster.rbd('resize', '--no-progress', 'watched', '--size', '8M');
      await expect.poll(() => said).toContain('HeaderUpdate');
      watching.stdin.write('\n');
      expect(await once(watching, 'close')).toEqual([0, null]);
    } finally {
      watching.kill('SIGKILL');
    }
    const [first, second, ...more] = said.split('\n');
    expect(first).toBe('press enter to exit...');
    expect(second).toMatch(
      /^watched received notification: notify_id=\d+, cookie=\d+, notifier_id=\d+, bl\.length=10, notify_op=HeaderUpdate$/,
    );
    expect(more).toEqual(['']);
    expect(await cluster.rbd('status', 'watched')).toContain('Watchers: none');
    const [ours, theirs] = [await linger('watch', 'nothere'), await rbd('watch', 'nothere')];
    expect(ours.code).toBe(theirs.code);
    expect(lastWords('linger', ours)).toBe(lastWords('rbd', theirs));
  });

  it('the blocklist is the one that ceph has', async () => {
    const entries = async () =>
      (await cluster.ceph('osd', 'blocklist', 'ls')).trim().split('\n').sort();
    const ours = async () => (await linger('blocklist', 'ls')).stdout.trim().split('\n').sort();
    const added = await linger('blocklist', 'add', '10.0.0.9:0/123');
    expect(added).toMatchObject({ code: 0, stdout: '' });
    expect(added.stderr).toMatch(/^blocklisting 10.0.0.9:0\/123 until \S+ \(3600 sec\)\n$/);
    const short = await linger('blocklist', 'add', '10.0.0.9:0/124', '60.5');
    expect(short.stderr).toMatch(/^blocklisting 10.0.0.9:0\/124 until \S+ \(60.5 sec\)\n$/);
    expect((await linger('blocklist', 'add', '[fe80::1]:0/5', '600')).code).toBe(0);
    await cluster.ceph('osd', 'blocklist', 'add', '10.0.0.10:0/7');
    await cluster.ceph('osd', 'blocklist', 'range', 'add', '10.1.0.0/16');
    expect(await ours()).toEqual(await entries());
    const json = JSON.parse((await linger('blocklist', 'ls', '--format', 'json')).stdout) as {
      addr: string;
      until: string;
    }[];
    expect(json.map(({ addr, until }) => `${addr} ${until}`).sort()).toEqual(await entries());

    for (const address of ['10.0.0.9:0/123', '10.0.0.9:0/123', 'foo']) {
      const theirs = await cluster.run('ceph', ['osd', 'blocklist', 'rm', address]);
      await cluster.run('ceph', ['osd', 'blocklist', 'add', '10.0.0.9:0/123']);
      const removed = await linger('blocklist', 'rm', address);
      expect({ code: removed.code, stdout: removed.stdout }).toEqual({
        code: theirs.code,
        stdout: '',
      });
    }
    expect(await ours()).toEqual(await entries());
    expect((await linger('blocklist', 'add', 'foo')).code).toBe(22);
    expect((await linger('blocklist', 'add')).code).toBe(22);
  });

  it('the library does the same', async () => {
    await using connected = await connect({ conf: cluster.confPath });
    const { images } = connected.pool('rbd');
    await images.addLock('two words', 'ours', { shared: 'tag' });
    const { exclusive, tag, locks } = await images.locks('two words');
    expect({ exclusive, tag }).toEqual({ exclusive: false, tag: 'tag' });
    const listed = await locksOf('two words');
    expect(locks).toEqual(
      listed.map(({ locker, id, address }) => ({ client: locker, id, address })),
    );
    // Its own lock it gives back, and is not blocklisted for it.
    await images.removeLock('two words', locks[0] ?? { client: '', id: '' });
    expect(await locksOf('two words')).toEqual([]);
    expect(await images.watchers('two words')).toEqual([]);

    await cluster.rbd('lock', 'add', 'two words', 'theirs');
    const [theirs] = await locksOf('two words');
    const holder = { client: theirs?.locker ?? '', id: 'theirs' };
    await images.removeLock('two words', holder);
    const { blocklist } = connected;
    const blocked = () => blocklist.list().then((list) => list.map(({ addr }) => addr));
    expect(await blocked()).toContain(theirs?.address);
    await blocklist.remove(theirs?.address ?? '');
    expect(await blocked()).not.toContain(theirs?.address);
    await blocklist.add('10.0.0.77:0/1', { expireS: 60 });
    expect(await cluster.ceph('osd', 'blocklist', 'ls')).toContain('10.0.0.77:0/1 ');
  });
});
