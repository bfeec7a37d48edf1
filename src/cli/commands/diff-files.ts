/** export-diff, import-diff, merge-diff: what changed in an image, with its data. */

import { isRadosError, toRadosError } from '../../base/errors.js';
import { exportImageDiff } from '../../rbd/diff/export-diff.js';
import { diffTarget } from '../../rbd/diff/image-target.js';
import { importDiff } from '../../rbd/diff/import-diff.js';
import { mergeDiffs } from '../../rbd/diff/merge-diff.js';
import { Image } from '../../rbd/image.js';
import {
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { addProgressOptions, type GlobalOptions } from '../context.js';
import { CommandError, Interrupt, step } from '../errors.js';
import { addSparseSizeOption } from '../layout-options.js';
import { explainOpenFailure, openPool } from '../opening.js';
import { withInput, writeOutput } from '../files.js';
import { addDiffOptions, type DiffOptions } from './diff.js';

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

export const registerDiffFileCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.data);
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
    if (error instanceof Interrupt) throw error;
    const { errno, message } = toRadosError(error);
    context.note(`linger: ${message}\n`);
    const exitCode = isRadosError(error, 'EBADMSG') ? EXIT_CUT_OFF : -errno;
    throw new CommandError(exitCode, 'merge-diff error', { cause: error });
  }
};
