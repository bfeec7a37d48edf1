/**
 * Requests by their tids, in the order in which they were added.
 *
 * What a Map would do, but for the reason that `LinkedList` gives: a request passes through two of these.
 */

import { LinkedList, type Place } from '../base/linked-list.js';

interface Numbered {
  readonly tid: number;
}

/** A power of two. At most half of the slots are taken, so that a search ends soon. */
const FIRST_SLOTS = 64;

export class RequestTable<T extends Numbered> implements Iterable<T> {
  readonly #order = new LinkedList<T>();
  /** Each in the slot that its tid names, or in the next one that was free. */
  #slots = emptySlots<T>(FIRST_SLOTS);

  get size(): number {
    return this.#order.size;
  }

  get(tid: number): T | undefined {
    return this.#slots[this.#find(tid)]?.value;
  }

  has(tid: number): boolean {
    return this.#slots[this.#find(tid)] !== undefined;
  }

  /** Nothing when it is there already. */
  add(request: T): void {
    const slot = this.#find(request.tid);
    if (this.#slots[slot]) return;
    this.#slots[slot] = this.#order.push(request);
    if (this.size * 2 > this.#slots.length) this.#grow();
  }

  /** Whether it was there. */
  delete(tid: number): boolean {
    const slot = this.#find(tid);
    const place = this.#slots[slot];
    if (!place) return false;
    this.#order.remove(place);
    this.#close(slot);
    return true;
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#order[Symbol.iterator]();
  }

  /** Where it is, or would be. */
  #find(tid: number): number {
    const slots = this.#slots;
    const last = slots.length - 1;
    let slot = tid & last;
    for (let place = slots[slot]; place && place.value.tid !== tid; place = slots[slot]) {
      slot = (slot + 1) & last;
    }
    return slot;
  }

  /** A slot is free: whoever had to go past it comes back, or would not be found any more. */
  #close(slot: number): void {
    const slots = this.#slots;
    const last = slots.length - 1;
    let free = slot;
    for (let at = (free + 1) & last; ; at = (at + 1) & last) {
      const place = slots[at];
      if (!place) break;
      const wanted = place.value.tid & last;
      // Around the end: how far it is from where it wants to be, and how far the free slot is from there.
      if (((at - wanted) & last) < ((at - free) & last)) continue;
      slots[free] = place;
      free = at;
    }
    slots[free] = undefined;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = emptySlots(before.length * 2);
    for (const place of before) {
      if (place) this.#slots[this.#find(place.value.tid)] = place;
    }
  }
}

function emptySlots<T>(count: number): (Place<T> | undefined)[] {
  return new Array<Place<T> | undefined>(count).fill(undefined);
}
