/**
 * An accepted connection on which faults may act. While there are none, calls go straight through.
 *
 * Bytes are never lost while the connection lives, as TCP promises: what a fault holds back comes when the fault is over.
 */

import type { Environment, SocketAddress, Stream, StreamHandler } from '../../base/environment.js';
import { Lane, type Shaper } from './lane.js';

/** What came in and may not be handed on yet; a client that sends more is not read. */
const MAX_HELD_IN_BYTES = 1024 * 1024;
/** What may not go out yet; with more the connection breaks. */
const MAX_HELD_OUT_BYTES = 64 * 1024 * 1024;
const SCRATCH_BYTES = 64 * 1024;

export class FaultyStream implements Stream {
  readonly #inner: Stream;
  readonly #env: Pick<Environment, 'clock' | 'timers' | 'random'>;
  readonly #onGone: (stream: FaultyStream) => void;
  /** To the cluster. */
  readonly #in: Lane;
  /** To the client. */
  readonly #out: Lane;
  #handler: StreamHandler | undefined;
  #scratch: Uint8Array | undefined;
  /** Where the next bytes go: to the handler's own place, or to the scratch. */
  #place: Uint8Array | undefined;
  #paused = false;
  #inFull = false;
  /** The owner dropped the stream. */
  #dropped = false;
  /** The owner dropped it while the client must not notice: the socket stays until it may. */
  #orphan = false;
  /** The socket is closed; the owner hears of it when everything before it got through. */
  #ended: { error: Error | undefined } | undefined;
  #done = false;
  #failure: Error | undefined;

  constructor(
    inner: Stream,
    env: Pick<Environment, 'clock' | 'timers' | 'random'>,
    onGone: (stream: FaultyStream) => void,
  ) {
    this.#inner = inner;
    this.#env = env;
    this.#onGone = onGone;
    const onBreak = () => this.reset('broken by a fault');
    this.#in = new Lane({
      env,
      pass: (bytes) => this.#deliver(bytes),
      onEmpty: () => this.#onInEmpty(),
      onBreak,
    });
    this.#out = new Lane({
      env,
      pass: (bytes) => inner.write([bytes]),
      onEmpty: () => {},
      onBreak,
    });
  }

  /** What the socket is to call. */
  attach(handler: StreamHandler): StreamHandler {
    this.#handler = handler;
    return {
      readInto: () => {
        this.#place = this.#passes ? handler.readInto() : this.#ownPlace();
        return this.#place;
      },
      onRead: (length) => {
        // A fault may have come since the place was asked for, which is right after the read before.
        if (this.#passes && this.#place !== this.#scratch) handler.onRead(length);
        else this.#hold(length);
      },
      onDrain: () => {
        if (!this.#dropped) handler.onDrain();
      },
      onClose: (error) => this.#onInnerClose(error),
    };
  }

  // ---- faults ----

  shape(toCluster: Shaper | undefined, toClient: Shaper | undefined): void {
    if (toCluster) this.#in.add(toCluster);
    if (toClient) this.#out.add(toClient);
  }

  unshape(toCluster: Shaper | undefined, toClient: Shaper | undefined): void {
    if (toCluster) this.#in.remove(toCluster);
    if (toClient) this.#out.remove(toClient);
    if (this.#orphan && !this.#out.held) this.#inner.destroy();
    else if (this.#ended && !this.#in.held && this.#in.queued === 0) this.#finishLater();
  }

  /** The connection breaks at once, as with an RST: both ends hear of it, what was under way is lost. */
  reset(why = 'by a fault'): void {
    if (this.#done || this.#dropped) return;
    this.#failure = Object.assign(new Error(`connection reset: ${why}`), { code: 'ECONNRESET' });
    this.#in.end();
    this.#out.end();
    if (this.#ended) this.#finishLater();
    else if (this.#inner.reset) this.#inner.reset();
    else this.#inner.destroy(this.#failure);
  }

  // ---- Stream ----

  write(buffers: Uint8Array[]): void {
    if (this.#dropped || this.#failure) return;
    if (this.#out.clear) {
      this.#inner.write(buffers);
      return;
    }
    for (const buffer of buffers) this.#out.put(buffer);
    if (this.#out.queued > MAX_HELD_OUT_BYTES) {
      this.#env.timers.nextTurn(() => this.reset('too much waits for the client'));
    }
  }

  get pendingBytes(): number {
    return this.#inner.pendingBytes + this.#out.queued;
  }

  get localAddress(): SocketAddress {
    return this.#inner.localAddress;
  }

  get remoteAddress(): SocketAddress {
    return this.#inner.remoteAddress;
  }

  pause(): void {
    this.#paused = true;
    this.#in.pause();
    this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#in.resume();
    if (!this.#inFull) this.#inner.resume();
  }

  destroy(error?: Error): void {
    if (this.#dropped || this.#done) return;
    this.#dropped = true;
    const unseen = this.#out.held && !this.#ended && !this.#failure;
    this.#in.end();
    this.#out.end();
    if (this.#ended) {
      this.#finishLater(error);
    } else if (unseen) {
      this.#orphan = true;
      this.#inner.pause();
      this.#finishLater(error);
    } else {
      this.#inner.destroy(error);
    }
  }

  // ---- from the socket ----

  get #passes(): boolean {
    return this.#in.clear && !this.#dropped;
  }

  #ownPlace(): Uint8Array {
    this.#scratch ??= new Uint8Array(SCRATCH_BYTES);
    return this.#scratch;
  }

  #hold(length: number): void {
    if (this.#dropped || !this.#place) return;
    // A copy: not Buffer's own `slice`, which would be a view of the place.
    this.#in.put(Uint8Array.prototype.slice.call(this.#place, 0, length));
    if (!this.#inFull && this.#in.queued >= MAX_HELD_IN_BYTES) {
      this.#inFull = true;
      this.#inner.pause();
    }
  }

  #deliver(bytes: Uint8Array): void {
    const handler = this.#handler as StreamHandler;
    for (let at = 0; at < bytes.length && !this.#dropped; ) {
      const place = handler.readInto();
      const part = bytes.subarray(at, at + place.length);
      place.set(part);
      handler.onRead(part.length);
      at += part.length;
    }
  }

  #onInEmpty(): void {
    if (this.#inFull) {
      this.#inFull = false;
      if (!this.#paused) this.#inner.resume();
    }
    if (this.#ended) this.#finish(this.#ended.error);
  }

  #onInnerClose(error: Error | undefined): void {
    this.#ended = { error };
    if (this.#orphan) {
      this.#leave();
      return;
    }
    // Who is held off, or has not been told of everything before, does not hear of the end yet.
    const early = !this.#dropped && !this.#failure && (this.#in.held || this.#in.queued > 0);
    if (!early) this.#finish(error);
  }

  #finishLater(error?: Error): void {
    this.#env.timers.nextTurn(() => this.#finish(error ?? this.#ended?.error));
  }

  #finish(error: Error | undefined): void {
    if (this.#done) return;
    this.#done = true;
    this.#in.end();
    this.#out.end();
    this.#leave();
    this.#handler?.onClose(this.#failure ?? error);
  }

  /** Faults may act on it until both its socket and its owner are done with it. */
  #leave(): void {
    if (this.#done && this.#ended) this.#onGone(this);
  }
}
