/** Watches and notifications by librados, and by us on a network with faults: what the tests of watches have in common. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { loadKernels } from '../../../src/kernels/load.js';
import { writeFullOp } from '../../../src/messages/osd-op.js';
import type { Watch, WatchOptions } from '../../../src/osd-client/watch-types.js';
import { connectRados } from '../../../src/rados/connect.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import { bytes, text, Watcher } from '../../support/watch-scene.js';
import { FaultyNetwork } from './faulty-network.js';
import { stopInPlace } from './processes.js';
import type { Server } from './servers.js';

/** Says what it was told, in order; see librados-watcher.py. */
interface Said {
  watch?: string;
  notify?: string;
  notifier?: number;
  replies?: [number, string, string][];
  missed?: [number, string][];
  errno?: number;
  error?: number;
  removed?: boolean;
  failed?: string;
}

export class Librados {
  readonly said: Said[] = [];
  readonly #process: ChildProcessWithoutNullStreams;

  constructor(cluster: Pick<Server, 'confPath'>) {
    const script = join(import.meta.dirname, 'librados-watcher.py');
    this.#process = spawn('/usr/bin/python3', [script, cluster.confPath], {
      env: { ...process.env, CEPH_CONF: cluster.confPath },
    });
    this.#process.stderr.pipe(process.stderr);
    createInterface(this.#process.stdout).on('line', (line) => {
      this.said.push(JSON.parse(line) as Said);
    });
  }

  /** The first thing said that has this property, since the call. */
  async ask<K extends keyof Said>(command: string, key: K): Promise<Said> {
    const from = this.said.length;
    this.#process.stdin.write(`${command}\n`);
    return eventually(() => {
      const failed = this.said.slice(from).find((said) => said.failed !== undefined);
      if (failed) throw new Error(failed.failed);
      return this.said.slice(from).find((said) => said[key] !== undefined);
    });
  }

  /** Settles when it stands still: it answers nothing after that. */
  async pause(): Promise<void> {
    if (this.#process.pid !== undefined) await stopInPlace(this.#process.pid);
  }

  resume(): void {
    this.#process.kill('SIGCONT');
  }

  close(): void {
    this.resume();
    this.#process.kill('SIGKILL');
  }
}

export async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`nothing after ${timeoutMs} ms: ${look.toString()}`);
    await sleep(20);
  }
}

async function portsOfOsds(cluster: Pick<Server, 'ceph'>): Promise<Set<number>> {
  const dump = await cluster.ceph('osd', 'dump');
  const lines = dump.split('\n').filter((line) => line.startsWith('osd.'));
  return new Set(
    lines.flatMap((line) => [...line.matchAll(/:(\d+)\//g)].map(([, n]) => Number(n))),
  );
}

/** A client of ours, its peer, and the objects that they watch. */
export class WatchBench {
  readonly #watches: Watch[] = [];
  #objects = 0;

  static async start(cluster: WatchableCluster): Promise<WatchBench> {
    const network = new FaultyNetwork();
    const { client } = await connectRados(network.env, loadKernels(), {
      conf: cluster.confPath,
      mountTimeoutMs: 30_000,
    });
    const ports = await portsOfOsds(cluster);
    return new WatchBench(cluster, network, client, await client.ioctx('rbd'), ports);
  }

  readonly peer: Librados;

  private constructor(
    readonly cluster: WatchableCluster,
    readonly network: FaultyNetwork,
    readonly client: RadosClient,
    readonly ioctx: IoContext,
    ports: ReadonlySet<number>,
  ) {
    this.peer = new Librados(cluster);
    this.isOsd = (port) => ports.has(port);
  }

  readonly isOsd: (port: number) => boolean;

  async object(): Promise<string> {
    const oid = `watched-${++this.#objects}`;
    await this.ioctx.operate(oid, [writeFullOp(bytes('x'))]);
    return oid;
  }

  /**
   * Answers `re:` and what it was told. Ceph's OSDs answer a registration before the watch takes part in notifications,
   * and forget it for them if the connection breaks in between (seen on 16.2.15, with `debug_osd`: until it reconnects, a
   * notification is complete without it). What is sent after the answer finds it there.
   */
  async watch(oid: string, options?: WatchOptions, ioctx = this.ioctx): Promise<Watcher> {
    const watcher = new Watcher();
    watcher.answer = ({ payload }) => bytes(`re:${text(payload)}`);
    watcher.watch = await ioctx.watch(oid, watcher, options);
    this.#watches.push(watcher.watch);
    await watcher.watch.verify();
    return watcher;
  }

  /** Their cookies, as the rados command sees them. */
  async listWatchers(oid: string): Promise<string[]> {
    const listed = await this.cluster.rados('-p', 'rbd', 'listwatchers', oid);
    return [...listed.matchAll(/cookie=(\d+)/g)].map(([, cookie]) => cookie ?? '').sort();
  }

  /** To be called after each test: its faults end with it even if it failed, and the next one begins on a sound bench. */
  async reset(): Promise<void> {
    this.peer.resume();
    this.network.heal();
    await Promise.all(this.#watches.splice(0).map((watch) => watch.close()));
  }

  close(): void {
    this.peer.close();
    this.client.close();
  }
}

export type WatchableCluster = Pick<Server, 'confPath' | 'ceph' | 'rados'>;
