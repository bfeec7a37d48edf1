/** cluster: the embedded cluster as a process of its own. */

import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { sleep } from '../../base/environment.js';
import type { LogLevel } from '../../base/log.js';
import {
  isLoopback,
  isWildcard,
  LIMITS,
  PIPELINE_MODES,
  type PipelineMode,
} from '../../cluster/settings.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import {
  type ClusterStart,
  serveAsChild,
  serveCluster,
  startInBackground,
} from '../cluster-process.js';
import { isRunning } from '../../base/node-process.js';
import { ClusterDirectory, type ClusterRecord } from '../cluster-record.js';
import type { CommandContext } from '../context.js';
import { addAskingCommands } from './cluster-daemon.js';
import { CommandError, commandError } from '../errors.js';
import { addFormatOptions, type FormatOptions, formatJson } from '../output.js';
import { wholeNumber } from '../sizes.js';

const EXAMPLES = `
Examples:
  linger cluster start --dir ./ceph
  ceph -c ./ceph/ceph.conf -s
  rbd -c ./ceph/ceph.conf create vm1 --size 10G
  linger -c ./ceph/ceph.conf info vm1
  linger cluster stop --dir ./ceph

The data live in memory, and are gone when the cluster stops. In a directory they stay:
  linger cluster start --data ./ceph
`;

interface StartOptions extends FormatOptions {
  dir?: string;
  data?: string;
  osds?: number;
  size?: number;
  host: string;
  advertise?: string;
  port?: number;
  auth?: 'cephx' | 'none';
  pools: string;
  pipelineMode?: PipelineMode;
  memory?: boolean;
  foreground?: boolean;
  child?: boolean;
  logLevel?: LogLevel;
}

interface DirOptions extends FormatOptions {
  dir: string;
}

export const registerClusterCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.cluster);
  const group = program
    .command('cluster')
    .summary('A Ceph cluster in one process: start, status, stop.')
    .description(
      'A Ceph cluster in one process: a monitor and several OSDs that speak the real protocol and keep their data in memory, or in a directory.',
    )
    .addHelpText('after', EXAMPLES);
  addFormatOptions(group.command('start').option('--dir <dir>', `${DIR_HELP} (default: --data's)`))
    .summary('Start a cluster; returns when it is ready.')
    .option('--data <dir>', 'keep everything in this directory, and go on with what is there')
    .option('--memory', 'keep everything in memory, which is the default')
    .option('--osds <count>', 'OSDs (default: 3, or as many as there are)', (text) =>
      wholeNumber(text, 1, LIMITS.osds),
    )
    .option('--size <copies>', 'copies of every object (default: 2, or 1 of 1 OSD)', (text) =>
      wholeNumber(text, 1, LIMITS.size),
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--advertise <address>', 'address at which clients reach it (default: --host)')
    .option('--port <port>', "the monitor's port (default: a free one)", (text) =>
      wholeNumber(text, 0, 65535),
    )
    .addOption(
      new Option('--auth <method>', 'how clients prove who they are (default: cephx)').choices([
        'cephx',
        'none',
      ]),
    )
    .option('--pools <names>', 'pools to begin with, comma separated', 'rbd')
    .addOption(
      new Option('--pipeline-mode <mode>', 'how OSDs order requests (default: object)').choices(
        PIPELINE_MODES,
      ),
    )
    .option('--foreground', 'stay, and stop with Ctrl-C')
    .addOption(new Option('--child').hideHelp())
    .addHelpText('after', EXAMPLES)
    .action(run(start));
  addFormatOptions(addDirOption(group.command('status')))
    .summary('Show whether a cluster runs, and how it is.')
    .action(run(status));
  addDirOption(group.command('stop'))
    .summary('Stop a cluster; returns when it is gone, with what it had in memory.')
    .action(run(stop));
  addAskingCommands(group, addDirOption, run);
};

const DIR_HELP = 'where its ceph.conf and keyring are';

function addDirOption(command: Command): Command {
  return command.requiredOption('--dir <dir>', DIR_HELP);
}

const start: Action<StartOptions> = async (context, _, options) => {
  const dir = options.dir ?? options.data;
  if (dir === undefined) throw new CommandError(22, 'either --dir or --data is needed');
  const directory = new ClusterDirectory(dir);
  const settings = startOf(options);
  if (options.child) {
    await serveAsChild(context, directory, settings);
    return;
  }
  const announce = (record: ClusterRecord) => {
    const json = options.format === 'json';
    const text = () => announcement(record, { ...options, dir });
    context.print(json ? formatJson(publicRecord(record), options) : text());
  };
  if (options.foreground) await serveCluster(context, directory, settings, announce);
  else {
    announce(await startInBackground(context, directory, commandLine(directory, settings)));
    // What the process itself said of it is in its log.
    const { host } = settings;
    if (!isLoopback(host)) context.note(`warning: it listens on ${host}, beyond this machine\n`);
  }
};

/** Everything decided, and what could not work refused before a process is started. */
function startOf(options: StartOptions): ClusterStart {
  const { osds, size, host, advertise, port = 0, auth } = options;
  if (options.memory && options.data !== undefined) {
    throw new CommandError(22, 'either --memory or --data: not both');
  }
  const data = options.data === undefined ? undefined : resolve(options.data);
  if (size !== undefined && osds !== undefined && size > osds) {
    throw new CommandError(22, `--size ${size} needs as many OSDs, not ${osds}`);
  }
  if (advertise === undefined && isWildcard(host)) {
    throw new CommandError(
      22,
      `--host '${host}' is no address that a client could reach: see --advertise`,
    );
  }
  const pools = options.pools.split(',').filter((name) => name !== '');
  const { pipelineMode, logLevel = 'silent' } = options;
  return { data, osds, size, host, advertise, port, auth, pools, pipelineMode, logLevel };
}

function commandLine(directory: ClusterDirectory, settings: ClusterStart): string[] {
  const { data, osds, size, host, advertise, port, auth, pools, pipelineMode, logLevel } = settings;
  const options = {
    dir: directory.path,
    data,
    osds,
    size,
    host,
    advertise,
    port,
    auth,
    pools: pools.join(','),
    'pipeline-mode': pipelineMode,
    'log-level': logLevel,
  };
  return Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `--${name}=${value}`);
}

function announcement(record: ClusterRecord, options: StartOptions & { dir: string }): string {
  const { osds = 0, size, conf, keyring, monHost } = record;
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
  const notice =
    options.data !== undefined
      ? `\nThe data are in ${options.data}, for the next start with --data.\n`
      : options.memory
        ? ''
        : '\nThe data live in memory: they are gone when it stops.\n';
  const end = options.foreground
    ? 'Ctrl-C stops it.'
    : `linger cluster stop --dir ${shellWord(options.dir)}`;
  return `The cluster is ready: ${count(osds, 'OSD')}, objects in ${size === 1 ? 'one copy' : `${size} copies`}.
${notice}
  monitor    ${monHost}
  ceph.conf  ${conf}
  keyring    ${keyring}

Any Ceph client can use it:
  ceph -c ${shellWord(conf)} -s
  rbd -c ${shellWord(conf)} create vm1 --size 10G
  linger -c ${shellWord(conf)} ls -l
${end}
`;
}

/** A path as a shell takes it. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function publicRecord({ pid, fsid, monHost, conf, keyring, osds, size, auth }: ClusterRecord) {
  return { pid, fsid, mon_host: monHost, conf, keyring, osds, size, auth };
}

/** The record of a cluster that runs. ENOENT says why there is none. */
async function runningCluster(directory: ClusterDirectory): Promise<ClusterRecord> {
  const record = await directory.read();
  if (!record) throw new CommandError(2, `no cluster runs in ${directory.path}`);
  if (await isRunning(record)) return record;
  throw new CommandError(
    2,
    `no cluster runs in ${directory.path}: process ${record.pid}, which ran it, is gone`,
  );
}

/** Asked as any client would ask: what answers here answers others too. */
const status: Action<DirOptions> = async (context, _, options) => {
  const record = await runningCluster(new ClusterDirectory(options.dir));
  if (record.state !== 'ready') {
    throw new CommandError(11, `the cluster is starting (pid ${record.pid})`);
  }
  const connect = { conf: record.conf, timeout: STATUS_TIMEOUT_S };
  await context.withClient(connect, async ({ client }) => {
    const ask = async (prefix: string) => {
      const { output } = await client.command({ prefix, format: 'json' });
      return JSON.parse(Buffer.from(output).toString()) as unknown;
    };
    const { health } = (await ask('status')) as { health: { status: string } };
    const dump = (await ask('osd dump')) as OsdDump;
    const osds = dump.osds.map(({ osd, up, in: weight }) => ({
      id: osd,
      up: up === 1,
      in: weight === 1,
    }));
    const pools = dump.pools.map(({ pool_name, size, pg_num }) => ({
      name: pool_name,
      size,
      pg_num,
    }));
    const found = { ...publicRecord(record), health: health.status, osds, pools };
    context.print(options.format === 'json' ? formatJson(found, options) : statusText(found));
  });
};

const STATUS_TIMEOUT_S = 10;

interface OsdDump {
  osds: { osd: number; up: number; in: number }[];
  pools: { pool_name: string; size: number; pg_num: number }[];
}

function statusText(found: {
  pid: number;
  fsid: string | undefined;
  mon_host: string | undefined;
  conf: string;
  health: string;
  osds: { up: boolean; in: boolean }[];
  pools: { name: string; size: number; pg_num: number }[];
}): string {
  const { osds, pools } = found;
  const up = osds.filter((osd) => osd.up).length;
  const taken = osds.filter((osd) => osd.in).length;
  const lines: [string, string][] = [
    ['cluster', found.fsid ?? ''],
    ['health', found.health],
    ['pid', String(found.pid)],
    ['monitor', found.mon_host ?? ''],
    ['OSDs', `${osds.length}: ${up} up, ${taken} in`],
    ...pools.map(({ name, size, pg_num }): [string, string] => [
      'pool',
      `${name} (${size} copies, ${pg_num} PGs)`,
    ]),
    ['ceph.conf', found.conf],
  ];
  return lines.map(([name, value]) => `${name.padEnd(10)} ${value}\n`).join('');
}

const STOP_POLL_MS = 20;
/** Then it is ended the hard way: what it has in memory is gone in any case, and what is on disk stays. */
const STOP_GRACE_MS = 10_000;

const stop: Action<DirOptions> = async (context, _, options) => {
  const directory = new ClusterDirectory(options.dir);
  const record = await directory.read();
  if (!record) throw new CommandError(2, `no cluster runs in ${directory.path}`);
  if (await isRunning(record)) await endProcess(context, record);
  else context.note(`linger: process ${record.pid}, which ran the cluster, was gone already\n`);
  // After an orderly end there is nothing left to remove.
  await directory.clear();
  await directory.removeIfUnused();
};

async function endProcess(context: CommandContext, record: ClusterRecord): Promise<void> {
  const env = context.environment({});
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(record.pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw commandError(`cannot stop process ${record.pid}`, error);
    }
  };
  signal('SIGTERM');
  const deadline = env.clock.monotonic() + STOP_GRACE_MS;
  while (await isRunning(record)) {
    if (env.clock.monotonic() > deadline) signal('SIGKILL');
    await sleep(env, STOP_POLL_MS, context.signal);
  }
}
