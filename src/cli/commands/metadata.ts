/** image-meta: keys and values that travel with an image. */

import { openHeader } from '../../rbd/open.js';
import {
  getImageMetadata,
  listImageMetadata,
  removeImageMetadata,
  setImageMetadata,
} from '../../rbd/metadata.js';
import { addImageOptions, type CommandContext, type GlobalOptions } from '../context.js';
import { step } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import type { Register } from '../program.js';

export const registerMetadataCommands: Register = (program, run) => {
  const group = program.command('image-meta').summary('Keys and values that travel with an image.');
  addFormatOptions(addImageOptions(group.command('list').alias('ls')))
    .summary('List the metadata of an image.')
    .argument('[image-spec]')
    .action(run(list));
  addImageOptions(group.command('get'))
    .summary('Show the value of a key.')
    .argument('<image-spec>')
    .argument('<key>')
    .action(run(get));
  addImageOptions(group.command('set'))
    .summary('Set a key to a value.')
    .argument('<image-spec>')
    .argument('<key>')
    .argument('<value>')
    .action(run(set));
  addImageOptions(group.command('remove').alias('rm'))
    .summary('Remove a key.')
    .argument('<image-spec>')
    .argument('<key>')
    .action(run(remove));
};

function withHeader(
  context: CommandContext,
  specText: string | undefined,
  options: GlobalOptions,
  readOnly: boolean,
  action: (image: Awaited<ReturnType<typeof openHeader>>) => Promise<void>,
): Promise<void> {
  const spec = context.imageSpec(specText, options);
  return context.withClient(options, async ({ client }) =>
    action(await step(`error opening image ${spec.name}`, openHeader(client, spec, { readOnly }))),
  );
}

async function list(
  context: CommandContext,
  [specText]: [string | undefined],
  options: GlobalOptions & FormatOptions,
): Promise<void> {
  await withHeader(context, specText, options, true, async (image) => {
    const metadata = await step('listing metadata failed', listImageMetadata(image));
    if (options.format === 'json') {
      context.print(formatJson(Object.fromEntries(metadata), options));
      return;
    }
    if (metadata.size === 0) return;
    const plural = metadata.size === 1 ? 'is 1 metadatum' : `are ${metadata.size} metadata`;
    const table = formatTable(
      [
        { title: 'Key', align: 'left' },
        { title: 'Value', align: 'left' },
      ],
      [...metadata],
    );
    context.print(`There ${plural} on this image:\n\n${table}`);
  });
}

async function get(
  context: CommandContext,
  [specText, key]: [string, string],
  options: GlobalOptions,
): Promise<void> {
  await withHeader(context, specText, options, true, async (image) => {
    context.print(`${await step('getting metadata failed', getImageMetadata(image, key))}\n`);
  });
}

async function set(
  context: CommandContext,
  [specText, key, value]: [string, string, string],
  options: GlobalOptions,
): Promise<void> {
  await withHeader(context, specText, options, false, (image) =>
    step('setting metadata failed', setImageMetadata(image, key, value)),
  );
}

async function remove(
  context: CommandContext,
  [specText, key]: [string, string],
  options: GlobalOptions,
): Promise<void> {
  await withHeader(context, specText, options, false, (image) =>
    step('removing metadata failed', removeImageMetadata(image, key)),
  );
}
