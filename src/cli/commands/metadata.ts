/** image-meta: keys and values that travel with an image. */

import {
  getImageMetadata,
  listImageMetadata,
  removeImageMetadata,
  setImageMetadata,
} from '../../rbd/metadata.js';
import { type ImageHandle, openHeader } from '../../rbd/open.js';
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
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { openPool } from './images.js';

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

type WithImage = (image: ImageHandle) => Promise<void>;

/** The image's header, and the arguments after the image, which all must be there. */
async function withHeader(
  context: CommandContext,
  given: { args: Arguments; options: ImageOptions; names: readonly string[]; readOnly: boolean },
  action: (image: ImageHandle, ...values: string[]) => Promise<void>,
): Promise<void> {
  const { args, options, names, readOnly } = given;
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
    const opening = openHeader(client, spec, { readOnly });
    await action(await step(`error opening image ${spec.name}`, opening), ...values);
  });
}

const list: Action<ImageOptions & FormatOptions> = async (context, args, options) => {
  const print: WithImage = async (image) => {
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
  await withHeader(context, { args, options, names: [], readOnly: true }, print);
};

const get: Action<ImageOptions> = (context, args, options) =>
  withHeader(context, { args, options, names: ['key'], readOnly: true }, async (image, key) => {
    const value = await step('getting metadata failed', getImageMetadata(image, key as string));
    context.print(`${value}\n`);
  });

const set: Action<ImageOptions> = (context, args, options) =>
  withHeader(
    context,
    { args, options, names: ['key', 'value'], readOnly: false },
    (image, key, value) =>
      step('setting metadata failed', setImageMetadata(image, key as string, value as string)),
  );

const remove: Action<ImageOptions> = (context, args, options) =>
  withHeader(context, { args, options, names: ['key'], readOnly: false }, (image, key) =>
    step('removing metadata failed', removeImageMetadata(image, key as string)),
  );
