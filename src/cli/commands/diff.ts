/** diff, export-diff, import-diff, merge-diff: what changed in an image, as a list or with its data. */

import type { Command } from 'commander';
import { isRadosError, toRadosError } from '../../base/errors.js';
import { diffBatches, type DiffExtent } from '../../rbd/diff/diff.js';
import { exportImageDiff } from '../../rbd/diff/export-diff.js';
import { diffTarget } from '../../rbd/diff/image-target.js';
import { importDiff } from '../../rbd/diff/import-diff.js';
import { mergeDiffs } from '../../rbd/diff/merge-diff.js';
import { Image } from '../../rbd/image.js';
import { openHeader } from '../../rbd/open.js';
import {
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { addProgressOptions, type CommandContext, type GlobalOptions } from '../context.js';
import { CommandError, step } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { withInput, writeOutput, writeToStdout } from '../files.js';
import { addSparseSizeOption, explainOpenFailure, openPool } from './images.js';

const EXPORT_EXAMPLES = `
Examples:
  linger export-diff --from-snap monday vm1@tuesday tuesday.diff
`;

const IMPORT_EXAMPLES = `
Examples:
  linger import-diff tuesday.diff backup/vm1
`;

const MERGE_EXAMPLES = `
Examples:
  linger merge-diff tuesday.diff wednesday.diff both.diff
  zstdcat tuesday.diff.zst | linger merge-diff - wednesday.diff - | zstd > both.diff.zst
`;

export const registerDiffCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.data);
  addFormatOptions(addDiffOptions(addSnapshotArgument(program.command('diff'))))
    .summary('Print what differs since a snapshot, or creation.')
    .action(run(diff));
  addProgressOptions(addDiffOptions(addSnapshotArgument(program.command('export-diff'))))
    .summary('Export what differs since a snapshot, or creation.')
    .argument('[path]', 'new file, or "-" for stdout')
    .option('--path <path>', 'file, in place of the argument')
    .addHelpText('after', EXPORT_EXAMPLES)
    .action(run(exportDiff));
  addSparseSizeOption(addProgressOptions(program.command('import-diff')))
    .summary('Import an exported diff.')
    .argument('[path]', 'file, or "-" for stdin')
    .argument('[image-spec]', '[pool/[namespace/]]image')
    .option('--path <path>', 'file, in place of the argument')
    .option('--image <image>', 'image, in place of the argument')
    .addHelpText('after', IMPORT_EXAMPLES)
    .action(run(importDiffCommand));
  addProgressOptions(program.command('merge-diff'))
    .summary('Merge two exported diffs into one.')
    .argument('[first]', 'diff, or "-" for stdin')
    .argument('[second]', 'diff that goes on where the first ends')
    .argument('[path]', 'new file, or "-" for stdout')
    .option('--path <path>', 'file, in place of the argument')
    .addHelpText('after', MERGE_EXAMPLES)
    .action(run(mergeDiff));
};

interface DiffOptions extends ImageOptions {
  fromSnap?: string;
  wholeObject?: boolean;
}

function addDiffOptions(command: Command): Command {
  return command
    .option('--from-snap <snap>', 'snapshot to start from')
    .option('--whole-object', 'compare objects as a whole: fast, with feature fast-diff');
}

const diff: Action<DiffOptions & FormatOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options, { snapshot: true });
  const { fromSnap: from, wholeObject } = options;
  const { signal } = context;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const image = await openHeader(client, spec, { readOnly: true, signal }).catch(
      (error: unknown) => explainOpenFailure(client, spec, error),
    );
    const batches = diffBatches(image, { from, wholeObject, signal });
    const print = options.format === 'plain' ? printTable : printJson;
    await step('diff error', print(context, batches, options));
  });
};

type Batches = AsyncIterable<readonly DiffExtent[]>;

/**
 * As `formatTable`, for millions of rows: as wide as the widest offset, which comes last. Nothing is printed before
 * everything is known, which is kept in 16 bytes for an extent: its offset, and its length, negative if it is zeros.
 */
async function printTable(context: CommandContext, batches: Batches): Promise<void> {
  const kept: Float64Array[] = [];
  let offsetMax = 0;
  let lengthMax = 0;
  for await (const extents of batches) {
    const numbers = new Float64Array(2 * extents.length);
    let i = 0;
    for (const { offset, length, exists } of extents) {
      numbers[i++] = offset;
      numbers[i++] = exists ? length : -length;
      offsetMax = Math.max(offsetMax, offset);
      lengthMax = Math.max(lengthMax, length);
    }
    if (i > 0) kept.push(numbers);
  }
  if (kept.length > 0) await writeToStdout(context, table(kept, { offsetMax, lengthMax }));
}

function* table(
  kept: readonly Float64Array[],
  { offsetMax, lengthMax }: { offsetMax: number; lengthMax: number },
): Generator<string, void, undefined> {
  const offsetWidth = Math.max('Offset'.length, String(offsetMax).length);
  const lengthWidth = Math.max('Length'.length, String(lengthMax).length);
  yield `${'Offset'.padEnd(offsetWidth)}  ${'Length'.padEnd(lengthWidth)}  Type\n`;
  // Most extents are as long as the one before.
  let length = 0;
  let rest = '';
  for (const numbers of kept) {
    let text = '';
    for (let i = 0; i < numbers.length; i += 2) {
      if (numbers[i + 1] !== length) {
        length = numbers[i + 1] as number;
        const type = length > 0 ? 'data' : 'zero';
        rest = `  ${String(Math.abs(length)).padEnd(lengthWidth)}  ${type}\n`;
      }
      text += String(numbers[i]).padEnd(offsetWidth) + rest;
    }
    yield text;
  }
}

async function printJson(
  context: CommandContext,
  batches: Batches,
  options: FormatOptions,
): Promise<void> {
  await writeToStdout(context, options.prettyFormat ? prettyJson(batches, options) : json(batches));
}

const shown = ({ offset, length, exists }: DiffExtent) => ({
  offset,
  length,
  exists: exists ? 'true' : 'false',
});

async function* json(batches: Batches): AsyncGenerator<string, void, undefined> {
  let before = '[';
  for await (const extents of batches) {
    yield before + extents.map((extent) => JSON.stringify(shown(extent))).join(',');
    before = ',';
  }
  yield before === '[' ? '[]\n' : ']\n';
}

async function* prettyJson(
  batches: Batches,
  options: FormatOptions,
): AsyncGenerator<string, void, undefined> {
  const all: ReturnType<typeof shown>[] = [];
  for await (const extents of batches) all.push(...extents.map(shown));
  yield formatJson(all, options);
}

const exportDiff: Action<DiffOptions & { path?: string }> = async (context, args, options) => {
  const [text, afterImage] = takeArgument(args, options.image);
  const spec = imageSpec(text, options, { snapshot: true });
  const [path, rest] = takeArgument(afterImage, options.path);
  takeNoMore(rest);
  if (path === undefined) throw new CommandError(22, 'path was not specified');
  const { fromSnap: from, wholeObject } = options;
  const { signal } = context;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await Image.open(client, spec, { readOnly: true, signal }).catch(
      (error: unknown) => explainOpenFailure(client, spec, error),
    );
    const exporting = context.progress('Exporting image', options).over((onProgress) => {
      const chunks = exportImageDiff(image, { from, wholeObject, onProgress, signal });
      return writeOutput(context, path, chunks);
    });
    await step('export-diff error', exporting);
  });
};

const importDiffCommand: Action<ImageOptions & { path?: string; sparseSize?: number }> = async (
  context,
  args,
  options,
) => {
  const [path, afterPath] = takeArgument(args, options.path);
  if (path === undefined) throw new CommandError(22, 'path was not specified');
  const [text, rest] = takeArgument(afterPath, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const { sparseSize } = options;
  const { signal } = context;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await Image.open(client, spec, { signal }).catch((error: unknown) =>
      explainOpenFailure(client, spec, error),
    );
    await step(
      'import-diff failed',
      withInput(context, path, (stream, bytes) =>
        context.progress('Importing image diff', options).over((update) => {
          const onProgress = (position: number) => bytes && update(position, bytes);
          return importDiff(diffTarget(image, { signal }), stream, {
            ...{ sparseSize, onProgress, signal },
          });
        }),
      ),
    );
  });
};

/** What a stream that ends too early is to `rbd merge-diff`. */
const EXIT_CUT_OFF = 33;

const mergeDiff: Action<GlobalOptions & { path?: string }> = async (
  context,
  [first, second, third],
  options,
) => {
  if (first === undefined) throw new CommandError(22, 'first diff was not specified');
  if (second === undefined) throw new CommandError(22, 'second diff was not specified');
  const [path, rest] = takeArgument([third], options.path);
  takeNoMore(rest);
  if (path === undefined) throw new CommandError(22, 'path was not specified');
  try {
    await context
      .progress('Merging image diff', options)
      .over((onProgress) =>
        withInput(context, first, (older) =>
          withInput(context, second, (newer) =>
            writeOutput(context, path, mergeDiffs(older, newer, onProgress)),
          ),
        ),
      );
  } catch (error) {
    const { errno, message } = toRadosError(error);
    context.note(`linger: ${message}\n`);
    const exitCode = isRadosError(error, 'EBADMSG') ? EXIT_CUT_OFF : -errno;
    throw new CommandError(exitCode, 'merge-diff error', { cause: error });
  }
};
