/**
 * From a notification's arrival to its acknowledgement.
 *
 * The handler is called as soon as a notification arrives, so that whoever learns of the acknowledgement knows that the
 * handler has seen it. The same notification may come again (the OSD repeats what is in progress when a watch reconnects):
 * it is answered again, not handled again.
 */

import type { Logger } from '../base/log.js';
import type { WatchNotify } from '../messages/watch-notify.js';
import type { NotifyReply, WatchHandler } from './watch-types.js';

/** Notifications whose answers are remembered. */
const MEMORY = 64;
/** A handler that owes more answers than this is no longer waited for: the rest is acknowledged with nothing. */
const MAX_UNANSWERED = 1024;
const NOTHING: Uint8Array = new Uint8Array(0);

export interface DeliveryHooks {
  /** Sends an acknowledgement by the watch's present registration; `onSent` also when it became pointless. */
  ack: (event: WatchNotify, reply: Uint8Array, onSent: () => void) => void;
  log: Logger;
}

interface Delivery {
  event: WatchNotify;
  /** Undefined: the handler has not answered yet. */
  reply: Uint8Array | undefined;
}

interface Waiter {
  left: Set<Delivery>;
  resolve: () => void;
}

export class WatchDeliveries {
  readonly #handler: WatchHandler;
  readonly #hooks: DeliveryHooks;
  /** By notifier and notify id, the latest last. */
  readonly #known = new Map<string, Delivery>();
  /** Not answered, or answered and the acknowledgement not sent. */
  readonly #pending = new Set<Delivery>();
  readonly #waiters = new Set<Waiter>();
  /** Whose handler is running at this moment. */
  #running: Delivery | undefined;
  /** Whose handler stopped us: waiting for its answer, it would wait for itself. */
  #stopper: Delivery | undefined;
  #stopped = false;

  constructor(handler: WatchHandler, hooks: DeliveryHooks) {
    this.#handler = handler;
    this.#hooks = hooks;
  }

  /** Notifications that the handler has not answered. */
  get unanswered(): number {
    return this.#pending.size;
  }

  receive(event: WatchNotify): void {
    if (this.#stopped) {
      this.#hooks.ack(event, NOTHING, () => {});
      return;
    }
    const key = `${event.notifierGid}/${event.notifyId}`;
    const known = this.#known.get(key);
    if (known) {
      known.event = event;
      if (known.reply) this.#ack(known, known.reply);
      return;
    }
    const delivery: Delivery = { event, reply: undefined };
    this.#remember(key, delivery);
    this.#handle(delivery);
  }

  /** The handler is not called any more; what comes is acknowledged with nothing. */
  stop(): void {
    this.#stopped = true;
    this.#stopper = this.#running;
  }

  /** Resolves when all that came before is answered and acknowledged, but for what is being handled right now. */
  flush(): Promise<void> {
    const left = new Set(this.#pending);
    for (const own of [this.#running, this.#stopper]) if (own) left.delete(own);
    if (left.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.add({ left, resolve }));
  }

  /** The end: nothing is acknowledged any more. */
  close(): void {
    this.#stopped = true;
    for (const delivery of [...this.#pending]) this.#done(delivery);
  }

  #remember(key: string, delivery: Delivery): void {
    this.#known.set(key, delivery);
    if (this.#known.size <= MEMORY) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  #handle(delivery: Delivery): void {
    const { notifyId, cookie, notifierGid, payload } = delivery.event;
    const patience = this.#pending.size < MAX_UNANSWERED;
    this.#pending.add(delivery);
    let answer: NotifyReply | Promise<NotifyReply>;
    this.#running = delivery;
    try {
      answer = this.#handler.onNotify({ notifyId, cookie, notifierGid, payload });
    } catch (error) {
      this.#hooks.log.warn({ err: error }, 'a handler of notifications failed');
    } finally {
      this.#running = undefined;
    }
    if (!(answer instanceof Promise)) {
      this.#answer(delivery, answer);
      return;
    }
    const reply = answer.catch((error: unknown) => {
      this.#hooks.log.warn({ err: error }, 'a handler of notifications failed');
      return undefined;
    });
    if (patience) void reply.then((value) => this.#answer(delivery, value));
    else this.#answer(delivery, undefined);
  }

  #answer(delivery: Delivery, reply: NotifyReply): void {
    delivery.reply = reply ?? NOTHING;
    // Closed meanwhile.
    if (this.#pending.has(delivery)) this.#ack(delivery, delivery.reply);
  }

  #ack(delivery: Delivery, reply: Uint8Array): void {
    this.#hooks.ack(delivery.event, reply, () => this.#done(delivery));
  }

  #done(delivery: Delivery): void {
    if (!this.#pending.delete(delivery)) return;
    for (const waiter of this.#waiters) {
      waiter.left.delete(delivery);
      if (waiter.left.size > 0) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }
}
