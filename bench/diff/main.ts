/**
 * `npm run bench:diff`: what the object maps tell of an image of 16 Mi objects, by `linger` and by `rbd`, on a real cluster.
 *
 * Every round runs each command of both programs, one after the other; what both do to start up is shown by `info`, and
 * taken off for the second ratio. What they print must be the same.
 */

import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { loadKernels } from '../../src/kernels/load.js';
import { connectRados } from '../../src/rados/connect.js';
import { CephCluster } from '../../test/ceph/support/ceph-cluster.js';
import { median } from '../report.js';
import { makeLargeImage } from './large-image.js';
import { OURS, PEER, printed, type Program, timed } from './programs.js';

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: String(2 ** 24) },
    changed: { type: 'string', default: String(2 ** 14) },
    rounds: { type: 'string', default: '5' },
    'linger-only': { type: 'boolean', default: false },
  },
});

const IMAGE = 'large';
const START_UP = 'info (start-up)';
const COMMANDS: Record<string, readonly string[]> = {
  [START_UP]: ['info', IMAGE],
  'diff --whole-object --from-snap a @b': [
    'diff',
    '--whole-object',
    '--from-snap',
    'a',
    `${IMAGE}@b`,
  ],
  du: ['du', IMAGE],
};
const PROGRAMS: readonly Program[] = values['linger-only'] ? [OURS] : [PEER, OURS];

/** Command, then program: milliseconds of each round. */
type Times = Map<string, Map<Program, number[]>>;

await using cluster = await CephCluster.start({ osds: 1 });
await makeImage();
await assertSamePrinted();
report(await measure());

async function makeImage(): Promise<void> {
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), {
    conf: cluster.confPath,
  });
  try {
    const [objects, changed] = [Number(values.objects), Number(values.changed)];
    await makeLargeImage(client, { pool: 'rbd', namespace: '', name: IMAGE }, { objects, changed });
  } finally {
    client.close();
  }
}

async function assertSamePrinted(): Promise<void> {
  for (const [name, args] of Object.entries(COMMANDS)) {
    const outputs = await Promise.all(
      PROGRAMS.map((program) => printed(program, args, cluster.confPath)),
    );
    process.stderr.write(`${name}: ${outputs[0]}\n`);
    if (new Set(outputs).size === 1) continue;
    throw new Error(`${name}: the programs print different things: ${outputs.join(' | ')}`);
  }
}

async function measure(): Promise<Times> {
  const times: Times = new Map();
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const [name, args] of Object.entries(COMMANDS)) {
      const byProgram = times.get(name) ?? new Map<Program, number[]>();
      times.set(name, byProgram);
      for (const program of PROGRAMS) {
        const took = await timed(program, args, cluster.confPath);
        byProgram.set(program, [...(byProgram.get(program) ?? []), took]);
        process.stderr.write(
          `round ${round}  ${name.padEnd(38)} ${program.name.padEnd(8)} ${took.toFixed(0).padStart(7)} ms\n`,
        );
      }
    }
  }
  return times;
}

function report(times: Times): void {
  const of = (name: string, program: Program) => median(times.get(name)?.get(program) ?? []);
  const lines = [
    `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}; ${values.objects} objects, ${values.changed} changed; medians of ${values.rounds} rounds`,
    '',
    '| command | rbd ms | linger ms | whole command | less start-up |',
    '|---|---|---|---|---|',
  ];
  for (const name of times.keys()) {
    const [theirs, ours] = [of(name, PEER), of(name, OURS)];
    const work = (theirs - of(START_UP, PEER)) / (ours - of(START_UP, OURS));
    const ratios = [theirs / ours, ...(name === START_UP ? [] : [work])].map((n) => n.toFixed(1));
    lines.push(
      `| ${[name, theirs.toFixed(0), ours.toFixed(0), ratios[0], ratios[1] ?? ''].join(' | ')} |`,
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
