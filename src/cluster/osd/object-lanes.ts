/**
 * One lane per object: its requests execute in the order they came.
 *
 * Writes follow one another without waiting for their commits; a read waits until every write before it is committed,
 * so that nobody ever reads what a failover may take back.
 */

export interface LaneTask {
  /** A write, or a read that a later write must not overtake: both start behind uncommitted writes. */
  readonly pipelined: boolean;
  /** Starts the task. It holds the lane for others until the returned promise settles, if there is one. */
  start(): Promise<void> | undefined;
}

interface Lane {
  readonly queue: LaneTask[];
  uncommitted: number;
  busy: boolean;
}

export class ObjectLanes {
  readonly #lanes = new Map<string, Lane>();

  get size(): number {
    return this.#lanes.size;
  }

  submit(key: string, task: LaneTask): void {
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = { queue: [], uncommitted: 0, busy: false };
      this.#lanes.set(key, lane);
    }
    lane.queue.push(task);
    this.#pump(key, lane);
  }

  /** Between `writing` and `written` of a write, readers of the object wait. */
  writing(key: string): void {
    const lane = this.#lanes.get(key);
    if (lane) lane.uncommitted++;
  }

  written(key: string): void {
    const lane = this.#lanes.get(key);
    if (!lane) return;
    lane.uncommitted--;
    this.#pump(key, lane);
  }

  /** Forgets everything: the interval ended. */
  clear(): void {
    for (const lane of this.#lanes.values()) lane.queue.length = 0;
    this.#lanes.clear();
  }

  #pump(key: string, lane: Lane): void {
    if (lane.busy) return;
    lane.busy = true;
    for (let task = lane.queue[0]; task; task = lane.queue[0]) {
      if (!task.pipelined && lane.uncommitted > 0) break;
      lane.queue.shift();
      const held = task.start();
      if (held) {
        const release = () => {
          lane.busy = false;
          this.#pump(key, lane);
        };
        held.then(release, release);
        return;
      }
    }
    lane.busy = false;
    const idle = lane.queue.length === 0 && lane.uncommitted === 0;
    if (idle && this.#lanes.get(key) === lane) this.#lanes.delete(key);
  }
}
