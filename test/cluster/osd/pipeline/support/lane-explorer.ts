// All that can happen in one object's lane: every interleaving of arrivals, wake-ups, commits, a reset of one client's
// connection and the end of the interval, each state once.

import { Handle } from '../../../../../src/cluster/osd/pipeline/handle.js';
import {
  type ObjectLane,
  PgPipeline,
  type PipelineMode,
} from '../../../../../src/cluster/osd/pipeline/pg-pipeline.js';
import { PhaseRules } from '../../../../../src/sim/checkers/phase-rules.js';
import { type Kind, World } from './lane-world.js';

export interface LaneCase {
  /** In the order of their arrival; clients alternate. */
  kinds: readonly Kind[];
  mode: PipelineMode;
  /** A connection may be reset, the interval may end: once. */
  disturb: boolean;
}

/** The steps of `request-path.ts`, with a version in the place of data. */
class LaneOp extends Handle {
  readonly instance = 1;
  readonly lane: ObjectLane;
  submitted = false;
  committed = false;
  replied = false;
  arrived = false;
  /** What a read saw. */
  seen: number | undefined;
  /** What was there when it read, beside what it should have waited for. */
  dirty = false;

  constructor(
    readonly run: Run,
    readonly id: number,
    readonly kind: Kind,
  ) {
    super(run.world);
    this.lane = run.lane;
  }

  override get shares(): boolean {
    return this.kind === 'R';
  }

  protected override get over(): boolean {
    return this.run.ended;
  }

  arrive(): void {
    this.arrived = true;
    this.enter(this.lane.process, LaneOp.process);
  }

  static readonly process = (op: LaneOp): void => {
    const { run, lane } = op;
    if (op.kind === 'W') {
      op.submitted = true;
      run.version++;
      lane.writing();
    } else if (lane.uncommitted > 0) {
      op.waitFor(lane.commits, LaneOp.process);
      return;
    } else {
      // It takes its time, as one whose object is being recovered.
      op.wait('reading', '', LaneOp.read);
      return;
    }
    op.enter(lane.waitRepop, LaneOp.repop);
  };

  static readonly read = (op: LaneOp): void => {
    const { run, lane } = op;
    op.seen = run.version;
    op.dirty = run.ops.some(({ submitted, committed }) => submitted && !committed);
    run.together = Math.max(run.together, lane.process.tickets().filter((t) => t.admitted).length);
    op.enter(lane.waitRepop, LaneOp.repop);
  };

  static readonly repop = (op: LaneOp): void => {
    if (op.submitted && !op.committed) op.wait('repop', '', LaneOp.repop);
    else op.enter(op.lane.sendReply, LaneOp.reply);
  };

  static readonly reply = (op: LaneOp): void => {
    op.replied = true;
    op.run.replies.push(op.id);
    op.complete(() => {});
  };

  commit(): void {
    this.committed = true;
    this.unblock();
    this.lane.written();
  }

  get where(): string {
    const { phase } = this;
    const admitted = phase?.tickets().find(({ owner }) => owner === this)?.admitted;
    return [
      phase?.name ?? (this.arrived ? 'gone' : 'to come'),
      admitted,
      this.block?.type,
      this.submitted,
      this.committed,
      this.replied,
      this.seen,
    ].join();
  }
}

class Run {
  readonly world = new World();
  readonly lane: ObjectLane;
  readonly ops: readonly LaneOp[];
  readonly replies: number[] = [];
  readonly rules = new PhaseRules();
  version = 0;
  /** How many were in `process` at once. */
  together = 0;
  ended = false;
  #disturbed = false;
  readonly #disturb: boolean;

  constructor({ kinds, mode, disturb }: LaneCase) {
    this.lane = new PgPipeline(this.world, mode, '1.0').enter('o');
    this.ops = kinds.map((kind, i) => new LaneOp(this, i + 1, kind));
    this.#disturb = disturb;
    this.world.log?.listen((event) => this.rules.feed(event));
  }

  /** What may happen next, disturbances last. */
  choices(): { moves: (() => void)[]; disturbances: (() => void)[] } {
    const { held } = this.world;
    const next = this.ended ? undefined : this.ops.find(({ arrived }) => !arrived);
    const underWay = this.ops.filter(({ submitted, committed }) => submitted && !committed);
    const reading = this.ops.filter(({ block }) => block?.type === 'reading');
    const moves = [
      ...(next ? [() => next.arrive()] : []),
      ...held.ready.map((_, i) => () => held.deliver(i)),
      ...(this.ended ? [] : underWay.map((op) => () => op.commit())),
      ...reading.map((op) => () => op.unblock()),
    ];
    const disturbances =
      this.#disturb && !this.#disturbed
        ? [() => this.#reset(0), () => this.#reset(1), () => this.#endInterval()]
        : [];
    return { moves, disturbances };
  }

  get state(): string {
    const woken = this.world.held.ready.map((op) => (op as LaneOp).id).sort();
    const flags = `${this.ended} ${this.#disturbed} ${this.version}`;
    return `${this.ops.map(({ where }) => where).join('; ')} | ${woken} | ${flags}`;
  }

  /** What is wrong now. */
  wrong(): string | undefined {
    const [violation] = this.rules.violations;
    if (violation) return violation;
    if (this.replies.join() !== [...this.replies].sort((a, b) => a - b).join()) return 'P9';
    if (this.ops.some(({ dirty }) => dirty)) return 'P14';
    for (const { id, seen, kind } of this.ops) {
      // Those that gave up before they were submitted never were.
      const before = this.ops.filter((op) => op.id < id && op.submitted).length;
      if (kind !== 'W' && seen !== undefined && seen !== before) {
        return `operation ${id} saw ${seen} of ${before} writes`;
      }
    }
    return undefined;
  }

  /** When nothing can happen any more. */
  unfinished(): string | undefined {
    const { process, waitRepop, sendReply } = this.lane;
    const left = [process, waitRepop, sendReply].find(({ size }) => size > 0);
    if (left) return `P20: ${left.name} is not empty`;
    return this.ops.every((op) => op.ended || !op.arrived) ? undefined : 'P19: one has no end';
  }

  #reset(client: number): void {
    this.#disturbed = true;
    for (const op of this.ops) {
      if (op.id % 2 === client && op.arrived && !op.submitted && !op.ended) op.abort();
    }
  }

  #endInterval(): void {
    this.#disturbed = true;
    this.ended = true;
    for (const op of this.ops) if (op.arrived && !op.ended) op.abort();
  }
}

export interface Explored {
  states: number;
  /** The first state that is, with the way to it. */
  wrong: string | undefined;
  /** How many were in `process` at once, at most. */
  together: number;
}

export function explore(lane: LaneCase): Explored {
  const seen = new Set<string>();
  const paths: number[][] = [[]];
  let together = 0;
  for (let path = paths.pop(); path; path = paths.pop()) {
    const run = new Run(lane);
    for (const choice of path) {
      const { moves, disturbances } = run.choices();
      [...moves, ...disturbances][choice]?.();
    }
    const { moves, disturbances } = run.choices();
    const wrong = run.wrong() ?? (moves.length === 0 ? run.unfinished() : undefined);
    together = Math.max(together, run.together);
    if (wrong)
      return { states: seen.size, wrong: `${wrong} by ${path} of ${lane.kinds}`, together };
    const { state } = run;
    if (seen.has(state)) continue;
    seen.add(state);
    for (let i = 0; i < moves.length + disturbances.length; i++) paths.push([...path, i]);
  }
  return { states: seen.size, wrong: undefined, together };
}
