/**
 * One run: the workload under faults (the safety phase), then everything without them (the liveness phase), then the
 * judgement of what clients saw.
 */

import { Fences } from './checkers/fences.js';
import { History } from './checkers/history.js';
import { PipelineJudge } from './checkers/pipeline-judge.js';
import { OsdJudge } from './checkers/osd-judge.js';
import { checkOrphans, checkTrimmed } from './checkers/leftovers.js';
import { checkReplicas } from './checkers/replicas.js';
import type { Violation } from './checkers/violation.js';
import type { SimFaultName } from './faults/catalogue.js';
import { describe, inspect, judgeHistory } from './judge.js';
import { Nemesis } from './nemesis.js';
import type { RunPlan } from './plan.js';
import type { RunWitness } from './report/witness.js';
import { type SimulatedClient, Simulation } from './simulation.js';
import type { WorkloadName } from './workloads/catalogue.js';
import type { WorkloadClient } from './workloads/habitat.js';
import { KnownImages } from './workloads/known-images.js';
import { CLIENT_MEMORY_BYTES, Seats } from './workloads/seats.js';
import { makeImage } from './workloads/setting.js';
import { POOL, type Scene } from './workloads/stage.js';

export interface RunReport {
  readonly seed: number;
  readonly workload: WorkloadName;
  /** Two runs of the same plan have the same. */
  readonly digest: string;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
  readonly steps: number;
  readonly operations: number;
  /** Sectors that reads returned and that were judged. */
  readonly sectorsChecked: number;
  readonly failed: number;
  readonly unknown: number;
  /** How often faults of each kind have acted. */
  readonly faults: Readonly<Partial<Record<SimFaultName, number>>>;
}

/** Virtual time in which everything settles when nothing is disturbed any more. */
const SETTLE_MS = 120_000;
const RECOVERY_LOOK_MS = 500;
const CLEAN = 'active+clean';
/** Told of one run: one cause may show in many places. */
const VIOLATIONS_MAX = 20;

export interface RunOptions {
  /** Tells what happens, as it happens. */
  onTrace?: ((line: string) => void) | undefined;
  /** What clients asked for and what came of it, when all is over. */
  onHistory?: ((history: History) => void) | undefined;
  /** Looks on. */
  witness?: RunWitness | undefined;
}

export async function run(plan: RunPlan, options: RunOptions = {}): Promise<RunReport> {
  return new Run(plan, options).perform();
}

class Run {
  readonly #plan: RunPlan;
  readonly #onHistory: RunOptions['onHistory'];
  readonly #witness: RunWitness | undefined;
  readonly #isTracing: boolean;
  readonly #trace: (line: string) => void;
  readonly #violations: Violation[] = [];
  readonly #fences = new Fences(() => this.#history?.order ?? 0);
  readonly #judge = new OsdJudge({
    now: () => this.#simulation?.now ?? 0,
    violate: ({ checker, message }) => this.#violate(checker, message),
    fences: this.#fences,
  });
  readonly #pipelines = new PipelineJudge();
  #simulation!: Simulation;
  #history!: History;
  #scene!: Scene;
  #seats!: Seats;
  #nemesis!: Nemesis;

  constructor(plan: RunPlan, { onTrace, onHistory, witness }: RunOptions) {
    this.#plan = plan;
    this.#onHistory = onHistory;
    this.#witness = witness;
    this.#isTracing = onTrace !== undefined;
    this.#trace = onTrace
      ? (line) => onTrace(`${this.#simulation.now.toFixed(1).padStart(10)} ms  ${line}`)
      : () => {};
  }

  async perform(): Promise<RunReport> {
    const onRejection = (error: unknown) => this.#violate('unhandled', describe(error));
    process.on('unhandledRejection', onRejection);
    const judged = this.#judge.watch();
    const watched = this.#pipelines.watch();
    const witnessed = this.#witness?.watch();
    try {
      await this.#set();
      await this.#safety();
      await this.#liveness();
      await this.#recovery();
      await this.#readAll();
      for (const message of this.#pipelines.takeViolations()) this.#violate('pipeline', message);
      await this.#leave();
    } catch (error) {
      this.#violate('exception', describe(error));
      await this.#simulation?.world.until(this.#simulation.stop()).catch(() => {});
    } finally {
      judged();
      watched();
      witnessed?.();
      process.off('unhandledRejection', onRejection);
    }
    if (this.#history) {
      this.#onHistory?.(this.#history);
      this.#witness?.onEnd(this.#history);
    }
    return this.#report();
  }

  async #set(): Promise<void> {
    const { seed, osds, size, pgNum, auth, latencyMs, durable } = this.#plan;
    this.#simulation = await Simulation.start({
      ...{ seed, latencyMs, durable },
      cluster: { osds, size, auth, pools: [{ name: POOL, pgNum, size }] },
    });
    const { world } = this.#simulation;
    world.traceEvents = this.#isTracing;
    this.#witness?.onStart(this.#simulation);
    this.#witness?.onPhase('made');
    this.#history = new History(() => world.now);
    const maker = await world.until(this.#connect());
    const scene = {
      ...{ habitat: this.#simulation, plan: this.#plan, history: this.#history },
      ...{ images: new KnownImages(), trace: this.#trace },
      violate: (violation: Violation) => this.#add(violation),
      onMapped: this.#onMapped,
      watchHeardAt: async (client: WorkloadClient, header: string) => {
        const nonce = await (client as SimulatedClient).nonce();
        return nonce === undefined ? undefined : this.#judge.hearings.heardAt(nonce, header);
      },
      onFenced: (client: WorkloadClient, what: string) => this.#fences.claim(client.name, what),
    };
    this.#scene = { ...scene, image: await world.until(makeImage(scene, maker)) };
    await world.until(maker.close());
    this.#nemesis = new Nemesis(this.#simulation, {
      trace: this.#trace,
      onFault: (kind, forMs) => this.#witness?.onFault(kind, forMs) ?? (() => {}),
      onError: (kind, error) => this.#violate('fault', `${kind}: ${describe(error)}`),
    });
    this.#seats = new Seats(this.#scene);
    await world.until(this.#seats.start());
  }

  readonly #onMapped: RunWitness['onMapped'] = (client, device) => {
    this.#witness?.onMapped(client, device);
    (client as SimulatedClient).nonce().then(
      (nonce) => {
        if (nonce !== undefined) this.#fences.know(client.name, nonce);
      },
      // It is gone again, and has seen nothing.
      () => {},
    );
  };

  #connect(): Promise<SimulatedClient> {
    const { msMode } = this.#plan;
    return this.#simulation.connect({ msMode, memoryBytes: CLIENT_MEMORY_BYTES });
  }

  async #safety(): Promise<void> {
    const { world } = this.#simulation;
    const began = world.now;
    this.#witness?.onPhase('faults');
    this.#nemesis.start(this.#plan.faults);
    await world.advance(this.#plan.durationMs + began - world.now);
  }

  async #liveness(): Promise<void> {
    const { world } = this.#simulation;
    await world.until(this.#nemesis.stop());
    this.#trace('no faults any more');
    this.#witness?.onPhase('no faults');
    const settled = this.#seats.finish();
    await world.until(settled, { patienceMs: SETTLE_MS }).catch(async (error: unknown) => {
      const pending = [
        ...(await this.#seats.describe()),
        ...this.#history.pending.map(({ id, client, kind }) => `#${id} ${client} ${kind}`),
      ];
      this.#add({
        checker: 'liveness',
        message: `not settled ${SETTLE_MS / 1000} s after the last fault: ${describe(error)}`,
        ops: pending.slice(0, 20),
      });
    });
  }

  /** All copies are made equal again, and are. */
  async #recovery(): Promise<void> {
    const { world, cluster } = this.#simulation;
    this.#witness?.onPhase('recovery');
    const recovered = async () => {
      let { pgs } = await cluster.status();
      while (Object.keys(pgs).some((state) => state !== CLEAN)) {
        await this.#simulation.sleep(RECOVERY_LOOK_MS);
        ({ pgs } = await cluster.status());
      }
    };
    try {
      await world.until(recovered(), { patienceMs: SETTLE_MS });
    } catch {
      const { pgs, osds } = await cluster.status();
      const down = osds.filter(({ up }) => !up).map(({ id }) => `osd.${id}`);
      const state = `${JSON.stringify(pgs)}, down: ${down.join() || 'none'}`;
      this.#violate('liveness', `not recovered in ${SETTLE_MS / 1000} s: ${state}`);
      return;
    }
    const { osds } = this.#judge;
    for (const each of [...checkReplicas(osds), ...checkTrimmed(osds)]) this.#add(each);
  }

  /** Through a client that knows nothing but the OSDs' word. */
  async #readAll(): Promise<void> {
    const { world } = this.#simulation;
    this.#witness?.onPhase('everything is read');
    const reader = await world.until(this.#connect());
    await world.until(inspect(this.#scene, reader));
    await world.until(reader.close());
    for (const each of judgeHistory(this.#history, { atOnce: true, fences: this.#fences }))
      this.#add(each);
    const { all } = this.#scene.images;
    const halfNames = all.flatMap(({ names }) => (names.length > 1 ? names : []));
    for (const each of checkOrphans(this.#judge.osds, halfNames)) this.#add(each);
    for (const message of this.#fences.unfounded()) this.#violate('errors', message);
  }

  async #leave(): Promise<void> {
    const { world } = this.#simulation;
    this.#witness?.onPhase('the end');
    await world.until(this.#simulation.stop());
    // What was closed may have to travel.
    await world.advance(10_000);
    const { pendingEvents, network } = world;
    if (network.streams.size > 0) {
      this.#violate('leak', `${network.streams.size} connections are open when all is closed`);
    }
    if (pendingEvents > 0) {
      this.#violate('leak', `${pendingEvents} timers are armed when all is closed`);
      if (world.traceEvents) for (const origin of world.pendingOrigins) this.#trace(origin);
    }
  }

  #violate(checker: string, message: string): void {
    this.#add({ checker, message });
  }

  #add(violation: Violation): void {
    if (this.#violations.length >= VIOLATIONS_MAX) return;
    this.#violations.push(violation);
    this.#witness?.onViolation(violation);
    if (this.#simulation) this.#trace(`VIOLATION ${violation.checker}: ${violation.message}`);
  }

  #report(): RunReport {
    const ops = this.#history?.ops ?? [];
    const { now = 0, steps = 0, digest = 0 } = this.#simulation?.world ?? {};
    return {
      seed: this.#plan.seed,
      workload: this.#plan.workload,
      digest: digest.toString(16).padStart(8, '0'),
      violations: this.#violations,
      virtualMs: Math.round(now),
      steps,
      operations: ops.length,
      sectorsChecked: ops.reduce((sum, { values }) => sum + (values?.length ?? 0), 0),
      failed: ops.filter(({ end }) => end === 'failed').length,
      unknown: ops.filter(({ end }) => end === 'unknown').length,
      faults: this.#nemesis?.fired ?? {},
    };
  }
}
