/**
 * Kernels on whole object maps in other threads, where they would hold up this one for more than about a millisecond.
 *
 *     up to 8 MiB of map (32 million objects)     in place: 0.2 to 1 ms, a call to another thread is 0.1 ms
 *     more                                        in a pool of at most two threads, 1 to 5 ms at a time
 *
 * The threads run the same module over the same memory: nothing is copied, and they only read maps (but for the states of a
 * chain of diffs, which nobody else looks at). They are started with the first call that needs one, and end after some idle
 * seconds, or with `close`.
 *
 * Invariant: what a thread works on stays pinned until its call has ended; an abort is heeded between two calls, because a
 * thread that is ended in the midst of one may write a little longer than its task is believed to run.
 */

import type { Piscina } from 'piscina';

import { abortError, RadosError } from '../base/errors.js';
import { packageFile } from '../base/paths.js';
import type { DiffChain, ObjectBitmap, StagedBitmap } from './bitmap.js';
import { CRC_BLOCK_BYTES, crcBlocks, dataBytes } from './bitmap-codec.js';
import { type BitmapMemory, type Region, threadBitmapMemory } from './bitmap-memory.js';
import type { Runs } from './bitmap-runs.js';
import { type KernelExports, kernelModule } from './load.js';
import type { StateCounts } from './object-state.js';

export interface KernelPoolOptions {
  /** At most so many threads, 2 by default. */
  threads?: number;
  /** Maps with more bytes than this go to the pool, 8 MiB by default. */
  inPlaceBytes?: number;
}

export interface KernelCallOptions {
  /** ECANCELED or ETIMEDOUT, some milliseconds after it was aborted if a thread is at work. */
  signal?: AbortSignal | undefined;
}

type PooledKernel =
  | 'bitmapCount'
  | 'bitmapRuns'
  | 'bitmapDiff'
  | 'bitmapDiffStep'
  | 'bitVectorChecksums'
  | 'bitVectorBadBlock';

/** What a thread is told (workers/kernels.ts). */
export interface KernelCall {
  readonly kernel: PooledKernel & keyof KernelExports;
  readonly args: readonly number[];
  /** For its crc32c alone. */
  readonly scratch: number;
}

/** What a thread is given at its start. */
export interface KernelThreadData {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

const MIB = 1024 * 1024;
const DEFAULT_THREADS = 2;
const DEFAULT_IN_PLACE_BYTES = 8 * MIB;
const SLICE_BYTES = 16 * MIB;
const SLICE_OBJECTS = 4 * SLICE_BYTES;
const IDLE_MS = 10_000;
/** Boundaries that one call writes at most: 2 ms of work in the densest map. */
const DESK_ENTRIES = 256 * 1024;
/** Callers that wait for a thread: more is somebody's mistake. */
const WAITING_MAX = 1024;

/** What a call writes to besides maps. One for each thread. */
interface Desk {
  readonly cursorAddress: number;
  readonly cursor: Uint32Array;
  readonly countsAddress: number;
  readonly counts: Uint32Array;
  readonly scratch: number;
  readonly entriesAddress: number;
  readonly entries: Uint32Array;
}

interface Waiting {
  give(desk: Desk): void;
  refuse(error: RadosError): void;
}

let ofThisThread: KernelPool | undefined;

/** The pool for the object maps of this thread (`threadBitmapMemory`): idle, it has no threads and costs nothing. */
export function threadKernelPool(): KernelPool {
  ofThisThread ??= new KernelPool(threadBitmapMemory());
  return ofThisThread;
}

export class KernelPool implements AsyncDisposable {
  readonly memory: BitmapMemory;
  readonly #threads: number;
  readonly #inPlaceBytes: number;
  readonly #idle: Desk[] = [];
  readonly #regions: Region[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #running = new Set<Promise<unknown>>();
  #pool: Promise<Piscina> | undefined;
  #closing: Promise<void> | undefined;

  constructor(memory: BitmapMemory, options: KernelPoolOptions = {}) {
    this.memory = memory;
    this.#threads = options.threads ?? DEFAULT_THREADS;
    this.#inPlaceBytes = options.inPlaceBytes ?? DEFAULT_IN_PLACE_BYTES;
  }

  /** As `ObjectBitmap.count`. Objects that change meanwhile are counted as before or after. */
  async count(bitmap: ObjectBitmap, { signal }: KernelCallOptions = {}): Promise<StateCounts> {
    if (this.#isSmall(bitmap.objectCount)) return bitmap.count();
    const { address, objectCount, region } = bitmap;
    const total = { nonexistent: 0, exists: 0, pending: 0, existsClean: 0 };
    await this.#slices([region], objectCount, SLICE_OBJECTS, signal, async (desk, start, end) => {
      const { counts, countsAddress } = desk;
      await this.#call(desk, 'bitmapCount', [address, start, end, countsAddress]);
      total.nonexistent += counts[0]!;
      total.exists += counts[1]!;
      total.pending += counts[2]!;
      total.existsClean += counts[3]!;
    });
    return total;
  }

  /** As `runs.read`, of runs or a diff; up to 262,144 entries. */
  async read(runs: Runs, { signal }: KernelCallOptions = {}): Promise<Uint32Array | undefined> {
    const { source } = runs;
    while (runs.position < runs.end) {
      if (this.#isSmall(runs.end - runs.position)) return runs.read();
      const entries = await this.#withDesk(signal, async (desk) => {
        const { cursorAddress, cursor, entriesAddress } = desk;
        const regions = source.maps.map(({ region }) => region);
        runs.prepare(cursor);
        const args = [...source.args(), runs.end, cursorAddress, entriesAddress, DESK_ENTRIES];
        const count = await this.#pinned(regions, () => this.#call(desk, source.kernel, args));
        runs.proceed(cursor);
        return runs.taken(desk.entries, count);
      });
      if (entries.length > 0) return entries;
    }
    return undefined;
  }

  /** As `chain.step`. */
  async step(
    chain: DiffChain,
    map: ObjectBitmap,
    { isLast = false, signal }: KernelCallOptions & { isLast?: boolean } = {},
  ): Promise<void> {
    const { objectCount } = map;
    if (this.#isSmall(objectCount)) return chain.step(map, { isLast });
    chain.states.resize(objectCount);
    const states = chain.states.address;
    const from = map.address;
    const regions = [chain.states.region, map.region];
    await this.#slices(regions, objectCount, SLICE_OBJECTS, signal, async (desk, start, end) => {
      const blocks = Math.ceil((end - start) / 256);
      const args = [states + start / 4, from + start / 4, blocks, isLast ? 1 : 0];
      await this.#call(desk, 'bitmapDiffStep', args);
    });
  }

  /** As `staged.decode`: the map is `staged`'s, or the room is given back. */
  async decode(staged: StagedBitmap, { signal }: KernelCallOptions = {}): Promise<ObjectBitmap> {
    if (staged.bytes.length <= this.#inPlaceBytes) return staged.decode();
    const checks = staged.open();
    const { dataAddress, dataLength, sumsAddress } = checks;
    let badBlock = -1;
    if (sumsAddress !== undefined) {
      try {
        const { region } = staged;
        await this.#slices([region], dataLength, SLICE_BYTES, signal, async (desk, start, end) => {
          if (badBlock >= 0) return;
          const first = start / CRC_BLOCK_BYTES;
          const args = [dataAddress + start, end - start, sumsAddress + 4 * first];
          const bad = await this.#call(desk, 'bitVectorBadBlock', args);
          if (bad >= 0) badBlock = first + bad;
        });
      } catch (error) {
        staged.discard();
        throw error;
      }
    }
    return staged.finish(checks, badBlock);
  }

  /** As `bitmap.encode`; the bytes are copied here, at the speed of memory. */
  async encode(bitmap: ObjectBitmap, { signal }: KernelCallOptions = {}): Promise<Uint8Array> {
    const { address, objectCount, region } = bitmap;
    if (this.#isSmall(objectCount)) return bitmap.encode();
    const sums = new Uint32Array(crcBlocks(objectCount));
    const bytes = dataBytes(objectCount);
    await this.#slices([region], bytes, SLICE_BYTES, signal, async (desk, start, end) => {
      const { entries, entriesAddress } = desk;
      const args = [address + start, end - start, entriesAddress];
      await this.#call(desk, 'bitVectorChecksums', args);
      const blocks = Math.ceil((end - start) / CRC_BLOCK_BYTES);
      sums.set(entries.subarray(0, blocks), start / CRC_BLOCK_BYTES);
    });
    return bitmap.encodeWith(sums);
  }

  /** Calls that wait are refused, those that run end; then no thread is left. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    for (const { refuse } of this.#waiting.splice(0)) refuse(closedError());
    await Promise.allSettled(this.#running);
    const pool = await this.#pool?.catch(() => undefined);
    await pool?.destroy();
    for (const region of this.#regions.splice(0)) this.memory.give(region);
  }

  #isSmall(objectCount: number): boolean {
    return dataBytes(objectCount) <= this.#inPlaceBytes;
  }

  /** One after the other; other callers have their turns between. */
  #slices(
    regions: readonly Region[],
    total: number,
    sliceLength: number,
    signal: AbortSignal | undefined,
    each: (desk: Desk, start: number, end: number) => Promise<void>,
  ): Promise<void> {
    return this.#pinned(regions, async () => {
      for (let start = 0; start < total; start += sliceLength) {
        const end = Math.min(total, start + sliceLength);
        await this.#withDesk(signal, (desk) => each(desk, start, end));
      }
    });
  }

  async #pinned<T>(regions: readonly Region[], work: () => Promise<T>): Promise<T> {
    for (const region of regions) this.memory.pin(region);
    try {
      return await work();
    } finally {
      for (const region of regions) this.memory.unpin(region);
    }
  }

  async #withDesk<T>(
    signal: AbortSignal | undefined,
    work: (desk: Desk) => Promise<T>,
  ): Promise<T> {
    const desk = await this.#takeDesk(signal);
    // Closed since the desk was given: whoever closes does not know of this call.
    if (this.#closing) throw closedError();
    const running = work(desk);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
      this.#giveDesk(desk);
    }
  }

  async #call(desk: Desk, kernel: PooledKernel, args: readonly number[]): Promise<number> {
    const call: KernelCall = { kernel, args, scratch: desk.scratch };
    try {
      this.#pool ??= this.#start();
      const pool = await this.#pool;
      return (await pool.run(call)) as number;
    } catch (cause) {
      const message = `${kernel}: the thread that ran it failed`;
      throw new RadosError('EIO', message, { op: kernel, cause });
    }
  }

  async #start(): Promise<Piscina> {
    const { Piscina } = await import('piscina');
    const workerData: KernelThreadData = {
      module: kernelModule(),
      memory: this.memory.memory,
    };
    return new Piscina({
      filename: packageFile('dist/bundle/workers/kernels.js'),
      name: 'call',
      minThreads: 0,
      maxThreads: this.#threads,
      idleTimeout: IDLE_MS,
      workerData,
    });
  }

  #takeDesk(signal: AbortSignal | undefined): Promise<Desk> {
    if (this.#closing) return Promise.reject(closedError());
    if (signal?.aborted) return Promise.reject(abortError(signal, { op: 'kernel' }));
    const idle = this.#idle.pop() ?? this.#newDesk();
    if (idle) return Promise.resolve(idle);
    if (this.#waiting.length >= WAITING_MAX) {
      const message = `${WAITING_MAX} calls wait for the kernels' threads`;
      return Promise.reject(new RadosError('EAGAIN', message, { op: 'kernel' }));
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(abortError(signal as AbortSignal, { op: 'kernel' }));
      };
      const waiting: Waiting = {
        give(desk) {
          signal?.removeEventListener('abort', onAbort);
          resolve(desk);
        },
        refuse(error) {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #giveDesk(desk: Desk): void {
    const next = this.#waiting.shift();
    if (next) next.give(desk);
    else this.#idle.push(desk);
  }

  #newDesk(): Desk | undefined {
    if (this.#regions.length >= this.#threads) return undefined;
    const { exports, memory } = this.memory;
    const counts = 128;
    const scratch = counts + 64;
    const entries = scratch + Math.ceil(exports.crc32cScratchBytes() / 64) * 64;
    const region = this.memory.take(entries + 4 * DESK_ENTRIES);
    this.#regions.push(region);
    const { address } = region;
    return {
      cursorAddress: address,
      cursor: new Uint32Array(memory.buffer, address, 2),
      countsAddress: address + counts,
      counts: new Uint32Array(memory.buffer, address + counts, 4),
      scratch: address + scratch,
      entriesAddress: address + entries,
      entries: new Uint32Array(memory.buffer, address + entries, DESK_ENTRIES),
    };
  }
}

function closedError(): RadosError {
  return new RadosError('EBADF', 'the pool of kernels is closed', { op: 'kernel' });
}
