/** Which maps this client wants, and from which version on. Wishes outlive a session: the next one is told of all. */

import { SUBSCRIBE_ONETIME } from '../messages/mon-messages.js';

interface Subscription {
  start: number;
  onetime: boolean;
}

export class MonSubscriptions {
  readonly #wishes = new Map<string, Subscription>();

  get names(): string[] {
    return [...this.#wishes.keys()];
  }

  /** False when the monitors know of it already. */
  want(what: string, start: number, { onetime }: { onetime: boolean }): boolean {
    const known = this.#wishes.get(what);
    if (known && known.start === start && (known.onetime === onetime || !known.onetime)) {
      return false;
    }
    this.#wishes.set(what, { start, onetime });
    return true;
  }

  /** Version `have` arrived: a one-time wish is fulfilled, a standing one goes on from there. */
  got(what: string, have: number): void {
    const known = this.#wishes.get(what);
    if (!known || have < known.start) return;
    if (known.onetime) this.#wishes.delete(what);
    else known.start = have + 1;
  }

  /** As MMonSubscribe has them. */
  encode(names: readonly string[]): Map<string, { start: number; flags: number }> {
    const what = new Map<string, { start: number; flags: number }>();
    for (const name of [...names].sort()) {
      const wish = this.#wishes.get(name);
      if (wish) what.set(name, { start: wish.start, flags: wish.onetime ? SUBSCRIBE_ONETIME : 0 });
    }
    return what;
  }
}
