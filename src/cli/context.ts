/** What every command works with: the process's streams, an interrupt, and the options that all commands share. */

import { setMaxListeners } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { type Command, Option } from 'commander';
import type { Environment } from '../base/environment.js';
import type { LogLevel } from '../base/log.js';
import { nodeEnvironment } from '../base/node-environment.js';
import type { Cluster } from '../block/cluster.js';
import { loadKernels } from '../kernels/load.js';
import {
  type ConnectedClient,
  type ConnectOptions,
  connectRados,
  type MsMode,
} from '../rados/connect.js';
import { invalid, type Interrupt, step } from './errors.js';
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
  user?: string;
  keyring?: string;
  keyfile?: string;
  pool?: string;
  namespace?: string;
  msMode?: MsMode;
  timeout: number;
  logLevel?: LogLevel;
  progress?: boolean;
}

const DEFAULT_TIMEOUT_S = 30;
const CONNECT_FAILED = "couldn't connect to the cluster!";
const MS_MODES: readonly MsMode[] = ['crc', 'secure', 'prefer-crc', 'prefer-secure'];
const LOG_LEVELS: readonly LogLevel[] = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
];

/** They stand before a command or after it, as `rbd` takes them. */
export function addGlobalOptions(program: Command): Command {
  return program
    .optionsGroup('Global Options:')
    .option('-c, --conf <file>', 'ceph.conf (default: $CEPH_CONF, then /etc/ceph/ceph.conf)')
    .option('-m, --mon-host <addrs>', 'monitor addresses')
    .option('-n, --name <name>', 'user, for example client.admin')
    .option('--id <id>', 'user without "client."')
    .addOption(new Option('--user <id>').hideHelp())
    .option('-k, --keyring <file>', 'keyring')
    .option('-K, --keyfile <file>', 'file with the key alone')
    .option('-p, --pool <pool>', 'pool of specs without one (default: rbd)')
    .option('--namespace <namespace>', 'namespace of specs without one')
    .addOption(
      new Option('--ms-mode <mode>', "messenger's mode, as krbd's ms_mode").choices(MS_MODES),
    )
    .addOption(
      new Option(
        '--timeout <seconds>',
        'deadline of connecting and of every operation; 0 waits for ever',
      )
        .argParser(seconds)
        .default(DEFAULT_TIMEOUT_S),
    )
    .addOption(
      new Option('--log-level <level>', 'log to stderr (default: silent)').choices(LOG_LEVELS),
    );
}

export function addProgressOptions(command: Command): Command {
  return command
    .option('--progress', 'show progress even where stderr is no terminal')
    .option('--no-progress', 'show no progress');
}

function seconds(text: string): number {
  const value = Number(text);
  if (text === '' || !(value >= 0)) throw invalid(`'${text}' is no number of seconds`);
  return value;
}

export class CommandContext {
  readonly streams: Streams;
  /** Aborted by Ctrl-C, with an `Interrupt`. */
  readonly signal: AbortSignal;
  readonly processEnv: Readonly<Record<string, string | undefined>>;

  constructor(
    streams: Streams,
    signal: AbortSignal,
    processEnv: Readonly<Record<string, string | undefined>>,
  ) {
    this.streams = streams;
    this.signal = signal;
    // Every request under way listens to it.
    setMaxListeners(0, signal);
    this.processEnv = processEnv;
  }

  environment(options: Pick<GlobalOptions, 'logLevel'>): Environment {
    return nodeEnvironment({ log: { level: options.logLevel ?? 'silent' } });
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
    const id = options.id ?? options.user;
    const name = options.name ?? (id === undefined ? undefined : `client.${id}`);
    return {
      conf: options.conf ?? this.processEnv['CEPH_CONF'],
      name,
      monHost: options.monHost,
      keyring: options.keyring ?? this.processEnv['CEPH_KEYRING'],
      keyfile: options.keyfile,
      msMode: options.msMode,
      mountTimeoutMs: timeoutMs,
      osdOpTimeoutMs: timeoutMs,
      monOpTimeoutMs: timeoutMs,
    };
  }

  /**
   * Runs with a client in this thread; it is closed whatever happens. An interrupt closes it at once, which rejects all
   * that is under way, unless the action `cleansUp`: it then ends by the signal, and has the client to undo what it did.
   */
  async withClient<T>(
    options: GlobalOptions,
    action: (connected: ConnectedClient) => Promise<T>,
    { cleansUp = false }: { cleansUp?: boolean } = {},
  ): Promise<T> {
    const env = this.environment(options);
    const connected = await step(
      CONNECT_FAILED,
      connectRados(env, loadKernels(), this.connectOptions(options), this.signal),
      { alwaysDetail: true },
    );
    const onAbort = () => connected.client.close();
    if (!cleansUp) this.signal.addEventListener('abort', onAbort, { once: true });
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
    // Most commands do without, and need not wait for it to be loaded.
    const { Cluster } = await import('../block/cluster.js');
    const connecting = Cluster.connect({
      ...this.connectOptions(options),
      log: { level: options.logLevel ?? 'silent' },
    });
    const cluster = await step(CONNECT_FAILED, this.interruptible(connecting), {
      alwaysDetail: true,
    });
    try {
      return await action(cluster);
    } finally {
      await cluster.close();
    }
  }

  /** The promise's result, or the interrupt if that comes first; what is left behind then ends with the process. */
  async interruptible<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this;
    promise.catch(() => {});
    signal.throwIfAborted();
    let onAbort = () => {};
    const interrupted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason as Interrupt);
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([promise, interrupted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
