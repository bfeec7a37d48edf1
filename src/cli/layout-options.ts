/** Options of commands that make images: how these are laid out. */

import type { Command } from 'commander';
import type { ConnectedClient } from '../rados/connect.js';
import type { CreateOptions } from '../rbd/create.js';
import { createDefaults } from '../rbd/create-defaults.js';
import { featureNames, parseFeatures } from '../rbd/features.js';
import type { CommandContext } from './context.js';
import { invalid } from './errors.js';
import { orderOf, parseSize, wholeNumber } from './sizes.js';

export interface LayoutOptions {
  order?: number;
  objectSize?: number;
  imageFeature?: string[];
  stripeUnit?: number;
  stripeCount?: number;
  dataPool?: string;
  imageShared?: boolean;
}

export function addLayoutOptions(command: Command): Command {
  return command
    .option(
      '--object-size <size>',
      'object size (4K to 32M; default: rbd_default_order, else 4M)',
      (text) => parseSize(text, 'B'),
    )
    .option('--order <order>', 'object size as a power of two (12 to 25)', (text) =>
      wholeNumber(text, 12, 25),
    )
    .option(
      '--image-feature <features>',
      'comma separated, for example layering (default: rbd_default_features)',
      collectFeatures,
    )
    .option('--image-shared', 'shared image: without what only one client at a time may use')
    .option('--stripe-unit <size>', 'bytes of one stripe, with --stripe-count', (text) =>
      parseSize(text, 'B'),
    )
    .option('--stripe-count <count>', 'objects that a stripe goes over', (text) =>
      wholeNumber(text, 1),
    )
    .option('--data-pool <pool>', 'pool for the data objects');
}

export function addSparseSizeOption(command: Command): Command {
  return command.option(
    '--sparse-size <size>',
    'leave out runs of zeroes of this size (default: 4K; 0 writes all)',
    (text) => parseSize(text, 'B'),
  );
}

function collectFeatures(text: string, before: string[] = []): string[] {
  const names = text.split(',');
  try {
    parseFeatures(names);
  } catch (error) {
    throw invalid((error as Error).message);
  }
  return [...before, ...names];
}

/** What `createImage` takes: from the layout options, and where these are silent from the configuration. */
export async function layoutOf(
  context: CommandContext,
  { client, config }: ConnectedClient,
  options: LayoutOptions,
): Promise<Omit<CreateOptions, 'size'>> {
  const configured = createDefaults(config, await client.centralConfig());
  const { leftOut, stripeUnit, stripeCount, ...defaults } = configured;
  if (options.imageFeature === undefined && leftOut !== 0n) {
    const names = featureNames(leftOut).join(', ');
    context.note(`linger: rbd_default_features: this version leaves out ${names}\n`);
  }
  const striping = {
    ...(stripeUnit === undefined ? {} : { stripeUnit }),
    ...(stripeCount === undefined ? {} : { stripeCount }),
  };
  const chosen = givenLayout(options);
  // Both or none come from one place.
  const isStriped = chosen.stripeUnit !== undefined || chosen.stripeCount !== undefined;
  return { ...defaults, ...(isStriped ? {} : striping), ...chosen };
}

/** What the layout options say, for images that take the rest from elsewhere. */
export function givenLayout(options: LayoutOptions): Partial<Omit<CreateOptions, 'size'>> {
  const { objectSize, imageFeature, stripeUnit, stripeCount, dataPool, imageShared } = options;
  const order = options.order ?? (objectSize === undefined ? undefined : orderOf(objectSize));
  return {
    ...(order === undefined ? {} : { order }),
    ...(imageFeature === undefined ? {} : { features: parseFeatures(imageFeature) }),
    ...(imageShared ? { shared: true } : {}),
    ...(stripeUnit === undefined ? {} : { stripeUnit }),
    ...(stripeCount === undefined ? {} : { stripeCount }),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}
