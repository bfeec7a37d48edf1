/**
 * `npm run bench:diff`: what the object maps tell of an image of 16 Mi objects, by `linger` and by `rbd`, on a real cluster.
 *
 * Every round runs each command of both programs, one after the other; what a command takes to start up is what it takes
 * for an image of one object. What takes less than two seconds is run several times a round, for the difference of two such
 * times is small. Both programs must print the same.
 */

import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { loadKernels } from '../../src/kernels/load.js';
import { connectRados } from '../../src/rados/connect.js';
import { CephCluster } from '../../test/ceph/support/ceph-cluster.js';
import { median } from '../report.js';
import { makeLargeImage } from './large-image.js';
import { OURS, PEER, printed, type Program, type Time, timed } from './programs.js';

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: String(2 ** 24) },
    changed: { type: 'string', default: String(2 ** 14) },
    rounds: { type: 'string', default: '3' },
  },
});

const LARGE = 'large';
const SMALL = 'small';
const COMMANDS: Record<string, (image: string) => string[]> = {
  'diff --whole-object': (image) => ['diff', '--whole-object', '--from-snap', 'a', `${image}@b`],
  du: (image) => ['du', image],
};
const PROGRAMS = [PEER, OURS];
const SHORT_MS = 2000;
const SHORT_RUNS = 5;

/** The runs of one command of one program, on one image. */
class Runs {
  readonly #times: Time[] = [];

  constructor(
    readonly program: Program,
    readonly command: string,
    readonly image: string,
  ) {}

  async round(): Promise<void> {
    const args = COMMANDS[this.command]!(this.image);
    let left = SHORT_RUNS;
    while (left-- > 0) {
      const time = await timed(this.program, args, cluster.confPath);
      this.#times.push(time);
      if (time.wall > SHORT_MS) break;
    }
    const { name } = this.program;
    process.stderr.write(
      `${name.padEnd(7)} ${this.command} ${this.image}: ${this.of('wall').toFixed(0)} ms\n`,
    );
  }

  of(what: keyof Time): number {
    return median(this.#times.map((time) => time[what]));
  }
}

await using cluster = await CephCluster.start({ osds: 1 });
await makeImages();
await assertSamePrinted();
const all = Object.keys(COMMANDS).flatMap((command) =>
  [SMALL, LARGE].flatMap((image) => PROGRAMS.map((program) => new Runs(program, command, image))),
);
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const runs of all) await runs.round();
}
report();

async function makeImages(): Promise<void> {
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), {
    conf: cluster.confPath,
  });
  try {
    const at = (name: string) => ({ pool: 'rbd', namespace: '', name });
    const [objects, changed] = [Number(values.objects), Number(values.changed)];
    await makeLargeImage(client, at(LARGE), { objects, changed });
    await makeLargeImage(client, at(SMALL), { objects: 1, changed: 1 });
  } finally {
    client.close();
  }
}

async function assertSamePrinted(): Promise<void> {
  for (const [name, args] of Object.entries(COMMANDS)) {
    const outputs = await Promise.all(
      PROGRAMS.map((program) => printed(program, args(LARGE), cluster.confPath)),
    );
    if (new Set(outputs).size === 1) continue;
    throw new Error(`${name}: the programs print different things: ${outputs.join(' | ')}`);
  }
}

function report(): void {
  const lines = [
    `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}; ${values.objects} objects, ${values.changed} changed; medians of ${values.rounds} rounds`,
    '',
    '| | rbd ms | linger ms | ratio | rbd CPU ms | linger CPU ms | ratio |',
    '|---|---|---|---|---|---|---|',
  ];
  for (const command of Object.keys(COMMANDS)) {
    const of = (program: Program, image: string, what: keyof Time) =>
      all
        .find(
          (runs) => runs.program === program && runs.command === command && runs.image === image,
        )!
        .of(what);
    const row = (name: string, time: (program: Program, what: keyof Time) => number) => {
      const cells = (['wall', 'cpu'] as const).flatMap((what) => {
        const [theirs, ours] = [time(PEER, what), time(OURS, what)];
        return [theirs.toFixed(0), ours.toFixed(0), (theirs / ours).toFixed(1)];
      });
      lines.push(`| ${[name, ...cells].join(' | ')} |`);
    };
    row(command, (program, what) => of(program, LARGE, what));
    row('its start-up', (program, what) => of(program, SMALL, what));
    row('less that', (program, what) => of(program, LARGE, what) - of(program, SMALL, what));
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
