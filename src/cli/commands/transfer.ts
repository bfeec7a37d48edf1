/** import and export: whole images to and from files and pipes. */

import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { once } from 'node:events';
import { isRadosError, RadosError } from '../../base/errors.js';
import type { Cluster } from '../../block/cluster.js';
import type { BlockDevice } from '../../block/device.js';
import { createWriteStream, readExtents } from '../../block/streams.js';
import { formatImageSpec, type NamedImageSpec } from '../../rbd/spec.js';
import {
  addImageOptions,
  addProgressOptions,
  type CommandContext,
  type GlobalOptions,
} from '../context.js';
import { CommandError, commandError, step } from '../errors.js';
import type { Register } from '../program.js';
import type { ProgressLine } from '../progress.js';
import { parseSize } from '../sizes.js';
import { addLayoutOptions, type LayoutOptions, layoutOf } from './images.js';

const SPARSE_SIZE = 4096;
const CHUNK_BYTES = 4 * 1024 * 1024;
const CONCURRENCY = 4;

export const registerTransferCommands: Register = (program, run) => {
  addProgressOptions(addImageOptions(program.command('export')))
    .summary('Export an image to a file ("-": stdout).')
    .argument('[image-spec]', '[pool/[namespace/]]image[@snap]')
    .argument('[path]')
    .option('--export-format <format>', 'only 1: the bytes of the image', formatOne, 1)
    .action(run(exportImage));
  addProgressOptions(addLayoutOptions(addImageOptions(program.command('import'))))
    .summary('Import an image from a file ("-": stdin).')
    .argument('[path]')
    .argument('[image-spec]', '[pool/[namespace/]]image')
    .option('--dest <image>', 'image name')
    .option(
      '--sparse-size <size>',
      'do not write runs of zeros of this size',
      (text) => parseSize(text, 'B'),
      SPARSE_SIZE,
    )
    .option('--export-format <format>', 'only 1: the bytes of the image', formatOne, 1)
    .action(run(importImage));
};

function formatOne(text: string): 1 {
  if (text === '1') return 1;
  throw new CommandError(95, `export format ${text} is not supported: only 1 is`);
}

// ---- export ----

async function exportImage(
  context: CommandContext,
  [specText, path]: [string | undefined, string | undefined],
  options: GlobalOptions,
): Promise<void> {
  const spec = context.imageSpec(specText, options);
  const target = path ?? spec.name;
  await context.withCluster(options, async (cluster) => {
    const device = await step(
      `error opening image ${spec.name}`,
      cluster.map(formatImageSpec(spec), { readOnly: true }),
    );
    const progress = context.progress(
      'Exporting image',
      target === '-' ? { ...options, progress: false } : options,
    );
    await step(
      'export error',
      target === '-' ? toStdout(context, device) : toFile(context, device, target, progress),
    );
  });
}

async function toStdout(context: CommandContext, device: BlockDevice): Promise<void> {
  const { stdout } = context.streams;
  const closed = once(stdout, 'error', { signal: context.signal }).then(([error]) => {
    throw error;
  });
  closed.catch(() => {});
  for await (const { data } of readExtents(device, ahead(context))) {
    if (!stdout.write(data))
      await Promise.race([once(stdout, 'drain', { signal: context.signal }), closed]);
  }
}

/** Runs of zeros become holes. A file that this command made is removed again when it fails. */
async function toFile(
  context: CommandContext,
  device: BlockDevice,
  path: string,
  progress: ProgressLine,
): Promise<void> {
  const { file, created } = await openOutput(path);
  try {
    await progress.over(async (update) => {
      await file.truncate(0);
      await file.truncate(device.size);
      for await (const { offset, data } of readExtents(device, {
        ...ahead(context),
        skipZeroBlocks: SPARSE_SIZE,
      })) {
        await writeFully(file, data, offset);
        update(offset + data.length, device.size);
      }
    });
    await file.close();
  } catch (error) {
    await file.close().catch(() => {});
    if (created) await rm(path, { force: true });
    throw error;
  }
}

function ahead({ signal }: CommandContext) {
  return { chunkBytes: CHUNK_BYTES, concurrency: CONCURRENCY, signal };
}

/** As `rbd export`: an existing file is refused, a device is written to. */
async function openOutput(path: string): Promise<{ file: FileHandle; created: boolean }> {
  const existing = await stat(path).catch(() => undefined);
  if (existing && (existing.isBlockDevice() || existing.isCharacterDevice())) {
    return { file: await open(path, 'r+'), created: false };
  }
  return { file: await open(path, 'wx'), created: true };
}

async function writeFully(file: FileHandle, data: Uint8Array, offset: number): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const { bytesWritten } = await file.write(data, at, data.length - at, offset + at);
    at += bytesWritten;
  }
}

// ---- import ----

interface ImportOptions extends GlobalOptions, LayoutOptions {
  dest?: string;
  sparseSize: number;
}

async function importImage(
  context: CommandContext,
  [path, specText]: [string | undefined, string | undefined],
  options: ImportOptions,
): Promise<void> {
  if (path === undefined) throw new CommandError(22, 'path was not specified');
  const name = specText ?? options.dest ?? options.image ?? path.slice(path.lastIndexOf('/') + 1);
  const spec = context.imageSpec(name, options);
  await context.withCluster(options, (cluster) =>
    path === '-'
      ? fromStdin(context, cluster, spec, options)
      : fromFile(context, cluster, spec, path, options),
  );
}

async function fromFile(
  context: CommandContext,
  cluster: Cluster,
  spec: NamedImageSpec,
  path: string,
  options: ImportOptions,
): Promise<void> {
  const file = await step(`error opening ${path}`, open(path, 'r'));
  try {
    const info = await file.stat();
    if (info.isDirectory())
      throw commandError(`cannot import ${path}`, new RadosError('EISDIR', 'a directory'));
    const size = info.isBlockDevice() ? await deviceSize(file) : info.size;
    await withNewImage(context, cluster, spec, size, options, async (device) => {
      const writer = createWriteStream(device, writeOptions(context, options));
      const progress = context.progress('Importing image', options);
      await progress.over(async (update) => {
        for (let at = 0; at < size; ) {
          const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - at));
          const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
          if (bytesRead === 0) break;
          await write(writer, chunk.subarray(0, bytesRead));
          at += bytesRead;
          update(at, size);
        }
        await end(writer);
      });
    });
  } finally {
    await file.close();
  }
}

/** The size is known at the end only: the image grows ahead of the data, and is cut at the end. */
async function fromStdin(
  context: CommandContext,
  cluster: Cluster,
  spec: NamedImageSpec,
  options: ImportOptions,
): Promise<void> {
  const first = CHUNK_BYTES;
  await withNewImage(context, cluster, spec, first, options, async (device) => {
    const writer = createWriteStream(device, writeOptions(context, options));
    let size = 0;
    for await (const chunk of context.streams.stdin) {
      context.signal.throwIfAborted();
      const bytes = chunk as Buffer;
      if (size + bytes.length > device.size)
        await device.resize(Math.max(device.size * 2, size + bytes.length));
      await write(writer, bytes);
      size += bytes.length;
    }
    await end(writer);
    await device.resize(size);
  });
}

function writeOptions({ signal }: CommandContext, { sparseSize }: ImportOptions) {
  return {
    chunkBytes: CHUNK_BYTES,
    concurrency: CONCURRENCY,
    signal,
    ...(sparseSize > 0 ? { skipZeroBlocks: sparseSize } : {}),
  };
}

function write(writer: ReturnType<typeof createWriteStream>, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    writer.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

function end(writer: ReturnType<typeof createWriteStream>): Promise<void> {
  return new Promise((resolve, reject) => {
    writer.once('error', reject);
    writer.end(() => resolve());
  });
}

/** Creates the image and maps it; it is removed again when the import does not come to its end. */
async function withNewImage(
  context: CommandContext,
  cluster: Cluster,
  spec: NamedImageSpec,
  size: number,
  options: ImportOptions,
  fill: (device: BlockDevice) => Promise<void>,
): Promise<void> {
  const { images } = cluster.pool(spec.pool, spec.namespace);
  const signal = context.signal;
  await step(
    'image creation failed',
    images.create(spec.name, { size, ...layoutOf(options), signal }),
  );
  try {
    await using device = await cluster.map(formatImageSpec(spec));
    await fill(device);
  } catch (error) {
    await images.remove(spec.name).catch((failure: unknown) => {
      if (!isRadosError(failure, 'ENOENT'))
        context.note(`linger: the unfinished image ${spec.name} could not be removed\n`);
    });
    throw commandError('import failed', error);
  }
}

async function deviceSize(file: FileHandle): Promise<number> {
  // A block device's stat has size 0: the end is found by reading at ever later places.
  const readable = async (at: number) =>
    (await file.read(Buffer.alloc(1), 0, 1, at)).bytesRead === 1;
  let low = 0;
  let high = 512;
  while (await readable(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await readable(middle)) low = middle;
    else high = middle;
  }
  return high;
}
