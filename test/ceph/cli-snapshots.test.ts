// Goal: `snap` and `trash` do, print and fail as rbd's do. Method: the same on two images alike, by one program each, and the
// same questions about one image to both.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCeph } from './support/ceph-cluster.js';
import { callLinger, lastWords } from './support/linger-cli.js';
import { WITHOUT_LOG } from './support/processes.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

type Program = 'rbd' | 'linger';

interface ListedSnapshot {
  id: number;
  name: string;
  namespace: { type: string };
}

for (const server of SERVERS) {
  describeCeph(`snap and trash beside rbd on ${server.name}`, () => commands(server));
}

function commands(kind: ServerKind): void {
  let server: Server;

  beforeAll(async () => {
    server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }, { name: 'second', pgNum: 4 }] });
    await server.ceph('osd', 'set-require-min-compat-client', 'mimic');
  });
  afterAll(() => server?.stop());

  const run = (program: Program, args: readonly string[]) =>
    program === 'rbd' ? server.run('rbd', args, WITHOUT_LOG) : callLinger(server.confPath, args);
  /** How a command ends, what it prints, and the last that it says. */
  const told = async (program: Program, args: readonly string[]) => {
    const result = await run(program, args);
    // Ours adds, in brackets, what exactly it was; of numbers each says it in its place.
    const said = lastWords(program, result).replace(/ \[.*\]$| \('.*'.*\)/, '');
    return { code: result.code, stdout: result.stdout.replaceAll('linger', 'rbd'), said };
  };
  const idOf = async (image: string) => {
    const { id } = JSON.parse(await server.rbd('info', '--format=json', image)) as { id: string };
    return id;
  };
  /** `%` is an image of each program's own. */
  const both = async (line: string, expected: { code: number }) => {
    const of = (program: Program) => line.replaceAll('%', program).split(' ');
    const [theirs, ours] = await Promise.all([
      told('rbd', of('rbd')),
      told('linger', of('linger')),
    ]);
    const neutral = (texts: typeof ours) => ({
      ...texts,
      stdout: texts.stdout.replaceAll('rbd@', '%@'),
      said: texts.said.replaceAll('linger', 'rbd'),
    });
    expect(theirs.code, `${line}: ${theirs.said}`).toBe(expected.code);
    expect(neutral(ours)).toEqual(neutral(theirs));
  };
  /** What is refused, and in which words, need not be seen on both. */
  const isSeen = (code: number) => code === 0 || !kind.embedded;
  /** The same question to both. */
  const asked = async (line: string) => {
    for (const format of ['', ' --format json']) {
      const args = `${line}${format}`.split(' ');
      const [theirs, ours] = await Promise.all([told('rbd', args), told('linger', args)]);
      expect(ours).toEqual(theirs);
      expect(theirs.code).toBe(0);
    }
  };
  const snapshotsOf = async (image: string) => {
    // It lists as rbd does, which is seen below, and takes no process.
    const args = ['snap', 'ls', '--all', '--format=json', image];
    const { stdout } = await callLinger(server.confPath, args);
    return (JSON.parse(stdout) as ListedSnapshot[]).map(({ namespace, ...snapshot }) => ({
      ...snapshot,
      ...{ id: 0, timestamp: '', namespace },
      // In the trash they have names of chance.
      name: namespace.type === 'trash' ? '' : snapshot.name,
    }));
  };

  it('snapshots become what rbd makes of them', async () => {
    const features = ['--image-feature', 'layering,exclusive-lock,object-map,fast-diff'];
    for (const image of ['rbd', 'linger']) {
      await server.rbd('create', '--size', '8M', '--object-size', '1M', ...features, image);
    }
    for (const [line, code] of [
      ['snap create %@s1', 0],
      ['snap create %@s1', 17],
      ['snap add %@s2 --no-progress', 0],
      ['snap create --image % --snap s3 --skip-quiesce', 0],
      ['snap create %@s5 --skip-quiesce --ignore-quiesce-error', 22],
      ['snap create %', 22],
      ['snap create missing@s', 2],
      ['snap create nopool/%@s', 2],
      ['snap create rbd/nons/%@s', 2],
      ['snap create %@a@b', 22],
      ['snap create %@s extra', 1],
      ['snap protect %@s1', 0],
      ['snap protect %@s1', 16],
      ['snap protect %@missing', 2],
      ['snap protect %', 22],
      ['snap rm %@s1', 16],
      ['snap rm %@missing', 2],
      ['snap rm %', 22],
      ['snap rm % --snap-id 999999', 2],
      ['snap rm % --snap-id x', 1],
      ['snap rm %@s1 --snap-id 4', 22],
      ['snap rm % --image-id abc --snap s1', 22],
      ['snap rename %@s2 %@s1', 17],
      ['snap rename %@s2 %@s22', 0],
      ['snap rename %@missing %@s4', 2],
      ['snap rename %@s22', 22],
      ['snap rename %@s22 other@s22', 22],
      ['snap rename %@s22 second/%@s22', 22],
      ['snap rename --image % --snap s22 --dest % --dest-snap s2', 0],
      ['snap limit set % --limit 2', 34],
      ['snap limit set %', 34],
      ['snap limit set % --limit x', 1],
      ['snap limit set % --limit 3', 0],
      ['snap create %@s4', 122],
      ['snap limit clear %', 0],
      ['snap limit clear %@s1', 22],
      ['snap create %@s4', 0],
      ['resize % --size 4M --allow-shrink', 0],
      ['snap rollback %@s1', 0],
      ['snap revert %@missing', 2],
      ['snap rollback %', 22],
      ['clone %@s2 %-clone', 0],
      ['snap rm %@s2', 0],
      ['snap purge %', 0],
      ['snap unprotect %@s1', 0],
      ['snap unprotect %@s1', 22],
      ['snap unprotect %@missing', 2],
      ['snap purge missing', 2],
      ['snap ls missing', 2],
      ['snap ls %@s1', 22],
      ['rm %', 39],
      ['snap remove %@s1', 0],
      ['rm %', 39],
      ['rm %-clone', 0],
      ['snap purge %', 0],
    ] as const) {
      if (!isSeen(code)) continue;
      await both(line, { code });
      if (code !== 0 || line.startsWith('snap limit')) continue;
      const [theirs, ours] = await Promise.all([snapshotsOf('rbd'), snapshotsOf('linger')]);
      expect(ours, line).toEqual(theirs);
    }
    for (const line of ['info rbd', 'info linger']) await asked(line);
    await both('rm %', { code: 0 });
  });

  it('a snapshot with clones is removed by force, of either format', async () => {
    const layering = ['--image-feature', 'layering'];
    for (const image of ['rbd', 'linger']) {
      await server.rbd('create', '--size', '1M', ...layering, image);
      await server.rbd('snap', 'create', '--no-progress', `${image}@s`);
      await server.rbd('snap', 'protect', `${image}@s`);
      for (const format of ['1', '2']) {
        const clone = [`${image}@s`, `${image}-${format}`, ...layering];
        await server.rbd('clone', ...clone, '--rbd-default-clone-format', format);
      }
    }
    await both('snap rm --force %@s', { code: 0 });
    for (const line of ['snap ls --all %', 'children --all %']) await both(line, { code: 0 });
    for (const clone of ['%-1', '%-2', '%']) await both(`rm ${clone}`, { code: 0 });
  });

  describe('lists', () => {
    it('snapshots of every kind', async () => {
      await server.rbd('create', '--size', '1537K', 'shown', '--image-feature', 'layering');
      await asked('snap ls shown');
      await asked('snap ls --all shown');
      for (const snap of ['s1', 'a longer name', 'größe', 's4']) {
        await server.rbd('snap', 'create', '--no-progress', `shown@${snap}`);
      }
      await server.rbd('resize', '--no-progress', '--size', '3G', 'shown');
      await server.rbd('snap', 'create', '--no-progress', 'shown@s5');
      await server.rbd('snap', 'protect', 'shown@größe');
      await server.rbd('clone', 'shown@s4', 'shown-clone', '--image-feature', 'layering');
      await server.rbd('snap', 'rm', '--no-progress', 'shown@s4');
      if (!kind.embedded) {
        await server.rbd('group', 'create', 'group');
        await server.rbd('group', 'image', 'add', 'group', 'shown');
        await server.rbd('group', 'snap', 'create', 'group@gs');
        await server.rbd('mirror', 'pool', 'enable', 'rbd', 'image');
        await server.rbd('mirror', 'image', 'enable', 'shown', 'snapshot');
      }
      for (const line of [
        'snap ls shown',
        'snap list -a shown',
        `snap ls --image-id ${await idOf('shown')}`,
      ]) {
        await asked(line);
      }
      // The longest table of all: not an image's, but of all that are listed.
      await asked('ls -l');
      if (kind.embedded) return;
      // Those that are not a user's are none by name, and any by id.
      const theirs = (
        JSON.parse(
          await server.rbd('snap', 'ls', '--all', '--format=json', 'shown'),
        ) as ListedSnapshot[]
      ).filter(({ namespace }) => namespace.type !== 'user');
      expect(theirs.map(({ namespace }) => namespace.type)).toEqual(['trash', 'group', 'mirror']);
      for (const { name } of theirs) {
        for (const line of ['rm', 'protect', 'unprotect', 'rollback']) {
          const args = ['snap', line, `shown@${name}`];
          const [theirs, ours] = await Promise.all([told('rbd', args), told('linger', args)]);
          expect(ours, args.join(' ')).toEqual(theirs);
        }
      }
      await server.rbd('group', 'snap', 'rm', 'group@gs');
    });

    it('the trash', async () => {
      const spec = 'second/ns';
      await server.rbd('namespace', 'create', spec);
      await asked(`trash ls -l ${spec}`);
      for (const image of ['gone', 'kept', 'größe']) {
        const layering = ['--image-feature', 'layering', '--size', '1'];
        await server.rbd('create', ...layering, `${spec}/${image}`);
      }
      await server.rbd('snap', 'create', '--no-progress', `${spec}/kept@s`);
      await server.rbd('clone', `${spec}/kept@s`, `${spec}/clone`);
      await server.rbd('trash', 'mv', `${spec}/clone`);
      await callLinger(server.confPath, ['trash', 'mv', `${spec}/gone`]);
      const tomorrow = ['--expires-at', 'tomorrow'];
      await callLinger(server.confPath, ['trash', 'mv', `${spec}/kept`, ...tomorrow]);
      await server.rbd('trash', 'mv', `${spec}/größe`, ...tomorrow);
      for (const options of ['', ' -l -a']) {
        await asked(`trash ls${options} ${spec}`);
      }
    });
  });

  it('images go to the trash and come back as rbd has it', async () => {
    const layering = ['--image-feature', 'layering,exclusive-lock', '--size', '1'];
    const ids = new Map<Program, string>();
    for (const image of ['rbd', 'linger'] as const) {
      for (const name of [image, `${image}-other`]) await server.rbd('create', ...layering, name);
      ids.set(image, await idOf(image));
    }
    /** `$` is the id of the image that is each program's own. */
    const withIds = async (line: string, code: number) => {
      const of = (program: Program) =>
        line
          .replaceAll('%', program)
          .replaceAll('$', ids.get(program) as string)
          .split(' ');
      const [theirs, ours] = await Promise.all([
        told('rbd', of('rbd')),
        told('linger', of('linger')),
      ]);
      expect(theirs.code, `${line}: ${theirs.said}`).toBe(code);
      expect([ours.code, ours.stdout]).toEqual([theirs.code, theirs.stdout]);
      // It says some things without its name.
      if (theirs.said !== '') expect(ours.said.replaceAll('linger', 'rbd')).toBe(theirs.said);
    };
    for (const [line, code] of [
      ['trash mv missing', 2],
      ['trash mv % --expires-at nonsense', 22],
      ['trash mv %', 0],
      ['trash mv %', 2],
      ['info %', 2],
      ['trash restore $ --image %-other', 17],
      ['trash restore abc', 2],
      ['trash restore', 22],
      ['trash restore $ --image %-new', 0],
      ['trash restore $', 2],
      ['trash move %-new --expires-at tomorrow', 0],
      ['trash purge', 0],
      ['trash rm $', 1],
      ['trash rm abc', 2],
      ['trash rm', 22],
      ['trash restore rbd/$ --image %', 0],
      ['snap create %@s', 0],
      ['trash mv --image %', 0],
      ['trash rm $', 39],
      ['trash purge', 39],
      ['snap purge --image-id $', 0],
      ['snap ls --image-id $', 0],
      ['trash rm --image-id $', 0],
      ['trash ls nopool', 2],
      ['trash ls rbd/nons', 2],
      ['trash purge nopool', 2],
      ['trash purge --expired-before garbage', 22],
      ['trash mv %-other --expires-at tomorrow', 0],
      ['trash purge --expired-before now', 0],
      // Nobody counts what pools hold where there is no manager.
      ['trash purge --threshold 0 --expired-before tomorrow', 0],
      ['trash purge --threshold 2', 22],
    ] as const) {
      if (isSeen(code)) await withIds(line, code);
    }
    expect((await server.rbd('trash', 'ls')).split('\n')).toHaveLength(3);
    const purged = await callLinger(server.confPath, [
      ...['trash', 'purge', '--expired-before', 'next week', '--progress'],
    ]);
    expect(purged.stderr).toMatch(/Removing images: 50% complete.*100% complete\.\.\.done\.\n$/s);
    expect(await server.rbd('trash', 'ls', '--all')).toBe('');
  });
}
