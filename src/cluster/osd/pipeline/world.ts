/** What all operations of an OSD share: who wakes them, the clock, the log, and faults. */

import type { Clock } from '../../../base/environment.js';
import type { Blocker } from './blocker.js';
import type { EventLog } from './event-log.js';
import type { Handle } from './handle.js';
import {
  ExclusivePhase,
  type Occupant,
  OrderedPhase,
  type Phase,
  type PhaseOptions,
  ReadWritePhase,
  type Scheduler,
  WaitStats,
} from './phase.js';

/** What happens to an operation, in the words of the log. */
export type PipelineEvent =
  | 'enter'
  | 'entered'
  | 'block'
  | 'unblock'
  | 'leave'
  | 'submit'
  | 'commit'
  | 'reply'
  | 'drop'
  | 'interrupt';

/** Decides what becomes of an event: what it returns holds the operation where it is, if it still can be held. */
export type Intercept = (
  handle: Handle,
  event: PipelineEvent,
  phase: string,
) => Blocker | undefined;

export interface WorldOptions {
  readonly scheduler?: Scheduler;
  /** Which OSD's. */
  readonly osd?: number;
  /** Where faults may be put; undefined most of the time. */
  readonly faults?: { readonly intercept: Intercept | undefined } | undefined;
}

export class PipelineWorld {
  readonly scheduler: Scheduler;
  log: EventLog | undefined;
  readonly osd: number;
  readonly stats = new Map<string, WaitStats>();
  readonly #clock: Clock;
  readonly #faults: WorldOptions['faults'];

  constructor(clock: Clock, { scheduler = new RunQueue(), osd = 0, faults }: WorldOptions = {}) {
    this.#clock = clock;
    this.scheduler = scheduler;
    this.osd = osd;
    this.#faults = faults;
  }

  get intercept(): Intercept | undefined {
    return this.#faults?.intercept;
  }

  now(): number {
    return this.#clock.monotonic();
  }

  statsOf(name: string): WaitStats {
    let stats = this.stats.get(name);
    if (!stats) {
      stats = new WaitStats();
      this.stats.set(name, stats);
    }
    return stats;
  }

  exclusive(name: string, domain: string): Phase {
    return new ExclusivePhase(this.#options(name, domain));
  }

  ordered(name: string, domain: string): Phase {
    return new OrderedPhase(this.#options(name, domain));
  }

  readWrite(name: string, domain: string): Phase {
    return new ReadWritePhase(this.#options(name, domain));
  }

  #options(name: string, domain: string): PhaseOptions {
    return { scheduler: this.scheduler, name, domain, stats: this.statsOf(name) };
  }
}

/** Wakes in the order of the calls, within the outermost of them: so no chain of wakings grows the stack. */
export class RunQueue implements Scheduler {
  readonly #ready: Occupant[] = [];
  #running = false;

  wake(occupant: Occupant): void {
    this.#ready.push(occupant);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let i = 0; i < this.#ready.length; i++) (this.#ready[i] as Occupant).resume();
    } finally {
      this.#ready.length = 0;
      this.#running = false;
    }
  }
}
