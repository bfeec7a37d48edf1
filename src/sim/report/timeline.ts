/** What happened in a run and when, on lanes: plain data, for a page and for programs. */

import type { RunPlan } from '../plan.js';
import type { RunReport } from '../run.js';

export type LaneGroup =
  | 'Run'
  | 'Faults'
  | 'Monitor'
  | 'OSDs'
  | 'Clients'
  | 'Watches'
  | 'Exclusive lock'
  | 'Operations';

/** From the top of the page to its end. */
export const LANE_GROUPS: readonly LaneGroup[] = [
  'Run',
  'Faults',
  'Monitor',
  'OSDs',
  'Clients',
  'Watches',
  'Exclusive lock',
  'Operations',
];

/** How it is shown. */
export type MarkKind =
  | 'phase'
  | 'violation'
  | 'fault'
  | 'epoch'
  | 'up'
  | 'down'
  | 'dead'
  | 'lives'
  | 'watched'
  | 'lost'
  | 'held'
  | 'ok'
  | 'failed'
  | 'unknown';

export interface Mark {
  readonly kind: MarkKind;
  /** Virtual milliseconds. */
  readonly from: number;
  /** Undefined: it took no time. */
  to?: number;
  label: string;
  detail?: string;
}

export interface Lane {
  readonly group: LaneGroup;
  readonly name: string;
  /** In the order of their beginnings. */
  readonly marks: readonly Mark[];
}

export interface Timeline {
  /** The plan, with the numbers of its steps and faults in their place. */
  readonly plan: Omit<RunPlan, 'steps' | 'faults'> & {
    readonly steps: number;
    readonly faults: number;
  };
  readonly report: RunReport;
  /** By group, and within one in the order in which they came up. */
  readonly lanes: readonly Lane[];
}

/** Writes marks down. */
export class Lanes {
  readonly #lanes = new Map<string, { group: LaneGroup; name: string; marks: Mark[] }>();
  readonly #open = new Set<Mark>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Something that took no time. */
  point(group: LaneGroup, name: string, mark: Omit<Mark, 'from' | 'to'>): void {
    this.add(group, name, { ...mark, from: this.#now() });
  }

  /** Something that takes until `end`, or until the run is over. */
  begin(group: LaneGroup, name: string, mark: Omit<Mark, 'from' | 'to'>): Mark {
    const begun: Mark = { ...mark, from: this.#now() };
    this.add(group, name, begun);
    this.#open.add(begun);
    return begun;
  }

  end(mark: Mark | undefined, detail?: string): void {
    if (!mark || !this.#open.delete(mark)) return;
    mark.to = this.#now();
    if (detail !== undefined) mark.detail = [mark.detail, detail].filter(Boolean).join(', ');
  }

  add(group: LaneGroup, name: string, mark: Mark): void {
    const key = `${group}\n${name}`;
    const lane = this.#lanes.get(key) ?? { group, name, marks: [] };
    this.#lanes.set(key, lane);
    lane.marks.push(mark);
  }

  /** What is still open ends now. */
  finish(): Lane[] {
    for (const mark of this.#open) this.end(mark);
    const lanes = [...this.#lanes.values()];
    for (const { marks } of lanes) marks.sort((a, b) => a.from - b.from);
    return LANE_GROUPS.flatMap((group) => lanes.filter((lane) => lane.group === group));
  }
}
