/** Where the clients of a run live: in a simulation, or in the real world. */

import type { Timers } from '../../base/environment.js';
import type { Cluster, ClusterOptions } from '../../block/cluster.js';

export interface Habitat {
  /** Milliseconds since the beginning. */
  readonly now: number;
  /** Resolves when the time is over, or the signal aborts: then nothing is left of it. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A new process, not connected yet. */
  process(): WorkloadClient;
}

/** A process with a client of the cluster, as far as others can tell. */
export interface WorkloadClient {
  readonly name: string;
  /** Connected, and neither dead nor closed. */
  readonly isWorking: boolean;
  /** Throws before it has connected. */
  readonly cluster: Cluster;
  connect(options: ClusterOptions): Promise<Cluster>;
  /** Nothing that it has begun goes on, and its connections break. */
  kill(): void;
  /** Calls when it dies. */
  onKill(mourner: () => void): void;
  /** In order, if it is alive. */
  close(): Promise<void>;
}

/** For habitats. */
export function sleepUntilAborted(
  timers: Timers,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = () => {
      timer.cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const timer = timers.after(ms, wake);
    signal?.addEventListener('abort', wake, { once: true });
  });
}
