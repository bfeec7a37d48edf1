/** create, ls, info, rm, mv, resize: what is done to images without opening their data. */

import type { Command } from 'commander';
import { isRadosError } from '../../base/errors.js';
import { LOCK_TYPE } from '../../rados/cls-lock.js';
import { SNAP_NAMESPACE } from '../../rados/cls-rbd.js';
import type { RadosClient } from '../../rados/rados-client.js';
import { createImage } from '../../rbd/create.js';
import { listImages, renameImage } from '../../rbd/directory.js';
import { Image } from '../../rbd/image.js';
import { imageInfo, infoOf } from '../../rbd/info.js';
import { openHeader } from '../../rbd/open.js';
import { removeImage } from '../../rbd/remove.js';
import type { ImageSpec, NamedImageSpec } from '../../rbd/spec.js';
import { allocateSpace } from '../../rbd/thick-provision.js';
import {
  addImageArgument,
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  type PoolSpec,
  poolSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { addProgressOptions, type CommandContext, type GlobalOptions } from '../context.js';
import { CommandError, commandError, step } from '../errors.js';
import { addLayoutOptions, type LayoutOptions, layoutOf } from '../layout-options.js';
import { explainOpenFailure, openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { parseSize } from '../sizes.js';
import { infoJson, infoText, type ListedImage, longTable } from './image-output.js';

export const registerImageCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  addProgressOptions(addSizeOption(addLayoutOptions(addImageArgument(program.command('create')))))
    .summary('Create an empty image.')
    .option('--thick-provision', 'allocate all of its space now')
    .action(run(create));
  addFormatOptions(program.command('ls').alias('list'))
    .summary('List images.')
    .argument('[pool-spec]', 'pool[/namespace]')
    .option('-l, --long', 'with sizes, snapshots, parents and locks')
    .action(run(list));
  addFormatOptions(addSnapshotArgument(program.command('info')))
    .summary('Show information about an image or a snapshot.')
    .option('--image-id <id>', 'image by its id')
    .action(run(info));
  addProgressOptions(addImageArgument(program.command('rm').alias('remove')))
    .summary('Remove an image.')
    .action(run(remove));
  addImageArgument(program.command('mv').alias('rename'), 'source-image-spec')
    .summary('Rename an image within its pool.')
    .argument('[dest-image-spec]', '[pool/[namespace/]]image')
    .option('--dest <image>', 'new name, in place of the argument')
    .action(run(rename));
  addProgressOptions(addSizeOption(addImageArgument(program.command('resize'))))
    .summary('Resize (expand or shrink) an image.')
    .option('--allow-shrink', 'permit shrinking')
    .action(run(resize));
};

function addSizeOption(command: Command): Command {
  return command.option('-s, --size <size>', 'image size (B/K/M/G/T; MiB without one)', (text) =>
    parseSize(text, 'M'),
  );
}

function requireSize(size: number | undefined): number {
  if (size === undefined) throw new CommandError(22, 'must specify --size <M/G/T>');
  return size;
}

interface CreateCommandOptions extends ImageOptions, LayoutOptions {
  size?: number;
  thickProvision?: boolean;
}

const create: Action<CreateCommandOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const size = requireSize(options.size);
  await context.withClient(options, async (connected) => {
    const { client } = connected;
    await openPool(client, spec);
    const layout = await layoutOf(context, connected, options);
    await step('create error', createImage(client, spec, { size, ...layout }));
    if (options.thickProvision) {
      const provision = provisionImage(context, client, spec, options);
      await step('image created but error encountered during thick provisioning', provision);
    }
  });
};

async function provisionImage(
  context: CommandContext,
  client: RadosClient,
  spec: NamedImageSpec,
  options: GlobalOptions,
): Promise<void> {
  await using image = await Image.open(client, spec);
  await context
    .progress('Thick provisioning', options)
    .over((onProgress) => allocateSpace(image, { onProgress, signal: context.signal }));
}

const list: Action<GlobalOptions & FormatOptions & { long?: boolean }> = async (
  context,
  [text],
  options,
) => {
  const spec = poolSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, spec).catch((error: CommandError) => {
      context.note(`linger: ${error.message}\n`);
      throw new CommandError(2, 'listing images failed: (2) No such file or directory');
    });
    const entries = await step('listing images failed', listImages(ioctx));
    if (options.long) {
      const failures: CommandError[] = [];
      const images: ListedImage[] = [];
      for (const { name } of entries) {
        try {
          images.push(...(await describeImage(client, { ...spec, name })));
        } catch (error) {
          // Removed in the meantime.
          if (isRadosError(error, 'ENOENT')) continue;
          failures.push(commandError(`error opening ${name}`, error));
        }
      }
      context.print(options.format === 'json' ? formatJson(images, options) : longTable(images));
      // One image that cannot be read does not hide the others.
      for (const { message } of failures) context.note(`linger: ${message}\n`);
      if (failures[0]) throw new CommandError(failures[0].exitCode, 'listing images failed');
    } else {
      const names = entries.map(({ name }) => name);
      context.print(
        options.format === 'json'
          ? formatJson(names, options)
          : names.map((name) => `${name}\n`).join(''),
      );
    }
  });
};

/** An image and its snapshots, as lines of `ls -l`. */
async function describeImage(client: RadosClient, spec: NamedImageSpec): Promise<ListedImage[]> {
  const image = await openHeader(client, spec, { readOnly: true });
  const { id, header } = image;
  const { parent } = await infoOf(image);
  const { lockers, type } = header.lock;
  const lockType = type === LOCK_TYPE.SHARED ? 'shared' : 'exclusive';
  const origin = parent && {
    parent: {
      pool: parent.pool,
      pool_namespace: parent.poolNamespace,
      image: parent.image,
      snapshot: parent.snapshot,
    },
  };
  // Not those that were removed and stay, hidden, for their clones.
  const listed = header.snapshots.filter(({ namespace }) => namespace.type === SNAP_NAMESPACE.USER);
  return [
    {
      image: spec.name,
      id,
      size: header.size,
      ...origin,
      format: 2,
      ...(lockers.length === 0 ? {} : { lock_type: lockType }),
    },
    ...listed.map(
      (snap): ListedImage => ({
        image: spec.name,
        id,
        snapshot: snap.name,
        snapshot_id: Number(snap.id),
        size: snap.imageSize,
        ...(snap.parentOverlap > 0 ? origin : {}),
        format: 2,
        protected: snap.isProtected ? 'true' : 'false',
      }),
    ),
  ];
}

const info: Action<ImageOptions & FormatOptions & { imageId?: string }> = async (
  context,
  args,
  options,
) => {
  const byId = options.imageId;
  const [text, rest] = byId === undefined ? takeArgument(args, options.image) : [undefined, args];
  takeNoMore(rest);
  const spec: ImageSpec & PoolSpec =
    byId === undefined
      ? imageSpec(text, options, { snapshot: true })
      : { ...poolSpec(undefined, options), id: byId };
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const image = await imageInfo(client, spec).catch((error: unknown) =>
      explainOpenFailure(client, spec, error),
    );
    context.print(
      options.format === 'json' ? formatJson(infoJson(image), options) : infoText(image),
    );
  });
};

const remove: Action<ImageOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    try {
      await context
        .progress('Removing image', options)
        .over((onProgress) => removeImage(client, spec, { onProgress, signal: context.signal }));
    } catch (error) {
      throw isRadosError(error, 'EMLINK')
        ? await groupError(client, spec, error)
        : removalError(error, 'delete error', await hasClonesOnly(client, spec));
    }
  });
};

/** Whether all snapshots of an image are those that were removed and stay, hidden, for their clones. */
async function hasClonesOnly(client: RadosClient, spec: NamedImageSpec): Promise<boolean> {
  const image = await openHeader(client, spec, { readOnly: true }).catch(() => undefined);
  const snapshots = image?.header.snapshots ?? [];
  return snapshots.length > 0 && snapshots.every(({ namespace }) => namespace.type === 'trash');
}

async function groupError(
  client: RadosClient,
  spec: NamedImageSpec,
  cause: unknown,
): Promise<CommandError> {
  const { group } = await imageInfo(client, spec).catch(() => ({ group: undefined }));
  const text = `error: image belongs to a group ${group ?? ''}\nRemove the image from the group and try again.`;
  return new CommandError(31, text, { cause });
}

export function removalError(error: unknown, what: string, hasClones = false): CommandError {
  if (isRadosError(error, 'ENOTEMPTY') && hasClones) {
    return new CommandError(
      39,
      'image has snapshots with linked clones - these must be deleted or flattened before the image can be removed.',
      { cause: error },
    );
  }
  if (isRadosError(error, 'ENOTEMPTY')) {
    return new CommandError(
      39,
      "image has snapshots - these must be deleted with 'rbd snap purge' before the image can be removed.",
      { cause: error },
    );
  }
  if (isRadosError(error, 'EBUSY')) {
    return new CommandError(
      16,
      'error: image still has watchers\nThis means the image is still open or the client using it crashed. Try again after closing/unmapping it or waiting 30s for the crashed client to timeout.',
      { cause: error },
    );
  }
  if (isRadosError(error, 'EMLINK')) {
    return new CommandError(31, 'Remove the image from the group and try again.', { cause: error });
  }
  return commandError(what, error);
}

const rename: Action<ImageOptions & { dest?: string }> = async (context, args, options) => {
  const [from, afterSource] = takeArgument(args, options.image);
  const source = imageSpec(from, options);
  const [to, rest] = takeArgument(afterSource, options.dest);
  takeNoMore(rest);
  // The new name is within the image's own pool and namespace unless it says otherwise.
  const place = { ...options, pool: source.pool, namespace: source.namespace };
  const target = imageSpec(to, place, { which: 'destination ' });
  if (source.pool !== target.pool) throw acrossError('pool', source.pool, target.pool);
  if (source.namespace !== target.namespace)
    throw acrossError('namespace', source.namespace, target.namespace);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, source);
    await step('rename error', renameImage(ioctx, source.name, target.name));
  });
};

function acrossError(what: string, from: string, to: string): CommandError {
  return new CommandError(
    22,
    `mv/rename across ${what}s not supported\nsource ${what}: ${from} dest ${what}: ${to}`,
  );
}

const resize: Action<ImageOptions & { size?: number; allowShrink?: boolean }> = async (
  context,
  args,
  options,
) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const size = requireSize(options.size);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await step(`error opening image ${spec.name}`, Image.open(client, spec));
    if (size === image.size) throw new CommandError(22, 'new size is equal to original size ');
    if (size < image.size && !options.allowShrink) {
      throw new CommandError(22, 'shrinking an image is only allowed with the --allow-shrink flag');
    }
    const { signal } = context;
    const resized = context
      .progress('Resizing image', options)
      .over((onProgress) => image.resize(size, { allowShrink: true, onProgress, signal }));
    await step('resize error', resized);
  });
};
