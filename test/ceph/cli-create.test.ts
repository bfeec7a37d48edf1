// What new images are like, by the command line, by ceph.conf and by the cluster's own configuration: as `rbd` has it.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { lastWords, runLinger } from './support/linger-cli.js';
import { WITHOUT_LOG } from './support/processes.js';

/** What this version creates images with, whatever is asked for. */
const KNOWN = ['layering', 'striping', 'data-pool'];

describeCeph('creating images beside rbd', () => {
  let cluster: CephCluster;
  let confs = 0;
  const central: [string, string][] = [];

  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 1,
      pools: [{ name: 'rbd' }, { name: 'second', pgNum: 4 }],
    });
    await writeFile(join(cluster.dir, 'file'), Buffer.alloc(100_000, 'linger'));
  });
  afterAll(() => cluster?.stop());
  afterEach(async () => {
    for (const [who, option] of central.splice(0)) await cluster.ceph('config', 'rm', who, option);
    const names = JSON.parse(await cluster.rbd('ls', '--format', 'json')) as string[];
    for (const name of names) await cluster.rbd('rm', '--no-progress', name);
  });

  /** A ceph.conf with more options for clients. */
  async function confWith(lines: string): Promise<string> {
    const path = join(cluster.dir, `more-${confs++}.conf`);
    const { stdout } = await cluster.run('cat', [cluster.confPath]);
    await writeFile(path, `${stdout}\n${lines}\n`);
    return path;
  }

  async function setCentral(who: string, option: string, value: string): Promise<void> {
    await cluster.ceph('config', 'set', who, option, value);
    central.push([who, option]);
  }

  interface Info {
    features: string[];
    [field: string]: unknown;
  }

  async function infoOf(name: string): Promise<Info> {
    const info = JSON.parse(await cluster.rbd('info', name, '--format', 'json')) as Info;
    const { name: _, id, block_name_prefix, ...rest } = info;
    const kept = Object.entries(rest).filter(([field]) => !field.endsWith('_timestamp'));
    const prefix = String(block_name_prefix).replace(String(id), 'ID');
    return { prefix, ...Object.fromEntries(kept), features: info.features };
  }

  /** Creates one image with each program and compares what rbd says of them. */
  async function compare(conf: string, args: string[], command = 'create'): Promise<Info> {
    const env = { CEPH_CONF: conf };
    const place = (name: string) =>
      command === 'import' ? [join(cluster.dir, 'file'), name] : ['--size', '100M', name];
    const theirs = await cluster.run('rbd', [command, ...args, ...place('theirs')], { env });
    expect(theirs.code).toBe(0);
    const ours = await runLinger(conf, [command, ...args, ...place('ours')]);
    expect({ code: ours.code, stdout: ours.stdout }).toEqual({ code: 0, stdout: '' });
    const info = await infoOf('theirs');
    expect(await infoOf('ours')).toEqual(info);
    return info;
  }

  const FEATURES = 'rbd default features = layering';

  it.each<[string, string[], Partial<Info>]>([
    ['[client]\nrbd default order = 20', [], { order: 20 }],
    ['[client.admin]\nrbd_default_order = 20', ['--object-size', '8M'], { order: 23 }],
    ['[global]\nrbd default order = nonsense', [], { order: 22 }],
    [
      '[client]\nrbd default stripe unit = 64K\nrbd default stripe count = 4',
      [],
      { stripe_unit: 65536, stripe_count: 4 },
    ],
    [
      '[client]\nrbd default stripe unit = 65536\nrbd default stripe count = 4',
      ['--stripe-unit', '4096', '--stripe-count', '2'],
      { stripe_unit: 4096, stripe_count: 2 },
    ],
    ['[client]\nrbd default data pool = second', [], { data_pool: 'second' }],
    ['[client]\nrbd default data pool = second', ['--data-pool', 'rbd'], {}],
  ])('%s, with %j', async (lines, args, expected) => {
    const conf = await confWith(`${lines}\n${FEATURES}`);
    expect(await compare(conf, args)).toMatchObject(expected);
  });

  it.each(['1', '3', 'layering', 'layering,striping', '128'])(
    'features %s in ceph.conf',
    async (features) => {
      const conf = await confWith(`[client]\nrbd default features = ${features}`);
      const info = await compare(conf, []);
      expect(KNOWN).toEqual(expect.arrayContaining(info.features));
    },
  );

  it('says which features of the configuration it leaves out', async () => {
    const conf = await confWith('[client]\nrbd default features = layering,journaling');
    const ours = await runLinger(conf, ['create', '--size', '1', 'ours']);
    expect(ours.code).toBe(0);
    expect(ours.stderr).toBe('linger: rbd_default_features: this version leaves out journaling\n');
    expect((await infoOf('ours')).features).toEqual(['layering']);
  });

  it('follows the cluster’s configuration, where ceph.conf says nothing', async () => {
    await setCentral('client', 'rbd_default_features', 'layering');
    await setCentral('client', 'rbd_default_order', '21');
    await setCentral('client.admin', 'rbd_default_stripe_unit', '65536');
    await setCentral('client', 'rbd_default_stripe_count', '3');
    const info = await compare(cluster.confPath, []);
    expect(info).toMatchObject({ order: 21, stripe_unit: 65536, stripe_count: 3 });
    // The default, but said.
    const conf = await confWith('[client]\nrbd default order = 22');
    await cluster.rbd('rm', '--no-progress', 'ours');
    await cluster.rbd('rm', '--no-progress', 'theirs');
    expect(await compare(conf, [])).toMatchObject({ order: 22, stripe_count: 3 });
  });

  it('makes imported images so as well', async () => {
    await setCentral('client', 'rbd_default_features', '1');
    await setCentral('client', 'rbd_default_data_pool', 'second');
    const conf = await confWith('[client]\nrbd default order = 16');
    expect(await compare(conf, ['--no-progress'], 'import')).toMatchObject({
      order: 16,
      data_pool: 'second',
    });
  });

  it('refuses a stripe unit without a stripe count from there too', async () => {
    const conf = await confWith('[client]\nrbd default stripe unit = 65536');
    const env = { CEPH_CONF: conf };
    const args = ['create', '--size', '1', 'refused', '--image-feature', 'layering'];
    const theirs = await cluster.run('rbd', args, { env: { ...WITHOUT_LOG.env, ...env } });
    const ours = await runLinger(conf, args);
    expect([ours.code, theirs.code]).toEqual([22, 22]);
    expect(lastWords('linger', ours)).toContain(lastWords('rbd', theirs));
  });

  it('--image-shared drops what one client at a time may use', async () => {
    const args = ['--image-shared', '--image-feature', 'layering,exclusive-lock,object-map'];
    expect((await compare(cluster.confPath, args)).features).toEqual(['layering']);
    const defaults = await runLinger(cluster.confPath, [
      ...['create', '--size', '1', '--image-shared', 'shared'],
    ]);
    expect(defaults.code).toBe(0);
    expect((await infoOf('shared')).features).not.toContain('exclusive-lock');
  });

  it('--thick-provision allocates every object', async () => {
    const args = ['--thick-provision', '--image-feature', 'layering', '--object-size', '64K'];
    const size = ['--size', '1000K'];
    const theirs = await cluster.run('rbd', ['create', ...size, ...args, 'theirs']);
    const ours = await runLinger(cluster.confPath, [
      'create',
      ...size,
      ...args,
      '--progress',
      'ours',
    ]);
    expect([ours.code, theirs.code]).toEqual([0, 0]);
    const lastLine = '\rThick provisioning: 100% complete...done.\n';
    expect(theirs.stderr.endsWith(lastLine)).toBe(true);
    expect(ours.stderr.endsWith(lastLine)).toBe(true);
    const allocated = async (name: string) => {
      const { id } = JSON.parse(await cluster.rbd('info', name, '--format', 'json')) as {
        id: string;
      };
      const objects = (await cluster.rados('-p', 'rbd', 'ls')).split('\n');
      const data = objects.filter((object) => object.startsWith(`rbd_data.${id}.`)).sort();
      const sizes = await Promise.all(
        data.map(async (object) => {
          const stat = await cluster.rados('-p', 'rbd', 'stat', object);
          return [object.slice(-4), /size (\d+)/.exec(stat)?.[1]];
        }),
      );
      return sizes;
    };
    const expected = await allocated('theirs');
    expect(expected).toHaveLength(16);
    expect(await allocated('ours')).toEqual(expected);
  });
});
