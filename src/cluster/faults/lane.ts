/** One direction of a connection under faults: what has to wait, and for how long. */

import type { Environment, Timer } from '../../base/environment.js';

/** What a fault does to one direction. */
export interface Shaper {
  /** Nothing passes. */
  readonly hold?: boolean;
  readonly delayMs?: number;
  readonly jitterMs?: number;
  readonly bytesPerSecond?: number;
  /** How many bytes of each connection still pass before `onBreak`. */
  readonly breakAfter?: number;
  /** It acted on a piece of data of the lane, or (with `breakAfter`) is to break a connection: false when it may not. */
  readonly fire: (lane: Lane) => boolean;
}

/** A throttled lane passes what so many milliseconds are worth at once. */
const THROTTLE_STEP_MS = 20;

interface Piece {
  bytes: Uint8Array;
  due: number;
}

export interface LaneOptions {
  readonly env: Pick<Environment, 'clock' | 'timers' | 'random'>;
  /** Hands a piece on. */
  readonly pass: (bytes: Uint8Array) => void;
  /** Everything that had to wait is through. */
  readonly onEmpty: () => void;
  /** A `breakAfter` is used up. */
  readonly onBreak: () => void;
}

export class Lane {
  readonly #options: LaneOptions;
  /** With the bytes that each still lets through, where that is limited. */
  readonly #shapers = new Map<Shaper, number>();
  #queue: Piece[] = [];
  #queued = 0;
  #freeAt = 0;
  #timer: Timer | undefined;
  #paused = false;
  #ended = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Bytes that wait. */
  get queued(): number {
    return this.#queued;
  }

  /** Whether data may go past the lane. */
  get clear(): boolean {
    return this.#shapers.size === 0 && this.#queue.length === 0;
  }

  get held(): boolean {
    for (const { hold } of this.#shapers.keys()) if (hold) return true;
    return false;
  }

  /** Held, or about to break. */
  get #blocked(): boolean {
    for (const [{ hold }, left] of this.#shapers) if (hold || left <= 0) return true;
    return false;
  }

  add(shaper: Shaper): void {
    this.#shapers.set(shaper, shaper.breakAfter ?? Number.POSITIVE_INFINITY);
    if (shaper.breakAfter === 0) this.#later(() => this.#break(shaper));
  }

  remove(shaper: Shaper): void {
    if (!this.#shapers.delete(shaper)) return;
    const shapers = [...this.#shapers.keys()];
    if (shapers.every(({ delayMs }) => !delayMs)) for (const piece of this.#queue) piece.due = 0;
    if (shapers.every(({ bytesPerSecond }) => !bytesPerSecond)) this.#freeAt = 0;
    this.#wake();
  }

  /** Bytes that are to pass. They are kept until they have. */
  put(bytes: Uint8Array): void {
    if (this.#ended || bytes.length === 0) return;
    const { env } = this.#options;
    let delay = 0;
    for (const shaper of this.#shapers.keys()) {
      if (shaper.breakAfter === undefined) shaper.fire(this);
      delay += (shaper.delayMs ?? 0) + (shaper.jitterMs ?? 0) * env.random.float();
    }
    this.#queue.push({ bytes, due: env.clock.monotonic() + delay });
    this.#queued += bytes.length;
    this.#pump();
  }

  /** The receiver asks for a pause of its own. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  /** Drops what waits, for good. */
  end(): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#queue = [];
    this.#queued = 0;
  }

  /** Not from within the caller's call. */
  #wake(): void {
    if (this.#ended || this.#queue.length === 0) return;
    this.#later(() => this.#pump());
  }

  #later(act: () => void): void {
    this.#options.env.timers.nextTurn(() => {
      if (!this.#ended) act();
    });
  }

  #pump(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (let head = this.#queue[0]; head; head = this.#queue[0]) {
      if (this.#paused || this.#blocked) return;
      const now = this.#options.env.clock.monotonic();
      const waitMs = Math.max(head.due, this.#freeAt) - now;
      if (waitMs > 0) {
        this.#timer = this.#options.env.timers.after(waitMs, () => this.#pump(), {
          background: true,
        });
        return;
      }
      this.#passPart(head, now);
      if (this.#ended) return;
    }
    this.#options.onEmpty();
  }

  #passPart(head: Piece, now: number): void {
    let limit = head.bytes.length;
    let rate = Number.POSITIVE_INFINITY;
    for (const [{ bytesPerSecond }, left] of this.#shapers) {
      rate = Math.min(rate, bytesPerSecond ?? rate);
      limit = Math.min(limit, left);
    }
    if (rate !== Number.POSITIVE_INFINITY) {
      limit = Math.min(limit, Math.max(1, Math.floor((rate * THROTTLE_STEP_MS) / 1000)));
      this.#freeAt = now + (limit * 1000) / rate;
    }
    const part = head.bytes.subarray(0, limit);
    if (limit === head.bytes.length) this.#queue.shift();
    else head.bytes = head.bytes.subarray(limit);
    this.#queued -= limit;
    this.#options.pass(part);
    for (const [shaper, left] of this.#shapers) {
      if (left === Number.POSITIVE_INFINITY) continue;
      this.#shapers.set(shaper, left - limit);
      if (left - limit <= 0) this.#break(shaper);
    }
  }

  #break(shaper: Shaper): void {
    if (this.#ended || !this.#shapers.has(shaper)) return;
    if (shaper.fire(this)) this.#options.onBreak();
    // It broke as many as it was to: this one goes on.
    else this.remove(shaper);
  }
}
