/**
 * The phases of a PG, by mode:
 *
 *   object      wait_pg_ready (OC) and get_obc (X) of the PG, then process (X), wait_repop (OC), send_reply (X) of each
 *               head object: objects wait for each other at the door only
 *   object-rw   the same, and reads of one object that follow one another are in `process` together
 *   seed        all phases are the PG's: one operation at a time
 *
 * An object's phases are there while somebody is in them, or a write of it is not committed.
 */

import { Blocker } from './blocker.js';
import type { Phase } from './phase.js';
import type { PipelineWorld } from './world.js';

export const PIPELINE_MODES = ['seed', 'object', 'object-rw'] as const;
export type PipelineMode = (typeof PIPELINE_MODES)[number];

/** Where operations of one head object, and of its clones, meet. */
export class ObjectLane {
  key = '';
  /** Operations that have come to it and not gone. */
  users = 0;
  #uncommitted = 0;
  /** Readers wait for the writes before them, so that nobody ever reads what a failover may take back. */
  readonly commits = new Blocker('obc_lock', 'read, behind writes that are not committed');
  /** While the object is being recovered for an operation that is in `process`. */
  recovery: Blocker | undefined;

  constructor(
    readonly process: Phase,
    readonly waitRepop: Phase,
    readonly sendReply: Phase,
  ) {}

  get uncommitted(): number {
    return this.#uncommitted;
  }

  writing(): void {
    this.#uncommitted++;
  }

  written(): void {
    this.#uncommitted--;
    if (this.#uncommitted === 0) this.commits.lift();
  }

  /** For another object. */
  reset(key: string, domain: string): void {
    this.key = key;
    this.users = 0;
    this.#uncommitted = 0;
    this.recovery = undefined;
    if (domain === '') return;
    this.process.domain = domain;
    this.waitRepop.domain = domain;
    this.sendReply.domain = domain;
  }
}

/** Lanes that nobody is in, kept for the next. */
const IDLE_LANES_MAX = 32;

export class PgPipeline {
  readonly mode: PipelineMode;
  /** `object`: one phase; `seed`: two. */
  readonly waitMap: Phase | undefined;
  readonly waitReady: Phase;
  /** `seed` only. */
  readonly recoverMissing: Phase | undefined;
  readonly door: Phase;
  readonly pgProcess: Phase;
  readonly #world: PipelineWorld;
  readonly #domain: string;
  readonly #lanes = new Map<string, ObjectLane>();
  readonly #idle: ObjectLane[] = [];
  /** Of the whole PG, in mode `seed`. */
  readonly #shared: [Phase, Phase, Phase] | undefined;

  constructor(world: PipelineWorld, mode: PipelineMode, pg: string) {
    this.#world = world;
    this.mode = mode;
    this.#domain = pg;
    const seed = mode === 'seed';
    this.waitMap = seed ? world.exclusive('G1.await_map', pg) : undefined;
    this.waitReady = seed
      ? world.exclusive('G1.wait_for_active', pg)
      : world.ordered('G1.wait_pg_ready', pg);
    this.recoverMissing = seed ? world.exclusive('G1.recover_missing', pg) : undefined;
    this.door = world.exclusive('G2.get_obc', pg);
    this.#shared = seed ? this.#lanePhases(pg) : undefined;
    this.pgProcess = this.#shared?.[0] ?? world.exclusive('pg_process', pg);
  }

  /** For an operation that comes to the object; `leave` when it has gone. */
  enter(key: string): ObjectLane {
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = this.#idle.pop() ?? new ObjectLane(...(this.#shared ?? this.#lanePhases('')));
      lane.reset(key, this.#shared ? '' : `${this.#domain} ${key}`);
      this.#lanes.set(key, lane);
    }
    lane.users++;
    return lane;
  }

  leave(lane: ObjectLane): void {
    lane.users--;
    this.#freeIfIdle(lane);
  }

  /** Between `writing` and `written` of a write, readers of the object wait. */
  writing(key: string): void {
    this.#lanes.get(key)?.writing();
  }

  written(key: string): void {
    const lane = this.#lanes.get(key);
    if (!lane) return;
    lane.written();
    this.#freeIfIdle(lane);
  }

  /** Not one of an interval that is over. */
  #freeIfIdle(lane: ObjectLane): void {
    if (lane.users > 0 || lane.uncommitted > 0 || this.#lanes.get(lane.key) !== lane) return;
    this.#lanes.delete(lane.key);
    if (this.#idle.length < IDLE_LANES_MAX) this.#idle.push(lane);
  }

  /** The interval ended, and with it all operations: what was not committed is decided by peering. */
  clear(): void {
    this.#lanes.clear();
  }

  get lanes(): number {
    return this.#lanes.size;
  }

  /** All phases that anybody is in. */
  busy(): Phase[] {
    const { waitMap, waitReady, recoverMissing, door, pgProcess } = this;
    const lanes = [...this.#lanes.values()].flatMap(({ process, waitRepop, sendReply }) => [
      process,
      waitRepop,
      sendReply,
    ]);
    const phases = [waitMap, waitReady, recoverMissing, door, pgProcess, ...lanes];
    const busy = phases.filter((phase) => phase !== undefined && phase.size > 0);
    return [...new Set(busy as Phase[])];
  }

  #lanePhases(domain: string): [Phase, Phase, Phase] {
    const world = this.#world;
    return [
      this.mode === 'object-rw'
        ? world.readWrite('O1.process', domain)
        : world.exclusive('O1.process', domain),
      world.ordered('O2.wait_repop', domain),
      world.exclusive('O3.send_reply', domain),
    ];
  }
}
