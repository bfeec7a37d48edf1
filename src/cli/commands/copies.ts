/** cp, deep cp, sparsify: an image's data in another image, or in less space. */

import type { Command } from 'commander';
import { copyImage, deepCopyImage } from '../../rbd/copy.js';
import type { ConnectedClient } from '../../rados/connect.js';
import { Image } from '../../rbd/image.js';
import {
  addImageArgument,
  addSnapshotArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { addProgressOptions } from '../context.js';
import { step } from '../errors.js';
import {
  addLayoutOptions,
  addSparseSizeOption,
  givenLayout,
  type LayoutOptions,
} from '../layout-options.js';
import { explainOpenFailure, openPool } from '../opening.js';
import { addDestinationOptions, type DestinationOptions, destinationSpec } from './clones.js';

export const registerCopyCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  addSparseSizeOption(addCopyOptions(program.command('cp').alias('copy')))
    .summary('Copy an image or a snapshot.')
    .action(run(copy));
  const deep = program
    .command('deep')
    .summary('Copies of images with their snapshots: cp.')
    .description('Copies of images with their snapshots.');
  addCopyOptions(deep.command('cp').alias('copy'))
    .summary('Copy an image with its snapshots.')
    .option('--flatten', 'fill a clone with the data of its parent')
    .action(run(deepCopy));
  addSparseSizeOption(addProgressOptions(addImageArgument(program.command('sparsify'))))
    .summary('Reclaim space for zeroed image extents.')
    .action(run(sparsify));
};

function addCopyOptions(command: Command): Command {
  return addProgressOptions(
    addDestinationOptions(addLayoutOptions(addSnapshotArgument(command))),
  ).argument('[dest-image-spec]', '[pool/[namespace/]]image');
}

interface CopyOptions extends DestinationOptions, LayoutOptions {
  sparseSize?: number;
  flatten?: boolean;
}

const copy: Action<CopyOptions> = (context, args, options) =>
  copying(context, args, options, {
    verb: 'Image copy',
    failure: 'copy failed',
    run: (client, from, to, how) =>
      copyImage(client, from, to, { ...how, sparseSize: options.sparseSize }),
  });

const deepCopy: Action<CopyOptions> = (context, args, options) =>
  copying(context, args, options, {
    verb: 'Image deep copy',
    failure: 'deep copy failed',
    run: (client, from, to, how) =>
      deepCopyImage(client, from, to, { ...how, flatten: options.flatten }),
  });

interface Kind {
  verb: string;
  failure: string;
  run: typeof copyImage;
}

async function copying(
  ...[context, args, options, kind]: [...Parameters<Action<CopyOptions>>, Kind]
): Promise<void> {
  const [source, afterSource] = takeArgument(args, options.image);
  const [destination, rest] = takeArgument(afterSource, options.dest);
  takeNoMore(rest);
  const from = imageSpec(source, options, { snapshot: true });
  const to = destinationSpec(destination, options);
  const { signal } = context;
  const copy = async ({ client }: ConnectedClient) => {
    await openPool(client, from);
    const at = await Image.open(client, from, { readOnly: true, signal }).catch((error: unknown) =>
      explainOpenFailure(client, from, error),
    );
    await at.close();
    await openPool(client, to);
    const copied = context
      .progress(kind.verb, options)
      .over((onProgress) =>
        kind.run(client, from, to, { layout: givenLayout(options), onProgress, signal }),
      );
    await step(kind.failure, copied);
  };
  await context.withClient(options, copy, { cleansUp: true });
}

const sparsify: Action<ImageOptions & { sparseSize?: number }> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const { sparseSize } = options;
  const { signal } = context;
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await Image.open(client, spec).catch((error: unknown) =>
      explainOpenFailure(client, spec, error),
    );
    const sparsified = context.progress('Image sparsify', options).over((onProgress) =>
      image.sparsify({
        ...(sparseSize === undefined ? {} : { sparseSize }),
        onProgress,
        signal,
      }),
    );
    await step('sparsify error', sparsified);
  });
};
