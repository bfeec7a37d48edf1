// Goal: clones that we make, list, flatten and remove are librbd's, and the other way round. Method: each step by one
// program, looked at by the other; where both can do the same, what they print is compared.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { loadKernels } from '../../src/kernels/load.js';
import { mutate } from '../../src/rados/class-call.js';
import { setSize } from '../../src/rados/cls-rbd.js';
import { connectRados } from '../../src/rados/connect.js';
import { type Cluster, connect } from '../../src/index.js';
import { describeCeph } from './support/ceph-cluster.js';
import { lastWords, runLinger } from './support/linger-cli.js';
import { WITHOUT_LOG } from './support/processes.js';
import { patternBytes } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const OBJECT = 64 * 1024;
const SIZE = 8 * OBJECT;
const FEATURES = ['--image-feature', 'layering,exclusive-lock'];

for (const server of SERVERS) {
  describeCeph(`clones on ${server.name}`, () => clones(server));
}

function clones(kind: ServerKind): void {
  let server: Server;
  let cluster: Cluster;
  const base = patternBytes(SIZE, 5);
  base.fill(0, OBJECT, 2 * OBJECT);

  beforeAll(async () => {
    server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }, { name: 'other' }] });
    await server.rbd('namespace', 'create', 'other/ns');
    await server.rbd('create', '--size', `${SIZE}B`, '--object-size', '64K', ...FEATURES, 'base');
    await server.rbd('image-meta', 'set', 'base', 'color', 'blue');
    cluster = await connect({ conf: server.confPath });
    await using disk = await cluster.map('rbd/base');
    await disk.write(0, base.subarray(0, OBJECT));
    await disk.write(2 * OBJECT, base.subarray(2 * OBJECT));
    await server.rbd('snap', 'create', 'rbd/base@s');
  });
  afterAll(async () => {
    await cluster?.close();
    await server?.stop();
  });

  const json = async (...args: string[]) =>
    JSON.parse(await server.rbd(...args, '--format', 'json')) as unknown;
  const linger = async (...args: string[]) => {
    const result = await runLinger(server.confPath, args);
    if (result.code !== 0) throw new Error(`linger ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };
  /** What both programs say and how they end. */
  const both = async (...args: string[]) => {
    const theirs = await server.run('rbd', args, WITHOUT_LOG);
    const ours = await runLinger(server.confPath, args);
    const told = (program: 'rbd' | 'linger', result: typeof ours) => ({
      code: result.code,
      stdout: result.stdout,
      // Ours adds, in brackets, what exactly it was.
      said: lastWords(program, result).replace(/ \[.*\]$/, ''),
    });
    expect(told('linger', ours)).toEqual(told('rbd', theirs));
    return theirs;
  };
  const parentOf = async (spec: string) => {
    const { parent } = (await json('info', spec)) as { parent?: Record<string, unknown> };
    return parent;
  };
  const bytesOf = async (spec: string) => {
    await using disk = await cluster.map(spec, { readOnly: true });
    return Buffer.from(await disk.read(0, disk.size));
  };

  it('of format 1 need a protected snapshot, and clients that know no others get them', async () => {
    const refused = await both('clone', 'rbd/base@s', 'rbd/refused');
    expect(refused.code).toBe(22);
    await server.rbd('snap', 'protect', 'rbd/base@s');
    await linger('clone', 'rbd/base@s', 'rbd/old');
    expect(await parentOf('rbd/old')).toMatchObject({ image: 'base', overlap: SIZE });
    expect(await json('info', 'rbd/old')).not.toHaveProperty('op_features', ['clone-child']);
    expect(await server.rbd('children', 'rbd/base@s')).toBe('rbd/old\n');
    expect(await server.rbd('image-meta', 'get', 'rbd/old', 'color')).toBe('blue\n');
    const unprotected = await server.run('rbd', ['snap', 'unprotect', 'rbd/base@s']);
    expect(unprotected.code).toBe(16);
  });

  it('of format 2 live in any pool and namespace, laid out as they are told', async () => {
    await server.ceph('osd', 'set-require-min-compat-client', 'mimic');
    await cluster.command({ prefix: 'osd dump' });
    await linger('clone', 'rbd/base@s', 'other/ns/new');
    await linger(
      'clone',
      '--object-size',
      '128K',
      '--data-pool',
      'other',
      ...FEATURES,
      'rbd/base@s',
      'laid',
    );
    await server.rbd(
      'clone',
      '--object-size',
      '128K',
      '--data-pool',
      'other',
      ...FEATURES,
      'rbd/base@s',
      'theirs',
    );
    const shape = async (name: string) => {
      const info = (await json('info', name)) as Record<string, unknown>;
      const { size, objects, order, data_pool, features, op_features, parent, stripe_unit } = info;
      return { size, objects, order, data_pool, features, op_features, parent, stripe_unit };
    };
    expect(await shape('laid')).toEqual(await shape('theirs'));
    expect(await parentOf('other/ns/new')).toMatchObject({ pool: 'rbd', image: 'base' });
    expect((await bytesOf('rbd/laid')).equals(base)).toBe(true);
  });

  it('are listed as rbd lists them', async () => {
    for (const spec of ['rbd/base@s', 'rbd/base']) {
      const { stdout } = await both('children', spec);
      expect(stdout.trim().split('\n').length).toBe(4);
      await both('children', spec, '--format', 'json');
      await both('children', '--all', spec, '--format', 'json');
    }
    await server.rbd('trash', 'mv', 'rbd/theirs');
    for (const options of [[], ['--all'], ['--all', '--format', 'json']]) {
      await both('children', ...options, 'rbd/base@s');
    }
    await both('children', 'rbd/old');
    await both('children', 'rbd/nothing');
    await both('children', 'rbd/base@nothing');
  });

  describe('that are flattened', () => {
    it('have all the bytes themselves, and no parent', async () => {
      await linger('flatten', '--no-progress', 'rbd/laid');
      await linger('flatten', '--no-progress', 'rbd/old');
      for (const name of ['laid', 'old']) {
        expect(await parentOf(name)).toBeUndefined();
        expect((await bytesOf(`rbd/${name}`)).equals(base)).toBe(true);
      }
      expect(await server.rbd('children', 'rbd/base@s')).toBe('other/ns/new\n');
      const refused = await runLinger(server.confPath, ['flatten', '--no-progress', 'rbd/old']);
      expect(refused.code).toBe(22);
      expect(lastWords('linger', refused)).toContain('flatten error: (22) Invalid argument');
    });

    it('leave their snapshots with the parent, unless they have deep-flatten', async () => {
      for (const [name, features] of [
        ['shallow', 'layering,exclusive-lock'],
        ['deep', 'layering,exclusive-lock,deep-flatten'],
      ] as const) {
        await server.rbd('clone', '--image-feature', features, 'rbd/base@s', name);
        await server.rbd('snap', 'create', `${name}@t`);
        await using disk = await cluster.map(`rbd/${name}`);
        await disk.write(3 * OBJECT, Buffer.alloc(OBJECT, 'new'));
        await linger('flatten', '--no-progress', name);
        expect(await parentOf(name)).toBeUndefined();
        expect(await parentOf(`${name}@t`)).toEqual(
          name === 'deep' ? undefined : expect.objectContaining({ overlap: SIZE }),
        );
        expect((await bytesOf(`rbd/${name}@t`)).equals(base)).toBe(true);
      }
      const children = await server.rbd('children', 'rbd/base@s');
      expect(children.split('\n')).toContain('rbd/shallow');
      expect(children.split('\n')).not.toContain('rbd/deep');
    });
  });

  it('that came half-way cannot be opened, and are removed by name, by either program', async () => {
    for (const [format, program] of [
      ['1', 'rbd'],
      ['2', 'rbd'],
      ['2', 'linger'],
    ] as const) {
      await linger('clone', '--rbd-default-clone-format', format, 'rbd/base@s', 'half');
      // The last thing that a new image gets.
      await server.run('rados', ['--pool', 'rbd', 'rm', 'rbd_id.half']);
      expect((await both('info', 'rbd/half')).code).toBe(2);
      expect(await server.rbd('children', 'rbd/base@s')).toContain('rbd/half');
      if (program === 'rbd') await server.rbd('rm', '--no-progress', 'rbd/half');
      else await linger('rm', '--no-progress', 'rbd/half');
      expect(await server.rbd('ls', 'rbd')).not.toContain('half');
      expect(await server.rbd('children', 'rbd/base@s')).not.toContain('half');
    }
  });

  it('see less of their parent, and keep their size, by the vector that begins a shrink', async () => {
    await server.rbd('create', '--size', '8M', 'shown');
    await server.rbd('snap', 'create', 'shown@s', '--no-progress');
    await server.rbd('snap', 'protect', 'shown@s');
    await server.rbd('clone', 'shown@s', 'shrinking');
    const { id } = (await json('info', 'shrinking')) as { id: string };
    const { client } = await connectRados(nodeEnvironment(), loadKernels(), {
      conf: server.confPath,
    });
    const ioctx = await client.ioctx('rbd');
    await mutate(ioctx, `rbd_header.${id}`, [setSize(4 << 20), setSize(8 << 20)]);
    client.close();
    expect(await json('info', 'shrinking')).toMatchObject({
      size: 8 << 20,
      parent: { overlap: 4 << 20 },
    });
  });

  it('are removed, and their parent forgets them', async () => {
    await linger('rm', '--no-progress', 'other/ns/new');
    expect(await server.rbd('children', 'rbd/base@s')).toBe('rbd/shallow\n');
  });
}
