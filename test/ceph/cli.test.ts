// Every command beside `rbd`: the same output, the same exit code, the same words on failure.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { lastWords, runLinger } from './support/linger-cli.js';
import { WITHOUT_LOG } from './support/processes.js';

describeCeph('linger beside rbd', () => {
  let cluster: CephCluster;

  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 2,
      pools: [{ name: 'rbd' }, { name: 'second', pgNum: 4 }],
    });
    const layering = ['--image-feature', 'layering', '--no-progress'];
    await writeFile(join(cluster.dir, 'file'), Buffer.alloc(100_000, 'linger'));
    // Images of all the kinds that rbd makes.
    await cluster.rbd('namespace', 'create', 'rbd/ns');
    await cluster.rbd('create', '--size', '10M', 'plain', '--image-feature', 'layering');
    await cluster.rbd('create', '--size', '20000B', 'small', '--object-size', '64K');
    await cluster.rbd('create', '--size', '0', 'empty');
    await cluster.rbd('create', '--size', '1537M', 'data', '--data-pool', 'second');
    const striping = ['--stripe-unit', '16K', '--stripe-count', '3', '--object-size', '1M'];
    await cluster.rbd('create', '--size', '3T', 'striped', ...striping);
    await cluster.rbd('create', '--size', '1G', 'rbd/ns/inside');
    await cluster.rbd('create', '--size', '5', 'a name');
    await cluster.rbd('create', '--size', '5', 'größe');
    await cluster.rbd('import', ...layering, join(cluster.dir, 'file'), 'parent');
    for (const snap of ['s1', 's2', 's3']) {
      await cluster.rbd('snap', 'create', '--no-progress', `parent@${snap}`);
    }
    await cluster.rbd('snap', 'protect', 'parent@s2');
    await cluster.rbd('clone', 'parent@s2', 'child', '--image-feature', 'layering');
    const cloneV2 = ['--rbd-default-clone-format', '2', '--image-feature', 'layering'];
    await cluster.rbd('clone', 'parent@s3', 'rbd/ns/orphan', ...cloneV2);
    await cluster.rbd('snap', 'rm', '--no-progress', 'parent@s3');
    await cluster.rbd('snap', 'create', '--no-progress', 'child@c1');
    await cluster.rbd('create', '--size', '1', 'snapped', '--image-feature', 'layering');
    await cluster.rbd('snap', 'create', '--no-progress', 'snapped@s1');
    await cluster.rbd('create', '--size', '1', 'snapped-locking');
    await cluster.rbd('snap', 'create', '--no-progress', 'snapped-locking@s1');
    await cluster.rbd('snap', 'limit', 'set', 'small', '--limit', '7');
    await cluster.rbd('group', 'create', 'group');
    await cluster.rbd('group', 'image', 'add', 'group', 'striped');
    await cluster.rbd('lock', 'add', 'plain', 'me');
    await cluster.rbd('lock', 'add', '--shared', 'tag', 'child', 'us');
    await cluster.rbd('image-meta', 'set', 'small', 'one', 'value');
    await cluster.rbd('image-meta', 'set', 'child', 'key', 'a value');
    await cluster.rbd('image-meta', 'set', 'child', 'a longer key', 'größer');
  });
  afterAll(() => cluster?.stop());

  const linger = (...args: string[]) => runLinger(cluster.confPath, args);
  const rbd = (...args: string[]) => cluster.run('rbd', args, WITHOUT_LOG);

  describe('prints what rbd prints, byte for byte', () => {
    const images = [
      ...['plain', 'small', 'empty', 'data', 'striped', 'a name', 'größe', 'parent', 'child'],
      ...['rbd/ns/inside', 'rbd/ns/orphan', 'parent@s1', 'parent@s2', 'child@c1'],
    ];
    const lines = [
      ...['ls', 'ls rbd/ns', 'ls second'].flatMap((line) => [line, `${line} -l`]),
      ...['image-meta ls plain', 'image-meta ls small', 'image-meta ls child'],
      ...['namespace ls', 'namespace ls rbd', 'namespace ls second'],
    ].map((line) => line.split(' '));

    it.each([...lines, ...images.map((image) => ['info', image])])('%s %s %s', async (...args) => {
      for (const format of [[], ['--format', 'json'], ['--format=json', '--pretty-format']]) {
        const theirs = await rbd(...args, ...format);
        const ours = await linger(...args, ...format);
        expect({ ...ours, stderr: '' }).toEqual({
          ...theirs,
          stderr: '',
          stdout: known(theirs, format),
        });
      }
    });

    /** Of no metadata rbd prints no JSON at all. */
    function known({ stdout }: { stdout: string }, format: readonly string[]): string {
      return stdout === '' && format.length > 0 ? '{}\n' : stdout;
    }

    it.each([
      'info --pool rbd --image plain',
      '-p rbd info plain',
      'info inside --namespace ns',
      'info rbd/inside --namespace ns',
      'info parent --snap s1',
      'ls -p rbd --namespace ns',
      'ls --long --pool second',
      'image-meta get small one',
      'image-meta get --image small one',
    ])('%s', async (line) => {
      const theirs = await rbd(...line.split(' '));
      expect(theirs.code).toBe(0);
      expect(await linger(...line.split(' '))).toEqual(theirs);
    });

    it('info by id', async () => {
      const { id } = JSON.parse(await cluster.rbd('info', 'plain', '--format=json')) as {
        id: string;
      };
      expect(await linger('info', '--image-id', id)).toEqual(await rbd('info', '--image-id', id));
    });
  });

  describe('fails as rbd does, with its code and its last words', () => {
    // `F` is a file of the cluster's directory.
    it.each([
      'create --size 10 nopool/x',
      'create --size 10 rbd/nons/x',
      'create --size 10 plain',
      'create --size 10 x --data-pool nopool',
      'create --size 10 x --stripe-unit 3000 --stripe-count 2',
      'create --size 10 x --stripe-unit 64K',
      'create --size 10 x --object-size 1K',
      'create --size 1.5G x',
      'create x',
      'ls nopool',
      'ls rbd/nons',
      'ls -l nopool',
      'info missing',
      'info plain@missing',
      'info nopool/x',
      'info rbd/nons/x',
      'info --image-id 123456',
      'info plain extra',
      'info plain --bad',
      'rm missing',
      'rm snapped',
      'rm snapped-locking',
      'rm snapped@s1',
      'rm nopool/x',
      'mv missing x',
      'mv plain small',
      'mv plain plain',
      'mv plain',
      'resize plain --size 5M',
      'resize plain --size 10M',
      'resize missing --size 1',
      'image-meta ls missing',
      'image-meta get plain missing',
      'image-meta rm plain missing',
      'image-meta set plain key',
      'image-meta ls plain@s',
      'namespace create rbd/ns',
      'namespace create rbd',
      'namespace rm rbd/ns',
      'namespace rm rbd/nons',
      'namespace ls nopool',
      'namespace ls rbd/ns',
      'pool init nopool',
      'import F/missing',
      'import F',
      'import F/file plain',
      'import F/file nopool/x',
      'import F/file rbd/nons/x',
      'import F/file x --object-size 1K',
      'import F/file x extra',
      'import F/file x@s',
      'import /dev/null x',
      'export plain',
      'export missing F/x',
      'export plain F/file',
      'export plain F/nodir/x',
      'export plain@missing F/x',
      'export nopool/x F/x',
      'export rbd/nons/x F/x',
      'export --export-format 3 plain F/x',
      'bench plain',
      'bench --io-type read missing',
      'bench --io-type write --io-size 64M plain',
      'bench --io-type read --io-threads 0 plain',
      'bench --io-type up plain',
    ])('%s', async (line) => {
      const args = line.split(' ').map((arg) => arg.replace(/^F/, cluster.dir));
      const theirs = await rbd(...args);
      const ours = await linger(...args);
      expect(theirs.code).not.toBe(0);
      expect({ code: ours.code, stdout: ours.stdout }).toEqual({
        code: theirs.code,
        stdout: '',
      });
      // Ours may say more: in brackets what librbd says in its log.
      const words = lastWords('linger', ours).replace(/ [[(](?!\d).*[\])]$/, '');
      const expected = lastWords('rbd', theirs) || noPrefix(theirs.stderr);
      expect(words).toBe(expected);
    });

    /** A few messages of rbd's lack its name. */
    function noPrefix(stderr: string): string {
      const [line = ''] = /^error setting snapshot context.*$/m.exec(stderr) ?? [];
      return line;
    }

    it('for an image that is open elsewhere', async () => {
      await cluster.rbd('create', '--size', '1', 'watched', '--image-feature', 'layering');
      // An image mapped by a bench that lasts is a watched one.
      const bench = cluster.run('rbd', [
        ...['bench', '--io-type', 'read', '--io-threads', '1', '--io-total', '400M', 'watched'],
      ]);
      let code = 0;
      for (let tries = 0; tries < 100 && code === 0; tries++) {
        const status = await cluster.rbd('status', 'watched');
        if (!status.includes('watcher=')) continue;
        const ours = await linger('rm', 'watched');
        code = ours.code;
        expect(lastWords('linger', ours)).toBe('error: image still has watchers');
        expect(ours.stderr).toContain('waiting 30s for the crashed client to timeout.\n');
      }
      expect(code).toBe(16);
      await bench;
    });

    it('for users that the cluster does not know', async () => {
      for (const args of [
        ['--id', 'nobody', 'ls'],
        ['--id', 'nobody', 'info', 'plain'],
      ]) {
        const [theirs, ours] = [await rbd(...args), await linger(...args)];
        expect([ours.code, theirs.code]).toEqual([13, 13]);
        expect(ours.stderr).toContain("couldn't connect to the cluster!");
      }
    });
  });

  describe('does what rbd does', () => {
    interface Info {
      name?: string;
      id?: string;
      [field: string]: unknown;
    }

    /** An image by both programs' word, without what differs from image to image. */
    async function infoOf(spec: string): Promise<Info> {
      const theirs = JSON.parse(await cluster.rbd('info', spec, '--format', 'json')) as Info;
      const ours = JSON.parse((await linger('info', spec, '--format', 'json')).stdout) as Info;
      expect(ours).toEqual(theirs);
      const { name: _, id, block_name_prefix, ...rest } = theirs;
      const times = ['create_timestamp', 'access_timestamp', 'modify_timestamp'];
      const kept = Object.entries(rest).filter(([field]) => !times.includes(field));
      return {
        prefix: String(block_name_prefix).replace(String(id), 'ID'),
        ...Object.fromEntries(kept),
      };
    }

    it.each([
      ['--size', '100'],
      ['--size', '1G', '--object-size', '1M'],
      ['--size', '0'],
      ['--size', '12345B', '--object-size', '100000'],
      ['--size', '1T', '--order', '25'],
      ['--size', '100M', '--stripe-unit', '64K', '--stripe-count', '5'],
      ['--size', '100M', '--stripe-unit', '4M', '--stripe-count', '1'],
      ['--size', '100M', '--data-pool', 'second'],
      [
        '--size',
        '100M',
        '--namespace',
        'ns',
        '--data-pool',
        'second',
        '--stripe-unit',
        '4096',
        '--stripe-count',
        '2',
      ],
    ])('create %s %s %s %s %s', async (...args) => {
      const place = args.includes('ns') ? 'rbd/ns' : 'rbd';
      await cluster.rbd('create', ...args, 'made-by-rbd');
      const ours = await linger('create', ...args, 'made-by-linger');
      expect(ours).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(await infoOf(`${place}/made-by-linger`)).toEqual(await infoOf(`${place}/made-by-rbd`));
      await cluster.rbd('rm', '--no-progress', `${place}/made-by-linger`);
      expect((await linger('rm', `${place}/made-by-rbd`)).code).toBe(0);
      expect(await cluster.rbd('ls', place)).not.toContain('made-by');
    });

    it('rename, resize and remove leave what rbd finds', async () => {
      await linger('create', 'before', '--size', '10M');
      expect(await linger('mv', 'before', 'after')).toEqual({ code: 0, stdout: '', stderr: '' });
      expect((await rbd('info', 'before')).code).toBe(2);
      expect((await linger('resize', 'after', '--size', '30M')).code).toBe(0);
      expect((await infoOf('after'))['size']).toBe(30 * 1024 ** 2);
      const shrunk = await linger(
        'resize',
        'after',
        '--size',
        '3M',
        '--allow-shrink',
        '--progress',
      );
      expect(shrunk.code).toBe(0);
      expect(shrunk.stderr).toMatch(
        /^\rResizing image: [^]*\rResizing image: 100% complete...done.\n$/,
      );
      expect((await infoOf('after'))['size']).toBe(3 * 1024 ** 2);
      const removed = await linger('rm', 'after', '--progress');
      expect(removed.stderr).toMatch(/\rRemoving image: 100% complete...done.\n$/);
      expect((await rbd('info', 'after')).code).toBe(2);
    });

    it('a failing rm ends its progress as rbd does', async () => {
      const theirs = await rbd('rm', 'missing');
      const ours = await linger('rm', 'missing', '--progress');
      expect(ours.stderr.replaceAll('linger:', 'rbd:')).toBe(theirs.stderr);
    });

    it('metadata goes both ways', async () => {
      await linger('create', 'meta', '--size', '1');
      expect((await linger('image-meta', 'set', 'meta', 'our key', '-5%')).code).toBe(1);
      expect((await linger('image-meta', 'set', 'meta', '--', 'our key', '-5%')).code).toBe(0);
      expect(await cluster.rbd('image-meta', 'get', 'meta', 'our key')).toBe('-5%\n');
      await cluster.rbd('image-meta', 'set', 'meta', 'their key', 'value');
      expect((await linger('image-meta', 'get', 'meta', 'their key')).stdout).toBe('value\n');
      expect((await linger('image-meta', 'rm', 'meta', 'their key')).code).toBe(0);
      expect((await rbd('image-meta', 'get', 'meta', 'their key')).code).toBe(2);
      expect((await linger('rm', 'meta')).code).toBe(0);
    });

    it('namespaces and pools go both ways', async () => {
      expect(await linger('namespace', 'create', 'second/ours')).toEqual({
        code: 0,
        stdout: '',
        stderr: '',
      });
      expect(await cluster.rbd('namespace', 'ls', 'second', '--format=json')).toBe(
        '[{"name":"ours"}]\n',
      );
      await cluster.rbd('create', '--size', '1', 'second/ours/image');
      expect((await linger('namespace', 'rm', 'second/ours')).code).toBe(16);
      await cluster.rbd('rm', '--no-progress', 'second/ours/image');
      expect((await linger('namespace', 'rm', '-p', 'second', '--namespace', 'ours')).code).toBe(0);
      expect(await cluster.rbd('namespace', 'ls', 'second')).toBe('');

      await cluster.ceph('osd', 'pool', 'create', 'fresh', '4');
      expect(await linger('pool', 'init', 'fresh')).toEqual({ code: 0, stdout: '', stderr: '' });
      const apps = await cluster.ceph('osd', 'pool', 'application', 'get', 'fresh', '-f', 'json');
      expect(Object.keys(JSON.parse(apps) as object)).toEqual(['rbd']);
      await cluster.rbd('create', '--size', '1', 'fresh/image');
    });

    it.each(['read', 'write', 'rw'])('bench %s prints the lines that rbd prints', async (type) => {
      await linger('create', 'bench', '--size', '4M');
      const args = ['bench', 'bench', '--io-type', type, '--io-total', '1M', '--io-size', '16K'];
      const [theirs, ours] = [await rbd(...args), await linger(...args)];
      // The figures are the machine's own.
      const shape = (text: string) =>
        text
          .replace(/(\w+ops|ops\/sec|elapsed): ([\d.e+]+|inf|nan)/g, '$1: N')
          .replace(/[\d.]+ (\wi)?B\/s/g, 'N/s');
      expect(ours.code).toBe(0);
      expect(shape(ours.stdout)).toBe(shape(theirs.stdout));
      const json = JSON.parse((await linger(...args, '--format=json')).stdout) as Info;
      expect(json['ops']).toBe(64);
      await linger('rm', 'bench');
    });
  });
});
