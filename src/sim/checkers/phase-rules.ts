/**
 * The rules of the request pipeline's phases, over what an OSD says of its operations (`osd/pipeline/event-log.ts`):
 *
 *   P1   an operation is in one phase at a time, from the first to the last
 *   P2   one at a time is in an exclusive phase
 *   P3   they come in the order in which they asked; only reads that follow one another are in a read-write phase together
 *   P4   they leave an ordered phase in the order in which they came
 *   P5   operations of one connection come to a PG in the order in which they were received
 *   P6   those of one object come to its lane in the order in which they came to the PG
 *   P7   nobody takes a ticket between another's ticket and its leaving
 *   P8   what is received is worked on in the order of its arrival, whatever was throttled
 *   P9   the answers of one object leave in the order of its lane
 *   P17  nothing is done in the name of an interval that is over
 *   P18  operations that an interval's end interrupted start again in their order
 *   P20  who is first in a phase is in it, or nobody will ever be
 *   P24  nobody waits for more others at an object than were there as it came
 */

import { ClientOp } from '../../cluster/osd/client-op.js';
import type { LogEvent } from '../../cluster/osd/pipeline/event-log.js';
import type { Handle } from '../../cluster/osd/pipeline/handle.js';
import type { Phase } from '../../cluster/osd/pipeline/phase.js';

/** One is enough to fail a run; a few tell what kind it is. */
const VIOLATIONS_MAX = 20;

interface Place {
  handle: Handle;
  admitted: boolean;
  /** How many were before it, and how many had been let in by then. */
  readonly ahead: number;
  readonly passed: number;
}

/** A phase of one domain that somebody is in. */
interface Room {
  readonly phase: string;
  readonly domain: string;
  /** Who is in it or waits, in order. */
  readonly places: Place[];
  /** How many have been let in, alone. */
  passed: number;
}

/** Of a phase's rooms, those that are kept though nobody is in them: somebody will be soon. */
const ROOMS_KEPT = 1024;

export class PhaseRules {
  readonly violations: string[] = [];
  /** By phase and domain. Dozens of times for each request somebody is looked for here: no keys are put together for it. */
  readonly #rooms = new Map<string, Map<string, Room>>();
  readonly #places = new Map<Handle, Room>();
  /** It has a ticket of the next phase: the next thing that happens is that it gives up its slot. */
  #moving: { handle: Handle; from: Room } | undefined;
  /** Of each operation: its place in its PG's order, and that of the instance before. */
  readonly #order = new Map<number, number>();
  /** The order in which operations came to their lanes. */
  readonly #inLane = new Map<number, number>();
  #entered = 0;
  /** By rule and by what it orders. */
  readonly #last = new Map<string, Map<unknown, Map<unknown, number>>>();

  feed(event: LogEvent): void {
    const { ev, handle } = event;
    if (!handle) return;
    const at = this.#rooms.get(event.phase)?.get(event.domain);
    if (this.#moving) {
      const { handle: mover, from } = this.#moving;
      this.#moving = undefined;
      this.#check('P7', handle === mover && ev === 'leave' && at === from, event);
    }
    if (ev === 'entered') this.#admit(event, handle, at);
    else if (ev === 'leave') this.#leave(event, handle, at);
    else if (ev === 'interrupt' || ev === 'drop') this.#remove(handle, at);
    else if (ev === 'enter' || ev === 'submit' || ev === 'reply') {
      if (ev === 'enter') this.#enter(event, handle, at ?? this.#open(event));
      if (!(handle instanceof ClientOp)) return;
      if (ev === 'reply') this.#reply(event, handle);
      this.#check('P17', !handle.interval?.ended, event);
    }
  }

  #open({ phase, domain }: LogEvent): Room {
    const room: Room = { phase, domain, places: [], passed: 0 };
    const domains = this.#rooms.get(phase) ?? new Map<string, Room>();
    this.#rooms.set(phase, domains);
    domains.set(domain, room);
    return room;
  }

  #enter(event: LogEvent, handle: Handle, at: Room): void {
    const from = this.#places.get(handle);
    if (from !== undefined) this.#moving = { handle, from };
    this.#places.set(handle, at);
    const { passed, places } = at;
    let ahead = 0;
    for (const { admitted } of places) if (!admitted) ahead++;
    places.push({ handle, admitted: false, ahead, passed });
    if (!(handle instanceof ClientOp)) return;
    const { phase, domain } = event;
    if (phase === 'C1.await_active') this.#ascends('P8', domain, '', handle.id, event);
    if (phase === 'G1.wait_pg_ready' || phase === 'G1.await_map') {
      if (handle.instance === 1) {
        this.#ascends('P5', handle.session, domain, handle.id, event);
      } else {
        const order = this.#order.get(handle.id) ?? 0;
        this.#ascends('P18', handle.interval, domain, order, event);
      }
      this.#order.set(handle.id, ++this.#entered);
    }
    if (phase === 'O1.process') {
      this.#inLane.set(handle.id, ++this.#entered);
      this.#ascends('P6', domain, handle.lane?.key, this.#order.get(handle.id) ?? 0, event);
    }
  }

  #admit(event: LogEvent, handle: Handle, at: Room | undefined): void {
    const places = at?.places ?? [];
    const index = places.findIndex((place) => place.handle === handle);
    const place = places[index];
    if (!place) {
      this.#check('P1', false, event);
      return;
    }
    place.admitted = true;
    if (at) this.#checkFairness(event, at, place);
    if (event.kind === 'X') this.#check('P2, P3', index === 0, event);
    if (event.kind === 'RW') {
      const together = places.slice(0, index + 1);
      const allowed = index === 0 || together.every((one) => one.handle.shares);
      this.#check('P3', allowed, event);
    }
  }

  #checkFairness(event: LogEvent, at: Room, { handle, passed, ahead }: Place): void {
    this.#check('P24', at.passed - passed <= ahead, event);
    // Reads that are let in together come in any order, and none of them waits for another.
    if (event.kind !== 'RW' || !handle.shares) at.passed++;
  }

  #leave(event: LogEvent, handle: Handle, at: Room | undefined): void {
    const first = at?.places[0];
    this.#check('P4', first?.handle === handle && first.admitted, event);
    this.#remove(handle, at);
  }

  #remove(handle: Handle, at: Room | undefined): void {
    if (!at) return;
    const { places, phase, domain } = at;
    if (places[0]?.handle === handle) places.shift();
    else {
      const index = places.findIndex((place) => place.handle === handle);
      if (index >= 0) places.splice(index, 1);
    }
    if (places.length === 0) {
      const domains = this.#rooms.get(phase);
      if (domains && domains.size > ROOMS_KEPT) domains.delete(domain);
    }
    if (this.#places.get(handle) === at) this.#places.delete(handle);
  }

  #reply(event: LogEvent, op: ClientOp): void {
    if (!op.lane || op.opClass.pgOp) return;
    const inLane = this.#inLane.get(op.id) ?? 0;
    this.#ascends('P9', op.interval, op.lane.key, inLane, event);
  }

  /** When nothing is about to happen: of the phases that somebody is in. */
  settled(phases: readonly Phase[]): void {
    for (const { name, domain, stuck } of phases) {
      if (stuck && this.violations.length < VIOLATIONS_MAX) {
        this.violations.push(`P20: nobody is in ${name} of ${domain}, and somebody waits`);
      }
    }
  }

  /** `of`, `within`: what it is that has an order. */
  #ascends(rule: string, of: unknown, within: unknown, value: number, event: LogEvent): void {
    let ofRule = this.#last.get(rule);
    if (!ofRule) this.#last.set(rule, (ofRule = new Map<unknown, Map<unknown, number>>()));
    let last = ofRule.get(of);
    if (!last) ofRule.set(of, (last = new Map<unknown, number>()));
    this.#check(rule, value > (last.get(within) ?? 0), event);
    last.set(within, value);
  }

  #check(rule: string, holds: boolean, { ev, op, inst, phase, domain }: LogEvent): void {
    if (holds || this.violations.length >= VIOLATIONS_MAX) return;
    this.violations.push(`${rule}: ${ev} of ${op}.${inst} at ${phase} of ${domain}`);
  }
}
