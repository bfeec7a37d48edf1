/** The worker's end of the rings: takes requests, calls the backend, publishes completions. */

import type { MessagePort } from 'node:worker_threads';

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import type { BackendEvent, BlockBackend } from './backend.js';
import { errorToPlain } from './error-transfer.js';
import { eventToPlain } from './event-transfer.js';
import { perform } from './perform.js';
import { type BlockRequest, decodeRequest, OP } from './requests.js';
import { ChannelMemory, RingReader, RingWriter } from './ring.js';
import { type ChannelRegion, DOORBELL } from './ring-channel.js';

export interface BlockServerOptions {
  env: Environment;
  region: ChannelRegion;
  /** This thread's ends. */
  ports: { doorbell: MessagePort; details: MessagePort };
}

const BEAT_INTERVAL_MS = 1000;
/**
 * Main rings at the first request of a batch, and then once a millisecond at most. When it blocks, what it submitted
 * within that millisecond has no bell: it is found by looking again until nothing came for so long.
 */
const LOOK_AGAIN_MS = 10;
const NO_PAYLOAD = new Uint8Array(0);

export class BlockServer {
  readonly #env: Environment;
  readonly #region: ChannelRegion;
  readonly #memory: ChannelMemory;
  readonly #ports: BlockServerOptions['ports'];
  readonly #requests: RingReader;
  readonly #completions: RingWriter;
  readonly #arena: Uint8Array;
  /** By tag, made once: a request costs no closure. */
  readonly #succeeded: (() => void)[] = [];
  readonly #failed: ((error: unknown) => void)[] = [];
  readonly #request: BlockRequest = newRequest();
  #backend: BlockBackend | undefined;
  #inFlight = 0;
  #lookDue = false;
  #busy = false;
  #closed = false;
  #onIdle: (() => void) | undefined;

  constructor({ env, region, ports }: BlockServerOptions) {
    this.#env = env;
    this.#region = region;
    this.#ports = ports;
    this.#memory = new ChannelMemory(region.buffer, region.ringAddress, region.capacity);
    this.#memory.reset();
    this.#arena = new Uint8Array(region.buffer, region.arenaAddress, region.arenaBytes);
    for (let tag = 0; tag < region.capacity; tag++) {
      this.#succeeded.push(() => this.#complete(tag, 0, 0));
      this.#failed.push((error) => this.#completeFailed(tag, error));
    }
    this.#completions = new RingWriter(this.#memory.completions, {
      doorbell: () => ports.doorbell.postMessage(DOORBELL),
      // With more under way, the other sockets' replies of this turn go with the same bell.
      atBatchEnd: (ring) =>
        this.#inFlight > 0 ? void env.timers.nextTurn(ring) : queueMicrotask(ring),
    });
    this.#requests = new RingReader(this.#memory.requests, {
      visit: (slot) => this.#serve(slot),
      // Sockets get their turn between two batches.
      maxPerTurn: Math.max(region.capacity, 128),
      nextTurn: (callback) => void env.timers.nextTurn(callback),
    });
  }

  start(backend: BlockBackend): void {
    this.#backend = backend;
    this.#ports.doorbell.on('message', () => this.#requests.turn());
    this.#beat();
  }

  /** Looks for requests now, as after a network event. */
  poll(): void {
    if (this.#backend && !this.#closed) this.#requests.poll();
  }

  emit(event: BackendEvent): void {
    if (this.#closed) return;
    this.#ports.doorbell.postMessage(eventToPlain(event));
  }

  /** This thread ends: wakes a main thread that is blocked in a call. */
  markGone(): void {
    this.#memory.markGone();
  }

  /** Takes no more requests. Resolves when the backend answered those that it has: then the memory is free. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#requests.close();
      this.#ports.doorbell.close();
      this.#ports.details.close();
    }
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const previous = this.#onIdle;
      this.#onIdle = () => {
        previous?.();
        resolve();
      };
    });
  }

  #serve(slot: number): void {
    this.#memory.take();
    const request = this.#request;
    decodeRequest(this.#memory.words, slot, request);
    const { tag } = request;
    this.#inFlight++;
    this.#busy = true;
    if (!this.#lookDue) this.#lookAgain();
    const start = request.address - this.#region.arenaAddress;
    const end = start + request.bytes;
    const needed =
      request.op === OP.READ || request.op === OP.WRITE
        ? request.length
        : request.op === OP.COMPARE_AND_WRITE
          ? 2 * request.length
          : 0;
    if (request.bytes > 0 && (start < 0 || end > this.#arena.length)) {
      this.#completeFailed(
        tag,
        new RadosError('EINVAL', 'request with a payload out of the arena'),
      );
    } else if (request.bytes < needed) {
      this.#completeFailed(tag, new RadosError('EINVAL', 'request with too short a payload'));
    } else {
      const payload = request.bytes > 0 ? this.#arena.subarray(start, end) : NO_PAYLOAD;
      perform(this.#backend!, request, payload).then(this.#succeeded[tag]!, this.#failed[tag]!);
    }
  }

  #completeFailed(tag: number, error: unknown): void {
    const plain = errorToPlain(error);
    // Before the completion, so that main finds it when it reads that.
    if (!this.#closed) this.#ports.details.postMessage(plain);
    this.#complete(tag, plain.errno, 1);
  }

  #complete(tag: number, result: number, detail: number): void {
    this.#inFlight--;
    if (this.#closed) {
      if (this.#inFlight === 0) this.#onIdle?.();
      return;
    }
    const { words } = this.#memory;
    const slot = this.#completions.slot();
    words[slot] = tag;
    words[slot + 1] = result;
    words[slot + 2] = detail;
    this.#completions.publish();
  }

  #lookAgain(): void {
    this.#lookDue = true;
    const look = () => {
      const wasBusy = this.#busy;
      this.#lookDue = false;
      this.#busy = false;
      this.poll();
      if (wasBusy && !this.#lookDue && !this.#closed) this.#lookAgain();
    };
    this.#env.timers.after(LOOK_AGAIN_MS, look, { background: true });
  }

  #beat(): void {
    if (this.#closed) return;
    this.#memory.beat();
    this.#env.timers.after(BEAT_INTERVAL_MS, () => this.#beat(), { background: true });
  }
}

function newRequest(): BlockRequest {
  return { tag: 0, op: OP.FLUSH, flags: 0, offset: 0, length: 0, address: 0, bytes: 0 };
}
