/**
 * Is a value a register: does each read return what the last write before it left, in some order of the operations that
 * keeps those apart that did not overlap?
 *
 * By search, as Wing and Gong (1993) with Lowe's memory (2017) have it: linearise any operation that nothing unlinearised
 * ended before, undo it if that leads nowhere, and never look at the same set of linearised operations with the same
 * contents twice. What a write leaves is known by its value, so hardly anything is ever undone.
 *
 * A write that nobody read from needs no place of its own where another write has one: it goes right before that. So what
 * many writes at a time cost is told by those that somebody read from.
 *
 * Contents are a set of values: after a discard, which may leave a sector alone, of either. A write of unknown outcome never
 * ends: it takes its place anywhere, or behind everything.
 *
 * Cost: n log n in the operations, times those that overlap at a time and were read from.
 */

import type { Op } from './history.js';

export type Effect =
  | { readonly kind: 'set'; readonly value: number }
  /** This, or what it was. */
  | { readonly kind: 'maybe-set'; readonly value: number }
  | { readonly kind: 'read'; readonly value: number }
  /** Only if it is what is expected; of a known outcome it was. */
  | { readonly kind: 'swap'; readonly expected: number; readonly value: number };

/** An operation as far as one register is concerned. */
export interface RegisterOp {
  readonly op: Op;
  readonly effect: Effect;
  /** Places in the order of all beginnings and ends. */
  readonly from: number;
  /** Undefined: it may happen at any time from then on, or never. */
  readonly to: number | undefined;
}

interface Event {
  readonly of: RegisterOp;
  /** In the order of beginnings. */
  readonly index: number;
  readonly isEnd: boolean;
  previous: Event | undefined;
  next: Event | undefined;
  /** Of a beginning. */
  end?: Event;
}

/** What the register may hold: ascending, hardly ever more than two. */
type Contents = readonly number[];

/** Undefined when there is an order; else the operation that was in the way the farthest. */
export function searchOrder(all: readonly RegisterOp[], initial = 0): RegisterOp | undefined {
  const ops = relevant(all);
  if (!ops.some(({ effect }) => effect.kind === 'read' || effect.kind === 'swap')) return undefined;
  const head = eventsOf(ops);
  const seen = new Set<string>();
  const undo: { begins: Event[]; contents: Contents; lastDone: number }[] = [];
  let contents: Contents = [initial];
  /** The highest index of what is linearised. */
  let lastDone = -1;
  let farthest: RegisterOp | undefined;
  let event = head.next;
  while (head.next) {
    if (event && !event.isEnd) {
      if (isLaterTwin(head, event)) {
        event = event.next;
        continue;
      }
      const after = apply(event.of, contents);
      if (after) {
        const begins = [...(event.of.effect.kind === 'set' ? unreadAt(head, event) : []), event];
        const last = begins.reduce((most, { index }) => Math.max(most, index), lastDone);
        for (const begin of begins) lift(begin);
        const state = stateKey(head, last, after);
        if (!seen.has(state)) {
          seen.add(state);
          undo.push({ begins, contents, lastDone });
          contents = after;
          lastDone = last;
          event = head.next;
          continue;
        }
        takeBack(begins);
      }
      event = event.next;
      continue;
    }
    // An end whose operation could not be placed before it, or the end of the list: go back.
    if (event && (farthest?.to ?? 0) < (event.of.to ?? 0)) farthest = event.of;
    const last = undo.pop();
    if (!last) return farthest ?? event?.of;
    ({ contents, lastDone } = last);
    takeBack(last.begins);
    event = (last.begins.at(-1) as Event).next;
  }
  return undefined;
}

/**
 * Whether another that can be linearised now does the same and ends before it. Where an order begins with the one that ends
 * later, the two can change places: so it is enough to try the one that ends first.
 */
function isLaterTwin(head: Event, { of, index }: Event): boolean {
  const { effect, to = Number.POSITIVE_INFINITY } = of;
  if (effect.kind === 'swap') return false;
  for (let other = head.next; other && !other.isEnd; other = other.next) {
    const { effect: its, to: itsEnd = Number.POSITIVE_INFINITY } = other.of;
    if (its.kind !== effect.kind || its.value !== effect.value) continue;
    if (itsEnd < to || (itsEnd === to && other.index < index)) return true;
  }
  return false;
}

/** In place of every value that no operation tells apart from others. */
const UNREAD = -1;

/** What may never have happened and was never seen tells nothing. */
function relevant(ops: readonly RegisterOp[]): RegisterOp[] {
  const seen = new Set<number>([0]);
  for (const { effect } of ops) {
    if (effect.kind === 'read') seen.add(effect.value);
    else if (effect.kind === 'swap') seen.add(effect.expected);
  }
  return ops.flatMap((op) => {
    const { effect, to } = op;
    if (effect.kind === 'read' || seen.has(effect.value)) return [op];
    if (to === undefined || effect.kind === 'maybe-set') return [];
    return [{ ...op, effect: { ...effect, value: UNREAD } }];
  });
}

/** The writes that nobody read from and that could come right before another one now. */
function unreadAt(head: Event, other: Event): Event[] {
  const found: Event[] = [];
  for (let event = head.next; event && !event.isEnd; event = event.next) {
    const { effect } = event.of;
    if (event !== other && effect.kind === 'set' && effect.value === UNREAD) found.push(event);
  }
  return found;
}

function apply({ effect, to }: RegisterOp, contents: Contents): Contents | undefined {
  switch (effect.kind) {
    case 'set':
      return [effect.value];
    case 'maybe-set':
      if (contents.includes(effect.value)) return contents;
      return [...contents, effect.value].sort((a, b) => a - b);
    case 'read':
      return contents.includes(effect.value) ? [effect.value] : undefined;
    case 'swap':
      if (contents.includes(effect.expected)) return [effect.value];
      return to === undefined ? contents : undefined;
  }
}

/** What is linearised, told by the last of it and by what is not and comes before that; and what the register may hold. */
function stateKey(head: Event, lastDone: number, contents: Contents): string {
  let key = `${lastDone}:`;
  for (let event = head.next; event; event = event.next) {
    if (event.isEnd) continue;
    // Beginnings come in the order of their indices.
    if (event.index > lastDone) break;
    key += `${event.index},`;
  }
  return `${key}|${contents.join()}`;
}

/** A list of beginnings and ends; what has no end comes to none. */
function eventsOf(ops: readonly RegisterOp[]): Event {
  const events: { at: number; event: Event }[] = [];
  const sorted = [...ops].sort((a, b) => a.from - b.from);
  for (const [index, of] of sorted.entries()) {
    const end: Event = { of, index, isEnd: true, previous: undefined, next: undefined };
    const begin: Event = { of, index, isEnd: false, previous: undefined, next: undefined, end };
    events.push({ at: of.from, event: begin });
    events.push({ at: of.to ?? Number.POSITIVE_INFINITY, event: end });
  }
  events.sort((a, b) => (a.at === b.at ? 0 : a.at - b.at));
  const nobody: RegisterOp = {
    op: {} as Op,
    effect: { kind: 'maybe-set', value: 0 },
    from: 0,
    to: 0,
  };
  const head: Event = { of: nobody, index: -1, isEnd: false, previous: undefined, next: undefined };
  let last = head;
  for (const { event } of events) {
    last.next = event;
    event.previous = last;
    last = event;
  }
  return head;
}

function lift({ previous, next, end }: Event): void {
  if (previous) previous.next = next;
  if (next) next.previous = previous;
  const { previous: before, next: behind } = end as Event;
  if (before) before.next = behind;
  if (behind) behind.previous = before;
}

function takeBack(begins: readonly Event[]): void {
  for (const begin of begins.toReversed()) unlift(begin);
}

function unlift(begin: Event): void {
  const end = begin.end as Event;
  if (end.previous) end.previous.next = end;
  if (end.next) end.next.previous = end;
  if (begin.previous) begin.previous.next = begin;
  if (begin.next) begin.next.previous = begin;
}
