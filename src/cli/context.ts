/** What every command works with: the process's streams, an interrupt, and the options that all commands share. */

import type { Readable, Writable } from 'node:stream';
import { type Command, Option } from 'commander';
import type { Environment } from '../base/environment.js';
import type { LogLevel } from '../base/log.js';
import { nodeEnvironment } from '../base/node-environment.js';
import { Cluster } from '../block/cluster.js';
import { loadKernels } from '../kernels/load.js';
import { type ConnectedClient, type ConnectOptions, connectRados } from '../rados/connect.js';
import { type NamedImageSpec, parseImageSpec, parsePoolSpec } from '../rbd/spec.js';
import { CommandError, commandError, step } from './errors.js';
import { ProgressLine } from './progress.js';

export interface Streams {
  stdin: Readable;
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
}

/** Options of every command that talks to a cluster. */
export interface GlobalOptions {
  conf?: string;
  monHost?: string;
  name?: string;
  id?: string;
  keyring?: string;
  keyfile?: string;
  pool?: string;
  namespace?: string;
  image?: string;
  snap?: string;
  timeout: number;
  logLevel: LogLevel;
  progress?: boolean;
}

const DEFAULT_TIMEOUT_S = 30;
const LOG_LEVELS: readonly LogLevel[] = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
];

export function addGlobalOptions(command: Command): Command {
  return command
    .option('-c, --conf <file>', 'ceph.conf (default: $CEPH_CONF, then /etc/ceph/ceph.conf)')
    .option('-m, --mon-host <addrs>', 'monitor addresses')
    .option('-n, --name <name>', 'user, e.g. client.admin')
    .option('--id <id>', 'user without "client."')
    .option('-k, --keyring <file>', 'keyring')
    .option('-K, --keyfile <file>', 'file with the key alone')
    .addOption(
      new Option('--timeout <seconds>', 'for connecting and for single operations; 0 waits')
        .argParser(seconds)
        .default(DEFAULT_TIMEOUT_S),
    )
    .addOption(
      new Option('--log-level <level>', 'log to stderr').choices(LOG_LEVELS).default('silent'),
    );
}

export function addPoolOptions(command: Command): Command {
  return command.option('-p, --pool <pool>', 'pool').option('--namespace <namespace>', 'namespace');
}

export function addImageOptions(command: Command): Command {
  return addPoolOptions(command)
    .option('--image <image>', 'image')
    .option('--snap <snap>', 'snapshot');
}

export function addProgressOptions(command: Command): Command {
  return command
    .option('--progress', 'show progress even when stderr is no terminal')
    .option('--no-progress', 'show no progress');
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new CommandError(1, `invalid number of seconds '${text}'`);
  return value;
}

export class CommandContext {
  readonly streams: Streams;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly processEnv: Readonly<Record<string, string | undefined>>;

  constructor(
    streams: Streams,
    signal: AbortSignal,
    processEnv: Readonly<Record<string, string | undefined>>,
  ) {
    this.streams = streams;
    this.signal = signal;
    this.processEnv = processEnv;
  }

  environment(options: Pick<GlobalOptions, 'logLevel'>): Environment {
    return nodeEnvironment({ log: { level: options.logLevel } });
  }

  print(text: string): void {
    this.streams.stdout.write(text);
  }

  note(text: string): void {
    this.streams.stderr.write(text);
  }

  progress(verb: string, options: Pick<GlobalOptions, 'progress'>): ProgressLine {
    const show = options.progress ?? this.streams.stderr.isTTY === true;
    return new ProgressLine(verb, show ? this.streams.stderr : undefined);
  }

  connectOptions(options: GlobalOptions): ConnectOptions {
    const timeoutMs = options.timeout * 1000;
    const name = options.name ?? (options.id === undefined ? undefined : `client.${options.id}`);
    return {
      conf: options.conf ?? this.processEnv['CEPH_CONF'],
      name,
      monHost: options.monHost,
      keyring: options.keyring ?? this.processEnv['CEPH_KEYRING'],
      keyfile: options.keyfile,
      mountTimeoutMs: timeoutMs,
      osdOpTimeoutMs: timeoutMs,
      monOpTimeoutMs: timeoutMs,
    };
  }

  /** Runs with a client in this thread; it is closed whatever happens. */
  async withClient<T>(
    options: GlobalOptions,
    action: (connected: ConnectedClient) => Promise<T>,
  ): Promise<T> {
    const env = this.environment(options);
    const connected = await step(
      "couldn't connect to the cluster!",
      connectRados(env, loadKernels(), this.connectOptions(options), this.signal),
    );
    // Closing rejects whatever is still under way: an interrupted command ends at once.
    const onAbort = () => connected.client.close();
    this.signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await action(connected);
    } finally {
      this.signal.removeEventListener('abort', onAbort);
      connected.client.close();
    }
  }

  /** Runs with images mapped through an osd-client thread. */
  async withCluster<T>(
    options: GlobalOptions,
    action: (cluster: Cluster) => Promise<T>,
  ): Promise<T> {
    const cluster = await step(
      "couldn't connect to the cluster!",
      Cluster.connect({ ...this.connectOptions(options), log: { level: options.logLevel } }),
    );
    try {
      this.signal.throwIfAborted();
      return await action(cluster);
    } finally {
      await cluster.close();
    }
  }

  imageSpec(text: string | undefined, options: GlobalOptions): NamedImageSpec {
    const given = text ?? options.image;
    if (given === undefined) throw new CommandError(22, 'image name was not specified');
    try {
      const spec = parseImageSpec(
        given,
        withoutUndefined({ pool: options.pool, namespace: options.namespace }),
      );
      return options.snap === undefined ? spec : { ...spec, snap: options.snap };
    } catch (error) {
      throw commandError(`invalid spec '${given}'`, error);
    }
  }

  poolSpec(text: string | undefined, options: GlobalOptions): { pool: string; namespace: string } {
    try {
      return parsePoolSpec(
        text,
        withoutUndefined({ pool: options.pool, namespace: options.namespace }),
      );
    } catch (error) {
      throw commandError(`invalid spec '${text}'`, error);
    }
  }
}

function withoutUndefined<T extends object>(
  value: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(value).filter(([, each]) => each !== undefined),
  ) as never;
}
