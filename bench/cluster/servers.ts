/** The clusters that are compared, each as processes of its own. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { EmbeddedClusterOptions } from '../../src/cluster/embedded-cluster.js';
import { CephCluster } from '../../test/ceph/support/ceph-cluster.js';
import type { EmbeddedReady } from './embedded-process.js';

export interface Server {
  readonly name: string;
  readonly conf: string;
  /** Until any client is served. */
  readonly startUpMs: number;
  /** Of all its processes. */
  rssMiB(): Promise<number>;
  stop(): Promise<void>;
}

export const OSDS = 3;

/** What it is measured against: OSDs with memstore, as no disk is to be measured. */
export async function startCeph(name: string): Promise<Server> {
  const started = performance.now();
  const cluster = await CephCluster.start({ osds: OSDS });
  const startUpMs = performance.now() - started;
  return {
    name,
    conf: cluster.confPath,
    startUpMs,
    rssMiB: () => rssMiB(cluster.pids),
    stop: () => cluster.stop(),
  };
}

export async function startEmbedded(
  name: string,
  options: EmbeddedClusterOptions,
): Promise<Server> {
  const script = fileURLToPath(new URL('./embedded-process.js', import.meta.url));
  const child = fork(script, [JSON.stringify({ osds: OSDS, pools: ['rbd'], ...options })]);
  const { conf, startUpMs } = await firstMessage(child);
  return {
    name,
    conf,
    startUpMs,
    rssMiB: () => rssMiB([child.pid!]),
    stop: async () => {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

async function firstMessage(child: ChildProcess): Promise<EmbeddedReady> {
  const [message] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the embedded cluster ended with ${code}`);
    }),
  ])) as [EmbeddedReady];
  return message;
}

async function rssMiB(pids: readonly number[]): Promise<number> {
  let kib = 0;
  for (const pid of pids) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    kib += Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  }
  return kib / 1024;
}
