/**
 * Work of the PG's own on its objects: expired watches, removed snapshots, recovery. It takes its turn in `process` of the
 * object's lane as a client's operation does, so that nothing else happens to the object meanwhile.
 */

import { Handle } from './pipeline/handle.js';
import type { ObjectLane, PgPipeline } from './pipeline/pg-pipeline.js';
import type { PipelineWorld } from './pipeline/world.js';

export interface LaneTask {
  /** Starts the task. It holds the lane for others until the returned promise settles, if there is one. */
  start(): Promise<void> | undefined;
}

class OwnWork extends Handle {
  readonly id = 0;
  readonly instance = 1;
  #settled = false;

  constructor(
    world: PipelineWorld,
    readonly lane: ObjectLane,
    readonly task: LaneTask,
    readonly lanes: { readonly ended: boolean },
    readonly gone: (work: OwnWork) => void,
  ) {
    super(world);
  }

  protected override get over(): boolean {
    return this.lanes.ended;
  }

  static readonly begin = (work: OwnWork): void => {
    const held = work.task.start();
    if (work.ended) return;
    if (!held) {
      work.complete(OwnWork.left);
      return;
    }
    const go = () => {
      work.#settled = true;
      work.unblock();
    };
    held.then(go, go);
    if (!work.#settled) work.wait('own_work', '', OwnWork.finish);
  };

  static readonly finish = (work: OwnWork): void => work.complete(OwnWork.left);

  static readonly left = (work: OwnWork): void => work.gone(work);
}

export class ObjectLanes {
  readonly #world: PipelineWorld;
  readonly #pipeline: PgPipeline;
  readonly #work = new Set<OwnWork>();
  #ended = false;
  readonly #gone = (work: OwnWork): void => {
    this.#work.delete(work);
    this.#pipeline.leave(work.lane);
  };

  constructor(world: PipelineWorld, pipeline: PgPipeline) {
    this.#world = world;
    this.#pipeline = pipeline;
  }

  submit(key: string, task: LaneTask): void {
    const lane = this.#pipeline.enter(key);
    const work = new OwnWork(this.#world, lane, task, this, this.#gone);
    this.#work.add(work);
    work.enter(lane.process, OwnWork.begin);
  }

  writing(key: string): void {
    this.#pipeline.writing(key);
  }

  written(key: string): void {
    this.#pipeline.written(key);
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Forgets everything, for good: the interval ended. */
  end(): void {
    this.#ended = true;
    for (const work of this.#work) {
      this.#world.log?.add('interrupt', work);
      work.abort();
    }
    this.#work.clear();
    this.#pipeline.clear();
  }
}
