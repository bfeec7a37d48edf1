/** What is still to happen, in the order in which it will: by time, and of the same time in the order of asking. */

export interface QueuedEvent {
  readonly at: number;
  readonly order: number;
  /** Undefined once it has run or was cancelled. */
  run: (() => void) | undefined;
  /** A stack, where somebody wants to know. */
  origin?: string | undefined;
}

/** A binary heap. Cancelled events stay in it until their time comes, or until they are the larger part of it. */
export class EventQueue {
  #heap: QueuedEvent[] = [];
  #order = 0;
  #cancelled = 0;

  /** Those that are not cancelled. */
  get length(): number {
    return this.#heap.length - this.#cancelled;
  }

  /** In no order. */
  get pending(): QueuedEvent[] {
    return this.#heap.filter(({ run }) => run);
  }

  add(at: number, run: () => void): QueuedEvent {
    const event: QueuedEvent = { at, order: this.#order++, run };
    const heap = this.#heap;
    heap.push(event);
    let index = heap.length - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (!isBefore(event, heap[above] as QueuedEvent)) break;
      heap[index] = heap[above] as QueuedEvent;
      index = above;
    }
    heap[index] = event;
    return event;
  }

  cancel(event: QueuedEvent): void {
    if (!event.run) return;
    event.run = undefined;
    this.#cancelled++;
    if (this.#cancelled > 64 && this.#cancelled * 2 > this.#heap.length) this.#sweep();
  }

  /** The time of the next one; infinity when there is none. */
  get next(): number {
    this.#dropCancelled();
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  take(): QueuedEvent | undefined {
    this.#dropCancelled();
    return this.#pop();
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && !(this.#heap[0] as QueuedEvent).run) {
      this.#pop();
      this.#cancelled--;
    }
  }

  #sweep(): void {
    const alive = this.#heap.filter(({ run }) => run);
    // A sorted array is a heap.
    this.#heap = alive.sort((a, b) => a.at - b.at || a.order - b.order);
    this.#cancelled = 0;
  }

  #pop(): QueuedEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || first === last) return first;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right && isBefore(right, heap[below] as QueuedEvent)) below++;
      if (!isBefore(heap[below] as QueuedEvent, last)) break;
      heap[index] = heap[below] as QueuedEvent;
      index = below;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: QueuedEvent, b: QueuedEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
