/** create, ls, info, rm, mv, resize: what is done to images without opening their data. */

import type { Command } from 'commander';
import { isRadosError } from '../../base/errors.js';
import { LOCK_TYPE } from '../../rados/cls-lock.js';
import type { RadosClient } from '../../rados/rados-client.js';
import { createImage } from '../../rbd/create.js';
import { listImages, renameImage } from '../../rbd/directory.js';
import { parseFeatures } from '../../rbd/features.js';
import { Image } from '../../rbd/image.js';
import { type ImageInfo, imageInfo } from '../../rbd/info.js';
import { openHeader } from '../../rbd/open.js';
import { removeImage } from '../../rbd/remove.js';
import {
  addImageOptions,
  addPoolOptions,
  addProgressOptions,
  type CommandContext,
  type GlobalOptions,
} from '../context.js';
import { CommandError, commandError, step } from '../errors.js';
import {
  addFormatOptions,
  type FormatOptions,
  formatJson,
  formatTable,
  formatTime,
} from '../output.js';
import type { Register } from '../program.js';
import { formatSize, orderOf, parseSize } from '../sizes.js';

export interface LayoutOptions {
  order?: number;
  objectSize?: number;
  imageFeature?: string[];
  stripeUnit?: number;
  stripeCount?: number;
  dataPool?: string;
}

export function addLayoutOptions(command: Command): Command {
  return command
    .option('--object-size <size>', 'object size', (text) => parseSize(text, 'B'))
    .option('--order <order>', 'object size as a power of two', Number)
    .option(
      '--image-feature <features>',
      'layering, striping, data-pool (comma separated)',
      collect,
    )
    .option('--stripe-unit <size>', 'stripe unit', (text) => parseSize(text, 'B'))
    .option('--stripe-count <count>', 'stripe count', Number)
    .option('--data-pool <pool>', 'pool for the data objects');
}

const collect = (text: string, before: string[] = []) => [...before, ...text.split(',')];

/** What `createImage` takes, from the layout options. */
export function layoutOf(options: LayoutOptions) {
  const { objectSize, imageFeature, stripeUnit, stripeCount, dataPool } = options;
  const order = options.order ?? (objectSize === undefined ? undefined : orderOf(objectSize));
  return {
    ...(order === undefined ? {} : { order }),
    ...(imageFeature === undefined ? {} : { features: parseFeatures(imageFeature) }),
    ...(stripeUnit === undefined ? {} : { stripeUnit }),
    ...(stripeCount === undefined ? {} : { stripeCount }),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}

export const registerImageCommands: Register = (program, run) => {
  addLayoutOptions(addImageOptions(program.command('create')))
    .summary('Create an empty image.')
    .argument('[image-spec]', '[pool/[namespace/]]image')
    .requiredOption('-s, --size <size>', 'image size (in M/G/T; MiB without a suffix)', (text) =>
      parseSize(text, 'M'),
    )
    .action(run(create));
  addFormatOptions(addPoolOptions(program.command('ls').alias('list')))
    .summary('List images.')
    .argument('[pool-spec]', 'pool[/namespace]')
    .option('-l, --long', 'long listing')
    .action(run(list));
  addFormatOptions(addImageOptions(program.command('info')))
    .summary('Show information about an image or a snapshot.')
    .argument('[image-spec]', '[pool/[namespace/]]image[@snap]')
    .option('--image-id <id>', 'image by its id')
    .action(run(info));
  addProgressOptions(addImageOptions(program.command('rm').alias('remove')))
    .summary('Remove an image.')
    .argument('[image-spec]', '[pool/[namespace/]]image')
    .action(run(remove));
  addImageOptions(program.command('mv').alias('rename'))
    .summary('Rename an image within its pool.')
    .argument('<source-image-spec>')
    .argument('<dest-image-spec>')
    .action(run(rename));
  addProgressOptions(addImageOptions(program.command('resize')))
    .summary('Resize (expand or shrink) an image.')
    .argument('[image-spec]', '[pool/[namespace/]]image')
    .requiredOption('-s, --size <size>', 'image size (in M/G/T; MiB without a suffix)', (text) =>
      parseSize(text, 'M'),
    )
    .option('--allow-shrink', 'permit shrinking')
    .action(run(resize));
};

async function create(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & LayoutOptions & { size: number },
): Promise<void> {
  const spec = context.imageSpec(specText, options);
  await context.withClient(options, ({ client }) =>
    step('create error', createImage(client, spec, { size: options.size, ...layoutOf(options) })),
  );
}

async function list(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & FormatOptions & { long?: boolean },
): Promise<void> {
  const { pool, namespace } = context.poolSpec(specText, options);
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, pool, namespace);
    const entries = await step('listing images failed', listImages(ioctx));
    const names = entries.map(({ name }) => name);
    if (options.long) {
      const images = await step(
        'listing images failed',
        longEntries(client, pool, namespace, names),
      );
      context.print(options.format === 'json' ? formatJson(images, options) : longTable(images));
    } else {
      context.print(
        options.format === 'json'
          ? formatJson(names, options)
          : names.map((name) => `${name}\n`).join(''),
      );
    }
  });
}

/** An entry of `ls -l`, in the order of `rbd`'s JSON. */
interface LongEntry {
  image: string;
  id: string;
  snapshot?: string;
  snapshot_id?: number;
  size: number;
  parent?: { pool: string; pool_namespace: string; image: string; snapshot: string };
  format: 2;
  protected?: string;
  lock_type?: string;
}

async function longEntries(
  client: RadosClient,
  pool: string,
  namespace: string,
  names: string[],
): Promise<LongEntry[]> {
  const entries: LongEntry[] = [];
  for (const name of names) {
    const spec = { pool, namespace, name };
    const { id, header } = await openHeader(client, spec, { readOnly: true });
    const { parent } = await imageInfo(client, spec);
    const lockType = header.lock.lockers.length === 0 ? undefined : header.lock.type;
    const origin = parent && {
      parent: {
        pool: parent.pool,
        pool_namespace: parent.poolNamespace,
        image: parent.image,
        snapshot: parent.snapshot,
      },
    };
    entries.push({
      image: name,
      id,
      size: header.size,
      ...origin,
      format: 2,
      ...(lockType === undefined
        ? {}
        : { lock_type: lockType === LOCK_TYPE.SHARED ? 'shared' : 'exclusive' }),
    });
    for (const snap of header.snapshots) {
      entries.push({
        image: name,
        id,
        snapshot: snap.name,
        snapshot_id: Number(snap.id),
        size: snap.imageSize,
        ...(snap.parentOverlap > 0 ? origin : {}),
        format: 2,
        protected: String(snap.isProtected),
      });
    }
  }
  return entries;
}

function longTable(entries: readonly LongEntry[]): string {
  if (entries.length === 0) return '';
  return formatTable(
    [
      { title: 'NAME', align: 'left' },
      { title: 'SIZE', align: 'right' },
      { title: 'PARENT', align: 'left' },
      { title: 'FMT', align: 'right' },
      { title: 'PROT', align: 'left' },
      { title: 'LOCK', align: 'left' },
    ],
    entries.map((entry) => {
      const { parent } = entry;
      const from =
        parent &&
        [parent.pool, parent.pool_namespace, parent.image].filter((part) => part !== '').join('/');
      return [
        entry.snapshot === undefined ? entry.image : `${entry.image}@${entry.snapshot}`,
        formatSize(entry.size),
        parent ? `${from}@${parent.snapshot}` : '',
        '2',
        entry.protected === 'true' ? 'yes' : '',
        entry.lock_type === 'exclusive' ? 'excl' : entry.lock_type === 'shared' ? 'shr' : '',
      ];
    }),
  );
}

async function info(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & FormatOptions & { imageId?: string },
): Promise<void> {
  const spec =
    options.imageId === undefined
      ? context.imageSpec(specText, options)
      : { ...context.poolSpec(undefined, options), id: options.imageId };
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec.pool, spec.namespace);
    const label = 'name' in spec ? spec.name : spec.id;
    const image = await step(`error opening image ${label}`, imageInfo(client, spec));
    const snap = 'snap' in spec ? spec.snap : undefined;
    context.print(
      options.format === 'json' ? formatJson(infoJson(image), options) : infoText(image, snap),
    );
  });
}

/** The fields of `rbd info --format json`, in its order. */
export function infoJson(image: ImageInfo): Record<string, unknown> {
  return {
    ...(image.name === undefined ? {} : { name: image.name }),
    id: image.id,
    size: image.size,
    objects: image.objects,
    order: image.order,
    object_size: image.objectSize,
    snapshot_count: image.snapshotCount,
    ...(image.dataPool === undefined ? {} : { data_pool: image.dataPool }),
    block_name_prefix: image.blockNamePrefix,
    format: image.format,
    features: image.features,
    op_features: image.opFeatures,
    flags: image.flags,
    create_timestamp: formatTime(image.createTimestamp),
    access_timestamp: formatTime(image.accessTimestamp),
    modify_timestamp: formatTime(image.modifyTimestamp),
    ...(image.protected === undefined ? {} : { protected: String(image.protected) }),
    ...(image.snapshotLimit === undefined ? {} : { snapshot_limit: image.snapshotLimit }),
    ...(image.parent === undefined
      ? {}
      : {
          parent: {
            pool: image.parent.pool,
            pool_namespace: image.parent.poolNamespace,
            image: image.parent.image,
            id: image.parent.id,
            snapshot: image.parent.snapshot,
            trash: image.parent.trash,
            overlap: image.parent.overlap,
          },
        }),
    ...(image.stripeUnit === undefined
      ? {}
      : { stripe_unit: image.stripeUnit, stripe_count: image.stripeCount }),
  };
}

function infoText(image: ImageInfo, snap: string | undefined): string {
  const name = `${image.name ?? ''}${snap === undefined ? '' : `@${snap}`}`;
  const { parent } = image;
  const lines = [
    `size ${formatSize(image.size)} in ${image.objects} objects`,
    `order ${image.order} (${formatSize(image.objectSize)} objects)`,
    `snapshot_count: ${image.snapshotCount}`,
    `id: ${image.id}`,
    ...(image.dataPool === undefined ? [] : [`data_pool: ${image.dataPool}`]),
    `block_name_prefix: ${image.blockNamePrefix}`,
    `format: ${image.format}`,
    `features: ${image.features.join(', ')}`,
    `op_features: ${image.opFeatures.join(', ')}`,
    `flags: ${image.flags.join(', ')}`,
    `create_timestamp: ${formatTime(image.createTimestamp)}`,
    `access_timestamp: ${formatTime(image.accessTimestamp)}`,
    `modify_timestamp: ${formatTime(image.modifyTimestamp)}`,
    ...(image.protected === undefined ? [] : [`protected: ${image.protected ? 'True' : 'False'}`]),
    ...(image.snapshotLimit === undefined ? [] : [`snapshot_limit: ${image.snapshotLimit}`]),
    ...(parent === undefined
      ? []
      : [
          `parent: ${[parent.pool, parent.poolNamespace, parent.image].filter((part) => part !== '').join('/')}@${parent.snapshot}`,
          `overlap: ${formatSize(parent.overlap)}`,
        ]),
    ...(image.stripeUnit === undefined
      ? []
      : [`stripe unit: ${formatSize(image.stripeUnit)}`, `stripe count: ${image.stripeCount}`]),
  ];
  return `rbd image '${name}':\n${lines.map((line) => `\t${line}\n`).join('')}`;
}

async function remove(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions,
): Promise<void> {
  const spec = context.imageSpec(specText, options);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec.pool, spec.namespace);
    try {
      await context
        .progress('Removing image', options)
        .over((onProgress) => removeImage(client, spec, { onProgress, signal: context.signal }));
    } catch (error) {
      throw removalError(error);
    }
  });
}

function removalError(error: unknown): CommandError {
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
  return commandError('delete error', error);
}

async function rename(
  context: CommandContext,
  [from, to]: [string, string],
  options: GlobalOptions,
): Promise<void> {
  const source = context.imageSpec(from, options);
  const target = context.imageSpec(to, {
    ...options,
    pool: source.pool,
    namespace: source.namespace,
  });
  if (source.pool !== target.pool || source.namespace !== target.namespace) {
    throw new CommandError(22, 'mv/rename across pools not supported');
  }
  await context.withClient(options, async ({ client }) => {
    const ioctx = await openPool(client, source.pool, source.namespace);
    await step('rename error', renameImage(ioctx, source.name, target.name));
  });
}

async function resize(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & { size: number; allowShrink?: boolean },
): Promise<void> {
  const spec = context.imageSpec(specText, options);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec.pool, spec.namespace);
    await using image = await step(`error opening image ${spec.name}`, Image.open(client, spec));
    if (options.size < image.size && !options.allowShrink) {
      throw new CommandError(22, 'shrinking an image is only allowed with the --allow-shrink flag');
    }
    const resized = context
      .progress('Resizing image', options)
      .over((onProgress) =>
        image.resize(options.size, { allowShrink: true, onProgress, signal: context.signal }),
      );
    await step('resize error', resized);
  });
}

export function openPool(client: RadosClient, pool: string, namespace = '') {
  return step(`error opening pool '${pool}'`, client.ioctx(pool, namespace));
}
