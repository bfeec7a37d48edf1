/**
 * Between the device's calls and the channel: what has to wait, and for what.
 *
 *   submit -> [earlier overlapping calls] -> [first in, first out: a tag, and room in the arena] -> channel
 *
 * A call waits at the first gate without holding up others, at the second it holds up those behind it:
 * a large write is not starved by small ones. Waiting takes as long as it takes; the number of
 * waiting calls has a limit, beyond which EAGAIN is the answer.
 *
 * Invariant: a tag and a payload place belong to the backend from `channel.submit` to its completion, also
 * when the call was aborted meanwhile: only the completion makes them free.
 *
 * A channel whose other side is gone is replaced: `interrupt` gives up what cannot be done again, `resume` does the
 * rest again on the new channel. In between calls wait.
 *
 * Everything here happens at once, without promises: the synchronous calls need that.
 */

import { RadosError } from '../base/errors.js';
import { type Arena, ARENA_PAGE_BYTES } from './arena.js';
import type { BlockCall } from './block-call.js';
import type { Channel } from './channel.js';
import { OrderingTracker } from './ordering.js';
import { type BlockRequest, OP } from './requests.js';

export interface RequestQueueOptions {
  channel: Channel;
  /** For messages. */
  target: string;
  /** Requests at the backend. */
  queueDepth: number;
  /** Calls that wait. */
  maxQueued: number;
  /** Payload that is kept in copies for calls that wait. One call is always let in. */
  maxQueuedBytes: number;
  /** Longest payload of one request. Ranges are cut at multiples of it, as objects are. */
  pieceBytes: number;
}

interface Slot extends BlockRequest {
  call: BlockCall | undefined;
  /** Of the piece within the call's payload. */
  position: number;
  place: Uint8Array | undefined;
}

export class RequestQueue {
  readonly #options: RequestQueueOptions;
  #channel: Channel;
  /** Between two channels. */
  #interruption: RadosError | undefined;
  readonly #slots: Slot[] = [];
  readonly #freeTags: number[] = [];
  readonly #ordering = new OrderingTracker<BlockCall>((call) => this.#fifo.push(call));
  readonly #fifo = new Fifo<BlockCall>();
  #waiting = 0;
  #queuedBytes = 0;
  #keptBytes = 0;
  #failure: RadosError | undefined;
  #idleWaiters: (() => void)[] = [];

  constructor(options: RequestQueueOptions) {
    this.#options = options;
    this.#channel = options.channel;
    for (let tag = options.queueDepth - 1; tag >= 0; tag--) this.#freeTags.push(tag);
    for (let tag = 0; tag < options.queueDepth; tag++) {
      this.#slots.push({
        tag,
        op: OP.FLUSH,
        flags: 0,
        offset: 0,
        length: 0,
        address: 0,
        bytes: 0,
        call: undefined,
        position: 0,
        place: undefined,
      });
    }
  }

  /** Requests at the backend. */
  get inFlight(): number {
    return this.#options.queueDepth - this.#freeTags.length;
  }

  /** Calls that have not been issued completely. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Memory of views that were not released, or are being read. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Takes the call on, or throws EAGAIN. `exempt`: the caller waits right here, so it is the only one. */
  submit(call: BlockCall, exempt = false): void {
    const { maxQueued, maxQueuedBytes, target } = this.#options;
    if (this.#failure) throw call.errorOf(this.#failure, target);
    if (call.keepsPayload) this.#reserveView(call);
    if (!exempt && this.#waiting >= maxQueued) {
      if (call.keepsPayload) this.#keptBytes -= wholePages(call.payloadBytes);
      throw this.#again(call, `${this.#waiting} calls are waiting already (maxQueued)`);
    }
    this.#waiting++;
    if (this.#ordering.enter(call)) this.#fifo.push(call);
    this.#pump();
    if (call.allIssued || call.borrowed || !call.changes || call.payloadBytes === 0) return;
    const copied = call.payloadBytes - call.issuedBytes;
    if (this.#queuedBytes > 0 && this.#queuedBytes + copied > maxQueuedBytes) {
      const error = this.#again(call, `${this.#queuedBytes} bytes are waiting (maxQueuedBytes)`);
      call.onSettled = () => {};
      this.abort(call, error);
      throw error;
    }
    call.detach();
    call.copiedBytes = copied;
    this.#queuedBytes += copied;
  }

  /** Settles the call with `error`. What is in flight stays in flight, and later overlapping calls wait for it. */
  abort(call: BlockCall, error: RadosError): void {
    if (call.settled) return;
    if (!call.allIssued) this.#stopIssuing(call);
    this.#settle(call, error);
    if (call.inFlight === 0) this.#retire(call);
    this.#pump();
  }

  onComplete(tag: number, error: RadosError | undefined): void {
    const slot = this.#slots[tag]!;
    const call = slot.call!;
    if (error) call.error ??= error;
    else if (slot.op === OP.READ && !call.settled && !slot.place) {
      if (call.keepsPayload) call.keptAddress = slot.address;
      else call.scatter(slot.position, this.#channel.arena.view(slot.address, slot.bytes));
    }
    const frees = slot.bytes > 0 && !slot.place && call.keptAddress < 0;
    if (frees) this.#channel.arena.free(slot.address, slot.bytes);
    slot.call = undefined;
    slot.place = undefined;
    this.#freeTags.push(tag);
    call.inFlight--;

    if (call.error && !call.allIssued) this.#stopIssuing(call);
    if (call.inFlight === 0 && call.allIssued) {
      this.#retire(call);
      this.#settle(call, call.error && this.#describe(call, call.error));
    }
    this.#pump();
    if (this.#idleWaiters.length > 0) this.#checkIdle();
  }

  /** The bytes of a view are not needed any more. */
  release(arena: Arena, address: number, bytes: number): void {
    // That of an earlier channel is not used again.
    if (arena !== this.#channel.arena) return;
    this.#keptBytes -= wholePages(bytes);
    if (this.#failure) return;
    arena.free(address, bytes);
    this.#pump();
  }

  /**
   * The other side of the channel is gone, and another comes (`resume`). What may be done twice, and what was
   * never begun with, stays; changes that were begun with settle now: their outcome is unknown. Returns their number.
   */
  interrupt(failure: RadosError): number {
    this.#interruption = failure;
    const begun = this.#slots.filter(
      ({ tag, call }) => call?.changes && this.#channel.wasTaken(tag),
    );
    this.#giveUp(begun, failure);
    // The other parts of a call that failed by now, and what nobody waits for.
    this.#giveUp(this.#settledSlots(), failure);
    return begun.length;
  }

  /** Issues on a new channel what was interrupted, then what waits. Returns how many requests were issued again. */
  resume(channel: Channel): number {
    const old = this.#channel;
    const { target } = this.#options;
    this.#giveUp(this.#settledSlots(), this.#interruption!);
    this.#channel = channel;
    this.#interruption = undefined;
    this.#keptBytes = 0;
    for (const call of this.#ordering.all()) {
      if (call.keepsPayload) this.#keptBytes += wholePages(call.payloadBytes);
    }
    const again = this.#slots.filter(({ call }) => call !== undefined);
    for (const slot of again) {
      if (slot.bytes > 0) {
        const address = channel.arena.alloc(slot.bytes);
        // It held all of this and more, and is empty.
        if (address < 0) throw new Error(`${target}: the new arena is smaller than the old one`);
        if (slot.call?.changes) {
          channel.arena.view(address, slot.bytes).set(old.arena.view(slot.address, slot.bytes));
        }
        slot.address = address;
      }
      channel.submit(slot, undefined);
    }
    this.#pump();
    return again.length;
  }

  #settledSlots(): Slot[] {
    return this.#slots.filter(({ call }) => call && (call.settled || call.error));
  }

  #giveUp(slots: readonly Slot[], failure: RadosError): void {
    for (const { tag, call } of slots) {
      if (call) this.onComplete(tag, call.errorOf(failure, this.#options.target));
    }
  }

  /** No completion comes any more: settles all calls, now and later. */
  fail(failure: RadosError): void {
    if (this.#failure) return;
    this.#failure = failure;
    for (const call of this.#ordering.all()) {
      if (!call.allIssued) this.#stopIssuing(call);
      this.#settle(call, call.errorOf(failure, this.#options.target));
    }
    this.#checkIdle();
  }

  /** Resolves when no call is waiting or at the backend. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
      this.#checkIdle();
    });
  }

  #checkIdle(): void {
    if (!this.#failure && (this.#ordering.active > 0 || this.inFlight > 0)) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #pump(): void {
    if (this.#failure || this.#interruption) return;
    for (let call = this.#fifo.peek(); call; call = this.#fifo.peek()) {
      while (!call.allIssued) if (!this.#issue(call)) return;
      this.#fifo.shift();
    }
  }

  /** Issues the next request of a call; false when there is no tag or no room. */
  #issue(call: BlockCall): boolean {
    if (this.#freeTags.length === 0) return false;
    const { pieceBytes } = this.#options;
    const position = call.splits ? call.issuedBytes : 0;
    const offset = call.start + position;
    let length = call.length - position;
    if (call.splits) length = Math.min(length, pieceBytes - (offset % pieceBytes));
    let bytes = call.splits ? length : call.payloadBytes;
    let address = 0;
    const place =
      this.#channel.inPlace && call.inPlace ? call.contiguous(position, length) : undefined;
    if (!place && bytes > 0) {
      address = this.#channel.arena.alloc(bytes);
      // With nothing in flight no room will come by itself (views hold it): go on in the pieces that fit.
      while (address < 0 && call.splits && this.inFlight === 0 && length > ARENA_PAGE_BYTES) {
        length = Math.ceil(length / 2);
        bytes = length;
        address = this.#channel.arena.alloc(bytes);
      }
      if (address < 0) return false;
      if (call.changes) call.gather(position, this.#channel.arena.view(address, bytes));
    }
    const slot = this.#slots[this.#freeTags.pop()!]!;
    slot.op = call.op;
    slot.flags = call.flags;
    slot.offset = offset;
    slot.length = length;
    slot.address = address;
    slot.bytes = bytes;
    slot.call = call;
    slot.position = position;
    slot.place = place;
    call.state = 'active';
    call.issued++;
    call.inFlight++;
    call.issuedBytes += length;
    if (!call.splits || call.issuedBytes === call.length) this.#stopIssuing(call);
    this.#channel.submit(slot, place);
    return true;
  }

  /** All is issued, or no more is wanted. A call at the gates is passed over when its turn comes. */
  #stopIssuing(call: BlockCall): void {
    call.allIssued = true;
    this.#waiting--;
    this.#queuedBytes -= call.copiedBytes;
    call.copiedBytes = 0;
  }

  /** Nothing of the call is in flight and nothing will be: later overlapping calls may go. */
  #retire(call: BlockCall): void {
    if (call.keepsPayload && call.keptAddress < 0) this.#keptBytes -= wholePages(call.payloadBytes);
    this.#ordering.leave(call);
  }

  /** Views hold at most half of the memory, so that other requests always get on. */
  #reserveView(call: BlockCall): void {
    const bytes = wholePages(call.payloadBytes);
    if (this.#keptBytes + bytes > this.#channel.arena.bytes.length / 2) {
      throw this.#again(call, 'too many views are not released');
    }
    this.#keptBytes += bytes;
  }

  #settle(call: BlockCall, error: RadosError | undefined): void {
    if (call.settled) return;
    call.state = 'settled';
    call.onSettled(error);
  }

  #describe(call: BlockCall, error: RadosError): RadosError {
    // A part failed for certain, but others may have been applied.
    if (!call.changes || call.issued === 1 || error.outcome === 'unknown') return error;
    return new RadosError(error.errno, error.message, {
      op: error.op,
      target: error.target,
      retryable: error.retryable,
      outcome: 'unknown',
      cause: error.cause,
    });
  }

  #again(call: BlockCall, why: string): RadosError {
    const { target } = this.#options;
    const error = call.errorOf(new RadosError('EAGAIN', why), target);
    return new RadosError('EAGAIN', error.message, {
      op: error.op,
      target,
      retryable: true,
      outcome: error.outcome,
    });
  }
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / ARENA_PAGE_BYTES) * ARENA_PAGE_BYTES;
}

/** A queue whose front moves along the array; the passed part is dropped when it is the larger one. */
class Fifo<T> {
  #items: T[] = [];
  #front = 0;

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#front];
  }

  shift(): void {
    this.#front++;
    if (this.#front === this.#items.length) {
      this.#items = [];
      this.#front = 0;
    } else if (this.#front > 1024 && this.#front * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#front);
      this.#front = 0;
    }
  }
}
