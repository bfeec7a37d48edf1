/**
 * A ring of fixed slots in shared memory from one thread to another, with a doorbell for a reader
 * that sleeps in its event loop and a wake-up for one that is blocked.
 *
 * A channel has two of them in one region (words of 4 bytes; each box is a cache line of 16 words):
 *
 *     0  requests.head         how many requests main ever published, modulo 2^32
 *    16  requests.reader       AWAKE, ASLEEP or BLOCKED: the worker
 *    32  completions.head      how many completions the worker ever published
 *    48  completions.reader    the same three states: main
 *    64  beat, gone, taken     the worker's signs of life, and how many requests it began with
 *    80  request slots         capacity x 16 words
 *     …  completion slots      capacity x 4 words
 *
 * The protocol. The writer fills the slot and stores the head. At the end of the batch (of the microtasks, or for
 * completions with more under way, of the turn) it looks at the reader's state; if that is not AWAKE it takes the state with an exchange and wakes the reader. So there is at
 * most one doorbell for a batch, and none while the reader is busy. The reader reads all slots, stores
 * ASLEEP and looks at the head once more, because a writer that looked just before saw AWAKE. All of it is
 * sequentially consistent (`Atomics`), so one of the two always sees the other.
 *
 * A doorbell costs its sender 3 to 5 us: ringing for each slot that finds the reader asleep halves the
 * throughput at depth 16. But a caller may submit a lot, or slowly, and block its thread before the batch ends. So
 * requests are written `eager`: the first of a batch rings at once, later ones do when the last bell is more
 * than a millisecond old, and the worker looks once more 10 ms after it was last busy.
 *
 * Invariant: at most `capacity` slots are published and not yet read. Neither side checks it here:
 * requests in flight are bounded by the queue depth, and each gets one completion.
 */

import { RadosError } from '../base/errors.js';

const AWAKE = 0;
/** In its event loop: wants a doorbell. */
const ASLEEP = 1;
/** In `Atomics.wait`: wants a notify. */
const BLOCKED = 2;

const EAGER_INTERVAL_MS = 1;

const LINE = 16;
const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT;
export const REQUEST_WORDS = 16;
export const COMPLETION_WORDS = 4;

const REQUESTS_HEAD = 0;
const REQUESTS_READER = LINE;
const COMPLETIONS_HEAD = 2 * LINE;
const COMPLETIONS_READER = 3 * LINE;
const BEAT = 4 * LINE;
const GONE = BEAT + 1;
const TAKEN = BEAT + 2;
const SLOTS = 5 * LINE;

/** A bound on what one device may have in flight; krbd's tag sets have one too. */
export const MAX_QUEUE_DEPTH = 16384;

/** Slots of each ring: the queue depth, rounded up to a power of two. */
export function ringCapacity(queueDepth: number): number {
  if (!(Number.isInteger(queueDepth) && queueDepth >= 1 && queueDepth <= MAX_QUEUE_DEPTH)) {
    throw new RadosError(
      'EINVAL',
      `queue_depth ${queueDepth} is not within 1 and ${MAX_QUEUE_DEPTH}`,
    );
  }
  return 2 ** Math.ceil(Math.log2(queueDepth));
}

/** Size of the region of a channel. */
export function channelBytes(capacity: number): number {
  return (SLOTS + capacity * (REQUEST_WORDS + COMPLETION_WORDS)) * WORD_BYTES;
}

interface RingPlace {
  words: Int32Array;
  head: number;
  reader: number;
  slots: number;
  slotWords: number;
  capacity: number;
}

/** The region of one channel, from either side. */
export class ChannelMemory {
  readonly words: Int32Array;
  readonly capacity: number;

  constructor(buffer: SharedArrayBuffer, byteOffset: number, capacity: number) {
    this.words = new Int32Array(buffer, byteOffset, channelBytes(capacity) / WORD_BYTES);
    this.capacity = capacity;
  }

  /** A region may have served another device before. Before either side starts. */
  reset(): void {
    this.words.fill(0);
    // Neither side reads before its first doorbell.
    this.words[REQUESTS_READER] = ASLEEP;
    this.words[COMPLETIONS_READER] = ASLEEP;
  }

  get requests(): RingPlace {
    return {
      words: this.words,
      head: REQUESTS_HEAD,
      reader: REQUESTS_READER,
      slots: SLOTS,
      slotWords: REQUEST_WORDS,
      capacity: this.capacity,
    };
  }

  get completions(): RingPlace {
    return {
      words: this.words,
      head: COMPLETIONS_HEAD,
      reader: COMPLETIONS_READER,
      slots: SLOTS + this.capacity * REQUEST_WORDS,
      slotWords: COMPLETION_WORDS,
      capacity: this.capacity,
    };
  }

  /** The worker lives: seen by a main thread that is blocked and gets no events. */
  beat(): void {
    Atomics.add(this.words, BEAT, 1);
  }

  get beats(): number {
    return Atomics.load(this.words, BEAT);
  }

  /** The worker begins with the next request: said before anything comes of it. */
  take(): void {
    Atomics.add(this.words, TAKEN, 1);
    this.beat();
  }

  /** How many requests the worker began with, modulo 2^32. Final when it has ended. */
  get taken(): number {
    return Atomics.load(this.words, TAKEN);
  }

  /** The worker's last word. Wakes a blocked main thread. */
  markGone(): void {
    Atomics.store(this.words, GONE, 1);
    Atomics.store(this.words, COMPLETIONS_READER, AWAKE);
    Atomics.notify(this.words, COMPLETIONS_READER);
  }

  get gone(): boolean {
    return Atomics.load(this.words, GONE) !== 0;
  }
}

export interface RingWriterOptions {
  doorbell: () => void;
  /**
   * Look at the reader also before the end of a batch: at its first slot, and then once a millisecond by this clock.
   */
  eager?: (() => number) | undefined;
  /** When a batch ends. By default with the current microtasks. */
  atBatchEnd?: (callback: () => void) => void;
}

export class RingWriter {
  readonly #words: Int32Array;
  readonly #place: RingPlace;
  readonly #mask: number;
  readonly #doorbell: () => void;
  readonly #now: (() => number) | undefined;
  readonly #atBatchEnd: (callback: () => void) => void;
  #wokenAt = 0;
  #head = 0;
  #checkDue = false;

  constructor(
    place: RingPlace,
    { doorbell, eager, atBatchEnd = queueMicrotask }: RingWriterOptions,
  ) {
    this.#words = place.words;
    this.#place = place;
    this.#mask = place.capacity - 1;
    this.#doorbell = doorbell;
    this.#now = eager;
    this.#atBatchEnd = atBatchEnd;
  }

  /** Index of the first word of the next slot. Fill it, then `publish()`. */
  slot(): number {
    return this.#place.slots + (this.#head & this.#mask) * this.#place.slotWords;
  }

  /** The reader is woken by the end of the current microtasks: one doorbell for a batch. */
  publish(): void {
    this.#head = (this.#head + 1) | 0;
    Atomics.store(this.#words, this.#place.head, this.#head);
    const isFirst = !this.#checkDue;
    if (isFirst) {
      this.#checkDue = true;
      this.#atBatchEnd(this.#check);
    }
    if (!this.#now || Atomics.load(this.#words, this.#place.reader) === AWAKE) return;
    const now = this.#now();
    if (!isFirst && now - this.#wokenAt < EAGER_INTERVAL_MS) return;
    this.#wokenAt = now;
    this.wake();
  }

  /** Wakes the reader if it sleeps and there may be something for it. */
  wake(): void {
    const { reader } = this.#place;
    if (Atomics.load(this.#words, reader) === AWAKE) return;
    const was = Atomics.exchange(this.#words, reader, AWAKE);
    if (was === ASLEEP) this.#doorbell();
    else if (was === BLOCKED) Atomics.notify(this.#words, reader);
  }

  readonly #check = (): void => {
    this.#checkDue = false;
    this.wake();
  };
}

export interface RingReaderOptions {
  /** Called for every slot, with the index of its first word. The slot is free again when it returns. */
  visit: (slot: number) => void;
  /** Slots read in one turn before other events of the thread get theirs. */
  maxPerTurn: number;
  nextTurn: (callback: () => void) => void;
}

export class RingReader {
  readonly #words: Int32Array;
  readonly #place: RingPlace;
  readonly #mask: number;
  readonly #options: RingReaderOptions;
  #tail = 0;
  /** The next turn is armed; the state stays AWAKE until then. */
  #turnDue = false;
  #closed = false;

  constructor(place: RingPlace, options: RingReaderOptions) {
    this.#words = place.words;
    this.#place = place;
    this.#mask = place.capacity - 1;
    this.#options = options;
  }

  get empty(): boolean {
    return Atomics.load(this.#words, this.#place.head) === this.#tail;
  }

  /** Reads until the ring is empty, then falls asleep; or until the limit of a turn, and goes on in the next. */
  turn(): void {
    if (this.#turnDue || this.#closed) return;
    const limit = this.#options.maxPerTurn;
    for (let visited = 0; ; ) {
      visited += this.drain(limit - visited);
      if (this.#closed) return;
      if (visited >= limit) {
        this.#turnDue = true;
        this.#options.nextTurn(() => {
          this.#turnDue = false;
          this.turn();
        });
        return;
      }
      if (this.#fallAsleep()) return;
    }
  }

  /** As `turn`, for a caller that passes by: nearly free when nothing is there. */
  poll(): void {
    if (!this.empty) this.turn();
  }

  /** Reads what is there now, at most `limit` slots. */
  drain(limit: number): number {
    const { slots, slotWords, head } = this.#place;
    let visited = 0;
    while (visited < limit && !this.#closed) {
      if (Atomics.load(this.#words, head) === this.#tail) break;
      const slot = slots + (this.#tail & this.#mask) * slotWords;
      this.#tail = (this.#tail + 1) | 0;
      visited++;
      this.#options.visit(slot);
    }
    return visited;
  }

  /** Blocks the thread until something is published or the time is over. Say `turn()` when done with blocking. */
  block(timeoutMs: number): void {
    const { reader } = this.#place;
    Atomics.store(this.#words, reader, BLOCKED);
    if (this.empty) Atomics.wait(this.#words, reader, BLOCKED, timeoutMs);
    Atomics.store(this.#words, reader, AWAKE);
  }

  /** Nothing is read any more. */
  close(): void {
    this.#closed = true;
  }

  #fallAsleep(): boolean {
    const { reader } = this.#place;
    Atomics.store(this.#words, reader, ASLEEP);
    if (this.empty) return true;
    Atomics.store(this.#words, reader, AWAKE);
    return false;
  }
}
