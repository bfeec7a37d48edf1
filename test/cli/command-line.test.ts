// What a command line means, and what is said of one that means nothing. No cluster is asked.

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { linger } from './support.js';

/** No configuration: a command that gets as far as connecting fails by that. */
const NOWHERE = ['-c', '/nonexistent/ceph.conf'];

describe('help', () => {
  it('lists every command, grouped, then the options and examples', async () => {
    const { code, stdout, stderr } = await linger('--help');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toBe(TOP_LEVEL_HELP);
  });

  it.each([[[]], [['-h']], [['help']]])('shows the same for %j', async (args) => {
    expect(await linger(...args)).toEqual({ code: 0, stdout: TOP_LEVEL_HELP, stderr: '' });
  });

  it.each([
    ['create', '--size <size>'],
    ['ls', '--long'],
    ['info', '--image-id'],
    ['rm', '--no-progress'],
    ['mv', 'dest-image-spec'],
    ['resize', '--allow-shrink'],
    ['export', 'linger export rbd/vm1@monday - | zstd'],
    ['import', 'linger import debian.raw rbd/vm1'],
    ['du', '--merge-snapshots'],
    ['diff', '--whole-object'],
    ['export-diff', 'linger export-diff --from-snap monday'],
    ['import-diff', 'linger import-diff tuesday.diff backup/vm1'],
    ['merge-diff', 'linger merge-diff tuesday.diff'],
    ['cp', '--sparse-size'],
    ['deep cp', '--flatten'],
    ['sparsify', '--sparse-size'],
    ['bench', 'linger bench --io-type rw'],
    ['image-meta', 'Set a key to a value.'],
    ['image-meta set', '[image-spec] [key] [value]'],
    ['namespace', 'Create a namespace.'],
    ['namespace ls', '--format'],
    ['status', '--pretty-format'],
    ['lock', 'Take a lock on an image.'],
    ['lock add', '--shared <tag>'],
    ['blocklist add', '10.0.0.5:0/3141592'],
    ['pool init', '--force'],
    ['cluster', 'linger cluster stop --dir ./ceph'],
    ['cluster start', '--foreground'],
    ['completion', 'source <(linger completion bash)'],
  ])('explains %s in the same words by help and by --help', async (command, excerpt) => {
    const words = command.split(' ');
    const { code, stdout } = await linger('help', ...words);
    expect(code).toBe(0);
    expect(stdout).toContain(excerpt);
    expect(await linger(...words, '--help')).toEqual({ code: 0, stdout, stderr: '' });
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
  });

  it('knows each command alone as it knows it among all', async () => {
    const { stdout } = await linger('help');
    const names = [...stdout.matchAll(/^ {2}([a-z-]+)(?:, ([a-z-]+))? {2,}[A-Z]/gm)].flatMap(
      ([, name, alias]) => [name, alias].filter((each) => each !== undefined),
    );
    expect(names.length).toBeGreaterThan(30);
    for (const name of names) {
      // It is loaded for its name, which is read wherever it stands.
      const { code, stdout: help } = await linger('--timeout', '1', name, '--help');
      expect([code, help], name).toEqual([0, (await linger('help', name)).stdout]);
    }
  });

  it('does not show options that a command does not take', async () => {
    for (const command of ['cluster', 'completion', 'help']) {
      expect((await linger('help', command)).stdout).not.toContain('--mon-host');
    }
  });

  it('tells the version of the package', async () => {
    const { version } = (await import('../../package.json', { with: { type: 'json' } })).default;
    expect(await linger('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('a command line that makes no sense', () => {
  // Code 1, and boost::program_options' words where rbd shows those.
  it.each([
    ['frobnicate', "unknown command 'frobnicate'"],
    ['lss', "unknown command 'lss'\n(Did you mean ls?)"],
    ['help frobnicate', "unknown command 'frobnicate'"],
    ['image-meta frobnicate', "unknown command 'frobnicate'"],
    ['image-meta', 'a command is missing'],
    ['info vm --bad', "unrecognised option '--bad'"],
    ['info vm extra', 'too many arguments'],
    ['info --image vm extra', 'too many arguments'],
    ['export vm a b', 'too many arguments'],
    ['export --image vm --path a b', 'too many arguments'],
    ['image-meta set vm k v w', 'too many arguments'],
    ['create --size', "the required argument for option '--size' is missing"],
    ['create --size 1.5G vm', "the argument for option '--size' is invalid"],
    ['create --size -5 vm', "the argument for option '--size' is invalid"],
    [
      'create vm --size 1 --image-feature x',
      "the argument for option '--image-feature' is invalid",
    ],
    ['create vm --size 1 --order 30', "the argument for option '--order' is invalid"],
    ['info vm --format xml', "the argument for option '--format' is invalid"],
    ['export vm --export-format 3 f', "the argument for option '--export-format' is invalid"],
    ['bench vm --io-type up', "the argument for option '--io-type' is invalid"],
    ['bench vm --io-type constructor', "the argument for option '--io-type' is invalid"],
    ['bench vm --io-pattern toString', "the argument for option '--io-pattern' is invalid"],
    ['ls --ms-mode legacy', "the argument for option '--ms-mode' is invalid"],
    ['ls --timeout soon', "the argument for option '--timeout' is invalid"],
    ['cluster start --dir d --osds 0', "the argument for option '--osds' is invalid"],
    ['cluster start --dir d --port 70000', "the argument for option '--port' is invalid"],
    ['completion tcsh', "unknown shell 'tcsh'"],
  ])('%s', async (line, message) => {
    const { code, stdout, stderr } = await linger(...line.split(' '));
    expect(stderr).toContain(`linger: ${message}`);
    expect([code, stdout]).toEqual([1, '']);
  });

  // Code 22: what rbd checks itself.
  it.each([
    ['create --size 10', 'image name was not specified'],
    ['create vm', 'must specify --size <M/G/T>'],
    ['create vm@s --size 1', "snapshot name specified for a command that doesn't use it"],
    ['create a/b/c/d --size 1', "invalid spec 'a/b/c/d'"],
    ['info', 'image name was not specified'],
    ['info vm@', "invalid spec 'vm@'"],
    ['info @s', "invalid spec '@s'"],
    ['rm', 'image name was not specified'],
    ['rm vm@s', "snapshot name specified for a command that doesn't use it"],
    ['mv vm', 'destination image name was not specified'],
    ['mv vm other/vm', 'mv/rename across pools not supported\nsource pool: rbd dest pool: other'],
    ['mv p/vm p/ns/vm', 'mv/rename across namespaces not supported'],
    ['mv vm x@s', "destination snapshot name specified for a command that doesn't use it"],
    ['resize vm', 'must specify --size <M/G/T>'],
    ['image-meta get', 'image name was not specified'],
    ['image-meta get vm', 'metadata key was not specified'],
    ['image-meta set vm k', 'metadata value was not specified'],
    ['lock add vm', 'lock id was not specified'],
    ['lock rm vm id', 'locker was not specified'],
    ['blocklist rm', 'client address was not specified'],
    ['namespace create', 'namespace name was not specified'],
    ['namespace rm rbd', 'namespace name was not specified'],
    ['namespace ls rbd/ns', "invalid pool 'rbd/ns'"],
    ['import', 'path was not specified'],
    ['import -', 'destination image name was not specified'],
    ['export', 'image name was not specified'],
    ['export vm', 'path was not specified'],
    ['bench vm', '--io-type must be specified.'],
    ['bench vm --io-type read --io-threads 0', '--io-threads should be greater than zero.'],
    ['bench vm --io-type rw --rw-mix-read 101', '--rw-mix-read should not be larger than 100.'],
    ['cluster start', 'either --dir or --data is needed'],
    ['cluster start --data d --memory', 'either --memory or --data: not both'],
    ['cluster start --dir d --osds 1 --size 2', '--size 2 needs as many OSDs, not 1'],
    [
      'cluster start --dir d --host 0.0.0.0',
      'no address that a client could reach: see --advertise',
    ],
  ])('%s', async (line, message) => {
    const { code, stdout, stderr } = await linger(...line.split(' '));
    expect(stderr).toContain(message);
    expect(stderr.startsWith('linger: ')).toBe(true);
    expect([code, stdout]).toEqual([22, '']);
  });

  it('names what is missing to connect, with its errno as the code', async () => {
    const { code, stderr } = await linger(...NOWHERE, 'ls');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^linger: couldn't connect to the cluster!: \(2\) No such file/);
    expect(stderr).toContain('/nonexistent/ceph.conf');
  });

  it('takes global options before and after the command', async () => {
    const before = await linger(...NOWHERE, 'ls', 'rbd');
    const after = await linger('ls', 'rbd', ...NOWHERE);
    expect(before.stderr).toContain('/nonexistent/ceph.conf');
    expect(after).toEqual(before);
  });

  it('never says how the program is made', async () => {
    for (const args of [['frobnicate'], ['create', 'vm'], ['ls', ...NOWHERE]]) {
      expect((await linger(...args)).stderr).not.toMatch(/\bat .*\.js|node:internal/);
    }
  });
});

describe('completion', () => {
  it('is valid bash that offers commands, their options and the global ones', async () => {
    const { stdout } = await linger('completion', 'bash');
    const offered = (...words: string[]) => {
      const script = `${stdout}
COMP_WORDS=(linger ${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length}
_linger
printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout: text, stderr, status } = spawnSync('bash', ['-c', script]);
      expect([status, stderr.toString()]).toEqual([0, '']);
      return text.toString().split('\n').filter(Boolean);
    };
    expect(offered('im')).toEqual(['image-meta', 'import', 'import-diff']);
    expect(offered('image-meta', '')).toEqual(
      expect.arrayContaining(['list', 'get', 'set', 'remove']),
    );
    expect(offered('-c', 'x.conf', 'resize', '--al')).toEqual(['--allow-shrink']);
    expect(offered('cluster', 'start', '--os')).toEqual(['--osds']);
    expect(offered('ls', '--mon')).toEqual(['--mon-host']);
    expect(offered('cluster', 'start', '--ch')).toEqual([]);
  });

  it('gives zsh the same through its own loader', async () => {
    const zsh = (await linger('completion', 'zsh')).stdout;
    const bash = (await linger('completion', 'bash')).stdout;
    expect(zsh).toBe(`autoload -U +X bashcompinit && bashcompinit\n${bash}`);
  });

  it('quotes what fish reads', async () => {
    const lines = (await linger('completion', 'fish')).stdout.trim().split('\n');
    expect(lines.length).toBeGreaterThan(50);
    for (const line of lines) {
      expect(line).toMatch(/^complete -c linger /);
      expect(line.replace(/\\'/g, '').match(/'/g)?.length ?? 0).toSatisfy(
        (n: number) => n % 2 === 0,
      );
    }
    expect(lines.join('\n')).toContain('-a create');
    expect(lines.join('\n')).toContain('-l allow-shrink');
  });
});

const TOP_LEVEL_HELP = `Usage: linger [options] <command> ...

Ceph block images, without a kernel module and without a native library.

Images:
  create          Create an empty image.
  ls, list        List images.
  info            Show information about an image or a snapshot.
  rm, remove      Remove an image.
  mv, rename      Rename an image within its pool.
  resize          Resize (expand or shrink) an image.
  clone           Clone a snapshot into a copy-on-write child image.
  children        Display children of an image or its snapshot.
  flatten         Fill clone with parent data (make it independent).
  cp, copy        Copy an image or a snapshot.
  deep            Copies of images with their snapshots: cp.
  sparsify        Reclaim space for zeroed image extents.
  du, disk-usage  Show what images and snapshots use of their size.
  feature         Give an image features, or take them away.
  object-map      The map of the objects that exist: check, rebuild.
  image-meta      Keys and values that travel with an image: list, get, set,
                  remove.
  snap            Snapshots: create, list, roll back to, remove, and more.
  trash           Images that lost their names: move, list, restore, purge.

Data:
  export          Export an image to a file or a pipe.
  import          Import an image from a file or a pipe.
  diff            Print what differs since a snapshot, or creation.
  export-diff     Export what differs since a snapshot, or creation.
  import-diff     Import an exported diff.
  merge-diff      Merge two exported diffs into one.
  bench           Measure reads or writes of an image; writes overwrite it.

Clients:
  status          Show who has an image open.
  lock            Locks on images: list, add, remove.
  watch           Show the notifications of an image until Enter is pressed.
  blocklist       Clients that are kept out of the cluster: list, add, remove.

Pools:
  namespace       Namespaces of a pool: list, create, remove.
  pool            Pools: init.

Embedded cluster:
  cluster         A Ceph cluster in one process: start, status, stop.
  sim             Disasters simulated from seeds: run, replay, list the faults.

Shell:
  completion      Print completion code for bash, zsh or fish.
  help            Show the help of a command.

Options, before a command or after it:
  --version                show the version
  -c, --conf <file>        ceph.conf (default: $CEPH_CONF, then
                           /etc/ceph/ceph.conf)
  -m, --mon-host <addrs>   monitor addresses
  -n, --name <name>        user, for example client.admin
  --id <id>                user without "client."
  -k, --keyring <file>     keyring
  -K, --keyfile <file>     file with the key alone
  -p, --pool <pool>        pool of specs without one (default: rbd)
  --namespace <namespace>  namespace of specs without one
  --ms-mode <mode>         messenger's mode, as krbd's ms_mode (choices: "crc",
                           "secure", "prefer-crc", "prefer-secure")
  --timeout <seconds>      deadline of connecting and of every operation; 0
                           waits for ever (default: 30)
  --log-level <level>      log to stderr (default: silent) (choices: "trace",
                           "debug", "info", "warn", "error", "fatal", "silent")

Examples:
  linger cluster start --dir ./ceph
  linger -c ./ceph/ceph.conf create vm1 --size 10G
  linger -c ./ceph/ceph.conf import disk.img vm2
  linger -c ./ceph/ceph.conf ls -l

See 'linger help <command>' for the options of a command.

`;
