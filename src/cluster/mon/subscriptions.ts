/**
 * What one client wants to be told of (`MON_SUBSCRIBE`), and what it has already.
 *
 * `start` is the next epoch that the client wants. Maps of that epoch or later are sent when they exist: at once, or
 * when they come. A one-time subscription ends with what it brought.
 */

import { SUBSCRIBE_ONETIME } from '../../messages/mon-messages.js';

export interface Subscription {
  start: number;
  once: boolean;
}

/** What a client may subscribe to here; asking for anything else is fine and never answered. */
export const SUBSCRIBABLE = ['osdmap', 'monmap', 'mgrmap', 'config'] as const;
export type Subscribable = (typeof SUBSCRIBABLE)[number];

/** Sends what there is from `start` on, and returns the next `start`; undefined when there is nothing to send. */
export type Publish = (what: Subscribable, start: number) => number | undefined;

export class Subscriptions {
  readonly #publish: Publish;
  readonly #wanted = new Map<Subscribable, Subscription>();

  constructor(publish: Publish) {
    this.#publish = publish;
  }

  /** A MON_SUBSCRIBE: adds to the subscriptions, or replaces those of the same name, and sends what is due. */
  request(items: ReadonlyMap<string, { start: number; flags: number }>): void {
    for (const [name, { start, flags }] of items) {
      if (!isSubscribable(name)) continue;
      this.#wanted.set(name, { start, once: (flags & SUBSCRIBE_ONETIME) !== 0 });
      this.deliver(name);
    }
  }

  /** Something new of this kind may be there. */
  deliver(what: Subscribable): void {
    const wanted = this.#wanted.get(what);
    if (!wanted) return;
    // More than fits a message goes out as several, but a one-time subscription gets one.
    for (;;) {
      const next = this.#publish(what, wanted.start);
      if (next === undefined) return;
      wanted.start = next;
      if (wanted.once) {
        this.#wanted.delete(what);
        return;
      }
    }
  }
}

function isSubscribable(name: string): name is Subscribable {
  return (SUBSCRIBABLE as readonly string[]).includes(name);
}
