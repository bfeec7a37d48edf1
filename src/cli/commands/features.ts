/** feature, object-map: what an image can do, and which of its objects exist. */

import { dataObject } from '../../rbd/layout.js';
import { featureNames, parseFeatures } from '../../rbd/features.js';
import { findSnapshot } from '../../rbd/header.js';
import { Image } from '../../rbd/image.js';
import {
  addImageArgument,
  addSnapshotArgument,
  type Arguments,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { addProgressOptions, type CommandContext } from '../context.js';
import { CommandError, EXIT_USAGE, step } from '../errors.js';
import { openPool } from '../opening.js';

const KNOWN = featureNames(0xfffn);

export const registerFeatureCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.images);
  const feature = program
    .command('feature')
    .summary('Give an image features, or take them away.')
    .description('Give an image features, or take them away: exclusive-lock, object-map.');
  addImageArgument(feature.command('enable'))
    .summary('Enable the specified image feature.')
    .argument('[features...]', 'exclusive-lock, object-map')
    .action(run(update(true)));
  addImageArgument(feature.command('disable'))
    .summary('Disable the specified image feature.')
    .argument('[features...]', 'exclusive-lock, object-map, deep-flatten')
    .action(run(update(false)));

  const objectMap = program
    .command('object-map')
    .summary('The map of the objects that exist: check, rebuild.')
    .description('The map of the objects that exist, of an image or a snapshot.');
  addProgressOptions(addSnapshotArgument(objectMap.command('check')))
    .summary('Verify the object map is correct.')
    .action(run(check));
  addProgressOptions(addSnapshotArgument(objectMap.command('rebuild')))
    .summary('Rebuild an invalid object map.')
    .action(run(rebuild));
};

const update =
  (enabled: boolean): Action<ImageOptions> =>
  async (context, args, options) => {
    const [text, names] = takeArgument(args.flat(), options.image);
    const spec = imageSpec(text, options);
    const features = featuresOf(names);
    await context.withClient(options, async ({ client }) => {
      await openPool(client, spec);
      await using image = await step(`error opening image ${spec.name}`, Image.open(client, spec));
      const { signal } = context;
      await step(
        'failed to update image features',
        image.updateFeatures(features, enabled, { signal }),
      );
    });
  };

/** Several, or several in one argument with commas between. */
function featuresOf(words: Arguments): bigint {
  const names = words.flatMap((word) => (word === undefined ? [] : word.split(',')));
  if (names.length === 0) throw new CommandError(22, 'at least one feature name must be specified');
  const unknown = names.find((name) => !KNOWN.includes(name));
  if (unknown !== undefined) {
    throw new CommandError(EXIT_USAGE, `the argument for option is invalid ('${unknown}')`);
  }
  return parseFeatures(names);
}

const check: Action<ImageOptions> = (context, args, options) =>
  withMapped(context, args, options, async (image, snapId) => {
    const wrong: string[] = [];
    const { signal } = context;
    await step(
      'checking object map failed',
      context.progress('Object Map Check', options).over((onProgress) =>
        image.checkObjectMap(
          ({ objectNo, marked, actual }) => {
            const object = dataObject(image.objectPrefix, objectNo);
            wrong.push(
              `object map error: object ${object} marked as ${marked}, but should be ${actual}\n`,
            );
          },
          { ...snapId, onProgress, signal },
        ),
      ),
    );
    context.note(wrong.sort().join(''));
  });

const rebuild: Action<ImageOptions> = (context, args, options) =>
  withMapped(context, args, options, (image, snapId) =>
    step(
      'rebuilding object map failed',
      context
        .progress('Object Map Rebuild', options)
        .over((onProgress) =>
          image.rebuildObjectMap({ ...snapId, onProgress, signal: context.signal }),
        ),
    ),
  );

/** The image, and what tells which of its maps is meant. */
async function withMapped(
  context: CommandContext,
  args: Arguments,
  options: ImageOptions,
  action: (image: Image, snapId: { snapId?: bigint }) => Promise<void>,
): Promise<void> {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const { snap, ...spec } = imageSpec(text, options, { snapshot: true });
  await context.withClient(options, async ({ client }) => {
    await openPool(client, spec);
    await using image = await step(`error opening image ${spec.name}`, Image.open(client, spec));
    if (snap === undefined) return await action(image, {});
    const snapshot = findSnapshot(image.header, { snap });
    if (!snapshot) {
      throw new CommandError(2, 'error setting snapshot context: (2) No such file or directory');
    }
    await action(image, { snapId: snapshot.id });
  });
}
