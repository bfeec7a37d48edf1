/**
 * The gate in front of an image's data: nothing goes by a header that may be out of date.
 *
 *   stale()      refreshSeq++       a notification came, or the watch may have missed one
 *   a refresh    appliedSeq = what refreshSeq was when it began
 *   pass()       lets I/O through while both are equal and the watch is known to be good (`validThru` young enough);
 *                else it waits: for a refresh, for an answer to a ping, for a new registration
 *   admits()       asks once more when an object operation is sent: since it was made it may have waited for its OSD
 *
 * The order that makes this exact: a notification raises refreshSeq before it is acknowledged, and the watch raises it
 * before it counts as connected again. So whoever learns that this client has acknowledged a change knows that no I/O goes
 * out from here by the header of before. krbd and librbd do not refresh after a reconnect, and can miss a change there:
 * while disconnected, a notification may start and time out, and nobody says so.
 *
 * The two numbers lie in shared memory, so that the thread of the block device sees them too.
 */

import type { Clock } from '../base/environment.js';
import type { RadosError } from '../base/errors.js';
import { WATCH_STOP_MS } from '../osd-client/watch-times.js';
import type { SendGate } from '../osd-client/request.js';
import type { Watch, WatchState } from '../osd-client/watch-types.js';
import { unlessAborted } from './waiting.js';

/** Words of the shared memory, by index. */
export const GATE_WORD = {
  REFRESH_SEQ: 0,
  APPLIED_SEQ: 1,
  CLOSED: 2,
  PARKED: 3,
  STALE_SENDS: 4,
} as const;
export const GATE_WORDS = 16;

export interface FreshnessGateOptions {
  clock: Clock;
  /** Reads the header again and applies it. */
  refresh: () => Promise<void>;
  /** How old the watch's last sign of life may be while I/O relies on it, in milliseconds. */
  watchMaxAgeMs?: number;
  /** Shared memory for the numbers; private by default. */
  words?: Int32Array;
  /** For messages. */
  target: string;
}

/** States in which the OSD is believed to have the watch, and to tell us of changes. */
const GOOD_STATES: ReadonlySet<WatchState> = new Set(['connected', 'pinging', 'suspect']);

export class FreshnessGate implements SendGate {
  readonly #options: FreshnessGateOptions;
  readonly #words: Int32Array;
  #watch: Watch | undefined;
  #refreshing: Promise<void> | undefined;
  #failure: RadosError | undefined;
  #refreshes = 0;

  constructor(options: FreshnessGateOptions) {
    this.#options = options;
    this.#words = options.words ?? new Int32Array(GATE_WORDS);
  }

  /** From here on I/O needs this watch to be good. */
  watchedBy(watch: Watch): void {
    this.#watch = watch;
  }

  get refreshSeq(): number {
    return Atomics.load(this.#words, GATE_WORD.REFRESH_SEQ);
  }

  /** Of the header in use. */
  get appliedSeq(): number {
    return Atomics.load(this.#words, GATE_WORD.APPLIED_SEQ);
  }

  /** Requests that wait. */
  get parked(): number {
    return Atomics.load(this.#words, GATE_WORD.PARKED);
  }

  /** How often the header was read because it was stale. */
  get refreshes(): number {
    return this.#refreshes;
  }

  /** Operations that were sent by a header that may have been out of date. */
  get staleSends(): number {
    return Atomics.load(this.#words, GATE_WORD.STALE_SENDS);
  }

  /** What object operations are made by: the header as of now. */
  get seq(): number {
    return this.refreshSeq;
  }

  /** Whether an operation that was made then may still be sent: by the header of now, and the watch is good. */
  admits(madeAt: number): boolean {
    return madeAt === this.refreshSeq && this.#open;
  }

  /** An operation is sent: for the count, which tells whether the gate holds. */
  onSent(madeAt: number): void {
    if (!this.admits(madeAt)) Atomics.add(this.#words, GATE_WORD.STALE_SENDS, 1);
  }

  /** What was read of the header up to now may be out of date. */
  stale(): void {
    Atomics.add(this.#words, GATE_WORD.REFRESH_SEQ, 1);
  }

  /** The end: everything that waits, and all that comes, fails with this. */
  fail(error: RadosError): void {
    this.#failure ??= error;
    Atomics.store(this.#words, GATE_WORD.CLOSED, 1);
  }

  /**
   * Undefined when I/O may go at once, which is the common case and costs no promise; else resolves when it may, after
   * looking again. Rejects with what ended the watch, with what the refresh failed with, or when `signal` aborts.
   */
  pass(signal?: AbortSignal): Promise<void> | undefined {
    if (this.#open) return undefined;
    return this.#wait(signal);
  }

  /** Brings the header up to date if it is stale, whatever the watch's state. */
  async refreshIfStale(): Promise<void> {
    while (this.#stale) await this.#refresh();
  }

  get #stale(): boolean {
    return this.appliedSeq !== this.refreshSeq;
  }

  get #open(): boolean {
    return this.#failure === undefined && !this.#stale && this.isWatchGood;
  }

  /** Whether the OSD is believed to have the watch, and said so lately. */
  get isWatchGood(): boolean {
    const watch = this.#watch;
    if (!watch) return true;
    if (!GOOD_STATES.has(watch.state)) return false;
    const { clock, watchMaxAgeMs = WATCH_STOP_MS } = this.#options;
    return clock.monotonic() - watch.validThru <= watchMaxAgeMs;
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    Atomics.add(this.#words, GATE_WORD.PARKED, 1);
    try {
      while (!this.#open) {
        if (this.#failure) throw this.#failure;
        await unlessAborted(this.#step(), signal, this.#options.target);
      }
    } finally {
      Atomics.sub(this.#words, GATE_WORD.PARKED, 1);
    }
  }

  /** The watch first: what is read before it is good again would be stale at once. */
  async #step(): Promise<void> {
    if (!this.isWatchGood) {
      try {
        await this.#watch?.verify();
      } catch (error) {
        throw this.#failure ?? error;
      }
    } else {
      await this.#refresh();
    }
  }

  /** One at a time: all that wait share it. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshOnce().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refreshOnce(): Promise<void> {
    const seq = this.refreshSeq;
    this.#refreshes++;
    await this.#options.refresh();
    Atomics.store(this.#words, GATE_WORD.APPLIED_SEQ, seq);
  }
}
