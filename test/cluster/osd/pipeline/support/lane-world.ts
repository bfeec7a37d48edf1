// Operations that pass phases in an order that a seed decides: every wake-up comes when the schedule says so.

import { EventLog, type LogEvent } from '../../../../../src/cluster/osd/pipeline/event-log.js';
import { Handle } from '../../../../../src/cluster/osd/pipeline/handle.js';
import type { Occupant, Phase, Scheduler } from '../../../../../src/cluster/osd/pipeline/phase.js';
import { PipelineWorld } from '../../../../../src/cluster/osd/pipeline/world.js';

/** A small generator (mulberry32), so that a failing schedule can be had again. */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Wakes nobody by itself. */
export class HeldScheduler implements Scheduler {
  readonly ready: Occupant[] = [];

  wake(occupant: Occupant): void {
    this.ready.push(occupant);
  }

  deliver(index: number): void {
    for (const occupant of this.ready.splice(index, 1)) occupant.resume();
  }
}

export class World extends PipelineWorld {
  readonly held: HeldScheduler;
  readonly events: LogEvent[] = [];

  constructor() {
    const held = new HeldScheduler();
    let now = 0;
    super({ now: () => 0, monotonic: () => ++now }, { scheduler: held });
    this.held = held;
    this.log = new EventLog(() => this.now(), 1);
    this.log.listen((event) => this.events.push(event));
  }
}

export type Kind = 'R' | 'W' | 'RWORDERED';

export class TestOp extends Handle {
  readonly instance = 1;
  done = false;

  constructor(
    world: PipelineWorld,
    readonly id: number,
    readonly client = 0,
    readonly kind: Kind = 'W',
  ) {
    super(world);
  }

  override get shares(): boolean {
    return this.kind === 'R';
  }

  /** Through all of them, with a stop in each that `deliver` ends. */
  passAll(phases: readonly Phase[], stop: (op: TestOp, go: () => void) => void): void {
    const [phase, ...rest] = phases;
    if (!phase) {
      this.complete(() => {
        this.done = true;
      });
      return;
    }
    this.enter(phase, () =>
      stop(this, () => {
        if (!this.ended) this.passAll(rest, stop);
      }),
    );
  }
}
