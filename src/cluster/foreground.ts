/**
 * A cluster that belongs to a process and a directory: what `linger cluster start|status|stop` stand on.
 *
 *     DIR/ceph.conf, DIR/keyring   for clients
 *     DIR/cluster.json             who runs it; there exactly while it runs
 */

import type { Environment } from '../base/environment.js';
import { nodeEnvironment } from '../base/node-environment.js';
import { RadosError } from '../base/errors.js';
import { EmbeddedCluster, type EmbeddedClusterOptions } from './embedded-cluster.js';

const STATE_FILE = 'cluster.json';

/** The contents of cluster.json. */
export interface ClusterState {
  pid: number;
  fsid: string;
  monHost: string;
  conf: string;
  keyring: string;
  osds: number;
  /** ISO 8601. */
  startedAt: string;
}

export interface ForegroundOptions extends EmbeddedClusterOptions {
  dir: string;
  /** Called once with the state, when the cluster serves clients. */
  onReady?: (state: ClusterState) => void;
  /** Ends the cluster, as SIGINT and SIGTERM do. */
  signal?: AbortSignal;
}

/** The cluster that runs in a directory; undefined when none does, also when its process died without a word. */
export async function readClusterState(
  env: Environment,
  dir: string,
): Promise<ClusterState | undefined> {
  const path = `${dir}/${STATE_FILE}`;
  if (!(await env.files.exists(path))) return undefined;
  let state: Partial<ClusterState>;
  try {
    state = JSON.parse(Buffer.from(await env.files.readFile(path)).toString()) as typeof state;
  } catch (error) {
    throw new RadosError('EIO', `${path} is not the state of a cluster`, { cause: error });
  }
  const { pid } = state;
  if (!Number.isInteger(pid) || (pid as number) <= 0) {
    throw new RadosError('EIO', `${path} names no process`);
  }
  return isAlive(pid as number) ? (state as ClusterState) : undefined;
}

/** Asks the process of a running cluster to end it. */
export function signalCluster(state: ClusterState, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(state.pid, signal);
  } catch (error) {
    // It went by itself meanwhile: what was wanted.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Runs a cluster in `dir` until SIGINT, SIGTERM or `signal`. EEXIST: one runs there already. Rejects with the error
 * that ended the cluster when nobody asked for its end.
 */
export async function runForeground(options: ForegroundOptions): Promise<void> {
  const { onReady, signal, ...clusterOptions } = options;
  const env = options.environment ?? nodeEnvironment(options.log ? { log: options.log } : {});
  const running = await readClusterState(env, options.dir);
  if (running) {
    throw new RadosError('EEXIST', `a cluster runs in ${options.dir} (process ${running.pid})`);
  }
  const stop = stopRequest(signal);
  const statePath = `${options.dir}/${STATE_FILE}`;
  try {
    await using cluster = await EmbeddedCluster.start(clusterOptions);
    const state: ClusterState = {
      pid: process.pid,
      fsid: cluster.fsid,
      monHost: cluster.monHost,
      conf: cluster.confPath,
      keyring: cluster.keyringPath,
      osds: (await cluster.status()).osds.length,
      startedAt: new Date(env.clock.now()).toISOString(),
    };
    await env.files.writeFile(statePath, `${JSON.stringify(state, null, 2)}\n`);
    onReady?.(state);
    const failure = await Promise.race([stop.requested, cluster.ended]);
    if (failure) throw failure;
  } finally {
    stop.forget();
    await env.files.remove(statePath);
  }
}

/** The first of SIGINT, SIGTERM and the caller's signal. A second SIGINT then ends the process as usual. */
function stopRequest(signal: AbortSignal | undefined): {
  requested: Promise<undefined>;
  forget: () => void;
} {
  let forget = () => {};
  const requested = new Promise<undefined>((resolve) => {
    const onStop = () => {
      forget();
      resolve(undefined);
    };
    process.on('SIGINT', onStop);
    process.on('SIGTERM', onStop);
    signal?.addEventListener('abort', onStop);
    forget = () => {
      process.off('SIGINT', onStop);
      process.off('SIGTERM', onStop);
      signal?.removeEventListener('abort', onStop);
    };
    if (signal?.aborted) onStop();
  });
  return { requested, forget: () => forget() };
}
