/**
 * The trial that krbd's watch error handling had to pass, for ours: random 512-byte writes at depth 128 while the watch is
 * lost again and again and other clients change the image all the time. Nothing may stall, fail or get lost.
 */

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { packageFile } from '../../src/base/paths.js';
import type { BlockDevice } from '../../src/block/device.js';
import { type DeviceHost, DirectHost } from '../../src/block/device-host.js';
import { mapOptions } from '../../src/block/map-options.js';
import { WorkerHost } from '../../src/block/worker-host.js';
import type { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { FEATURE } from '../../src/rbd/features.js';
import type { ImageGuardStatus } from '../../src/rbd/image-guard.js';
import { createRuntime, unwatch, updateHeader } from './soak-runtime.js';
import { StampedSectors } from './stamped-sectors.js';

export interface SoakOptions {
  confPath: string;
  /** Injects the faults where the cluster is ours; elsewhere the client unwatches behind its own back. */
  embedded?: EmbeddedCluster;
  /**
   * The image has the exclusive lock and is mapped with `exclusive`. Nobody else asks for it then: who finds its owner
   * without a watch fences it, and is right to.
   */
  exclusive: boolean;
  durationMs: number;
  /** Between a watch that was restored and the next watch error. */
  everyMs: number;
  depth?: number;
  /** Snapshots come and go, by real `rbd`. */
  rbd?: boolean;
  onProgress?: (line: string) => void;
}

export interface SoakReport {
  exclusive: boolean;
  seconds: number;
  writes: number;
  reads: number;
  /** Watches that were made to be lost; watches that the device saw lost, and restored. */
  provoked: number;
  watchErrors: number;
  watchesRestored: number;
  reregistrations: number;
  reconnects: number;
  /** Changes of the header by others, and how often the device read it again. */
  resizes: number;
  snapshots: number;
  headerUpdates: number;
  refreshes: number;
  /** Operations that left by a header that may have been out of date, by the gate's own count. */
  staleSends: number;
  locksAcquired: number;
  locksLost: number;
  /** The longest time in which no write was acknowledged. */
  longestPauseMs: number;
  /** Empty when all is well. */
  problems: string[];
}

const MIB = 1024 * 1024;
const POOL = 'rbd';
const WRITTEN_BYTES = 4 * MIB;
const SIZES = { small: 16 * MIB, large: 24 * MIB };
const READS_PER_MILLE = 125;
/** Without a single write in this time all has come to a stop: longer than the OSDs keep a silent watch. */
const STALL_MS = 45_000;
/** A lost watch is noticed by the next ping (5 s) and registered again. */
const NOTICE_MS = 40_000;
const SAMPLE_MS = 50;

export async function soakWatch(options: SoakOptions): Promise<SoakReport> {
  const soak = new WatchSoak(options);
  try {
    return await soak.run();
  } finally {
    await soak.cleanUp();
  }
}

class WatchSoak {
  readonly #options: SoakOptions;
  readonly #sectors = new StampedSectors(WRITTEN_BYTES);
  readonly #image: string;
  readonly #report: SoakReport;
  readonly #end = new AbortController();
  #host: DeviceHost | undefined;
  #other: DeviceHost | undefined;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#image = `soak-watch${options.exclusive ? '-exclusive' : ''}-${process.pid}`;
    this.#report = {
      ...{ exclusive: options.exclusive, seconds: 0, writes: 0, reads: 0 },
      ...{ provoked: 0, watchErrors: 0, watchesRestored: 0, reregistrations: 0, reconnects: 0 },
      ...{ resizes: 0, snapshots: 0, headerUpdates: 0, refreshes: 0, staleSends: 0 },
      ...{ locksAcquired: 0, locksLost: 0, longestPauseMs: 0, problems: [] },
    };
  }

  async run(): Promise<SoakReport> {
    const { confPath, durationMs, exclusive } = this.#options;
    const env = nodeEnvironment();
    const config = { conf: confPath, mountTimeoutMs: 30_000 };
    const runtime = packageFile('dist/bench/soak/soak-runtime.js');
    const runtimeModule = pathToFileURL(runtime).href;
    this.#host = await WorkerHost.start({ env, config, runtimeModule });
    this.#other = await DirectHost.start({ env, config, createRuntime });
    await this.#create();
    const spec = { pool: POOL, namespace: '', image: this.#image };
    const device = await this.#host.open(spec, mapOptions({ exclusive }));
    this.#listen(device);
    const started = Date.now();
    const tasks = [
      ...Array.from({ length: this.#options.depth ?? 128 }, () => this.#write(device)),
      this.#provoke(device),
      this.#change(device),
      this.#takeSnapshots(),
      this.#watchProgress(),
    ].map((task) => task.catch((error: unknown) => this.#fail(describe(error))));
    await this.#pause(durationMs);
    this.#end.abort();
    await this.#within('the last requests', Promise.all(tasks));
    this.#report.seconds = (Date.now() - started) / 1000;
    await this.#account().catch((error: unknown) => this.#fail(describe(error)));
    // Through another client, which knows nothing but the OSDs' word.
    const reader = await this.#other.open(spec, mapOptions({ readOnly: true }));
    await this.#sectors.verify(reader).catch((error: unknown) => this.#fail(describe(error)));
    await reader.close();
    await this.#within('closing', device.close());
    this.#report.writes = this.#sectors.writes;
    this.#report.reads = this.#sectors.reads;
    return this.#report;
  }

  async cleanUp(): Promise<void> {
    this.#end.abort();
    await this.#host?.close();
    await this.#other
      ?.manage('removeImage', [{ pool: POOL, namespace: '', name: this.#image }])
      .catch((error: unknown) => this.#fail(`removing the image: ${describe(error)}`));
    await this.#other?.close();
  }

  async #create(): Promise<void> {
    const locked = this.#options.exclusive ? FEATURE.EXCLUSIVE_LOCK : 0n;
    await this.#other?.manage('createImage', [
      { pool: POOL, namespace: '', name: this.#image },
      { size: SIZES.small, features: FEATURE.LAYERING | locked },
    ]);
  }

  #listen(device: BlockDevice): void {
    const report = this.#report;
    device.on('watch-error', () => report.watchErrors++);
    device.on('watch-restored', () => report.watchesRestored++);
    device.on('lock-acquired', () => report.locksAcquired++);
    device.on('lock-lost', (reason, error) => {
      if (this.#end.signal.aborted) return;
      report.locksLost++;
      this.#fail(`the lock was lost: ${reason} ${describe(error)}`);
    });
    device.on('error', (error) => this.#fail(`the device failed: ${describe(error)}`));
    device.on('worker-replaced', ({ reason }) =>
      this.#fail(`the worker ended: ${describe(reason)}`),
    );
  }

  async #write(device: BlockDevice): Promise<void> {
    while (!this.#over) {
      const sector = Math.floor(Math.random() * this.#sectors.count);
      const reads = Math.random() * 1000 < READS_PER_MILLE;
      await (reads ? this.#sectors.read(device, sector) : this.#sectors.write(device, sector));
    }
  }

  /** Has an OSD forget the watch, and waits until it is there again. */
  async #provoke(device: BlockDevice): Promise<void> {
    const { everyMs } = this.#options;
    const report = this.#report;
    for (;;) {
      await this.#pause(everyMs);
      if (this.#over) return;
      const { watchErrors, watchesRestored } = report;
      await this.#dropWatch(device);
      report.provoked++;
      const restored = () =>
        report.watchErrors > watchErrors && report.watchesRestored > watchesRestored;
      await this.#until(restored, 'a lost watch was not registered again');
      this.#options.onProgress?.(
        `${report.watchErrors} watch errors, ${this.#sectors.writes} writes`,
      );
    }
  }

  async #dropWatch(device: BlockDevice): Promise<void> {
    const { embedded } = this.#options;
    const { imageId, clientId } = device.attributes;
    if (!embedded) {
      const { watch } = await this.#status();
      await unwatch(this.#host as DeviceHost, POOL, imageId, BigInt(watch.cookie));
      return;
    }
    const client = clientId.replace('client', 'client.');
    const object = `rbd_header.${imageId}`;
    await using _drop = await embedded.faults.dropWatch({ pool: POOL, object, client });
    // In turns: found out at once, because the connection broke and all that was under way is resent, or by the next ping.
    if (this.#report.provoked % 2 === 0) {
      await using _reset = await embedded.faults.resetConnections({ client });
    }
  }

  /** Another client changes the header without a break. */
  async #change(device: BlockDevice): Promise<void> {
    while (!this.#over) {
      await this.#resize(device, SIZES.large);
      await updateHeader(this.#other as DeviceHost, POOL, device.attributes.imageId);
      this.#report.headerUpdates++;
      await this.#resize(device, SIZES.small);
    }
  }

  /** And one more: librbd. Nobody but the owner changes an image that is mapped with `exclusive`. */
  async #takeSnapshots(): Promise<void> {
    const { exclusive, rbd } = this.#options;
    if (!rbd || exclusive) return;
    while (!this.#over) {
      await this.#snapshot('create');
      await this.#snapshot('rm');
      this.#report.snapshots++;
    }
  }

  /** Grows and shrinks it beyond what is written. Whoever maps it with `exclusive` does that alone. */
  async #resize(device: BlockDevice, size: number): Promise<void> {
    if (this.#options.exclusive) {
      await device.resize(size);
      await this.#pause(SAMPLE_MS);
    } else {
      const spec = { pool: POOL, namespace: '', name: this.#image };
      await this.#other?.manage('resizeImage', [spec, size, { allowShrink: true }]);
    }
    this.#report.resizes++;
    await this.#until(() => device.size === size, 'the device did not hear of a resize');
  }

  async #snapshot(verb: 'create' | 'rm'): Promise<void> {
    const snapshot = `${POOL}/${this.#image}@soak`;
    const env = { ...process.env, CEPH_CONF: this.#options.confPath, CEPH_ARGS: undefined };
    await promisify(execFile)('rbd', ['snap', verb, '--no-progress', snapshot], { env });
  }

  async #watchProgress(): Promise<void> {
    let writes = 0;
    let since = Date.now();
    while (!this.#over) {
      await this.#pause(SAMPLE_MS);
      const pause = Date.now() - since;
      this.#report.longestPauseMs = Math.max(this.#report.longestPauseMs, pause);
      if (this.#sectors.writes > writes) since = Date.now();
      writes = this.#sectors.writes;
      if (pause > STALL_MS) return this.#fail(`no write was acknowledged in ${pause} ms`);
    }
  }

  async #account(): Promise<void> {
    const report = this.#report;
    const { watch, refreshes, staleSends, lock, notifications } = await this.#status();
    report.reregistrations = watch.reregistrations;
    report.reconnects = watch.reconnects;
    report.refreshes = refreshes;
    report.staleSends = staleSends;
    if (staleSends > 0) this.#fail(`${staleSends} operations went by a stale header`);
    if (report.provoked === 0) this.#fail('no watch error was provoked');
    if (report.watchErrors < report.provoked) this.#fail('watch errors went unnoticed');
    if (report.reregistrations < report.provoked) this.#fail('watches were not registered again');
    if (report.resizes === 0 || report.headerUpdates === 0) this.#fail('nothing was changed');
    if (notifications.headerUpdates === 0) this.#fail('header updates were not heard');
    if (report.refreshes < report.reregistrations)
      this.#fail('a gap was not followed by a refresh');
    if (this.#options.exclusive && lock?.state !== 'locked') this.#fail('the lock is not held');
  }

  async #status(): Promise<ImageGuardStatus> {
    const clients = (await this.#host?.status()) as { images: ImageGuardStatus[] }[];
    const status = clients.flatMap(({ images }) => images).at(0);
    if (!status) throw new Error('the image is not open');
    return status;
  }

  get #over(): boolean {
    return this.#end.signal.aborted;
  }

  /** Ends the run as well. */
  #fail(problem: string): void {
    const { problems } = this.#report;
    // Of many requests that fail the same way, one says it.
    if (!problems.includes(problem)) problems.push(problem);
    this.#end.abort();
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#end.signal }).catch(() => undefined);
  }

  async #until(satisfied: () => boolean, otherwise: string): Promise<void> {
    const deadline = Date.now() + NOTICE_MS;
    while (!satisfied()) {
      if (Date.now() > deadline) return this.#fail(`${otherwise} in ${NOTICE_MS} ms`);
      // Also after the end of the run: what was begun has to come to its end.
      await sleep(SAMPLE_MS / 5);
    }
  }

  async #within(what: string, done: Promise<unknown>): Promise<void> {
    const late = new AbortController();
    const expired = sleep(STALL_MS, undefined, { signal: late.signal }).then(
      () => this.#fail(`${what} did not come to an end in ${STALL_MS} ms`),
      () => undefined,
    );
    await Promise.race([done, expired]).finally(() => late.abort());
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : error === undefined ? '' : String(error);
}
