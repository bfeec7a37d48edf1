/**
 * What holds an operation's place: at any moment one slot at most, and one thing at most that it waits for.
 *
 * To enter the next phase is four steps: wait for the turn to leave the current one; take a ticket of the next; only then
 * give up the current slot; wait for the ticket. Between the first and the third nothing else runs, so nobody who was
 * behind can come to be in front.
 *
 * Callbacks, not promises: an operation that nothing holds up passes all phases in one go.
 */

import type { Blocker } from './blocker.js';
import { type Occupant, type Phase, Ticket } from './phase.js';
import type { PipelineEvent, PipelineWorld } from './world.js';

/** What comes next for an operation. Made once for all of them, not for each. */
export type Step<H extends Handle> = (handle: H) => void;

/** What an operation is held up by, for people to see. */
export interface Block {
  readonly type: string;
  readonly detail: string;
  readonly phase: string;
  readonly since: number;
  /** Undefined while it lasts. */
  until: number | undefined;
}

/** A phase that an operation has come to. */
export interface Passage {
  readonly name: string;
  readonly enter: number;
  /** Undefined while it waits. */
  readonly entered: number | undefined;
}

export abstract class Handle implements Occupant {
  readonly world: PipelineWorld;
  /** Of the operation, over all its instances. */
  abstract readonly id: number;
  /** From 1. An operation that an interval's end interrupted goes on as another instance. */
  abstract readonly instance: number;
  readonly #a = new Ticket(this);
  readonly #b = new Ticket(this);
  /** Its place: a slot, or a ticket that waits for one. */
  #place: Ticket | undefined;
  #next: Phase | undefined;
  #then: Step<never> | undefined;
  #blocker: Blocker | undefined;
  #block: Block | undefined;
  /** What it goes on from was a fault, which does not act on its own end. */
  #wasFault = false;
  /** A fault held it here and let it go: it looks again at what it looked at before, and then passes. */
  #letGo: PipelineEvent | undefined;
  #ended = false;
  /** It has taken its ticket, and was not admitted yet. */
  #queued = false;
  /** When it began to run, as it does now: the phases that it passes in one go take no time. */
  #now: number;
  /** Of the phases that it has come to, and when it took its tickets. */
  readonly #names: string[] = [];
  readonly #enters: number[] = [];
  /** When it was admitted, where that was not at once: few phases, if any. */
  #admitted: Map<number, number> | undefined;
  #blocks: Block[] | undefined;

  constructor(world: PipelineWorld) {
    this.world = world;
    this.#now = world.now();
  }

  /** When it began to run, monotonic: when it came, and then whenever it was woken. */
  protected get running(): number {
    return this.#now;
  }

  get shares(): boolean {
    return false;
  }

  /**
   * What it belongs to has ended, and it is about to be aborted: whoever is aborted before it must not let it go on
   * meanwhile.
   */
  protected get over(): boolean {
    return false;
  }

  /** It has completed or was aborted: nothing may go on in its name. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Where it is. */
  get phase(): Phase | undefined {
    return this.#place?.phase;
  }

  get block(): Block | undefined {
    return this.#block;
  }

  /** It has its slot, and is not held up. */
  get runs(): boolean {
    return this.#then === undefined;
  }

  get blocks(): readonly Block[] {
    return this.#blocks ?? [];
  }

  passages(): Passage[] {
    const last = this.#queued ? this.#names.length - 1 : this.#names.length;
    return this.#names.map((name, i) => {
      const enter = this.#enters[i] as number;
      return { name, enter, entered: i === last ? undefined : (this.#admitted?.get(i) ?? enter) };
    });
  }

  /** Leaves where it is in its turn, and goes on with `then` when `next` has admitted it. */
  enter<H extends Handle>(this: H, next: Phase, then: Step<H>): void {
    if (this.world.intercept) {
      this.#passOut((op) => op.#passAt('enter', next.name, () => op.#leaveFor(next, then)));
    } else this.#leaveFor(next, then);
  }

  /** Leaves where it is in its turn, for good. */
  complete<H extends Handle>(this: H, then: Step<H>): void {
    if (this.world.intercept) this.#passOut((op) => op.#leaveFor(undefined, then));
    else this.#leaveFor(undefined, then);
  }

  /** Gives up its place, or its place in a queue, at once. */
  abort(): void {
    if (this.#ended) return;
    this.world.log?.add('interrupt', this);
    this.#end();
  }

  /** Keeps its slot and goes on when the blocker lets it; then it looks again whether there is another. */
  waitFor<H extends Handle>(this: H, blocker: Blocker, then: Step<H>): void {
    this.#blocker = blocker;
    blocker.add(this);
    this.wait(blocker.type, blocker.detail, then);
  }

  /** As `waitFor`, for what nobody else waits for: until `unblock`. */
  wait<H extends Handle>(this: H, type: string, detail: string, then: Step<H>): void {
    this.#then = then as Step<never>;
    const phase = this.#place?.phase?.name ?? '';
    this.#block = { type, detail, phase, since: this.#now, until: undefined };
    (this.#blocks ??= []).push(this.#block);
    this.world.log?.add('block', this, type);
    this.happened('block');
  }

  /** Ends a `wait`, and no wait for a blocker. */
  unblock(): void {
    if (!this.#blocker) this.#unblock();
  }

  /** Its blocker was lifted. */
  lifted(): void {
    this.#unblock();
  }

  #unblock(): void {
    if (!this.#block || this.#ended) return;
    this.#block.until = this.world.now();
    this.#wasFault = this.#block.type === 'fault';
    this.#block = undefined;
    this.#blocker = undefined;
    this.world.scheduler.wake(this);
  }

  resume(): void {
    if (this.#ended || this.#block || this.over) return;
    this.#now = this.world.now();
    const place = this.#place;
    if (place?.leaving) {
      if (place.phase?.mayLeave(place)) this.#move();
    } else if (place?.admitted) this.#proceed(false);
  }

  /**
   * Something is about to happen: `then` makes it happen, unless a fault has other plans. One that is held goes on with
   * `lookAgain`, which comes here once more.
   */
  pass<H extends Handle>(
    this: H,
    event: PipelineEvent,
    then: Step<H>,
    lookAgain: Step<H> = then,
  ): void {
    if (this.#letGo === event) {
      this.#letGo = undefined;
      then(this);
    } else if (this.world.intercept) {
      this.#passAt(event, this.#place?.phase?.name ?? '', then, lookAgain);
    } else then(this);
  }

  #passAt(event: PipelineEvent, phase: string, then: Step<never>, lookAgain = then): void {
    const held = this.world.intercept?.(this, event, phase);
    if (this.#ended) return;
    if (held) {
      if (lookAgain !== then) this.#letGo = event;
      this.waitFor(held, lookAgain as Step<Handle>);
    } else (then as Step<Handle>)(this);
  }

  /** It is about to leave where it is. */
  #passOut(then: Step<Handle>): void {
    const phase = this.#place?.phase;
    if (phase) this.#passAt('leave', phase.name, then);
    else then(this);
  }

  /** Something has happened to it, which a fault may answer with another. */
  protected happened(event: PipelineEvent): void {
    const { intercept } = this.world;
    if (intercept && !this.#wasFault) intercept(this, event, this.#place?.phase?.name ?? '');
  }

  #leaveFor(next: Phase | undefined, then: Step<never>): void {
    this.#next = next;
    this.#then = then;
    const place = this.#place;
    if (place?.phase && !place.phase.mayLeave(place)) {
      place.leaving = true;
      return;
    }
    this.#move();
  }

  #move(): void {
    const { log } = this.world;
    const old = this.#place;
    const left = old?.phase;
    const next = this.#next;
    let admitted = true;
    if (next) {
      const ticket = old === this.#a ? this.#b : this.#a;
      admitted = next.take(ticket);
      this.#place = ticket;
      this.#queued = true;
      this.#names.push(next.name);
      this.#enters.push(this.#now);
      log?.add('enter', this);
    } else {
      this.#place = undefined;
      this.#ended = true;
    }
    if (left && old) {
      log?.addAt('leave', this, left);
      left.release(old);
    }
    // Whoever was let in may have ended the interval, and this with it.
    if (this.#ended && next) return;
    if (admitted) this.#proceed(true);
  }

  #proceed(atOnce: boolean): void {
    const then = this.#then as Step<Handle> | undefined;
    // It went on already.
    if (!then) return;
    this.#then = undefined;
    if (this.#ended) then(this);
    else if (!this.#queued) this.#goOn(then);
    else {
      this.#queued = false;
      this.#noteAdmission(atOnce);
      this.world.log?.add('entered', this);
      this.pass('entered', then);
    }
  }

  #goOn(then: Step<Handle>): void {
    this.world.log?.add('unblock', this);
    const wasFault = this.#wasFault;
    this.#wasFault = false;
    if (wasFault) then(this);
    else this.pass('unblock', then);
  }

  #noteAdmission(atOnce: boolean): void {
    const { stats } = this.#place?.phase as Phase;
    stats.entered++;
    if (atOnce) return;
    const last = this.#enters.length - 1;
    stats.wait(this.#now - (this.#enters[last] as number));
    (this.#admitted ??= new Map()).set(last, this.#now);
  }

  #end(): void {
    this.#ended = true;
    this.#then = undefined;
    this.#blocker?.remove(this);
    this.#blocker = undefined;
    if (this.#block) this.#block.until = this.world.now();
    this.#block = undefined;
    const place = this.#place;
    this.#place = undefined;
    place?.phase?.release(place);
  }
}
