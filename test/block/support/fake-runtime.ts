/**
 * A runtime whose images are buffers in memory, slow and out of order as asked, with faults: what the tests of the
 * block floor put in place of a cluster. Runs in the worker and in the test's own thread.
 *
 * Effects take place at the end of a request's delay, so a device that lets two overlapping requests go side by
 * side is caught.
 */

import { RadosError } from '../../../src/base/errors.js';
import type { DeviceAttributes } from '../../../src/block/attributes.js';
import type {
  BackendEvent,
  BlockBackend,
  BlockRuntime,
  ImageSpec,
  RuntimeContext,
} from '../../../src/block/backend.js';
import { formatMapOptions, type MapOptions } from '../../../src/block/map-options.js';

export type DeathKind = 'exit' | 'silent-exit' | 'throw' | 'reject';

export interface FakeConfig {
  size?: number;
  seed?: number;
  /** Each request takes 0 to so many turns of the event loop. */
  maxDelayTurns?: number;
  /** Each request takes so long, at least. */
  delayMs?: number;
  /** Requests at these offsets wait until a write at `openAt` comes, which is answered at once. */
  gate?: { from: number; to: number; openAt: number };
  /** Requests that start at one of these offsets fail. */
  errors?: { offset: number; code: 'EIO' | 'EBLOCKLISTED'; outcome?: 'unknown' | 'not-applied' }[];
  /** The thread dies when it meets its n-th request (from 1). */
  die?: { request: number; how: DeathKind };
  /** One word: how many threads die yet. Without it each one does. */
  deaths?: SharedArrayBuffer;
  /** One word: how many opens find the image yet. Without it all do. */
  opens?: SharedArrayBuffer;
  /** The image's bytes, so that they outlive the thread. */
  disk?: SharedArrayBuffer;
  dieAtStart?: boolean;
  /** One word that counts the requests that took effect: seen also by a thread that gets no events. */
  progress?: SharedArrayBuffer;
  /** Leaves out writeSame, so that the library's replacement is used. */
  withoutWriteSame?: boolean;
  /** The image has another size after the n-th request, by somebody else. */
  resizeAt?: { request: number; size: number };
  /** The image fails for good after the n-th request. */
  failAt?: { request: number };
}

/** Image names with a meaning. */
export const IMAGE = {
  NORMAL: 'disk',
  MISSING: 'missing',
  DIES_AT_OPEN: 'dies-at-open',
  HANGS_AT_OPEN: 'hangs-at-open',
  DIES_AT_CLOSE: 'dies-at-close',
} as const;

export interface FakeStatus {
  requests: number;
  flushes: number;
  /** At most so many requests were at the backend at a time. */
  maxConcurrent: number;
  backendsOpen: number;
  writes: { offset: number; length: number; fua: boolean }[];
}

export function createRuntime(context: RuntimeContext): BlockRuntime {
  const config = (context.config ?? {}) as FakeConfig;
  if (config.dieAtStart) throw new Error('the fake runtime does not start');
  const status: FakeStatus = {
    requests: 0,
    flushes: 0,
    maxConcurrent: 0,
    backendsOpen: 0,
    writes: [],
  };
  return {
    async open(spec, options, emit) {
      const gone = config.opens && Atomics.sub(new Int32Array(config.opens), 0, 1) <= 0;
      if (gone || spec.image === IMAGE.MISSING) {
        throw new RadosError('ENOENT', `image ${spec.image} does not exist`, {
          op: 'open',
          target: spec.image,
          retryable: true,
          cause: new Error('rbd_id is missing'),
        });
      }
      if (spec.image === IMAGE.DIES_AT_OPEN) die('exit');
      if (spec.image === IMAGE.HANGS_AT_OPEN) {
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      status.backendsOpen++;
      return new FakeBackend(config, spec, options, emit, status);
    },
    status: () => structuredClone(status),
    close: () => Promise.resolve(),
  };
}

class FakeBackend implements BlockBackend {
  readonly readOnly: boolean;
  readonly objectSize = 4 * 1024 * 1024;
  readonly #config: FakeConfig;
  readonly #spec: ImageSpec;
  readonly #options: MapOptions;
  readonly #emit: (event: BackendEvent) => void;
  readonly #status: FakeStatus;
  readonly #random: () => number;
  #data: Buffer;
  #openGate: () => void = () => {};
  readonly #gateOpened: Promise<void>;
  readonly #progress: Int32Array | undefined;
  #concurrent = 0;

  constructor(
    config: FakeConfig,
    spec: ImageSpec,
    options: MapOptions,
    emit: (event: BackendEvent) => void,
    status: FakeStatus,
  ) {
    this.#config = config;
    this.#spec = spec;
    this.#options = options;
    this.#emit = emit;
    this.#status = status;
    this.readOnly = options.readOnly || spec.snap !== undefined;
    this.#data = config.disk ? Buffer.from(config.disk) : Buffer.alloc(config.size ?? 1024 * 1024);
    this.#random = xorshift(config.seed ?? 1);
    this.#gateOpened = new Promise((resolve) => {
      this.#openGate = resolve;
    });
    this.#progress = config.progress && new Int32Array(config.progress);
    if (config.withoutWriteSame) Object.assign(this, { writeSame: undefined });
  }

  get size(): number {
    return this.#data.length;
  }

  attributes(): DeviceAttributes {
    return {
      size: this.size,
      features: 0x1n,
      pool: this.#spec.pool,
      poolId: 2,
      poolNs: this.#spec.namespace,
      name: this.#spec.image,
      imageId: '10226b8b4567',
      currentSnap: this.#spec.snap ?? '-',
      snapId: 0xfffffffffffffffen,
      clientAddr: '127.0.0.1:0/1234',
      clientId: 'client4123',
      clusterFsid: 'b4a8a2a1-0000-4000-8000-000000000001',
      configInfo: formatMapOptions(this.#options),
      parents: [],
      readOnly: this.readOnly,
      objectSize: this.objectSize,
      stripeUnit: this.objectSize,
      stripeCount: 1,
      allocSize: this.#options.allocSize,
    };
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#serve(offset, () => {
      this.#inRange(offset, into.length);
      into.set(this.#data.subarray(offset, offset + into.length));
    });
  }

  write(offset: number, data: Uint8Array, fua = false): Promise<void> {
    return this.#serve(offset, () => {
      this.#inRange(offset, data.length);
      this.#data.set(data, offset);
      this.#status.writes.push({ offset, length: data.length, fua });
      if (this.#status.writes.length > 1000) this.#status.writes.shift();
    });
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#serve(offset, () => void this.#data.fill(0, offset, offset + length));
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#serve(offset, () => void this.#data.fill(0, offset, offset + length));
  }

  writeSame(offset: number, length: number, pattern: Uint8Array): Promise<void> {
    return this.#serve(offset, () => void this.#data.fill(pattern, offset, offset + length));
  }

  compareAndWrite(offset: number, compare: Uint8Array, data: Uint8Array): Promise<void> {
    return this.#serve(offset, () => {
      const now = this.#data.subarray(offset, offset + compare.length);
      const mismatch = now.findIndex((byte, i) => byte !== compare[i]);
      if (mismatch < 0) {
        this.#data.set(data, offset);
        return;
      }
      const error = new RadosError('EILSEQ', `compare-and-write: other bytes at ${mismatch}`, {
        op: 'compare-and-write',
        target: 'rbd_data.10226b8b4567.0000000000000000',
        outcome: 'not-applied',
      });
      throw Object.assign(error, { mismatchOffset: mismatch });
    });
  }

  flush(): Promise<void> {
    return this.#serve(-1, () => void this.#status.flushes++);
  }

  resize(size: number): Promise<void> {
    this.#setSize(size);
    return Promise.resolve();
  }

  close(): Promise<void> {
    if (this.#spec.image === IMAGE.DIES_AT_CLOSE) die('exit');
    this.#status.backendsOpen--;
    return Promise.resolve();
  }

  async #serve(offset: number, effect: () => void): Promise<void> {
    const {
      die: death,
      gate,
      errors,
      maxDelayTurns = 0,
      delayMs = 0,
      resizeAt,
      failAt,
    } = this.#config;
    this.#status.requests++;
    this.#concurrent++;
    this.#status.maxConcurrent = Math.max(this.#status.maxConcurrent, this.#concurrent);
    try {
      if (death?.request === this.#status.requests && this.#mayDie()) die(death.how);
      if (resizeAt?.request === this.#status.requests) this.#setSize(resizeAt.size);
      if (failAt?.request === this.#status.requests) {
        const error = new RadosError('EBLOCKLISTED', 'this client was fenced');
        this.#emit({ type: 'error', error });
      }
      if (gate && offset === gate.openAt) this.#openGate();
      else if (gate && offset >= gate.from && offset < gate.to) await this.#gateOpened;
      const turns = maxDelayTurns > 0 ? this.#random() % (maxDelayTurns + 1) : 0;
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
      const failing = errors?.find((entry) => entry.offset === offset);
      if (failing) {
        throw new RadosError(failing.code, `osd.3: ${failing.code}`, {
          op: 'operate',
          target: 'osd.3',
          retryable: true,
          outcome: failing.outcome,
          cause: new Error('the disk is on fire'),
        });
      }
      effect();
      if (this.#progress) Atomics.add(this.#progress, 0, 1);
    } finally {
      this.#concurrent--;
    }
  }

  #mayDie(): boolean {
    const { deaths } = this.#config;
    return !deaths || Atomics.sub(new Int32Array(deaths), 0, 1) > 0;
  }

  #inRange(offset: number, length: number): void {
    if (offset + length > this.size) throw new RadosError('EIO', 'beyond the end of the image');
  }

  #setSize(size: number): void {
    const data = Buffer.alloc(size);
    this.#data.copy(data);
    this.#data = data;
    this.#emit({ type: 'resize', size });
  }
}

function die(how: DeathKind): void {
  switch (how) {
    case 'exit':
      return process.exit(7);
    case 'silent-exit':
      // As when the engine is stopped from outside: no handler runs.
      process.removeAllListeners('exit');
      return process.exit(7);
    case 'throw':
      setImmediate(() => {
        throw new Error('a fault of the worker');
      });
      return;
    case 'reject':
      void Promise.reject(new Error('a fault of the worker'));
      return;
  }
}

/** xorshift32 */
function xorshift(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
