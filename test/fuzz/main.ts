/**
 * `npm run fuzz [-- --inputs N --seed S --decoder TEXT]`: gives every decoder, or those with TEXT in their name, made-up
 * inputs. Each runs in a thread of its own, which is given up when it does not come on. Exit status 1 when something was
 * found.
 */

import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type FuzzReport, fuzz } from './fuzz.js';
import { fuzzTargets } from './targets.js';

const INPUTS = 100_000;
const STUCK_MS = 30_000;

interface Job {
  readonly names: readonly string[];
  readonly inputs: number;
  readonly seed: number;
}

type Message =
  | 'batch'
  | { readonly name: string; readonly report: FuzzReport; readonly ms: number };

async function work({ names, inputs, seed }: Job): Promise<void> {
  const say = (message: Message) => parentPort?.postMessage(message);
  for (const target of await fuzzTargets()) {
    if (!names.includes(target.name)) continue;
    const began = performance.now();
    const report = fuzz(target, { inputs, seed, onBatch: () => say('batch') });
    say({ name: target.name, report, ms: performance.now() - began });
  }
}

/** Resolves with the decoders that have not been come to, the one first that did not come on. */
function runInThread(job: Job, onReport: (message: Exclude<Message, 'batch'>) => void) {
  return new Promise<string[]>((resolve, reject) => {
    const left = [...job.names];
    const worker = new Worker(new URL(import.meta.url), { workerData: job });
    const onStuck = () => {
      resolve(left);
      void worker.terminate();
    };
    let watchdog = setTimeout(onStuck, STUCK_MS);
    worker.on('message', (message: Message) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(onStuck, STUCK_MS);
      if (message === 'batch') return;
      left.splice(left.indexOf(message.name), 1);
      onReport(message);
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      clearTimeout(watchdog);
      resolve(left);
    });
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      inputs: { type: 'string', default: `${INPUTS}` },
      seed: { type: 'string', default: '1' },
      decoder: { type: 'string', default: '' },
    },
  });
  const job = { inputs: Number(values.inputs), seed: Number(values.seed) };
  const names = (await fuzzTargets()).map(({ name }) => name);
  const chosen = names.filter((name) => name.includes(values.decoder));
  if (chosen.length === 0) throw new Error(`no decoder has '${values.decoder}' in its name`);
  let found = 0;
  const onReport = ({ name, report, ms }: Exclude<Message, 'batch'>) => {
    const { accepted, bytesPerByte, slowestMs, findings } = report;
    const memory = `at most ${Math.max(0, bytesPerByte).toFixed(1)} bytes a byte`;
    const times = `slowest ${slowestMs.toFixed(1)} ms, ${(ms / 1000).toFixed(1)} s`;
    console.log(`${name}: ${job.inputs} inputs, ${accepted} decoded, ${memory}, ${times}`);
    found += findings.length;
    for (const { what, input } of findings)
      console.log(`  ${what}\n  input ${input.slice(0, 400)}`);
  };
  for (let left = chosen; left.length > 0; ) {
    left = await runInThread({ ...job, names: left }, onReport);
    const stuck = left.shift();
    if (stuck === undefined) break;
    found++;
    console.log(`${stuck}: STUCK for ${STUCK_MS / 1000} s`);
  }
  console.log(`\n${chosen.length} decoders, ${found} findings`);
  process.exitCode = found > 0 ? 1 : 0;
}

await (isMainThread ? main() : work(workerData as Job));
