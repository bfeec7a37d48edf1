/** cluster daemon, cluster fault: asks a cluster that runs in the background, at its admin sockets. */

import type { Command } from 'commander';
import { askAdminSocket } from '../../cluster/admin/admin-socket.js';
import { adminSocketPath, CLUSTER_TARGET } from '../../cluster/admin/admin-sockets.js';
import { CLUSTER_COMMANDS } from '../../cluster/admin/cluster-commands.js';
import { OSD_COMMANDS } from '../../cluster/osd/daemon-commands.js';
import type { Action, Run } from '../command.js';
import { ClusterDirectory } from '../cluster-record.js';
import { commandError } from '../errors.js';
import type { CommandContext } from '../context.js';
import { addFormatOptions, type FormatOptions } from '../output.js';

interface AskOptions extends FormatOptions {
  dir: string;
}

const DAEMON_EXAMPLES = `
Examples:
  linger cluster daemon --dir ./ceph osd.0 help
  linger cluster daemon --dir ./ceph osd.0 dump_ops_in_flight
  linger cluster daemon --dir ./ceph osd.0 config get osd_max_write_size

The sockets are Ceph's own kind, so this asks the same:
  ceph daemon ./ceph/osd.0.asok dump_ops_in_flight
`;

const FAULT_EXAMPLES = `
Examples:
  linger cluster fault --dir ./ceph arm killOsd '{"osd": 1}'
  linger cluster fault --dir ./ceph arm failOps '{"errno": "EIO", "prefix": "rbd_data.", "times": 3}'
  linger cluster fault --dir ./ceph ls
  linger cluster fault --dir ./ceph stop 1
  linger cluster fault --dir ./ceph clear
`;

/** Adds them to the group of cluster's commands. */
export function addAskingCommands(
  group: Command,
  addDirOption: (command: Command) => Command,
  run: Run,
): void {
  addFormatOptions(addDirOption(group.command('daemon')))
    .summary('Ask an OSD what it is at, as `ceph daemon` does.')
    .argument('<name>', 'osd.0, say')
    .argument('<command...>', 'its command: help tells what there is')
    .addHelpText('after', DAEMON_EXAMPLES)
    .action(run(daemon));
  addFormatOptions(addDirOption(group.command('fault')))
    .summary('Put faults in place, show them, undo them.')
    .argument('<command...>', 'arm KIND [JSON], ls, stop ID, clear, counters, watches, clients')
    .addHelpText('after', FAULT_EXAMPLES)
    .action(run(fault));
}

const daemon: Action<AskOptions> = async (context, args, options) => {
  const [name, words] = args as unknown as [string, string[]];
  const request = parsed(() => OSD_COMMANDS.parse(words));
  await ask(context, options, name, request);
};

const fault: Action<AskOptions> = async (context, args, options) => {
  const [words] = args as unknown as [string[]];
  const request = parsed(() => CLUSTER_COMMANDS.parse(['fault', ...words]));
  await ask(context, options, CLUSTER_TARGET, request);
};

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw commandError('error', error);
  }
}

interface Request {
  prefix: string;
  args: Record<string, string>;
}

async function ask(
  context: CommandContext,
  { dir, format, prettyFormat }: AskOptions,
  name: string,
  { prefix, args }: Request,
): Promise<void> {
  const path = adminSocketPath(new ClusterDirectory(dir).path, name);
  const { network } = context.environment({});
  const isCompact = format === 'json' && !prettyFormat;
  const request = { ...args, prefix, format: isCompact ? 'json' : 'json-pretty' };
  try {
    context.print(ended(await askAdminSocket(network, path, request)));
  } catch (error) {
    throw commandError(`${name}: ${prefix}`, error);
  }
}

function ended(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
