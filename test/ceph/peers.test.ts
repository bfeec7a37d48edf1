// Clients that nobody here wrote, on a real cluster and on ours: the same script of commands and calls, and the same
// output, errors and exit codes.

import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeCeph } from './support/ceph-cluster.js';
import { comparable, PEER_COMMANDS, type PeerAnswer } from './support/peer-commands.js';
import { despiteCrashes, type RunOptions } from './support/processes.js';
import { SERVERS, type Server } from './support/servers.js';

const CALLS = join(dirname(fileURLToPath(import.meta.url)), 'support', 'peer-calls.py');

/** What the embedded cluster has not, on purpose, and how it says so: the class's methods that write are not there. */
const NOT_HERE = { error: 'OperationNotSupported', errno: 95 };
const DIFFERENT_CALLS: ReadonlyMap<string, unknown> = new Map([
  // Images with a journal are for rbd-mirror, and need the class `journal`.
  ['create with a journal', NOT_HERE],
  ['enable journaling', NOT_HERE],
  // Groups, mirroring and live migration can be listed, as empty, and not be set up.
  ['group create', NOT_HERE],
  ['mirror mode set', NOT_HERE],
  ['migrate', NOT_HERE],
]);
/** They work; but the monitor has no `config set`, by which rbd tells running clients, and rbd warns. */
const DIFFERENT_COMMANDS: ReadonlySet<string> = new Set([
  'rbd config pool set rbd rbd_default_order 20',
  'rbd config pool rm rbd rbd_default_order',
]);

describeCeph('the same clients on a real cluster and on the embedded one', () => {
  let servers: Server[];

  beforeAll(async () => {
    servers = await Promise.all(
      SERVERS.map((kind) => kind.start({ osds: 3, pools: [{ name: 'rbd' }] })),
    );
    // The pool of a real one has been initialised.
    await servers[1]?.rbd('pool', 'init', 'rbd');
  });
  afterAll(async () => {
    await Promise.all((servers ?? []).map((server) => server.stop()));
  });

  it('librados and librbd: 250 calls give the same, or fail in the same way', async () => {
    const [real = [], ours = []] = await Promise.all(servers.map(callsOn));
    expect(real.length).toBeGreaterThan(250);
    const differences: unknown[] = [];
    for (const [i, [name, expected]] of real.entries()) {
      const [ownName, own] = ours[i] ?? ['none', undefined];
      const wanted = DIFFERENT_CALLS.get(name) ?? expected;
      if (ownName !== name || JSON.stringify(own) !== JSON.stringify(wanted)) {
        differences.push({ name, real: wanted, ours: own });
      }
    }
    expect(differences).toEqual([]);
  });

  it(`rbd, rados, qemu and fio: ${PEER_COMMANDS.length} commands end in the same way`, async () => {
    const [real = [], ours = []] = await Promise.all(servers.map(commandsOn));
    const differences = PEER_COMMANDS.flatMap((command, i) => {
      if (DIFFERENT_COMMANDS.has(command)) return [];
      const same = JSON.stringify(ours[i]) === JSON.stringify(real[i]);
      return same ? [] : [{ command, real: real[i], ours: ours[i] }];
    });
    expect(differences).toEqual([]);
  }, 400_000);
});

async function callsOn(server: Server): Promise<[name: string, outcome: unknown][]> {
  const { stdout } = await server.runOrThrow('/usr/bin/python3', [CALLS, server.confPath]);
  const lines = stdout.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as [string, unknown]);
}

async function commandsOn(server: Server): Promise<PeerAnswer[]> {
  const dir = join(server.dir, 'peers');
  await mkdir(dir);
  const answers: PeerAnswer[] = [];
  for (const command of PEER_COMMANDS) {
    const run = (options?: RunOptions) =>
      server.run('bash', ['-c', `cd ${dir}; ${command}`], options);
    const isDu = command.startsWith('rbd du');
    const answer = await (isDu ? despiteCrashes(() => run({ limitMs: 20_000 })) : run());
    answers.push(comparable(answer, dir));
  }
  return answers;
}
