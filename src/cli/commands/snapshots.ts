/** snap: what an image was at a point in time. */

import type { Command } from 'commander';
import { isRadosError } from '../../base/errors.js';
import { forceSnapRemove } from '../../rbd/force-snap-remove.js';
import { Image } from '../../rbd/image.js';
import type { SnapshotRef } from '../../rbd/image-snapshots.js';
import { openHeader } from '../../rbd/open.js';
import { listSnapshots } from '../../rbd/snapshots.js';
import type { ImageSpec } from '../../rbd/spec.js';
import {
  addImageArgument,
  type Arguments,
  type ImageOptions,
  imageSpec,
  type PoolSpec,
  poolSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { addProgressOptions, type CommandContext } from '../context.js';
import { CommandError, commandError, step } from '../errors.js';
import { openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { wholeNumber } from '../sizes.js';
import { addDestinationOptions, type DestinationOptions } from './clones.js';
import { snapshotJson, snapshotTable } from './snapshot-output.js';

const SNAP_SPEC = '[pool/[namespace/]]image@snap';

export const registerSnapshotCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  const group = program
    .command('snap')
    .summary('Snapshots: create, list, roll back to, remove, and more.')
    .description('Snapshots: what an image was at a point in time.');
  addProgressOptions(addSnapSpec(group.command('create').alias('add')))
    .summary('Create a snapshot.')
    .option('--skip-quiesce', 'do not run quiesce hooks')
    .option('--ignore-quiesce-error', 'ignore quiesce hook error')
    .action(run(create));
  addFormatOptions(addImageArgument(group.command('list').alias('ls')))
    .summary('List the snapshots of an image.')
    .option('--image-id <id>', 'image by its id')
    .option('-a, --all', 'list snapshots from all namespaces')
    .action(run(list));
  addProgressOptions(addSnapSpec(group.command('remove').alias('rm')))
    .summary('Delete a snapshot.')
    .option('--image-id <id>', 'image by its id')
    .option('--snap-id <id>', 'snapshot by its id', (text) => wholeNumber(text, 0))
    .option('--force', 'flatten children and unprotect snapshot if needed')
    .action(run(remove));
  addDestinationOptions(addSnapSpec(group.command('rename'), 'source-snap-spec'))
    .summary('Rename a snapshot.')
    .argument('[dest-snap-spec]', SNAP_SPEC)
    .option('--dest-snap <snap>', 'destination snapshot')
    .action(run(rename));
  addSnapSpec(group.command('protect'))
    .summary('Prevent a snapshot from being deleted.')
    .action(run(protect));
  addSnapSpec(group.command('unprotect'))
    .summary('Allow a snapshot to be deleted.')
    .option('--image-id <id>', 'image by its id')
    .action(run(unprotect));
  addProgressOptions(addSnapSpec(group.command('rollback').alias('revert')))
    .summary('Rollback image to snapshot.')
    .action(run(rollback));
  addProgressOptions(addImageArgument(group.command('purge')))
    .summary('Delete all unprotected snapshots.')
    .option('--image-id <id>', 'image by its id')
    .action(run(purge));
  const limit = group.command('limit').summary('How many snapshots an image may have.');
  addImageArgument(limit.command('set'))
    .summary('Limit the number of snapshots.')
    .option('--limit <limit>', 'maximum allowed snapshot count', (text) => wholeNumber(text, 0))
    .action(run(setLimit));
  addImageArgument(limit.command('clear'))
    .summary('Remove snapshot limit.')
    .action(run(clearLimit));
};

function addSnapSpec(command: Command, name = 'snap-spec'): Command {
  return command
    .argument(`[${name}]`, SNAP_SPEC)
    .option('--image <image>', 'image, in place of the argument')
    .option('--snap <snap>', 'snapshot');
}

interface SnapOptions extends ImageOptions {
  imageId?: string;
}

type Spec = ImageSpec & PoolSpec;

/** The image, by its name or its id, and the snapshot. */
function snapSpec(args: Arguments, options: SnapOptions): { spec: Spec; snap: string | undefined } {
  const { imageId } = options;
  if (imageId === undefined) {
    const [text, rest] = takeArgument(args, options.image);
    takeNoMore(rest);
    const { snap, ...spec } = imageSpec(text, options, { snapshot: true });
    return { spec, snap };
  }
  if (options.image !== undefined || args[0] !== undefined) {
    throw new CommandError(22, 'trying to access image using both name and id.');
  }
  return { spec: { ...poolSpec(undefined, options), id: imageId }, snap: options.snap };
}

function requireSnap(snap: string | undefined): string {
  if (snap === undefined) throw new CommandError(22, 'snapshot name was not specified');
  return snap;
}

function refuseSnap(snap: string | undefined): void {
  if (snap === undefined) return;
  throw new CommandError(22, "snapshot name specified for a command that doesn't use it");
}

async function withImage(
  context: CommandContext,
  spec: Spec,
  options: SnapOptions,
  action: (image: Image) => Promise<void>,
): Promise<void> {
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await step(openFailure(spec), Image.open(client, spec));
    await action(image);
  });
}

const openFailure = ({ name, id }: Spec) => `error opening image ${name ?? `with id ${id}`}`;

const create: Action<
  SnapOptions & { skipQuiesce?: boolean; ignoreQuiesceError?: boolean }
> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  const name = requireSnap(snap);
  const { skipQuiesce = false, ignoreQuiesceError = false } = options;
  if (skipQuiesce && ignoreQuiesceError) {
    throw new CommandError(22, 'ignore-quiesce-error cannot be used together with skip-quiesce');
  }
  await withImage(context, spec, options, async (image) => {
    const created = context.progress('Creating snap', options).over((onProgress) =>
      image.snapshots.create(name, {
        ...{ skipQuiesce, ignoreQuiesceError, onProgress },
        signal: context.signal,
      }),
    );
    await step('failed to create snapshot', created);
  });
};

const list: Action<SnapOptions & FormatOptions & { all?: boolean }> = async (
  context,
  args,
  options,
) => {
  const { spec, snap } = snapSpec(args, options);
  refuseSnap(snap);
  const { all = false } = options;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const image = await step(openFailure(spec), openHeader(client, spec, { readOnly: true }));
    const snapshots = await step('failed to list snapshots', listSnapshots(image, { all }));
    const { layout, size } = image.header;
    context.print(
      options.format === 'json'
        ? formatJson(
            snapshots.map((each) => snapshotJson(each, all)),
            options,
          )
        : snapshotTable(snapshots, { all, objectCount: layout.objectCount(size) }),
    );
  });
};

const remove: Action<SnapOptions & { snapId?: number; force?: boolean }> = async (
  context,
  args,
  options,
) => {
  const { spec, snap } = snapSpec(args, options);
  const { snapId, force = false } = options;
  if (snap !== undefined && snapId !== undefined) {
    throw new CommandError(22, 'trying to access snapshot using both name and id.');
  }
  if (snapId === undefined) requireSnap(snap);
  await withImage(context, spec, options, async (image) => {
    try {
      // As `rbd`: what is hidden is not flattened, nor is its progress shown.
      if (snapId !== undefined) await image.snapshots.remove(BigInt(snapId));
      else await removeNamed(context, image, requireSnap(snap), { ...options, force });
    } catch (error) {
      throw removalError(error, snap ?? BigInt(snapId ?? 0));
    }
  });
};

function removeNamed(
  context: CommandContext,
  image: Image,
  snap: string,
  options: SnapOptions & { force: boolean },
): Promise<void> {
  return context.progress('Removing snap', options).over((onProgress) => {
    const how = { onProgress, signal: context.signal };
    return options.force ? forceSnapRemove(image, snap, how) : image.snapshots.remove(snap, how);
  });
}

function removalError(error: unknown, ref: SnapshotRef): CommandError {
  if (!isRadosError(error, 'EBUSY')) return commandError('failed to remove snapshot', error);
  const which = typeof ref === 'string' ? `'${ref}'` : `id ${ref}`;
  return new CommandError(16, `snapshot ${which} is protected from removal.`, { cause: error });
}

const rename: Action<DestinationOptions & { destSnap?: string }> = async (
  context,
  args,
  options,
) => {
  const [from, afterSource] = takeArgument(args, options.image);
  const source = imageSpec(from, options, { snapshot: true });
  const snap = requireSnap(source.snap);
  const [to, rest] = takeArgument(afterSource, options.dest);
  takeNoMore(rest);
  const { pool: _, namespace: __, snap: ___, ...others } = options;
  const { destPool: pool, destNamespace: namespace, destSnap } = options;
  const target = imageSpec(
    to,
    {
      ...others,
      ...(pool === undefined ? {} : { pool }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(destSnap === undefined ? {} : { snap: destSnap }),
    },
    { snapshot: true, which: 'destination ' },
  );
  if (target.snap === undefined) {
    throw new CommandError(22, 'destination snapshot name was not specified');
  }
  for (const [part, what] of [
    ['pool', 'pool'],
    ['namespace', 'namespace'],
    ['name', 'image name'],
  ] as const) {
    if (source[part] === target[part]) continue;
    throw new CommandError(22, `source and destination ${what} must be the same`);
  }
  const { snap: name } = target;
  const { snap: ____, ...spec } = source;
  await withImage(context, spec, options, (image) =>
    step('renaming snap failed', image.snapshots.rename(snap, name)),
  );
};

const protect: Action<SnapOptions> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  const name = requireSnap(snap);
  await withImage(context, spec, options, async (image) => {
    try {
      await image.snapshots.protect(name);
    } catch (error) {
      if (!isRadosError(error, 'EBUSY')) throw commandError('protecting snap failed', error);
      throw new CommandError(16, 'snap is already protected', { cause: error });
    }
  });
};

const unprotect: Action<SnapOptions> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  const name = requireSnap(snap);
  await withImage(context, spec, options, async (image) => {
    try {
      await image.snapshots.unprotect(name);
    } catch (error) {
      if (!isRadosError(error, 'EINVAL')) throw commandError('unprotecting snap failed', error);
      throw new CommandError(22, 'snap is already unprotected', { cause: error });
    }
  });
};

const rollback: Action<SnapOptions> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  const name = requireSnap(snap);
  await withImage(context, spec, options, async (image) => {
    const rolledBack = context
      .progress('Rolling back to snapshot', options)
      .over((onProgress) => image.snapshots.rollback(name, { onProgress, signal: context.signal }));
    await step('rollback failed', rolledBack);
  });
};

const purge: Action<SnapOptions> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  refuseSnap(snap);
  await withImage(context, spec, options, async (image) => {
    const progress = context.progress('Removing all snapshots', options);
    if ((await image.snapshots.list()).length === 0) return;
    const { signal } = context;
    const purged = image.snapshots.purge({ onProgress: progress.update, signal });
    const kept = await purged.catch((error: unknown) => {
      progress.fail();
      throw commandError('removing snaps failed', error);
    });
    if (kept.length === 0) return progress.finish();
    // As `rbd`, which says so on stdout and counts it as a success.
    context.print(`linger: ${protectedText(kept)}\n`);
    progress.fail();
  });
};

function protectedText(names: readonly string[]): string {
  const verb = names.length === 1 ? 'is' : 'are';
  const which = `error removing snapshot(s) '${names.join(',')}', which ${verb} protected`;
  return `${which} - these must be unprotected with \`linger snap unprotect\`.`;
}

const setLimit: Action<SnapOptions & { limit?: number }> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  refuseSnap(snap);
  const { limit } = options;
  if (limit === undefined) throw new CommandError(34, 'must specify --limit <num>');
  await withImage(context, spec, options, (image) =>
    step('setting snapshot limit failed', image.snapshots.setLimit(limit)),
  );
};

const clearLimit: Action<SnapOptions> = async (context, args, options) => {
  const { spec, snap } = snapSpec(args, options);
  refuseSnap(snap);
  await withImage(context, spec, options, (image) =>
    step('clearing snapshot limit failed', image.snapshots.setLimit(undefined)),
  );
};
