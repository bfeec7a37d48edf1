/**
 * Updates of one stored map, in groups: what is asked for in one turn, or while an earlier group is on its way, goes
 * together. An OSD carries out class calls on one object one after the other, each as durable as a write: so a group costs
 * hardly more than one of its updates would.
 */

import type { ObjectState } from '../../kernels/object-state.js';
import { OBJECTS_PER_BLOCK } from '../../rados/cls-rbd/object-map.js';

/** The objects from `start` on and before `end`, of those in state `current` if given, into `state`. */
export interface RangeUpdate {
  readonly start: number;
  readonly end: number;
  readonly state: ObjectState;
  readonly current: ObjectState | undefined;
}

/** Objects of one update: what an OSD works on at a time. */
export const OBJECTS_PER_UPDATE_MAX = 262_144;
/** Updates of one request. */
const UPDATES_PER_REQUEST_MAX = 16;

interface Change {
  readonly state: ObjectState;
  readonly current: ObjectState | undefined;
}

interface Group {
  readonly changes: Map<number, Change>;
  readonly done: Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

export class MapUpdates {
  readonly #send: (requests: readonly RangeUpdate[][]) => Promise<void>;
  #next: Group | undefined;
  #sent: Group | undefined;
  /** What has the map for itself waits here for the group before it, and the group after it for its end. */
  #lane: Promise<void> = Promise.resolve();
  #scheduled = false;

  /** `send` stores the updates, each list as one request. Its rejection is that of everybody in the group. */
  constructor(send: (requests: readonly RangeUpdate[][]) => Promise<void>) {
    this.#send = send;
  }

  /** Resolves when it is stored. Nobody asks for two states of one object at a time. */
  change(objectNo: number, state: ObjectState, current?: ObjectState): Promise<void> {
    if (this.#sent?.changes.get(objectNo)?.state === state) return this.#sent.done;
    this.#next ??= newGroup();
    this.#next.changes.set(objectNo, { state, current });
    this.#schedule();
    return this.#next.done;
  }

  /** Runs `task` between two groups. */
  alone(task: () => Promise<void>): Promise<void> {
    const turn = this.#lane.then(task);
    this.#lane = turn.catch(() => undefined);
    return turn;
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    while (this.#next || this.#sent) await this.alone(() => Promise.resolve());
    await this.#lane;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void this.alone(() => this.#flush());
  }

  async #flush(): Promise<void> {
    const group = this.#next as Group;
    this.#next = undefined;
    this.#scheduled = false;
    this.#sent = group;
    try {
      await this.#send(inRequests(toRanges(group.changes)));
      group.resolve();
    } catch (error) {
      group.reject(error as Error);
    } finally {
      this.#sent = undefined;
    }
  }
}

function newGroup(): Group {
  let resolve = () => {};
  let reject: Group['reject'] = () => {};
  const done = new Promise<void>((onDone, onFailed) => {
    resolve = onDone;
    reject = onFailed;
  });
  // Those who asked may all have given up.
  done.catch(() => undefined);
  return { changes: new Map(), done, resolve, reject };
}

/** Ascending; neighbours that go the same way are one. */
function toRanges(changes: ReadonlyMap<number, Change>): RangeUpdate[] {
  const ranges: RangeUpdate[] = [];
  let last: (Change & { start: number; end: number }) | undefined;
  for (const objectNo of Float64Array.from(changes.keys()).sort()) {
    const { state, current } = changes.get(objectNo) as Change;
    const goesOn =
      last?.end === objectNo &&
      last.state === state &&
      last.current === current &&
      objectNo - last.start < OBJECTS_PER_UPDATE_MAX;
    if (last && goesOn) last.end++;
    else ranges.push((last = { start: objectNo, end: objectNo + 1, state, current }));
  }
  return ranges;
}

/** A request must not touch a block of the map twice: see `objectMapUpdate`. */
export function inRequests(ranges: readonly RangeUpdate[]): RangeUpdate[][] {
  const requests: { updates: RangeUpdate[]; objects: number; nextBlock: number }[] = [];
  for (const range of ranges) {
    const firstBlock = Math.floor(range.start / OBJECTS_PER_BLOCK);
    const nextBlock = Math.floor((range.end - 1) / OBJECTS_PER_BLOCK) + 1;
    const objects = range.end - range.start;
    const request = requests.find(
      (each) =>
        each.nextBlock <= firstBlock &&
        each.updates.length < UPDATES_PER_REQUEST_MAX &&
        each.objects + objects <= OBJECTS_PER_UPDATE_MAX,
    );
    if (!request) requests.push({ updates: [range], objects, nextBlock });
    else {
      request.updates.push(range);
      request.objects += objects;
      request.nextBlock = nextBlock;
    }
  }
  return requests.map(({ updates }) => updates);
}

/** A range in pieces that one update may have. */
export function* pieces(start: number, end: number): Generator<[start: number, end: number]> {
  for (let at = start; at < end; at += OBJECTS_PER_UPDATE_MAX) {
    yield [at, Math.min(at + OBJECTS_PER_UPDATE_MAX, end)];
  }
}
