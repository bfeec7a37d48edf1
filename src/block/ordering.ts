/**
 * The order of overlapping requests: of two that touch a common byte, where at least one of them
 * changes it, the later waits until the earlier is done. All others go side by side, as in the kernel's
 * block layer, which leaves all of this to its users; an emulator's guest and a `FileHandle` expect it.
 *
 * Invariant: whoever waits, waits for earlier ones only, so there is no cycle.
 */

/** A range of bytes that is being read or changed. A barrier waits for all changes before it, and blocks nobody. */
export interface Ordered {
  readonly start: number;
  readonly end: number;
  readonly changes: boolean;
  readonly barrier: boolean;
  /** The tracker's own. */
  order: OrderState;
}

export interface OrderState {
  /** How many earlier ones are still awaited. */
  awaited: number;
  waiters: Ordered[];
  /** Position among the active ones, or -1. */
  index: number;
}

export function newOrderState(): OrderState {
  return { awaited: 0, waiters: [], index: -1 };
}

export class OrderingTracker<T extends Ordered> {
  /**
   * Entered and not left, in no order, with the ranges beside them: the scan touches numbers only. It is
   * linear, which for a queue depth of 128 costs less than keeping a tree; the callers' limits bound it.
   */
  readonly #active: T[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #ready: (request: T) => void;
  #changing = 0;

  /** `ready` is told when a request that had to wait may start. */
  constructor(ready: (request: T) => void) {
    this.#ready = ready;
  }

  get active(): number {
    return this.#active.length;
  }

  /** Those that entered and did not leave, as of now. */
  all(): T[] {
    return [...this.#active];
  }

  /** Returns whether the request may start at once; otherwise `ready` is told later. */
  enter(request: T): boolean {
    const { start, end, changes, barrier, order } = request;
    // Reads among reads have nothing to wait for: the common case costs no scan.
    if (changes || this.#changing > 0) {
      for (let i = 0; i < this.#active.length; i++) {
        const overlaps = this.#starts[i]! < end && start < this.#ends[i]!;
        if (!overlaps && !barrier) continue;
        const earlier = this.#active[i]!;
        if (!earlier.changes && !changes) continue;
        earlier.order.waiters.push(request);
        order.awaited++;
      }
    }
    order.index = this.#active.length;
    this.#active.push(request);
    // A barrier has no range of its own: nothing later overlaps it.
    this.#starts.push(barrier ? 0 : start);
    this.#ends.push(barrier ? 0 : end);
    if (changes) this.#changing++;
    return order.awaited === 0;
  }

  /** The request is done, or given up: those that waited for it alone may start. */
  leave(request: T): void {
    const { order } = request;
    const { index } = order;
    if (index < 0) return;
    order.index = -1;
    if (request.changes) this.#changing--;
    this.#removeAt(index);
    const waiters = order.waiters as T[];
    order.waiters = [];
    for (const waiter of waiters) {
      waiter.order.awaited--;
      // One that was given up while it waited is no longer active.
      if (waiter.order.awaited === 0 && waiter.order.index >= 0) this.#ready(waiter);
    }
  }

  #removeAt(index: number): void {
    const last = this.#active.pop()!;
    const start = this.#starts.pop()!;
    const end = this.#ends.pop()!;
    if (index === this.#active.length) return;
    this.#active[index] = last;
    this.#starts[index] = start;
    this.#ends[index] = end;
    last.order.index = index;
  }
}
