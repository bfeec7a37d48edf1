/**
 * An Environment in one process and outside of time: a network of byte streams, timers, files and randomness that run as
 * fast as they can and the same way every time for the same seed.
 *
 *     const world = new VirtualWorld();
 *     ... start servers and clients with world.env ...
 *     await world.until(client.connect());      // runs events, in order of their virtual time, until it settles
 *     await world.advance(30_000);              // lets half a minute pass
 *
 * One event happens at a time, and what its callback set in motion through promises is over before the next one.
 */

import type { Clock, Disk, Environment, Random, Timer, Timers } from '../base/environment.js';
import { createLog, type LogOptions } from '../base/log.js';
import { EventQueue } from './event-queue.js';
import { Instant } from './instant.js';
import { seededRandom } from './random.js';
import { VirtualFiles } from './virtual-files.js';
import { VirtualNetwork } from './virtual-network.js';

export interface VirtualWorldOptions {
  /** Default 1. */
  seed?: number;
  log?: LogOptions;
  /** More events without time passing are an error. Default 1,000,000. */
  instantEventsMax?: number;
}

/** Events of one instant: of more, something goes round without time passing. */
const INSTANT_EVENTS_MAX = 1_000_000;
const EPOCH_MS = 1_700_000_000_000;
/** Virtual time that `until` lets pass before it gives up. */
const PATIENCE_MS = 600_000;
/** Events that happen in one turn of Node's event loop. */
const BURST = 16;

/** What somebody waited for does not come about. */
export class NoEndError extends Error {}

export class VirtualWorld {
  readonly random: Random;
  readonly network: VirtualNetwork;
  readonly files = new VirtualFiles();
  readonly env: Environment;
  /** Virtual milliseconds since the world began. */
  now = 0;
  /** What the wall clock was set forward by, or saw while the machine slept; timers and the monotonic clock did not. */
  wallOffsetMs = 0;
  /** Costs time: every event keeps where it was asked for. */
  traceEvents = false;
  /** Events that have happened. */
  steps = 0;
  /** Called after each event, before what follows from it through promises. */
  onStep: (() => void) | undefined;
  readonly #queue = new EventQueue();
  readonly #instant: Instant;
  #digest = 0;

  constructor(options: VirtualWorldOptions = {}) {
    this.random = seededRandom(options.seed ?? 1);
    this.#instant = new Instant(options.instantEventsMax ?? INSTANT_EVENTS_MAX);
    this.network = new VirtualNetwork(this);
    this.env = {
      clock: this.#clock(),
      timers: this.#timers(),
      random: this.random,
      network: this.network,
      files: this.files,
      disk: NO_DISK,
      hostname: 'memory',
      log: createLog(options.log),
    };
  }

  /** Makes something that happened part of the digest. */
  note(...what: number[]): void {
    this.#digest = mix(this.#digest, Math.round(this.now * 1000));
    for (const each of what) this.#digest = mix(this.#digest, each);
  }

  /** Of everything that arrived anywhere, when, and in which order: the same for the same run. */
  get digest(): number {
    return this.#digest >>> 0;
  }

  /** Runs `run` when `delayMs` have passed and everything before it is done. */
  after(delayMs: number, run: () => void): Timer {
    const queue = this.#queue;
    const event = queue.add(this.now + Math.max(0, delayMs), run);
    if (this.traceEvents || this.#instant.isSuspicious) event.origin = new Error('armed').stack;
    return { cancel: () => queue.cancel(event) };
  }

  /** Timers and deliveries that are still to come: what a test for leaks looks at. */
  get pendingEvents(): number {
    return this.#queue.length;
  }

  /** Where those were asked for that were asked for since `traceEvents` was set: to find out whose they are. */
  get pendingOrigins(): string[] {
    return this.#queue.pending.map(({ at, origin }) => `${at.toFixed(1)} ms: ${origin ?? '?'}`);
  }

  /** Lets `ms` pass. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    await this.#drive(() => this.#queue.next > end);
    this.now = end;
    await this.#drive(() => true);
  }

  /** Runs everything that is due now and what follows from it without waiting. */
  flush(): Promise<void> {
    return this.advance(0);
  }

  /** Runs events until the promise settles, or `condition` holds. Rejects when nothing is left that could bring it about. */
  async until<T>(
    goal: Promise<T> | (() => T | undefined | false),
    { patienceMs = PATIENCE_MS }: { patienceMs?: number } = {},
  ): Promise<T> {
    const end = this.now + patienceMs;
    let done: { value: T } | { error: unknown } | undefined;
    const result = () => done;
    if (typeof goal !== 'function') {
      goal.then(
        (value) => (done = { value }),
        (error: unknown) => (done = { error }),
      );
    }
    await this.#drive(() => {
      if (typeof goal === 'function') {
        const value = goal();
        if (value) done = { value };
      }
      if (done) return true;
      const { next } = this.#queue;
      if (next === Number.POSITIVE_INFINITY) {
        throw new NoEndError(`nothing left to happen at ${this.now} ms, and no end yet`);
      }
      if (next > end) throw new NoEndError(`no end after ${patienceMs} ms of virtual time`);
      return false;
    });
    const settled = result() as { value: T } | { error: unknown };
    if ('error' in settled) throw settled.error;
    return settled.value;
  }

  /**
   * Runs events until `isOver`, which is asked before each of them: when all promise callbacks that are ready, and those that
   * they make ready, have run. Node lets them run between any two immediates; one burst of these costs one turn of its
   * event loop, which is what a small event would cost otherwise.
   */
  #drive(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended = false;
      const step = () => {
        if (ended) return;
        try {
          ended = isOver();
          if (ended) resolve();
          else this.#run();
        } catch (error) {
          ended = true;
          reject(error as Error);
        }
      };
      const burst = () => {
        step();
        if (ended) return;
        for (let i = 1; i < BURST; i++) setImmediate(step);
        setImmediate(burst);
      };
      setImmediate(burst);
    });
  }

  #run(): void {
    const event = this.#queue.take();
    if (!event) return;
    const { run } = event;
    event.run = undefined;
    this.now = Math.max(this.now, event.at);
    this.steps++;
    this.#instant.count(this.now, event.origin);
    run?.();
    this.onStep?.();
  }

  #clock(): Clock {
    return { now: () => EPOCH_MS + this.now + this.wallOffsetMs, monotonic: () => this.now };
  }

  #timers(): Timers {
    return {
      after: (delayMs, callback) => this.after(delayMs, callback),
      nextTurn: (callback) => this.after(0, callback),
    };
  }
}

/** MurmurHash3's step for one word. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word | 0, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

const noFile = (path: string) =>
  Promise.reject(Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' }));

/** For what has no business with a disk; `VirtualDisk` is one. */
export const NO_DISK: Disk = {
  open: noFile,
  list: noFile,
  mkdir: noFile,
  rename: noFile,
  remove: noFile,
  syncDir: noFile,
  freeBytes: noFile,
  lock: noFile,
};
