/** watch: what the clients of an image tell each other, as it happens. */

import type { WatchHandler } from '../../osd-client/watch-types.js';
import { headerObject } from '../../rbd/names.js';
import { decodeNotifyPayload } from '../../rbd/notify-payloads.js';
import { openHeader } from '../../rbd/open.js';
import {
  addImageArgument,
  type ImageOptions,
  imageSpec,
  takeArgument,
  takeNoMore,
} from '../arguments.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import type { CommandContext } from '../context.js';
import { step } from '../errors.js';

export const registerWatchCommand: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.clients);
  addImageArgument(program.command('watch'))
    .summary('Show the notifications of an image until Enter is pressed.')
    .action(run(watch));
};

const watch: Action<ImageOptions> = async (context, args, options) => {
  const [text, rest] = takeArgument(args, options.image);
  takeNoMore(rest);
  const spec = imageSpec(text, options);
  await context.withClient(options, async ({ client }) => {
    const opening = openHeader(client, spec, { readOnly: true });
    const { id, ioctx } = await step(`error opening image ${spec.name}`, opening);
    const show = (line: string) => context.print(`${spec.name} ${line}\n`);
    const watching = await step(
      'watch failed',
      ioctx.watch(headerObject(id), printer(show), { signal: context.signal }),
    );
    try {
      context.print('press enter to exit...\n');
      await enterPressed(context);
    } finally {
      await watching.close();
    }
  });
};

/** One line for each notification, in rbd's words. Nothing is answered but that it came. */
function printer(show: (line: string) => void): WatchHandler {
  return {
    onNotify({ notifyId, cookie, notifierGid, payload }) {
      const fields = [
        `notify_id=${notifyId}`,
        `cookie=${cookie}`,
        `notifier_id=${notifierGid}`,
        `bl.length=${payload.length}`,
        ...operation(payload),
      ];
      show(`received notification: ${fields.join(', ')}`);
      return undefined;
    },
    onLost: ({ message }) => show(`received error: ${message}`),
    onFailed: ({ message }) => show(`received error: ${message}`),
    onReregistered: () => Promise.resolve(),
    onStale: () => {},
  };
}

function operation(payload: Uint8Array): string[] {
  try {
    const decoded = decodeNotifyPayload(payload);
    const name =
      decoded.op === 'unknown'
        ? `Unknown (${decoded.code})`
        : `${decoded.op.charAt(0).toUpperCase()}${decoded.op.slice(1)}`;
    return [`notify_op=${name}`];
  } catch {
    return [];
  }
}

/** Or the end of the input, or Ctrl-C, which is not its own end here. */
function enterPressed({ streams: { stdin }, signal }: CommandContext): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      // Paused, an input that stays open would keep the process.
      stdin.off('data', onData).off('end', onEnd).destroy();
      signal.removeEventListener('abort', onAbort);
    };
    const onEnd = () => {
      done();
      resolve();
    };
    const onData = (chunk: Buffer | string) => {
      if (String(chunk).includes('\n')) onEnd();
    };
    const onAbort = () => {
      done();
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    stdin.on('data', onData).on('end', onEnd);
  });
}
