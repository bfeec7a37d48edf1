/** lock and status: who locked an image, and who has it open. */

import { isRadosError } from '../../base/errors.js';
import type { RadosClient } from '../../rados/rados-client.js';
import {
  addImageLock,
  type ImageLocks,
  listImageLocks,
  removeImageLock,
} from '../../rbd/advisory-locks.js';
import { type ImageHandle, openHeader } from '../../rbd/open.js';
import type { NamedImageSpec } from '../../rbd/spec.js';
import { listImageWatchers } from '../../rbd/watchers.js';
import {
  addImageArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import { CommandError, commandError, step } from '../errors.js';
import { openPool } from '../opening.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';

export const registerLockCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.clients);
  addFormatOptions(addImageArgument(program.command('status')))
    .summary('Show who has an image open.')
    .action(run(status));
  const group = program
    .command('lock')
    .summary('Locks on images: list, add, remove.')
    .description(
      'Locks on images, for people and scripts that agree to look at them. ' +
        "The exclusive lock of a client that has the image open is shown too, with an id of 'auto' and a number.",
    );
  addFormatOptions(addImageArgument(group.command('list').alias('ls')))
    .summary('Show the locks on an image.')
    .action(run(list));
  addImageArgument(group.command('add'))
    .summary('Take a lock on an image.')
    .argument('[lock-id]', 'a word of your own')
    .option('--shared <tag>', 'together with all who give the same tag')
    .action(run(add));
  addImageArgument(group.command('remove').alias('rm'))
    .summary('Release a lock on an image, and blocklist the client that held it.')
    .argument('[lock-id]', 'id of the lock, as listed')
    .argument('[locker]', 'client that holds it, as listed')
    .action(run(remove));
};

/** The pool, then the image, each with its own words when it is not there. */
async function open(
  client: RadosClient,
  spec: NamedImageSpec,
  { readOnly }: { readOnly: boolean },
): Promise<ImageHandle> {
  await openPool(client, spec);
  return step(`error opening image ${spec.name}`, openHeader(client, spec, { readOnly }));
}

function required(text: string | undefined, what: string): string {
  if (text === undefined) throw new CommandError(22, `${what} was not specified`);
  return text;
}

const status: Action<ImageOptions & FormatOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    const image = await open(client, spec, { readOnly: true });
    const watchers = await step('show status failed', listImageWatchers(image));
    if (options.format === 'json') {
      const entries = watchers.map(({ address, client: name, cookie }) => ({
        address,
        client: BigInt(name.slice(name.indexOf('.') + 1)),
        cookie,
      }));
      context.print(formatJson({ watchers: entries }, options));
    } else {
      const lines = watchers.map(
        ({ address, client: name, cookie }) => `\twatcher=${address} ${name} cookie=${cookie}\n`,
      );
      context.print(lines.length === 0 ? 'Watchers: none\n' : `Watchers:\n${lines.join('')}`);
    }
  });
};

const list: Action<ImageOptions & FormatOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    const image = await open(client, spec, { readOnly: true });
    const locks = await step('listing locks failed', listImageLocks(image));
    if (options.format === 'json') {
      const entries = locks.locks.map(({ id, client: locker, address }) => ({
        id,
        locker,
        address,
      }));
      context.print(formatJson(entries, options));
    } else if (locks.locks.length > 0) context.print(locksText(locks));
  });
};

function locksText({ exclusive, tag, locks }: ImageLocks): string {
  const many = locks.length !== 1;
  const kind = exclusive ? 'exclusive' : 'shared';
  const table = formatTable(
    [
      { title: 'Locker', align: 'left' },
      { title: 'ID', align: 'left' },
      { title: 'Address', align: 'left' },
    ],
    locks.map(({ client, id, address }) => [client, id, address]),
  );
  return [
    `There ${many ? 'are' : 'is'} ${locks.length} ${kind} lock${many ? 's' : ''} on this image.\n`,
    exclusive ? '' : `Lock tag: ${tag}\n`,
    table,
  ].join('');
}

const add: Action<ImageOptions & { shared?: string }> = async (context, args, options) => {
  const [text, [lockId, ...rest]] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const id = required(lockId, 'lock id');
  const { shared } = options;
  await context.withClient(options, async ({ client }) => {
    const image = await open(client, spec, { readOnly: false });
    try {
      await addImageLock(image, id, shared === undefined ? {} : { shared });
    } catch (error) {
      if (!isRadosError(error, 'EBUSY') && !isRadosError(error, 'EEXIST')) {
        throw commandError('taking lock failed', error);
      }
      const tag = shared === undefined ? '' : ' with a different tag';
      const message = `lock is already held by someone else${tag}`;
      throw new CommandError(Math.abs(error.errno), message, { cause: error });
    }
  });
};

const remove: Action<ImageOptions> = async (context, args, options) => {
  const [text, [lockId, locker, ...rest]] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  const holder = { id: required(lockId, 'lock id'), client: required(locker, 'locker') };
  await context.withClient(options, async ({ client }) => {
    const image = await open(client, spec, { readOnly: false });
    await step('releasing lock failed', removeImageLock(image, holder, client));
  });
};
