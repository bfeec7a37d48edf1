/** trash: images that lost their names and are kept for a while. */

import type { Command } from 'commander';
import type { Environment } from '../../base/environment.js';
import { isRadosError } from '../../base/errors.js';
import { usageLimit } from '../../rados/pool-usage.js';
import type { RadosClient } from '../../rados/rados-client.js';
import { unless } from '../../rbd/errors.js';
import { infoOf, type ParentInfo } from '../../rbd/info.js';
import { openHeader } from '../../rbd/open.js';
import {
  listTrash,
  moveToTrash,
  purgeTrash,
  removeFromTrash,
  restoreFromTrash,
  type TrashedImage,
  type TrashedImageSpec,
} from '../../rbd/trash.js';
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
import { addProgressOptions, type GlobalOptions } from '../context.js';
import { parseDate } from '../dates.js';
import { CommandError, commandError, invalid, step } from '../errors.js';
import { openPool } from '../opening.js';
import {
  addFormatOptions,
  type FormatOptions,
  formatJson,
  formatTable,
  formatTime,
} from '../output.js';
import { removalError } from './images.js';

export const registerTrashCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  const group = program
    .command('trash')
    .summary('Images that lost their names: move, list, restore, purge.')
    .description('The trash of a pool: images that lost their names and are kept for a while.');
  addImageArgument(group.command('move').alias('mv'))
    .summary('Move an image to the trash.')
    .option('--expires-at <date>', 'when it may be purged, as `date` understands it (default: now)')
    .action(run(move));
  addFormatOptions(group.command('list').alias('ls'))
    .summary('List the images in the trash.')
    .argument('[pool-spec]', 'pool[/namespace]')
    .option('-a, --all', 'list images from all sources')
    .option('-l, --long', 'with times, sources and parents')
    .action(run(list));
  addImageId(group.command('restore'))
    .summary('Restore an image from the trash.')
    .option('--image <image>', 'new name (default: the one that it had)')
    .action(run(restore));
  addProgressOptions(addImageId(group.command('remove').alias('rm')))
    .summary('Remove an image from the trash, for good.')
    .option('--force', 'also before it has expired')
    .action(run(remove));
  addProgressOptions(group.command('purge'))
    .summary('Remove all expired images from the trash.')
    .argument('[pool-spec]', 'pool[/namespace]')
    .option('--expired-before <date>', 'those that will have expired by then')
    .option(
      '--threshold <share>',
      'only where more of a pool is used (0 to 1): others too, until it is not',
      thresholdOf,
    )
    .action(run(purge));
};

function addImageId(command: Command): Command {
  return command
    .argument('[image-id]', '[pool/[namespace/]]image-id')
    .option('--image-id <id>', 'image, in place of the argument');
}

interface IdOptions extends GlobalOptions {
  imageId?: string;
}

function idSpec(args: Arguments, { imageId, ...options }: IdOptions): TrashedImageSpec {
  const [text, rest] = takeArgument(args, imageId);
  takeNoMore(rest);
  if (text === undefined) throw new CommandError(22, 'image id was not specified');
  const { pool, namespace, name: id } = imageSpec(text, options);
  return { pool, namespace, id };
}

const move: Action<ImageOptions & { expiresAt?: string }> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const until =
    options.expiresAt === undefined
      ? {}
      : await expiry(context.environment(options), options.expiresAt);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await step('deferred delete error', moveToTrash(client, spec, until));
  });
};

/** What is in the past is a slip: nobody defers a removal until before it. */
async function expiry({ clock }: Environment, text: string): Promise<{ expiresAt: Date }> {
  const expiresAt = await parseDate(text);
  if (expiresAt.getTime() > clock.now() - 2000) return { expiresAt };
  throw new CommandError(22, 'cannot use a date in the past as an expiration date');
}

const list: Action<GlobalOptions & FormatOptions & { all?: boolean; long?: boolean }> = async (
  context,
  [text],
  options,
) => {
  const spec = poolSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, spec);
    const images = await step('trash list', listTrash(ioctx, { all: options.all ?? false }));
    if (!options.long) {
      const short = images.map(({ id, name }) => ({ id, name }));
      context.print(
        options.format === 'json'
          ? formatJson(short, options)
          : short.map(({ id, name }) => `${id} ${name}\n`).join(''),
      );
      return;
    }
    const rows: TrashRow[] = [];
    for (const image of images) {
      try {
        const parent = await unless('ENOENT', parentOf(client, spec, image));
        if (parent) rows.push({ ...image, ...parent, listedAt: client.environment.clock.now() });
      } catch (error) {
        context.note(`linger: ${commandError(`error opening ${image.id}`, error).message}\n`);
      }
    }
    context.print(
      options.format === 'json' ? formatJson(rows.map(trashJson), options) : trashTable(rows),
    );
  });
};

interface TrashRow extends TrashedImage {
  readonly parent: ParentInfo | undefined;
  /** By the clock of this host. */
  readonly listedAt: number;
}

async function parentOf(
  client: RadosClient,
  { pool, namespace }: PoolSpec,
  { id }: TrashedImage,
): Promise<{ parent: ParentInfo | undefined }> {
  const image = await openHeader(client, { pool, namespace, id }, { readOnly: true });
  return { parent: (await infoOf(image)).parent };
}

function trashTable(rows: readonly TrashRow[]): string {
  if (rows.length === 0) return '';
  const titles = ['ID', 'NAME', 'SOURCE', 'DELETED_AT', 'STATUS', 'PARENT'];
  return formatTable(
    titles.map((title) => ({ title, align: 'left' })),
    rows.map((row) => [
      row.id,
      row.name,
      sourceText(row),
      formatTime(row.deletedAt),
      statusText(row),
      row.parent ? parentText(row.parent) : '',
    ]),
  );
}

function trashJson(row: TrashRow): Record<string, unknown> {
  const { id, name, deletedAt, parent } = row;
  return {
    ...{ id, name, source: sourceText(row), deleted_at: formatTime(deletedAt) },
    status: statusText(row),
    ...(parent && {
      parent: {
        pool: parent.pool,
        pool_namespace: parent.poolNamespace,
        image: parent.image,
        snapshot: parent.snapshot,
      },
    }),
  };
}

const sourceText = ({ source }: TrashedImage) => source.toUpperCase().replace('-', '_');

function statusText({ expiresAt, listedAt }: TrashRow): string {
  // In whole seconds, as it is shown.
  const isProtected = Math.floor(listedAt / 1000) < Math.floor(expiresAt.getTime() / 1000);
  return `${isProtected ? 'protected until' : 'expired at'} ${formatTime(expiresAt)}`;
}

function parentText({ pool, poolNamespace, image, snapshot }: ParentInfo): string {
  const place = [pool, poolNamespace, image].filter((part) => part !== '').join('/');
  return `${place}@${snapshot}`;
}

const restore: Action<IdOptions & { image?: string }> = async (context, args, options) => {
  const spec = idSpec(args, options);
  const { image: name } = options;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    try {
      await restoreFromTrash(client, spec, name === undefined ? {} : { name });
    } catch (error) {
      throw restoreError(error);
    }
  });
};

function restoreError(error: unknown): CommandError {
  if (isRadosError(error, 'ENOENT')) {
    return new CommandError(2, 'error: image does not exist in trash', { cause: error });
  }
  if (isRadosError(error, 'EEXIST')) {
    const text =
      'error: an image with the same name already exists, try again with a different name';
    return new CommandError(17, text, { cause: error });
  }
  return commandError('restore error', error);
}

const remove: Action<IdOptions & { force?: boolean }> = async (context, args, options) => {
  const spec = idSpec(args, options);
  const { force = false } = options;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const { signal } = context;
    try {
      await context
        .progress('Removing image', options)
        .over((onProgress) => removeFromTrash(client, spec, { force, onProgress, signal }));
    } catch (error) {
      throw trashRemovalError(error);
    }
  });
};

function trashRemovalError(error: unknown): CommandError {
  if (isRadosError(error, 'EUCLEAN')) {
    return new CommandError(117, 'error: image not fully moved to trash.', { cause: error });
  }
  if (isRadosError(error, 'EPERM')) {
    const text =
      'Deferment time has not expired, please use --force if you really want to remove the image';
    return new CommandError(1, text, { cause: error });
  }
  return removalError(error, 'remove error');
}

function thresholdOf(text: string): number {
  const threshold = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isFinite(threshold)) return threshold;
  throw invalid(`'${text}' is no number`);
}

const purge: Action<GlobalOptions & { expiredBefore?: string; threshold?: number }> = async (
  context,
  [text],
  options,
) => {
  const spec = poolSpec(text, options);
  const before = options.expiredBefore;
  const expired = before === undefined ? {} : { expiredBefore: await parseDate(before) };
  const { threshold } = options;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const { signal } = context;
    const limit = threshold === undefined ? {} : { limit: usageLimit(client, threshold) };
    try {
      await context
        .progress('Removing images', options)
        .over((onProgress) =>
          purgeTrash(client, spec, { ...expired, ...limit, onProgress, signal }),
        );
    } catch (error) {
      throw purgeError(error);
    }
  });
};

const KEPT = ['ENOTEMPTY', 'EBUSY', 'EMLINK', 'EUCLEAN'];

function purgeError(error: unknown): CommandError {
  if (!isRadosError(error) || !KEPT.includes(error.code))
    return commandError('remove error', error);
  const text =
    'some expired images could not be removed\n' +
    'Ensure that they are closed/unmapped, do not have snapshots (including trashed snapshots with linked clones), ' +
    'are not in a group and were moved to the trash successfully.';
  return new CommandError(-error.errno, text, { cause: error });
}
