// Images through `linger` and `rbd` on a real cluster: the same bytes, whichever way, mode and user; and nothing left
// behind by a command that was interrupted.

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { interruptLinger, LINGER, runLinger } from './support/linger-cli.js';
import { CONTENT, transferKinds, transferTests } from './support/transfer-script.js';
import { patternBytes } from './support/rbd-client.js';

const MIB = 1024 * 1024;

describeCeph('images by command on a real cluster', () => {
  let cluster: CephCluster;
  let dir: string;

  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 3,
      pools: [
        { name: 'rbd' },
        { name: 'private', pgNum: 4 },
        { name: 'ec', pgNum: 4, erasure: { k: 2, m: 1 } },
      ],
    });
    await cluster.rbd('namespace', 'create', 'rbd/ns');
    ({ dir } = cluster);
    await writeFile(join(dir, 'content'), CONTENT);
  });
  afterAll(() => cluster?.stop());

  const linger = (...args: string[]) => runLinger(cluster.confPath, args);

  describe('transfer', () => {
    transferTests(() => cluster, transferKinds('ec'));
  });

  describe('with every mode of the messenger', () => {
    const check = async (...options: string[]) => {
      const content = join(dir, 'content');
      expect(await linger(...options, 'import', content, 'moded')).toMatchObject({
        code: 0,
        stderr: '',
      });
      const out = join(dir, 'out');
      expect(await linger(...options, 'export', 'moded', out)).toMatchObject({
        code: 0,
        stderr: '',
      });
      await cluster.rbd('export', '--no-progress', 'moded', join(dir, 'theirs'));
      await cluster.runOrThrow('cmp', [out, join(dir, 'content')]);
      await cluster.runOrThrow('cmp', [out, join(dir, 'theirs')]);
      for (const name of ['out', 'theirs']) await rm(join(dir, name));
      await linger(...options, 'rm', 'moded');
    };

    it.each(['crc', 'secure', 'prefer-crc', 'prefer-secure'])('--ms-mode %s', async (mode) => {
      await check('--ms-mode', mode);
    });

    it.each(['crc', 'secure'])('ceph.conf with %s alone', async (mode) => {
      const conf = join(dir, `${mode}.conf`);
      const text = await readFile(cluster.confPath, 'utf8');
      const modes = `[client]\nms client mode = ${mode}\nms mon client mode = ${mode}\n`;
      await writeFile(conf, `${text}\n${modes}`);
      await check('-c', conf);
    });

    it('fails, and does not hang, where the cluster wants another one', async () => {
      const strict = await CephCluster.start({
        osds: 1,
        pools: [],
        conf: 'ms cluster mode = secure\nms service mode = secure\nms client mode = secure\nms mon service mode = secure\nms mon client mode = secure\n',
      });
      try {
        const { code, stderr } = await runLinger(strict.confPath, [
          '--ms-mode',
          'crc',
          '--timeout',
          '10',
          'ls',
        ]);
        expect(code).not.toBe(0);
        expect(stderr).toMatch(/^linger: couldn't connect to the cluster!/);
        expect(stderr).not.toMatch(/\bat .*js:\d/);
        // The pool is missing: the monitor was reached.
        const secure = await runLinger(strict.confPath, ['--ms-mode', 'secure', 'ls']);
        expect(secure.stderr).toContain("error opening pool 'rbd'");
      } finally {
        await strict.stop();
      }
    });
  });

  describe('as a user', () => {
    it('whose caps end at one pool', async () => {
      const caps = { mon: 'profile rbd', osd: 'profile rbd pool=private' };
      const keyring = await cluster.createUser('client.private', caps);
      const as = ['--id', 'private', '-k', keyring];
      const content = join(dir, 'content');
      const imported = await linger(...as, 'import', content, 'private/mine');
      expect(imported).toEqual({ code: 0, stdout: '', stderr: '' });
      await linger(...as, 'export', 'private/mine', join(dir, 'out'));
      await cluster.runOrThrow('cmp', [join(dir, 'out'), content]);
      await rm(join(dir, 'out'));
      expect((await linger(...as, 'ls', 'private')).stdout).toBe('mine\n');
      expect((await linger(...as, 'rm', 'private/mine')).code).toBe(0);

      for (const args of [
        ['ls', 'rbd'],
        ['create', '--size', '1', 'rbd/mine'],
        ['import', content, 'rbd/mine'],
      ]) {
        const theirs = await cluster.run('rbd', [...args, '--id', 'private', '-k', keyring]);
        const ours = await linger(...as, ...args);
        expect([ours.code, theirs.code], args.join(' ')).toEqual([1, 1]);
        expect(ours.stderr).toContain('(1) Operation not permitted');
      }
      expect(await cluster.rbd('ls')).not.toContain('mine');
    });

    it('who may only read', async () => {
      await cluster.rbd(
        'import',
        '--no-progress',
        '--image-feature',
        'layering',
        join(dir, 'content'),
        'rbd/shown',
      );
      const caps = { mon: 'profile rbd', osd: 'profile rbd-read-only' };
      const keyring = await cluster.createUser('client.reader', caps);
      const as = ['--id', 'reader', '-k', keyring];
      expect((await linger(...as, 'export', 'rbd/shown', join(dir, 'out'))).code).toBe(0);
      await cluster.runOrThrow('cmp', [join(dir, 'out'), join(dir, 'content')]);
      await rm(join(dir, 'out'));
      for (const args of [
        ['rm', 'shown'],
        ['resize', 'shown', '--size', '1G'],
        ['create', 'x', '--size', '1'],
      ]) {
        expect((await linger(...as, ...args)).code, args.join(' ')).toBe(1);
      }
      const write = ['bench', '--io-type', 'write', '--io-total', '64K', 'shown'];
      expect((await linger(...as, ...write)).code).toBe(1);
      await cluster.rbd('export', '--no-progress', 'rbd/shown', join(dir, 'after'));
      await cluster.runOrThrow('cmp', [join(dir, 'after'), join(dir, 'content')]);
      await linger('rm', 'shown');
    });
  });

  describe('interrupted', () => {
    const BIG = 256 * MIB;

    beforeAll(async () => {
      await writeFile(join(dir, 'big'), patternBytes(BIG, 7));
      await linger('import', join(dir, 'big'), 'rbd/big');
    });

    /** Objects and files, before a command and after it; the trash's object stays from the first removal on. */
    const remains = async () => ({
      objects: (await cluster.rados('-p', 'rbd', 'ls', '--all'))
        .split('\n')
        .filter((line) => !line.endsWith('\trbd_trash'))
        .sort(),
      images: await cluster.rbd('ls'),
      files: (await readdir(dir)).sort(),
    });
    const beyond =
      (percent: number) =>
      ({ stderr }: { stderr: () => string }) =>
        new RegExp(`: (${percent}|[${percent / 10}-9]\\d)%`).test(stderr());

    it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('import by %s', async (signal) => {
      const before = await remains();
      const args = ['import', '--progress', join(dir, 'big'), 'rbd/half'];
      const { code } = await interruptLinger(cluster.confPath, args, { when: beyond(20), signal });
      expect(code).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
      expect(await remains()).toEqual(before);
    });

    const appears = (name: string) => async () => (await cluster.rbd('ls')).includes(name);

    it('import of a file, as soon as the image is there', async () => {
      const before = await remains();
      const args = ['import', join(dir, 'big'), 'rbd/half'];
      const { code } = await interruptLinger(cluster.confPath, args, { when: appears('half') });
      expect(code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    it('import of a pipe that stays open', async () => {
      const before = await remains();
      const input = patternBytes(20 * MIB, 3);
      const args = ['import', '-', 'rbd/piped'];
      const when = appears('piped');
      const { code } = await interruptLinger(cluster.confPath, args, { when, input });
      expect(code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    it('import with snapshots, of a pipe that stays open', async () => {
      const whole = join(dir, 'whole');
      await linger('export', '--export-format', '2', 'rbd/big', whole);
      const input = (await readFile(whole)).subarray(0, 20 * MIB);
      await rm(whole);
      const before = await remains();
      const args = ['import', '--export-format', '2', '-', 'rbd/piped'];
      const when = appears('piped');
      const { code } = await interruptLinger(cluster.confPath, args, { when, input });
      expect(code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    it.each(['cp', 'deep cp'])('%s', async (command) => {
      const before = await remains();
      const args = [...command.split(' '), '--progress', 'rbd/big', 'rbd/copied'];
      const { code } = await interruptLinger(cluster.confPath, args, { when: beyond(20) });
      expect(code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    describe('while the pipe of a diff stays open', () => {
      const diff = () => join(dir, 'diff');
      let input: Buffer;

      beforeAll(async () => {
        await linger('export-diff', 'rbd/big', diff());
        input = (await readFile(diff())).subarray(0, 20 * MIB);
      });
      afterAll(() => rm(diff(), { force: true }));

      it('import-diff', async () => {
        await cluster.rbd('create', 'target', '--size', '256M');
        const info = await cluster.rbd('info', '--format', 'json', 'target');
        const { block_name_prefix: prefix } = JSON.parse(info) as { block_name_prefix: string };
        const used = async () => (await cluster.rados('-p', 'rbd', 'ls')).includes(prefix);
        const args = ['import-diff', '-', 'rbd/target'];
        const { code } = await interruptLinger(cluster.confPath, args, { when: used, input });
        expect(code).toBe(130);
      });

      it('merge-diff', async () => {
        const when = async () => (await readdir(dir)).includes('merged');
        const args = ['merge-diff', '-', diff(), join(dir, 'merged')];
        const ended = await interruptLinger(cluster.confPath, args, { when, input });
        expect(ended).toMatchObject({ code: 130, stderr: '' });
        expect(await readdir(dir)).not.toContain('merged');
      });
    });

    it('a command that fails while its pipe stays open', async () => {
      const input = patternBytes(MIB, 3);
      const args = ['import', '-', 'rbd/big'];
      const when = () => false;
      const { code, stderr } = await interruptLinger(cluster.confPath, args, { when, input });
      expect(code).toBe(17);
      expect(stderr).toContain('File exists');
    });

    it('export to a file', async () => {
      const before = await remains();
      const args = ['export', '--progress', 'rbd/big', join(dir, 'half')];
      const { code } = await interruptLinger(cluster.confPath, args, { when: beyond(20) });
      expect(code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    it('export to a pipe', async () => {
      const args = ['export', 'rbd/big', '-'];
      const when = ({ bytesOut }: { bytesOut: () => number }) => bytesOut() > MIB;
      expect((await interruptLinger(cluster.confPath, args, { when })).code).toBe(130);
    });

    it('bench', async () => {
      const before = await remains();
      const args = ['bench', '--io-type', 'rw', '--io-total', '10G', 'rbd/big'];
      const when = ({ bytesOut }: { bytesOut: () => number }) => bytesOut() > 200;
      expect((await interruptLinger(cluster.confPath, args, { when })).code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    it('a removal can be finished by rbd', async () => {
      await linger('create', 'rbd/gone', '--size', '64G', '--image-feature', 'layering');
      const args = ['rm', '--progress', 'rbd/gone'];
      const { code } = await interruptLinger(cluster.confPath, args, { when: beyond(10) });
      expect(code).toBe(130);
      await cluster.rbd('rm', '--no-progress', 'rbd/gone');
      expect(await cluster.rbd('ls')).not.toContain('gone');
    });

    it('twice in a row is once: as npm and timeout pass Ctrl-C on', async () => {
      const before = await remains();
      const script =
        '"$0" "$1" import "$2" rbd/half & P=$!; until rbd ls | grep -q half; do :; done; kill -INT $P; kill -INT $P; wait $P';
      // `set -m`: a shell's background jobs ignore Ctrl-C otherwise.
      const { code } = await cluster.run('bash', [
        '-mc',
        script,
        process.execPath,
        LINGER,
        join(dir, 'big'),
      ]);
      expect(code).toBe(130);
      expect(await remains()).toEqual(before);
    });

    it('a connection that cannot be made', async () => {
      const conf = join(dir, 'nowhere.conf');
      // TEST-NET: nobody answers.
      await writeFile(
        conf,
        '[global]\nmon host = v2:192.0.2.1:3300\nauth client required = none\n',
      );
      for (const args of [['ls'], ['export', 'a', '-']]) {
        const started = Date.now();
        const when = () => Date.now() - started > 1500;
        expect((await interruptLinger(conf, args, { when })).code).toBe(130);
        expect(Date.now() - started).toBeLessThan(20_000);
      }
      await rm(conf);
    });
  });

  it('an import whose data are refused says so, and that it could not clean up', async () => {
    const caps = { mon: 'profile rbd', osd: 'profile rbd pool=rbd' };
    const keyring = await cluster.createUser('client.narrow', caps);
    // The header may be written and removed again, the data may not.
    const args = ['--id', 'narrow', '-k', keyring, 'import', '--data-pool', 'private'];
    const { code, stderr } = await linger(...args, join(dir, 'content'), 'rbd/half');
    expect(code).toBe(1);
    expect(stderr).toBe(
      'linger: the unfinished image half could not be removed: (1) Operation not permitted\n' +
        'linger: import failed: (1) Operation not permitted\n',
    );
    // Its data are a matter of the administrator's.
    expect(await linger('rm', 'half')).toMatchObject({ code: 0, stderr: '' });
    expect(await cluster.rbd('ls')).not.toContain('half');
  });
});
