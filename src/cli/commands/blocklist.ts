/** blocklist: clients that no OSD takes anything from, as `ceph osd blocklist` has them. */

import { addToBlocklist, listBlocklist, removeFromBlocklist } from '../../rados/blocklist.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import type { GlobalOptions } from '../context.js';
import { CommandError, invalid, step } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';

export const registerBlocklistCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.clients);
  const group = program
    .command('blocklist')
    .summary('Clients that are kept out of the cluster: list, add, remove.')
    .description(
      'Clients that are kept out of the cluster: whatever they still send to an OSD fails. ' +
        'A client is named by its address and nonce, as in the lists of locks and watchers.',
    );
  addFormatOptions(group.command('list').alias('ls'))
    .summary('List clients, and until when they are kept out.')
    .action(run(list));
  group
    .command('add')
    .summary('Keep a client out.')
    .argument('[address]', 'for example 10.0.0.5:0/3141592')
    .argument('[expire]', 'for so many seconds (default: an hour)', seconds)
    .action(run(add));
  group
    .command('remove')
    .alias('rm')
    .summary('Let a client in again.')
    .argument('[address]', 'as listed')
    .action(run(remove));
};

function seconds(text: string): string {
  if (!/^\d+(\.\d+)?$/.test(text)) throw invalid(`'${text}' is no number of seconds`);
  return text;
}

function requireAddress(text: string | undefined): string {
  if (text === undefined) throw new CommandError(22, 'client address was not specified');
  return text;
}

const list: Action<GlobalOptions & FormatOptions> = async (context, _args, options) => {
  await context.withClient(options, async ({ client }) => {
    const entries = await step('listing the blocklist failed', listBlocklist(client));
    context.print(
      options.format === 'json'
        ? formatJson(entries, options)
        : entries.map(({ addr, until }) => `${addr} ${until}\n`).join(''),
    );
  });
};

const add: Action<GlobalOptions> = async (context, [address, expire], options) => {
  const addr = requireAddress(address);
  const expireS = expire === undefined ? undefined : Number(expire);
  await context.withClient(options, async ({ client }) => {
    const adding = addToBlocklist(client, addr, expireS);
    context.note(`${await step('blocklisting failed', adding)}\n`);
  });
};

const remove: Action<GlobalOptions> = async (context, [address], options) => {
  const addr = requireAddress(address);
  await context.withClient(options, async ({ client }) => {
    const removing = removeFromBlocklist(client, addr);
    context.note(`${await step('un-blocklisting failed', removing)}\n`);
  });
};
