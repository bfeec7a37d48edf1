/** bench: `rbd bench`'s options and lines, through a mapped device. */

import { Option } from 'commander';
import type { BlockDevice } from '../../block/device.js';
import {
  addImageArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import type { CommandContext } from '../context.js';
import { mapImage } from '../devices.js';
import { CommandError, invalid, step } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { formatSize, parseSize, wholeNumber } from '../sizes.js';

type IoType = 'read' | 'write' | 'readwrite';
type Pattern = 'rand' | 'seq' | 'full-seq';

interface BenchOptions extends ImageOptions, FormatOptions {
  ioType?: IoType;
  ioSize: number;
  ioThreads: number;
  ioTotal: number;
  ioPattern: Pattern;
  rwMixRead: number;
}

const IO_TYPES: Readonly<Record<string, IoType>> = {
  read: 'read',
  write: 'write',
  readwrite: 'readwrite',
  rw: 'readwrite',
};
const PATTERN_NAMES: Readonly<Record<Pattern, string>> = {
  rand: 'random',
  seq: 'sequential',
  'full-seq': 'full sequential',
};

const EXAMPLES = `
Examples:
  linger bench --io-type write --io-size 4M --io-pattern full-seq rbd/vm1
  linger bench --io-type rw --rw-mix-read 70 --io-pattern rand --io-threads 64 rbd/vm1

Writes overwrite what the image holds.
`;

export const registerBenchCommand: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.data);
  addFormatOptions(addImageArgument(program.command('bench')))
    .summary('Measure reads or writes of an image; writes overwrite it.')
    .option('--io-type <type>', 'read, write, or readwrite (rw)', parseType)
    .addOption(sized('--io-size <size>', 'bytes of one request').default(4096, '4K'))
    .option('--io-threads <count>', 'requests in flight', (text) => wholeNumber(text, 0), 16)
    .addOption(sized('--io-total <size>', 'bytes in all').default(1024 ** 3, '1G'))
    .option('--io-pattern <pattern>', 'rand, seq or full-seq', parsePattern, 'seq')
    .option('--rw-mix-read <percent>', 'reads among all', (text) => wholeNumber(text, 0), 50)
    .addHelpText('after', EXAMPLES)
    .action(run(bench));
};

const sized = (flags: string, description: string) =>
  new Option(flags, description).argParser((text) => parseSize(text, 'B'));

function parseType(text: string): IoType {
  const type = Object.hasOwn(IO_TYPES, text) ? IO_TYPES[text] : undefined;
  if (type === undefined) throw invalid(`read, write, readwrite or rw, not '${text}'`);
  return type;
}

function parsePattern(text: string): Pattern {
  if (!Object.hasOwn(PATTERN_NAMES, text)) throw invalid(`rand, seq or full-seq, not '${text}'`);
  return text as Pattern;
}

const bench: Action<BenchOptions> = async (context, args, options) => {
  const job = checkJob(options);
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  await context.withCluster(options, async (cluster) => {
    const { signal } = context;
    const device = await mapImage(cluster, spec, { queueDepth: job.ioThreads, signal });
    if (device.size < job.ioSize) {
      const [io, image] = [formatSize(job.ioSize), formatSize(device.size)];
      throw new CommandError(
        22,
        `io-size ${io} larger than image size ${image}\nbench failed: (22) Invalid argument`,
      );
    }
    const plain = options.format === 'plain';
    if (plain) context.print(heading(job));
    const report = plain ? (text: string) => context.print(text) : () => {};
    const result = await step('bench failed', measure(context, device, job, report));
    context.print(plain ? summary(job, result) : formatJson(resultJson(job, result), options));
  });
};

type Job = Pick<BenchOptions, 'ioSize' | 'ioThreads' | 'ioTotal' | 'ioPattern' | 'rwMixRead'> & {
  ioType: IoType;
};

function checkJob({ ioType, ioThreads, rwMixRead, ioSize, ioTotal, ioPattern }: BenchOptions): Job {
  if (ioType === undefined) throw new CommandError(22, '--io-type must be specified.');
  if (ioThreads === 0) throw new CommandError(22, '--io-threads should be greater than zero.');
  if (rwMixRead > 100) throw new CommandError(22, '--rw-mix-read should not be larger than 100.');
  if (ioSize === 0) throw new CommandError(22, '--io-size should be greater than zero.');
  return { ioType, ioThreads, rwMixRead, ioSize, ioTotal, ioPattern };
}

interface BenchResult {
  elapsedMs: number;
  reads: number;
  writes: number;
}

/** Once a second a line shows the rate of the last seconds. */
const REPORT_MS = 1000;
const WINDOW_LINES = 5;

/** `ioThreads` requests in flight; with `seq` each thread walks its own part of the image, as `rbd bench` does. */
async function measure(
  context: CommandContext,
  device: BlockDevice,
  job: Job,
  report: (line: string) => void,
): Promise<BenchResult> {
  const { ioType, ioSize, ioThreads, ioPattern, rwMixRead } = job;
  const { clock, random } = context.environment({});
  const { signal } = context;
  const slots = Math.floor(device.size / ioSize);
  const total = Math.max(1, Math.floor(job.ioTotal / ioSize));
  const data = Buffer.from(random.bytes(ioSize));
  const started = clock.monotonic();
  const counts = { reads: 0, writes: 0 };
  const lines = new ReportLines(started, ioSize, report);
  let issued = 0;
  const thread = async (index: number) => {
    let sequential = ioPattern === 'full-seq' ? index : Math.floor((slots / ioThreads) * index);
    while (issued < total) {
      signal.throwIfAborted();
      issued++;
      const slot = ioPattern === 'rand' ? Math.floor(random.float() * slots) : sequential % slots;
      sequential += ioPattern === 'full-seq' ? ioThreads : 1;
      const isRead =
        ioType === 'read' || (ioType === 'readwrite' && random.float() * 100 < rwMixRead);
      if (isRead) {
        (await device.readView(slot * ioSize, ioSize, { signal })).release();
        counts.reads++;
      } else {
        await device.write(slot * ioSize, data, { borrowed: true, signal });
        counts.writes++;
      }
      lines.update(clock.monotonic(), counts.reads + counts.writes);
    }
  };
  await Promise.all(
    Array.from({ length: Math.min(ioThreads, total) }, (_, index) => thread(index)),
  );
  if (ioType !== 'read') await device.flush({ signal });
  return { elapsedMs: clock.monotonic() - started, ...counts };
}

class ReportLines {
  readonly #started: number;
  readonly #ioSize: number;
  readonly #report: (line: string) => void;
  /** Time and operations of the last lines. */
  readonly #marks: { at: number; ops: number }[];

  constructor(started: number, ioSize: number, report: (line: string) => void) {
    this.#started = started;
    this.#ioSize = ioSize;
    this.#report = report;
    this.#marks = [{ at: started, ops: 0 }];
  }

  update(now: number, ops: number): void {
    const last = this.#marks.at(-1) as { at: number };
    if (now - last.at < REPORT_MS) return;
    const first = this.#marks[0] as { at: number; ops: number };
    const perSecond = ((ops - first.ops) * 1000) / (now - first.at);
    this.#marks.push({ at: now, ops });
    if (this.#marks.length > WINDOW_LINES) this.#marks.shift();
    const seconds = String(Math.round((now - this.#started) / 1000)).padStart(5);
    const columns = [ops, sixDigits(perSecond), formatSize(perSecond * this.#ioSize)];
    this.#report(`${seconds}${columns.map((each) => String(each).padStart(10)).join('')}/s\n`);
  }
}

function heading({ ioType, ioSize, ioThreads, ioTotal, ioPattern, rwMixRead }: Job): string {
  const mix = ioType === 'readwrite' ? ` read:write=${rwMixRead}:${100 - rwMixRead}` : '';
  const pattern = PATTERN_NAMES[ioPattern];
  return `bench  type ${ioType}${mix} io_size ${ioSize} io_threads ${ioThreads} bytes ${ioTotal} pattern ${pattern}\n  SEC       OPS   OPS/SEC   BYTES/SEC\n`;
}

function summary({ ioType, ioSize }: Job, { elapsedMs, reads, writes }: BenchResult): string {
  const line = (prefix: string, ops: number) => {
    const perSecond = (ops * 1000) / elapsedMs;
    const rates = `${prefix}ops/sec: ${sixDigits(perSecond)}   ${prefix}bytes/sec: ${formatSize(perSecond * ioSize)}/s`;
    return `${prefix}ops: ${ops}   ${rates}\n`;
  };
  const seconds = Math.floor(elapsedMs / 1000);
  const parts = ioType === 'readwrite' ? line('read_', reads) + line('write_', writes) : '';
  return `elapsed: ${seconds}   ${line('', reads + writes)}${parts}`;
}

function resultJson({ ioSize }: Job, { elapsedMs, reads, writes }: BenchResult) {
  const seconds = elapsedMs / 1000;
  const ops = reads + writes;
  return {
    elapsed: seconds,
    ops,
    read_ops: reads,
    write_ops: writes,
    ops_per_sec: ops / seconds,
    bytes_per_sec: (ops * ioSize) / seconds,
  };
}

/** As C++ streams print numbers, short of their exponents. */
function sixDigits(value: number): string {
  return value >= 1e6 ? String(Math.round(value)) : String(Number(value.toPrecision(6)));
}
