/** bench: `rbd bench`'s options and lines, through a mapped device. */

import type { BlockDevice } from '../../block/device.js';
import { formatImageSpec } from '../../rbd/spec.js';
import { addImageOptions, type CommandContext, type GlobalOptions } from '../context.js';
import { CommandError, step } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import type { Register } from '../program.js';
import { formatSize, parseSize } from '../sizes.js';

type IoType = 'read' | 'write' | 'readwrite';
type Pattern = 'rand' | 'seq' | 'full-seq';

interface BenchOptions extends GlobalOptions, FormatOptions {
  ioType: IoType;
  ioSize: number;
  ioThreads: number;
  ioTotal: number;
  ioPattern: Pattern;
  rwMixRead: number;
}

const IO_TYPES: Record<string, IoType> = {
  read: 'read',
  write: 'write',
  readwrite: 'readwrite',
  rw: 'readwrite',
};
const PATTERN_NAMES: Record<Pattern, string> = {
  rand: 'random',
  seq: 'sequential',
  'full-seq': 'full sequential',
};

export const registerBenchCommand: Register = (program, run) => {
  addFormatOptions(addImageOptions(program.command('bench')))
    .summary('Measure reads or writes of an image. Writing overwrites it.')
    .argument('[image-spec]', '[pool/[namespace/]]image')
    .requiredOption('--io-type <type>', 'read, write or readwrite (rw)', parseType)
    .option('--io-size <size>', 'bytes of one request', (text) => parseSize(text, 'B'), 4096)
    .option('--io-threads <count>', 'requests in flight', positive, 16)
    .option('--io-total <size>', 'bytes in all', (text) => parseSize(text, 'B'), 1024 ** 3)
    .option('--io-pattern <pattern>', 'rand, seq or full-seq', parsePattern, 'seq')
    .option('--rw-mix-read <percent>', 'share of reads for readwrite', Number, 50)
    .action(run(bench));
};

function parseType(text: string): IoType {
  const type = IO_TYPES[text];
  if (type === undefined) throw new CommandError(1, `invalid io type '${text}'`);
  return type;
}

function parsePattern(text: string): Pattern {
  if (!Object.hasOwn(PATTERN_NAMES, text))
    throw new CommandError(1, `invalid io pattern '${text}'`);
  return text as Pattern;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new CommandError(1, `invalid number '${text}'`);
  return value;
}

async function bench(
  context: CommandContext,
  [specText]: [string | undefined],
  options: BenchOptions,
): Promise<void> {
  const spec = context.imageSpec(specText, options);
  const { ioType, ioSize, ioThreads, ioPattern } = options;
  await context.withCluster(options, async (cluster) => {
    const device = await step(
      `error opening image ${spec.name}`,
      cluster.map(formatImageSpec(spec), { queueDepth: Math.max(ioThreads, 1) }),
    );
    if (device.size < ioSize) throw new CommandError(22, 'io-size is larger than the image');
    if (options.format === 'plain') {
      const pattern = PATTERN_NAMES[ioPattern];
      context.print(
        `bench  type ${ioType} io_size ${ioSize} io_threads ${ioThreads} bytes ${options.ioTotal} pattern ${pattern}\n  SEC       OPS   OPS/SEC   BYTES/SEC\n`,
      );
    }
    const result = await step('bench failed', measure(context, device, options));
    context.print(options.format === 'json' ? formatJson(result, options) : summary(result));
  });
}

interface BenchResult {
  elapsed: number;
  ops: number;
  ops_per_sec: number;
  bytes_per_sec: number;
}

/** `ioThreads` requests in flight; with `seq` each thread walks its own part of the image, as `rbd bench` does. */
async function measure(
  context: CommandContext,
  device: BlockDevice,
  options: BenchOptions,
): Promise<BenchResult> {
  const { ioType, ioSize, ioThreads, ioPattern, rwMixRead } = options;
  const { clock, random } = context.environment(options);
  const slots = Math.floor(device.size / ioSize);
  const total = Math.max(1, Math.floor(options.ioTotal / ioSize));
  const data = Buffer.from(random.bytes(ioSize));
  const started = clock.monotonic();
  let issued = 0;
  let done = 0;
  let reported = started;
  const thread = async (index: number) => {
    let sequential = ioPattern === 'full-seq' ? index : Math.floor((slots / ioThreads) * index);
    while (issued < total && !context.signal.aborted) {
      issued++;
      const slot = ioPattern === 'rand' ? random.u32() % slots : sequential % slots;
      sequential += ioPattern === 'full-seq' ? ioThreads : 1;
      const isRead =
        ioType === 'read' || (ioType === 'readwrite' && random.float() * 100 < rwMixRead);
      if (isRead) (await device.readView(slot * ioSize, ioSize)).release();
      else await device.write(slot * ioSize, data, { borrowed: true });
      done++;
      const now = clock.monotonic();
      if (options.format === 'plain' && now - reported >= 1000) {
        reported = now;
        context.print(line(now - started, done, ioSize));
      }
    }
  };
  await Promise.all(
    Array.from({ length: Math.min(ioThreads, total) }, (_, index) => thread(index)),
  );
  if (ioType !== 'read') await device.flush();
  context.signal.throwIfAborted();
  const elapsed = (clock.monotonic() - started) / 1000;
  return {
    elapsed,
    ops: done,
    ops_per_sec: done / elapsed,
    bytes_per_sec: (done * ioSize) / elapsed,
  };
}

function line(elapsedMs: number, ops: number, ioSize: number): string {
  const perSecond = ops / (elapsedMs / 1000);
  const seconds = String(Math.round(elapsedMs / 1000)).padStart(5);
  return `${seconds}  ${String(ops).padStart(8)}  ${perSecond.toPrecision(6).padStart(8)}  ${formatSize(perSecond * ioSize)}/s\n`;
}

function summary({ elapsed, ops, ops_per_sec, bytes_per_sec }: BenchResult): string {
  return `elapsed: ${Math.floor(elapsed)}   ops: ${ops}   ops/sec: ${Number(ops_per_sec.toPrecision(6))}   bytes/sec: ${formatSize(bytes_per_sec)}/s\n`;
}
