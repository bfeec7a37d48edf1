/** Main's end of the rings: a device whose backend lives in a worker thread. */

import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { Arena } from './arena.js';
import type { Channel, ChannelHandler } from './channel.js';
import { errorFromPlain, type PlainError } from './error-transfer.js';
import { eventFromPlain, type PlainEvent } from './event-transfer.js';
import { type BlockRequest, encodeRequest } from './requests.js';
import { ChannelMemory, RingReader, RingWriter } from './ring.js';

/** What the worker says about the memory that it reserved. Plain data. */
export interface ChannelRegion {
  buffer: SharedArrayBuffer;
  ringAddress: number;
  capacity: number;
  arenaAddress: number;
  arenaBytes: number;
}

/** What comes through the doorbell port: the bell itself, or an event. */
export const DOORBELL = 0;
export type PortMessage = typeof DOORBELL | PlainEvent;

/** Main's ends of the two ports of a channel. */
export interface ChannelPorts {
  doorbell: MessagePort;
  /** Errors of completions, in their order. Read when a completion says so, never through events. */
  details: MessagePort;
}

/** A blocked thread looks this often whether the worker still lives. */
const BLOCK_SLICE_MS = 500;
/** The worker beats once a second even when idle; without any sign for so long it is given up. */
const SILENCE_LIMIT_MS = 60_000;

export class RingChannel implements Channel {
  readonly arena: Arena;
  readonly inPlace = false;
  readonly canBlock = true;
  readonly #memory: ChannelMemory;
  readonly #ports: ChannelPorts;
  readonly #env: Environment;
  readonly #requests: RingWriter;
  readonly #completions: RingReader;
  readonly #target: string;
  /** By tag: which request on this channel it is, modulo 2^32, counted as the worker counts what it takes. */
  readonly #sequence: Int32Array;
  #submitted = 0;
  #handler: ChannelHandler | undefined;
  #closed = false;
  /** The worker has ended for certain, so what it took is what it took. */
  #workerEnded = false;
  #lastBeat = 0;
  #lastBeatAt = 0;

  constructor(env: Environment, region: ChannelRegion, ports: ChannelPorts, target: string) {
    this.#env = env;
    this.#ports = ports;
    this.#target = target;
    this.arena = new Arena(region.buffer, region.arenaAddress, region.arenaBytes);
    this.#memory = new ChannelMemory(region.buffer, region.ringAddress, region.capacity);
    this.#sequence = new Int32Array(region.capacity);
    this.#requests = new RingWriter(this.#memory.requests, {
      doorbell: () => ports.doorbell.postMessage(DOORBELL),
      eager: () => env.clock.monotonic(),
    });
    this.#completions = new RingReader(this.#memory.completions, {
      visit: (slot) => this.#complete(slot),
      maxPerTurn: Math.max(region.capacity, 128),
      nextTurn: (callback) => void env.timers.nextTurn(callback),
    });
  }

  start(handler: ChannelHandler): void {
    this.#handler = handler;
    this.#ports.doorbell.on('message', (message: PortMessage) => this.#onMessage(message));
  }

  submit(request: BlockRequest): void {
    this.#sequence[request.tag] = this.#submitted;
    this.#submitted = (this.#submitted + 1) | 0;
    encodeRequest(this.#memory.words, this.#requests.slot(), request);
    this.#requests.publish();
  }

  wasTaken(tag: number): boolean {
    // A thread that is only silent may still begin with any.
    return !this.#workerEnded || ((this.#memory.taken - this.#sequence[tag]!) | 0) > 0;
  }

  poll(): void {
    this.#completions.drain(this.#memory.capacity);
  }

  block(): void {
    this.#requests.wake();
    this.#completions.block(BLOCK_SLICE_MS);
    if (!this.#completions.empty) return;
    const now = this.#env.clock.monotonic();
    const { beats } = this.#memory;
    if (beats !== this.#lastBeat || this.#lastBeatAt === 0) {
      this.#lastBeat = beats;
      this.#lastBeatAt = now;
    }
    const { gone } = this.#memory;
    if (gone) this.workerEnded(this.#failure('ended'));
    else if (now - this.#lastBeatAt > SILENCE_LIMIT_MS) {
      this.#fail(this.#failure(`gave no sign of life for ${SILENCE_LIMIT_MS / 1000} s`));
    }
  }

  resume(): void {
    this.#lastBeatAt = 0;
    this.#completions.turn();
  }

  /** The worker's thread is no more. */
  workerEnded(error: RadosError): void {
    this.#workerEnded = true;
    this.#fail(error);
  }

  #failure(why: string): RadosError {
    const message = `${this.#target}: the osd-client worker ${why}`;
    return new RadosError('ENOTCONN', message, { target: this.#target });
  }

  #fail(error: RadosError): void {
    // What it completed before its end is complete.
    this.poll();
    const handler = this.#handler;
    this.close();
    handler?.onFailure(error);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handler = undefined;
    this.#completions.close();
    this.#ports.doorbell.close();
    this.#ports.details.close();
  }

  #onMessage(message: PortMessage): void {
    if (message === DOORBELL) this.#completions.turn();
    else this.#handler?.onEvent(eventFromPlain(message));
  }

  #complete(slot: number): void {
    const { words } = this.#memory;
    const tag = words[slot]!;
    const result = words[slot + 1]!;
    const hasDetail = words[slot + 2]! !== 0;
    let error: RadosError | undefined;
    if (result < 0) {
      // The worker posts the detail before it publishes the completion, so it is there, also for a blocked thread.
      const detail = hasDetail ? receiveMessageOnPort(this.#ports.details) : undefined;
      error = detail
        ? errorFromPlain(detail.message as PlainError)
        : RadosError.fromErrno(result, { target: this.#target });
    }
    this.#handler?.onComplete(tag, error);
  }
}
