/**
 * Phases: the places that an operation passes, one after the other, on its way through the OSD.
 *
 *   exclusive (X)             one occupant; whoever comes meanwhile waits, first come first served
 *   ordered-concurrent (OC)   any number of occupants, who leave in the order in which they entered
 *   read-write (RW)           as X for writes; reads that follow one another are in it together, and leave in order
 *
 * A phase knows tickets only, in the order in which they were taken: those at the front are admitted, the others wait.
 * How an operation goes from one phase to the next without being overtaken is in `handle.ts`.
 */

export type PhaseKind = 'X' | 'OC' | 'RW';

/** Who holds a ticket. */
export interface Occupant {
  /** For `RW`: shares the phase with others that do. */
  readonly shares: boolean;
  /** It is admitted, or its turn to leave has come. Called in the scheduler's own time, never from within a phase. */
  resume(): void;
}

/** Lets occupants go on whose time has come. */
export interface Scheduler {
  wake(occupant: Occupant): void;
}

export const WAIT_LIMITS_MS: readonly number[] = [1, 10, 100, 1000];

/** How long operations waited for phases of one name. */
export class WaitStats {
  entered = 0;
  /** Those that were not admitted at once. */
  waited = 0;
  sumMs = 0;
  maxMs = 0;
  /** Of the waits, by the limits of `WAIT_LIMITS_MS`. */
  readonly histogram: number[] = [...WAIT_LIMITS_MS, Number.POSITIVE_INFINITY].map(() => 0);

  wait(ms: number): void {
    this.waited++;
    this.sumMs += ms;
    if (ms > this.maxMs) this.maxMs = ms;
    let i = 0;
    while (i < WAIT_LIMITS_MS.length && ms > (WAIT_LIMITS_MS[i] as number)) i++;
    this.histogram[i] = (this.histogram[i] as number) + 1;
  }
}

/** A place in a phase. Belongs to one occupant for life, and is used for one phase after the other. */
export class Ticket {
  phase: Phase | undefined;
  before: Ticket | undefined;
  after: Ticket | undefined;
  admitted = false;
  /** Its occupant wants to leave and waits for its turn. */
  leaving = false;

  constructor(readonly owner: Occupant) {}
}

export interface PhaseOptions {
  readonly scheduler: Scheduler;
  readonly name: string;
  readonly domain: string;
  /** Shared by the phases of this name. */
  readonly stats: WaitStats;
}

export abstract class Phase {
  abstract readonly kind: PhaseKind;
  readonly name: string;
  /** Whose phase it is: a connection, an OSD, a PG, an object. */
  domain: string;
  protected first: Ticket | undefined;
  readonly stats: WaitStats;
  readonly #scheduler: Scheduler;
  #last: Ticket | undefined;
  #size = 0;

  constructor({ scheduler, stats, name, domain }: PhaseOptions) {
    this.#scheduler = scheduler;
    this.stats = stats;
    this.name = name;
    this.domain = domain;
  }

  /** Occupants and those who wait. */
  get size(): number {
    return this.#size;
  }

  /** Nobody is in it although somebody waits: there is nobody to let them in. */
  get stuck(): boolean {
    return this.first !== undefined && !this.first.admitted;
  }

  /** In order. */
  tickets(): Ticket[] {
    const all: Ticket[] = [];
    for (let ticket = this.first; ticket; ticket = ticket.after) all.push(ticket);
    return all;
  }

  /** Takes the last place. True when it is admitted at once; otherwise its owner is woken when it is. */
  take(ticket: Ticket): boolean {
    ticket.phase = this;
    ticket.before = this.#last;
    if (this.#last) this.#last.after = ticket;
    else this.first = ticket;
    this.#last = ticket;
    this.#size++;
    ticket.admitted = this.admits(ticket);
    return ticket.admitted;
  }

  /** Whether its occupant may leave in order. */
  abstract mayLeave(ticket: Ticket): boolean;

  /**
   * Gives up a place, wherever in the order it is: those behind neither wait for it any more, nor do they overtake those
   * before it.
   */
  release(ticket: Ticket): void {
    const { before, after } = ticket;
    if (before) before.after = after;
    else this.first = after;
    if (after) after.before = before;
    else this.#last = before;
    this.#size--;
    ticket.phase = undefined;
    ticket.before = undefined;
    ticket.after = undefined;
    ticket.admitted = false;
    ticket.leaving = false;
    this.settle();
  }

  protected abstract admits(ticket: Ticket): boolean;

  /** Lets go on who may, after a place was given up. */
  protected abstract settle(): void;

  protected admit(ticket: Ticket): void {
    ticket.admitted = true;
    this.#scheduler.wake(ticket.owner);
  }

  /** The first may leave now, if it wants to. */
  protected letLeave(): void {
    if (this.first?.leaving) this.#scheduler.wake(this.first.owner);
  }
}

export class ExclusivePhase extends Phase {
  readonly kind = 'X';

  mayLeave(): boolean {
    return true;
  }

  protected admits(ticket: Ticket): boolean {
    return this.first === ticket;
  }

  protected settle(): void {
    if (this.first && !this.first.admitted) this.admit(this.first);
  }
}

export class OrderedPhase extends Phase {
  readonly kind = 'OC';

  mayLeave(ticket: Ticket): boolean {
    return this.first === ticket;
  }

  protected admits(): boolean {
    return true;
  }

  protected settle(): void {
    this.letLeave();
  }
}

/**
 * Why reads may share: they change nothing, each sees what the writes before it made, and since all leave in order, what
 * comes after finds them in the order of the tickets. So nobody can tell it from an exclusive phase.
 */
export class ReadWritePhase extends Phase {
  readonly kind = 'RW';

  mayLeave(ticket: Ticket): boolean {
    return this.first === ticket;
  }

  protected admits(ticket: Ticket): boolean {
    const { before } = ticket;
    if (!before) return true;
    return ticket.owner.shares && before.admitted && before.owner.shares;
  }

  protected settle(): void {
    this.letLeave();
    for (let ticket = this.first; ticket; ticket = ticket.after) {
      if (ticket.admitted) continue;
      if (!this.admits(ticket)) return;
      this.admit(ticket);
    }
  }
}
