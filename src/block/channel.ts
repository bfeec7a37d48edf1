/** The way from a device to its backend: the interface of both kinds, and the direct one (`threads: 0`). */

import { RadosError, toRadosError } from '../base/errors.js';
import type { Arena } from './arena.js';
import type { BackendEvent, BlockBackend } from './backend.js';
import { perform } from './perform.js';
import type { BlockRequest } from './requests.js';

export interface ChannelHandler {
  /** Never from within `submit`. Exactly once for each submitted request, unless the channel fails. */
  onComplete(tag: number, error: RadosError | undefined): void;
  onEvent(event: BackendEvent): void;
  /** The other side is gone: no completion comes any more. */
  onFailure(error: RadosError): void;
}

export interface Channel {
  readonly arena: Arena;
  /** Payloads of reads and writes may lie anywhere in this thread's memory, not in the arena alone. */
  readonly inPlace: boolean;
  /** The thread can wait for completions: `poll`, `block`, and `resume` when done. */
  readonly canBlock: boolean;
  start(handler: ChannelHandler): void;
  /** `place`: where the payload lies or belongs, instead of the request's address. */
  submit(request: BlockRequest, place: Uint8Array | undefined): void;
  /** After a failure: whether the other side may have begun with the request. */
  wasTaken(tag: number): boolean;
  poll(): void;
  block(): void;
  resume(): void;
  /** No callback comes after. Payload places must not be used again if requests were in flight. */
  close(): void;
}

/** Calls the backend in the caller's own thread. */
export class DirectChannel implements Channel {
  readonly arena: Arena;
  readonly inPlace = true;
  readonly canBlock = false;
  readonly #backend: BlockBackend;
  #handler: ChannelHandler | undefined;
  /** Events from before the start. */
  #early: BackendEvent[] = [];
  #closed = false;

  constructor(backend: BlockBackend, arena: Arena) {
    this.#backend = backend;
    this.arena = arena;
  }

  start(handler: ChannelHandler): void {
    this.#handler = handler;
    for (const event of this.#early.splice(0)) handler.onEvent(event);
  }

  submit(request: BlockRequest, place: Uint8Array | undefined): void {
    const { tag } = request;
    const payload = place ?? this.arena.view(request.address, request.bytes);
    void perform(this.#backend, request, payload).then(
      () => this.#complete(tag, undefined),
      (error: unknown) => this.#complete(tag, toRadosError(error)),
    );
  }

  wasTaken(): boolean {
    return true;
  }

  emit(event: BackendEvent): void {
    if (this.#handler) this.#handler.onEvent(event);
    else if (!this.#closed) this.#early.push(event);
  }

  poll(): void {}

  block(): void {
    throw new RadosError('EOPNOTSUPP', 'a device of the calling thread cannot be waited for');
  }

  resume(): void {}

  close(): void {
    this.#closed = true;
    this.#handler = undefined;
  }

  #complete(tag: number, error: RadosError | undefined): void {
    this.#handler?.onComplete(tag, error);
  }
}
