/** import and export: whole images from and to files and pipes. */

import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { isRadosError, RadosError } from '../../base/errors.js';
import type { Cluster } from '../../block/cluster.js';
import type { BlockDevice } from '../../block/device.js';
import { createWriteStream, readExtents } from '../../block/streams.js';
import type { ConnectedClient } from '../../rados/connect.js';
import type { CreateOptions } from '../../rbd/create.js';
import { ByteReader } from '../../rbd/diff/byte-reader.js';
import { exportImage } from '../../rbd/diff/export-image.js';
import { importImage } from '../../rbd/diff/import-image.js';
import { openHeader } from '../../rbd/open.js';
import { formatImageSpec, type NamedImageSpec } from '../../rbd/spec.js';
import {
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { addProgressOptions, type CommandContext } from '../context.js';
import { mapImage, reachPool } from '../devices.js';
import { CommandError, commandError, invalid, step } from '../errors.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import {
  addLayoutOptions,
  addSparseSizeOption,
  givenLayout,
  type LayoutOptions,
  layoutOf,
} from '../layout-options.js';
import { explainOpenFailure, openPool } from '../opening.js';
import type { ProgressLine } from '../progress.js';
import { chunksOf, writeFully, writeNewFile, writeOutput, writeToStdout } from '../files.js';

const MIB = 1024 * 1024;
/** Zeroes are left out of files in blocks of this size, as file systems have them. */
const SPARSE_SIZE = 4096;
const CHUNK_BYTES = 4 * MIB;
const CONCURRENCY = 4;

const EXPORT_EXAMPLES = `
Examples:
  linger export rbd/vm1 vm1.img
  linger export rbd/vm1@monday - | zstd > vm1.img.zst
  linger export --export-format 2 rbd/vm1 vm1-with-snapshots
`;

const IMPORT_EXAMPLES = `
Examples:
  linger import debian.raw rbd/vm1
  qemu-img convert -O raw debian.qcow2 /dev/stdout | linger import - rbd/vm1
  linger import --stripe-unit 64K --stripe-count 4 disk.img rbd/striped
`;

export const registerTransferCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.data);
  addProgressOptions(addSnapshotArgument(program.command('export')))
    .summary('Export an image to a file or a pipe.')
    .argument('[path]', 'new file, or "-" for stdout')
    .option('--path <path>', 'file, in place of the argument')
    .option('--export-format <format>', FORMATS, formatOf)
    .addHelpText('after', EXPORT_EXAMPLES)
    .action(run(exportCommand));
  addSparseSizeOption(addProgressOptions(addLayoutOptions(program.command('import'))))
    .summary('Import an image from a file or a pipe.')
    .argument('[path]', 'file, or "-" for stdin')
    .argument('[dest-image-spec]', '[pool/[namespace/]]image (default: the name of the file)')
    .option('--path <path>', 'file, in place of the argument')
    .option('--dest <image>', 'image, in place of the argument')
    .option('--dest-pool <pool>', 'pool of the image')
    .option('--dest-namespace <namespace>', 'namespace of the image')
    .option('--image <image>', 'the same as --dest')
    .option('--export-format <format>', FORMATS, formatOf)
    .addHelpText('after', IMPORT_EXAMPLES)
    .action(run(importCommand));
};

const FORMATS = '1: the plain bytes (default); 2: with snapshots, layout and metadata';

type Format = 1 | 2;

function formatOf(text: string): Format {
  if (text === '1' || text === '2') return Number(text) as Format;
  throw invalid(`'${text}' is no format`);
}

function requirePath(path: string | undefined): string {
  if (path === undefined) throw new CommandError(22, 'path was not specified');
  return path;
}

// ---- export ----

interface ExportOptions extends ImageOptions {
  path?: string;
  exportFormat?: Format;
}

const exportCommand: Action<ExportOptions> = async (context, args, options) => {
  const [text, afterImage] = takeArgument(args, options.image);
  const spec = imageSpec(text, options, { snapshot: true });
  const [path, rest] = takeArgument(afterImage, options.path);
  takeNoMore(rest);
  const target = requirePath(path);
  if (options.exportFormat === 2) return exportAll(context, spec, target, options);
  await context.withCluster(options, async (cluster) => {
    const device = await mapImage(cluster, spec, { readOnly: true, signal: context.signal });
    const progress = context.progress('Exporting image', options);
    const exporting = target === '-' ? toStdout : toFile;
    await step('export error', exporting(context, device, progress, target));
  });
};

/** The image with all of its snapshots; one that is named needs only be there. */
async function exportAll(
  context: CommandContext,
  spec: NamedImageSpec,
  path: string,
  options: ExportOptions,
): Promise<void> {
  const { signal } = context;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await openHeader(client, spec, { readOnly: true, signal }).catch((error: unknown) =>
      explainOpenFailure(client, spec, error),
    );
    const { snap: _, ...image } = spec;
    const exporting = context
      .progress('Exporting image', options)
      .over((onProgress) =>
        writeOutput(context, path, exportImage(client, image, { onProgress, signal })),
      );
    await step('export error', exporting);
  });
}

async function toStdout(
  context: CommandContext,
  device: BlockDevice,
  progress: ProgressLine,
): Promise<void> {
  await progress.over((update) => writeToStdout(context, plainBytes(context, device, update)));
}

async function* plainBytes(
  context: CommandContext,
  device: BlockDevice,
  update: ProgressLine['update'],
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { offset, data } of readExtents(device, ahead(context))) {
    yield data;
    update(offset + data.length, device.size);
  }
}

/** Runs of zeroes become holes. */
async function toFile(
  context: CommandContext,
  device: BlockDevice,
  progress: ProgressLine,
  path: string,
): Promise<void> {
  const options = { ...ahead(context), skipZeroBlocks: SPARSE_SIZE };
  await writeNewFile(path, (file) =>
    progress.over(async (update) => {
      for await (const { offset, data } of readExtents(device, options)) {
        await writeFully(file, data, offset);
        update(offset + data.length, device.size);
      }
      await file.truncate(device.size);
    }),
  );
}

function ahead({ signal }: CommandContext) {
  return { chunkBytes: CHUNK_BYTES, concurrency: CONCURRENCY, signal };
}

// ---- import ----

interface ImportOptions extends ImageOptions, LayoutOptions {
  path?: string;
  dest?: string;
  destPool?: string;
  destNamespace?: string;
  sparseSize?: number;
  exportFormat?: Format;
}

/** Where the bytes come from, until the interrupt. Without a size they are read to their end. */
interface Source {
  size: number | undefined;
  bytes: AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

const importCommand: Action<ImportOptions> = async (context, args, options) => {
  const [path, afterPath] = takeArgument(args, options.path);
  const from = requirePath(path);
  const [dest, rest] = takeArgument(afterPath, options.dest ?? options.image);
  takeNoMore(rest);
  const spec = imageSpec(dest ?? nameOf(from), destinationOf(options), { which: 'destination ' });
  const source = await openSource(context, from);
  try {
    if (options.exportFormat === 2) return await importAll(context, source, spec, options);
    const layout = await context.withClient(options, (connected) =>
      layoutOf(context, connected, options),
    );
    await context.withCluster(options, async (cluster) => {
      await reachPool(cluster, spec);
      const what = { source, spec, layout, options };
      await step('import failed', importFrom(context, cluster, what));
    });
  } finally {
    await source.close();
  }
};

/** What an export of format 2 has. */
async function importAll(
  context: CommandContext,
  source: Source,
  spec: NamedImageSpec,
  options: ImportOptions,
): Promise<void> {
  const { signal } = context;
  const { sparseSize } = options;
  const fillFromStream = async ({ client }: ConnectedClient) => {
    await openPool(client, spec);
    const stream = new ByteReader(source.bytes);
    const importing = context.progress('Importing image', options).over((onProgress) =>
      importImage(client, spec, stream, {
        ...{ layout: givenLayout(options), sparseSize, onProgress, signal },
      }),
    );
    await step('import failed', importing);
  };
  await context.withClient(options, fillFromStream, { cleansUp: true });
}

function nameOf(path: string): string | undefined {
  return path === '-' ? undefined : path.slice(path.lastIndexOf('/') + 1);
}

function destinationOf(options: ImportOptions): ImageOptions {
  const { destPool, destNamespace } = options;
  return {
    ...options,
    ...(destPool === undefined ? {} : { pool: destPool }),
    ...(destNamespace === undefined ? {} : { namespace: destNamespace }),
  };
}

async function openSource(context: CommandContext, path: string): Promise<Source> {
  if (path === '-') return stdinSource(context);
  const fail = (why: string, error: unknown): CommandError => {
    context.note(`linger: ${why}\n`);
    return commandError('import failed', error);
  };
  const cannotOpen = (error: unknown) => {
    throw fail(`error opening ${path}`, error);
  };
  // Looked at before it is opened, for opening a pipe waits for its writer.
  const info = await stat(path).catch(cannotOpen);
  if (info.isDirectory())
    throw fail('cannot import a directory', new RadosError('EISDIR', 'Is a directory'));
  if (!info.isFile() && !info.isBlockDevice())
    throw fail('unable to get size of file/block device', noSize());
  const file = await open(path, 'r').catch(cannotOpen);
  try {
    const size = info.isFile() ? (await file.stat()).size : await deviceSize(file);
    return fileSource(context, file, size);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** ENOTTY, which is what `rbd` gets for asking a pipe for its size. */
function noSize(): CommandError {
  return new CommandError(25, 'import failed: (25) Inappropriate ioctl for device');
}

function stdinSource(context: CommandContext): Source {
  const { stdin } = context.streams;
  return {
    size: undefined,
    bytes: chunksOf(context, stdin),
    async close() {
      stdin.destroy();
    },
  };
}

function fileSource(context: CommandContext, file: FileHandle, size: number): Source {
  const stream = createReadStream('', {
    fd: file,
    autoClose: false,
    highWaterMark: MIB,
    // Up to the size that the image is made for, should the file grow.
    start: 0,
    end: Math.max(0, size - 1),
  });
  return {
    size,
    bytes: chunksOf(context, stream),
    async close() {
      stream.destroy();
      await file.close();
    },
  };
}

/** A block device's stat has size 0: the end is found by reading at ever later places. */
async function deviceSize(file: FileHandle): Promise<number> {
  const byte = Buffer.alloc(1);
  const readable = async (at: number) => (await file.read(byte, 0, 1, at)).bytesRead === 1;
  let low = 0;
  let high = 512;
  for (; await readable(high); high *= 2) low = high;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await readable(middle)) low = middle;
    else high = middle;
  }
  return high;
}

interface Import {
  source: Source;
  spec: NamedImageSpec;
  layout: Omit<CreateOptions, 'size'>;
  options: ImportOptions;
}

/** Creates the image and fills it; it is removed again when the import does not come to its end. */
async function importFrom(
  context: CommandContext,
  cluster: Cluster,
  { source, spec, layout, options }: Import,
): Promise<void> {
  const { images } = cluster.pool(spec.pool, spec.namespace);
  await context.progress('Importing image', options).over(async (update) => {
    // Not to be interrupted: half of an image could not be removed by its name.
    await images
      .create(spec.name, { size: source.size ?? CHUNK_BYTES, ...layout })
      .catch((error: unknown) => {
        context.note('linger: image creation failed\n');
        throw error;
      });
    try {
      context.signal.throwIfAborted();
      await using device = await cluster.map(formatImageSpec(spec));
      await fill(context, device, { source, update, sparseSize: options.sparseSize });
    } catch (error) {
      await removeUnfinished(context, images, spec.name);
      throw error;
    }
  });
}

/** Copies the source. Of unknown size, it makes the image grow ahead of the data, and cuts it at the end. */
async function fill(
  { signal }: CommandContext,
  device: BlockDevice,
  {
    source,
    update,
    sparseSize = SPARSE_SIZE,
  }: {
    source: Source;
    update: (done: number, total: number) => void;
    sparseSize: number | undefined;
  },
): Promise<void> {
  const writer = createWriteStream(device, {
    chunkBytes: CHUNK_BYTES,
    concurrency: CONCURRENCY,
    signal,
    ...(sparseSize > 0 ? { skipZeroBlocks: sparseSize } : {}),
  });
  // Its errors come to the calls below as well.
  writer.on('error', () => {});
  let size = 0;
  for await (const bytes of source.bytes) {
    if (size + bytes.length > device.size) {
      await device.resize(Math.max(device.size * 2, size + bytes.length));
    }
    await new Promise<void>((resolve, reject) => {
      writer.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    size += bytes.length;
    // The end of a pipe is not known before it comes.
    if (source.size !== undefined) update(size, source.size);
  }
  writer.end();
  await finished(writer);
  // A file may have been cut while it was read: what is missing reads as zeroes, as it does in `rbd`'s import.
  if (source.size === undefined && size !== device.size) await device.resize(size);
}

async function removeUnfinished(
  context: CommandContext,
  images: { remove(name: string): Promise<void> },
  name: string,
): Promise<void> {
  try {
    await images.remove(name);
  } catch (error) {
    if (isRadosError(error, 'ENOENT')) return;
    const { message } = commandError(`the unfinished image ${name} could not be removed`, error);
    context.note(`linger: ${message}\n`);
  }
}
