// The real `rbd`, `rados` and qemu-img on our OSDs.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { describeCeph } from './support/ceph-cluster.js';
import { runOrThrow, runProcess } from './support/processes.js';

describeCeph('the real rbd command on embedded OSDs', () => {
  let cluster: EmbeddedCluster;
  let dir: string;
  let env: NodeJS.ProcessEnv;
  const children: ChildProcess[] = [];

  const sh = async (command: string) =>
    (await runOrThrow('bash', ['-c', `set -e -o pipefail; ${command}`], { env })).stdout;
  const fails = async (command: string) =>
    (await runProcess('bash', ['-c', command], { env })).code;
  const json = async <T>(command: string) => JSON.parse(await sh(`${command} --format json`)) as T;
  const background = (command: string): ChildProcess => {
    const child = spawn('bash', ['-c', `exec ${command}`], {
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    children.push(child);
    return child;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'linger-embedded-rbd-'));
    cluster = await EmbeddedCluster.start({
      inThread: true,
      osds: 3,
      pools: ['rbd'],
      watchTimeoutS: 6,
    });
    env = { ...process.env, CEPH_CONF: cluster.confPath, CEPH_ARGS: '' };
    await sh('rbd pool init rbd');
    // 9 MiB with holes and an odd end.
    const content = Buffer.alloc(9 * 1024 * 1024 + 4096);
    for (let at = 0; at < content.length; at += 3 * 65_536)
      content.fill(at / 65_536, at, Math.min(at + 65_536, content.length));
    await writeFile(join(dir, 'source'), content);
  });

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('imports and exports the same bytes', async () => {
    await sh(`rbd import ${dir}/source a`);
    expect(await sh(`rbd export a - | cmp - ${dir}/source && echo same`)).toBe('same\n');
    await sh(`rbd create --size 32M --object-size 1M --stripe-unit 65536 --stripe-count 3 striped`);
    await sh(`rbd import --object-size 1M --stripe-unit 65536 --stripe-count 3 ${dir}/source st`);
    expect(await sh(`rbd export st - | cmp - ${dir}/source && echo same`)).toBe('same\n');
    await sh(`rbd rm striped; rbd mv st moved; rbd rm moved`);
  });

  it('reads from whoever it is told to, and is sent on to primaries', async () => {
    await sh(`rbd import ${dir}/source replicas`);
    const log = '--log-to-stderr=true --log-file= --debug-objecter=10';
    const read = `rbd --rbd-read-from-replica-policy=balance ${log} export replicas -`;
    expect(await sh(`${read} 2>${dir}/log | cmp - ${dir}/source && echo same`)).toBe('same\n');
    const sentOn = Number(await sh(`grep -c 'got -EAGAIN, resubmitting' ${dir}/log`));
    expect(sentOn).toBeGreaterThan(0);
    await sh('rbd rm replicas');
  });

  it('keeps snapshots, tells what changed since, and rolls back', async () => {
    await sh('rbd snap create a@s1');
    await sh('rbd bench --io-type write --io-size 4096 --io-total 256K --io-pattern rand a');
    await sh('rbd snap create a@s2');
    expect(await sh(`rbd export a@s1 - | cmp - ${dir}/source && echo same`)).toBe('same\n');
    await sh(`rbd export-diff --from-snap s1 a@s2 ${dir}/diff; rbd export a@s2 ${dir}/s2`);
    await sh(`rbd import ${dir}/source b; rbd snap create b@s1; rbd import-diff ${dir}/diff b`);
    expect(await sh(`rbd export b - | cmp - ${dir}/s2 && echo same`)).toBe('same\n');
    const changed = await json<{ length: number }[]>('rbd diff --from-snap s1 --whole-object a@s2');
    expect(changed.length).toBeGreaterThan(0);
    await sh('rbd snap rollback a@s1');
    expect(await sh(`rbd export a - | cmp - ${dir}/source && echo same`)).toBe('same\n');
    await sh('rbd snap purge a; rbd snap purge b; rbd rm b');
    expect(await json('rbd snap ls a')).toEqual([]);
  });

  it('leaves no clones behind when snapshots are gone', async () => {
    const objects = (await sh('rados -p rbd ls'))
      .split('\n')
      .filter((oid) => oid.startsWith('rbd_data'));
    const snaps = async (oid: string) =>
      (await json<{ clones: { id: unknown }[] }>(`rados -p rbd listsnaps ${oid}`)).clones.map(
        ({ id }) => id,
      );
    for (const oid of objects) expect(await snaps(oid)).toEqual(['head']);
  });

  it.each([1, 2])('clones (format %i), copies up, flattens', async (format) => {
    await sh('rbd snap create a@base; rbd snap protect a@base');
    await sh(`rbd clone --rbd-default-clone-format ${format} a@base child`);
    expect(await json<{ image: string }[]>('rbd children a@base')).toMatchObject([
      { image: 'child' },
    ]);
    await sh('rbd bench --io-type write --io-size 512 --io-total 16K --io-pattern rand child');
    await sh(`rbd export child ${dir}/child${format}; rbd flatten child`);
    expect(await sh(`rbd export child - | cmp - ${dir}/child${format} && echo same`)).toBe(
      'same\n',
    );
    await sh('rbd snap unprotect a@base; rbd snap rm a@base; rbd rm child');
    expect(await sh(`rbd export a - | cmp - ${dir}/source && echo same`)).toBe('same\n');
  });

  it('maintains object maps', async () => {
    await sh(
      'rbd object-map check a; rbd feature disable a object-map; rbd feature enable a object-map fast-diff',
    );
    await sh('rbd object-map rebuild a; rbd object-map check a; rbd sparsify a');
    const { flags } = await json<{ flags: string[] }>('rbd info a');
    expect(flags).toEqual([]);
    await sh('rbd resize --size 40M a; rbd resize --allow-shrink --size 10M a');
    expect(await json('rbd info a')).toMatchObject({ size: 10 * 1024 * 1024, objects: 3 });
  });

  it('has namespaces, metadata, a trash and locks', async () => {
    await sh('rbd namespace create rbd/ns; rbd create --size 1M rbd/ns/x');
    expect(await fails('rbd namespace rm rbd/ns')).not.toBe(0);
    await sh('rbd rm rbd/ns/x; rbd namespace rm rbd/ns');
    await sh('rbd image-meta set a key value');
    expect(await sh('rbd image-meta get a key')).toBe('value\n');
    await sh('rbd create --size 1M t; rbd trash mv t');
    const [trashed] = await json<{ id: string }[]>('rbd trash ls');
    await sh(`rbd trash restore ${trashed?.id}; rbd lock add t mine`);
    const [lock] = await json<{ id: string; locker: string }[]>('rbd lock ls t');
    expect(lock).toMatchObject({ id: 'mine' });
    await sh(`rbd lock rm t mine ${lock?.locker}; rbd rm t`);
  });

  it('lists watchers, and tells them of changes', async () => {
    const watcher = background('rbd watch a');
    let told = '';
    watcher.stdout?.on('data', (chunk) => {
      told += String(chunk);
    });
    await waitFor(async () => (await sh('rbd status a')).includes('watcher='));
    await sh('rbd image-meta set a seen yes');
    await waitFor(() => Promise.resolve(told.includes('received notification')));
    watcher.stdin?.end('\n');
    await waitFor(async () => (await sh('rbd status a')).includes('Watchers: none'));
  });

  it('hands the exclusive lock from one writer to another, and takes it from a dead one', async () => {
    await sh('rbd create --size 64M shared');
    const bench = 'rbd bench --io-type write --io-size 4096 --io-total 400K --io-threads 4 shared';
    await Promise.all([sh(bench), sh(bench), sh(bench)]);
    const dying = background('rbd bench --io-type write --io-size 4096 --io-total 4G shared');
    await waitFor(async () => (await json<unknown[]>('rbd lock ls shared')).length > 0);
    dying.kill('SIGKILL');
    await sh(bench);
    expect(await sh('ceph osd blocklist ls 2>/dev/null')).toContain('127.0.0.1:0/');
    await sh('rbd rm shared');
  });

  it('goes on while an OSD dies and returns', async () => {
    await sh('rbd create --size 64M robust');
    const busy = sh(
      'rbd bench --io-type write --io-size 16K --io-total 24M --io-pattern rand robust',
    );
    for (let osd = 0; osd < 3; osd++) {
      await sleep(300);
      await cluster.killOsd(osd);
      await sleep(300);
      await cluster.startOsd(osd);
      await waitFor(async () => (await cluster.status()).pgs['active+clean'] === 32);
    }
    await busy;
    await sh('rbd object-map check robust; rbd rm robust');
  });

  it('has every byte although OSDs die before they are recovered', async () => {
    let ended = false;
    const busy = sh(
      `for i in 1 2 3; do rbd import ${dir}/source c; rbd export c - | cmp - ${dir}/source; rbd rm c; done; echo same`,
    ).finally(() => {
      ended = true;
    });
    // Not for ever: where peering takes longer than an OSD lives, nobody gets anywhere.
    for (let round = 0; !ended && round < 40; round++) {
      await cluster.killOsd(round % 3);
      await sleep(150);
      await cluster.startOsd(round % 3);
      await sleep(50);
    }
    expect(await busy).toContain('same\n');
    await waitFor(async () => (await cluster.status()).pgs['active+clean'] === 32);
  });

  it('tells how its PGs are as a cluster with a manager does', async () => {
    await sh('rados -p rbd put counted /etc/hostname');
    const clean = await sh('ceph -s 2>/dev/null');
    expect(clean).toContain('    pools:   1 pools, 32 pgs\n');
    expect(clean).toContain('    pgs:     32 active+clean\n');
    expect(await sh('ceph pg stat 2>/dev/null')).toMatch(/^32 pgs: 32 active\+clean; \d/);
    await cluster.killOsd(0);
    await waitFor(async () =>
      Object.keys((await cluster.status()).pgs).every((state) => state.startsWith('active')),
    );
    const health = await json<{ checks: Record<string, { summary: { message: string } }> }>(
      'ceph health 2>/dev/null',
    );
    expect(health.checks['PG_DEGRADED']?.summary.message).toMatch(
      /^Degraded data redundancy: (\d+\/\d+ objects degraded \([\d.]+%\), \d+ pgs? degraded, )?\d+ pgs undersized$/,
    );
    const brief = await sh('ceph pg dump pgs_brief 2>/dev/null');
    expect(brief).toMatch(/^1\.0 +active\+\S* +\[/m);
    await cluster.startOsd(0);
    await waitFor(async () => (await cluster.status()).pgs['active+clean'] === 32);
    await sh('rados -p rbd rm counted');
  });

  it('serves qemu-img and rados', async () => {
    const url = `rbd:rbd/q:conf=${cluster.confPath}`;
    await sh(`qemu-img convert -f raw -O raw ${dir}/source ${url}`);
    expect(await sh(`qemu-img compare -f raw -F raw ${dir}/source ${url}`)).toContain('identical');
    await sh(`rbd rm q; rados -p rbd put o ${dir}/source; rados -p rbd get o ${dir}/got`);
    expect(await sh(`cmp ${dir}/got ${dir}/source && echo same`)).toBe('same\n');
    expect(await sh('rados -p rbd stat o')).toContain(`size ${9 * 1024 * 1024 + 4096}`);
    await sh('rados -p rbd setomapval o k v; rados -p rbd setxattr o n x; rados -p rbd cp o p');
    expect(await sh('rados -p rbd listomapkeys p; rados -p rbd listxattr p')).toBe('k\nn\n');
    await sh('rados -p rbd rm o; rados -p rbd rm p');
  });

  it('leaves an empty pool when everything is removed', async () => {
    await sh('rbd rm a');
    expect(await json('rbd ls')).toEqual([]);
    const left = (await sh('rados -p rbd ls')).split('\n').filter(Boolean).sort();
    const pool = ['rbd_children', 'rbd_directory', 'rbd_info', 'rbd_namespace', 'rbd_trash'];
    expect(left.filter((oid) => !pool.includes(oid))).toEqual([]);
  });
});

async function waitFor(satisfied: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await satisfied())) {
    if (Date.now() > deadline) throw new Error(`not so after ${timeoutMs} ms: ${satisfied}`);
    await sleep(50);
  }
}
