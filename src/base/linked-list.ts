/**
 * Values in the order in which they came, each of which is taken out by the place that it was given.
 *
 * For what comes and goes all the time, in place of a Set or a Map: V8 makes their tables anew every few deletions, and
 * the old one goes on referring to the new one and to all that was in it. As soon as one of them is in the old
 * generation, much of what passes gets there too, and stays until the next major collection (measured: a third of an
 * OSD's requests, with their data).
 */

/** Where a value is. */
export class Place<T> {
  before: Place<T> | undefined;
  after: Place<T> | undefined;
  /** Until it is taken out. */
  list: LinkedList<T> | undefined;

  constructor(
    list: LinkedList<T>,
    public value: T,
  ) {
    this.list = list;
  }

  /** Takes the value out, if it still is in its list. */
  leave(): void {
    this.list?.remove(this);
  }
}

export class LinkedList<T> implements Iterable<T> {
  #first: Place<T> | undefined;
  #last: Place<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(value: T): Place<T> {
    const place = new Place<T>(this, value);
    const last = this.#last;
    place.before = last;
    if (last) last.after = place;
    else this.#first = place;
    this.#last = place;
    this.#size++;
    return place;
  }

  /** Nothing when it has been taken out already. */
  remove(place: Place<T>): void {
    if (place.list !== this) return;
    const { before, after } = place;
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    this.#size--;
    place.list = undefined;
    // Nobody is kept by a neighbour that is gone.
    place.before = undefined;
    place.after = undefined;
  }

  /** Takes all of them out. */
  takeAll(): T[] {
    const taken: T[] = [];
    for (let place = this.#first; place; place = this.#first) {
      taken.push(place.value);
      this.remove(place);
    }
    return taken;
  }

  /** The newest of those that match. */
  findLast(matches: (value: T) => boolean): T | undefined {
    for (let place = this.#last; place; place = place.before) {
      if (matches(place.value)) return place.value;
    }
    return undefined;
  }

  /** Nobody may come or go meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let place = this.#first; place; place = place.after) yield place.value;
  }
}
