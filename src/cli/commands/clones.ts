/** clone, children, flatten: images that show the bytes of another one's snapshot. */

import type { Command } from 'commander';
import { isRadosError } from '../../base/errors.js';
import { type ChildImage, listChildren } from '../../rbd/children.js';
import { cloneImage } from '../../rbd/clone.js';
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
import { CommandError, invalid, step } from '../errors.js';
import { addLayoutOptions, givenLayout, type LayoutOptions } from '../layout-options.js';
import { explainOpenFailure, openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { wholeNumber } from '../sizes.js';

export const registerCloneCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  addDestinationOptions(addLayoutOptions(program.command('clone')))
    .summary('Clone a snapshot into a copy-on-write child image.')
    .argument('[source-snap-spec]', '[pool/[namespace/]]image@snap')
    .argument('[dest-image-spec]', '[pool/[namespace/]]image')
    .option('--image <image>', 'source image')
    .option('--snap <snap>', 'source snapshot')
    .option('--rbd-default-clone-format <format>', '1, 2 or auto', cloneFormat)
    .action(run(clone));
  addFormatOptions(addSnapshotArgument(program.command('children')))
    .summary('Display children of an image or its snapshot.')
    .option('--snap-id <id>', 'snapshot by its id', (text) => wholeNumber(text, 0))
    .option('-a, --all', 'those in the trash too')
    .option('--descendants', 'the children of children too')
    .action(run(children));
  addProgressOptions(addImageArgument(program.command('flatten')))
    .summary('Fill clone with parent data (make it independent).')
    .action(run(flatten));
};

export function addDestinationOptions(command: Command): Command {
  return command
    .option('--dest-pool <pool>', 'destination pool')
    .option('--dest-namespace <namespace>', 'destination namespace')
    .option('--dest <image>', 'destination image, in place of the argument');
}

function cloneFormat(text: string): 1 | 2 | 'auto' {
  if (text === 'auto') return text;
  if (text === '1' || text === '2') return Number(text) as 1 | 2;
  throw invalid('must be 1, 2 or auto');
}

export interface DestinationOptions extends ImageOptions {
  destPool?: string;
  destNamespace?: string;
  dest?: string;
}

/** The destination's pool and namespace are its own, not those of the source. */
export function destinationSpec(text: string | undefined, options: DestinationOptions) {
  const { pool: _, namespace: __, image: ___, snap: ____, ...rest } = options;
  const { destPool, destNamespace } = options;
  const own = {
    ...(destPool === undefined ? {} : { pool: destPool }),
    ...(destNamespace === undefined ? {} : { namespace: destNamespace }),
  };
  return imageSpec(text, { ...rest, ...own }, { which: 'destination ' });
}

interface CloneCommandOptions extends DestinationOptions, LayoutOptions {
  rbdDefaultCloneFormat?: 1 | 2 | 'auto';
}

const clone: Action<CloneCommandOptions> = async (context, args, options) => {
  const [source, afterSource] = takeArgument(args, options.image);
  const [destination, rest] = takeArgument(afterSource, options.dest);
  takeNoMore(rest);
  const parent = imageSpec(source, options, { snapshot: true });
  if (parent.snap === undefined) throw new CommandError(22, 'snapshot name was not specified');
  const child = destinationSpec(destination, options);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, parent);
    await openPool(client, child);
    const format = options.rbdDefaultCloneFormat ?? 'auto';
    const cloned = cloneImage(client, parent, child, { ...givenLayout(options), format });
    await step(
      'clone error',
      cloned.catch((error: unknown) => {
        if (!isRadosError(error, 'EXDEV')) throw error;
        throw new CommandError(18, 'clone v2 required for cross-namespace clones.');
      }),
    );
  });
};

interface ChildrenCommandOptions extends ImageOptions, FormatOptions {
  snapId?: number;
  all?: boolean;
  descendants?: boolean;
}

const children: Action<ChildrenCommandOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const { snapId, all = false, descendants = false } = options;
  const spec = {
    ...imageSpec(text, options, { snapshot: true }),
    ...(snapId === undefined ? {} : { snapId: BigInt(snapId) }),
  };
  if (spec.snap !== undefined && snapId !== undefined) {
    throw new CommandError(22, 'trying to access snapshot using both name and id.');
  }
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    const found = await listChildren(client, spec, { descendants }).catch((error: unknown) =>
      explainOpenFailure(client, spec, error, 'snapshot does not exist.'),
    );
    const shown = found.filter(({ trash }) => all || !trash);
    context.print(
      options.format === 'json'
        ? formatJson(
            shown.map((child) => childJson(child, all)),
            options,
          )
        : shown.map((child) => `${childText(child)}\n`).join(''),
    );
  });
};

function childJson({ pool, poolNamespace, image, id, trash }: ChildImage, all: boolean) {
  const child = { pool, pool_namespace: poolNamespace, image: image ?? '' };
  return all ? { ...child, id, trash } : child;
}

function childText({ pool, poolNamespace, image, id, trash }: ChildImage): string {
  const place = poolNamespace === '' ? pool : `${pool}/${poolNamespace}`;
  return `${place}/${image ?? '(child missing name)'}${trash ? ` (trash ${id})` : ''}`;
}

const flatten: Action<ImageOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await step(`error opening image ${spec.name}`, Image.open(client, spec));
    await step(
      'flatten error',
      context
        .progress('Image flatten', options)
        .over((onProgress) => image.flatten({ onProgress, signal: context.signal })),
    );
  });
};
