/** image-meta: keys and values that travel with an image. */

import type { RadosClient } from '../../rados/rados-client.js';
import { Image } from '../../rbd/image.js';
import { getImageMetadata, listImageMetadata } from '../../rbd/metadata.js';
import { type ImageHandle, openHeader } from '../../rbd/open.js';
import type { NamedImageSpec } from '../../rbd/spec.js';
import {
  addImageArgument,
  type Arguments,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import type { CommandContext } from '../context.js';
import { CommandError, step } from '../errors.js';
import { openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';

export const registerMetadataCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  const group = program
    .command('image-meta')
    .summary('Keys and values that travel with an image: list, get, set, remove.')
    .description('Keys and values that travel with an image.');
  addFormatOptions(addImageArgument(group.command('list').alias('ls')))
    .summary('List the keys of an image with their values.')
    .action(run(list));
  addImageArgument(group.command('get'))
    .summary('Show the value of a key.')
    .argument('[key]')
    .action(run(get));
  addImageArgument(group.command('set'))
    .summary('Set a key to a value.')
    .argument('[key]')
    .argument('[value]')
    .action(run(set));
  addImageArgument(group.command('remove').alias('rm'))
    .summary('Remove a key.')
    .argument('[key]')
    .action(run(remove));
};

interface Given {
  args: Arguments;
  options: ImageOptions;
  /** Of the arguments after the image, which all must be there. */
  names: readonly string[];
}

/** The image's header alone, for reading. */
const withHeader = (
  context: CommandContext,
  given: Given,
  action: (image: ImageHandle, ...values: string[]) => Promise<void>,
) =>
  withOpened(
    context,
    given,
    (client, spec) => openHeader(client, spec, { readOnly: true }),
    action,
  );

const withImage = (
  context: CommandContext,
  given: Given,
  action: (image: Image, ...values: string[]) => Promise<void>,
) =>
  withOpened(
    context,
    given,
    (client, spec) => Image.open(client, spec),
    async (opened, ...values) => {
      await using image = opened;
      await action(image, ...values);
    },
  );

async function withOpened<T>(
  context: CommandContext,
  { args, options, names }: Given,
  open: (client: RadosClient, spec: NamedImageSpec) => Promise<T>,
  action: (image: T, ...values: string[]) => Promise<void>,
): Promise<void> {
  const [text, rest] = takeArgument(args, options.image);
  const spec = imageSpec(text, options);
  const values = names.map((name, i) => {
    const value = rest[i];
    if (value === undefined) throw new CommandError(22, `metadata ${name} was not specified`);
    return value;
  });
  takeNoMore(rest.slice(names.length));
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const opening = open(client, spec);
    await action(await step(`error opening image ${spec.name}`, opening), ...values);
  });
}

const list: Action<ImageOptions & FormatOptions> = async (context, args, options) => {
  const print = async (image: ImageHandle) => {
    const metadata = await step('listing metadata failed', listImageMetadata(image));
    if (options.format === 'json') {
      // `rbd` prints nothing for no metadata, which is no JSON.
      context.print(formatJson(Object.fromEntries(metadata), options));
      return;
    }
    if (metadata.size === 0) {
      context.print('There are 0 metadata on this image.\n');
      return;
    }
    const plural = metadata.size === 1 ? 'is 1 metadatum' : `are ${metadata.size} metadata`;
    const table = formatTable(
      [
        { title: 'Key', align: 'left' },
        { title: 'Value', align: 'left' },
      ],
      [...metadata],
    );
    context.print(`There ${plural} on this image:\n\n${table}`);
  };
  await withHeader(context, { args, options, names: [] }, print);
};

const get: Action<ImageOptions> = (context, args, options) =>
  withHeader(context, { args, options, names: ['key'] }, async (image, key) => {
    const value = await step('getting metadata failed', getImageMetadata(image, key as string));
    context.print(`${value}\n`);
  });

const set: Action<ImageOptions> = (context, args, options) =>
  withImage(context, { args, options, names: ['key', 'value'] }, (image, key, value) =>
    step('setting metadata failed', image.setMetadata(key as string, value as string)),
  );

const remove: Action<ImageOptions> = (context, args, options) =>
  withImage(context, { args, options, names: ['key'] }, (image, key) =>
    step('removing metadata failed', image.removeMetadata(key as string)),
  );
