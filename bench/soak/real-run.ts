/**
 * One run of a workload of the simulation against real Ceph daemons, in real time: the same actions, the same checkers;
 * only that nobody can replay it to the byte.
 */

import { History } from '../../src/sim/checkers/history.js';
import type { Violation } from '../../src/sim/checkers/violation.js';
import { describe, inspect, judgeHistory } from '../../src/sim/judge.js';
import type { RunPlan } from '../../src/sim/plan.js';
import { Draw, randomFor } from '../../src/sim/random.js';
import { KnownImages } from '../../src/sim/workloads/known-images.js';
import { CLIENT_MEMORY_BYTES, Seats } from '../../src/sim/workloads/seats.js';
import { makeImage } from '../../src/sim/workloads/setting.js';
import { POOL, type Scene } from '../../src/sim/workloads/stage.js';
import { CephCluster } from '../../test/ceph/support/ceph-cluster.js';
import { type RealFaultName, RealNemesis } from './real-faults.js';
import { RealHabitat } from './real-habitat.js';

export interface RealReport {
  readonly violations: readonly Violation[];
  readonly operations: number;
  readonly unknown: number;
  readonly sectorsChecked: number;
  readonly faults: Readonly<Partial<Record<RealFaultName, number>>>;
}

const OSDS = 3;
/**
 * A memstore OSD of 16.2.15 that was away takes what a clone of an object shares with others from its own copies of them, and
 * is left with zeros: a snapshot read there has lost data, read at the other OSD it has not.
 */
const WHOLE_CLONES = 'osd recover clone overlap = false\n';
/** In which everything settles when nothing is disturbed any more. */
const SETTLE_MS = 120_000;
const VIOLATIONS_MAX = 20;

export async function realRun(plan: RunPlan, onTrace: (line: string) => void): Promise<RealReport> {
  const { auth } = plan;
  await using cluster = await CephCluster.start({
    ...{ osds: OSDS, size: 2, minSize: 1, auth },
    pools: [{ name: POOL, pgNum: plan.pgNum }],
    osdConf: WHOLE_CLONES,
  });
  return await new RealRun(plan, cluster, onTrace).perform();
}

class RealRun {
  readonly #plan: RunPlan;
  readonly #cluster: CephCluster;
  readonly #habitat: RealHabitat;
  readonly #history: History;
  readonly #violations: Violation[] = [];
  readonly #trace: (line: string) => void;

  constructor(plan: RunPlan, cluster: CephCluster, onTrace: (line: string) => void) {
    this.#plan = plan;
    this.#cluster = cluster;
    this.#habitat = new RealHabitat(cluster.confPath);
    this.#history = new History(() => this.#habitat.now);
    this.#trace = (line) => onTrace(`${this.#habitat.now.toFixed(0).padStart(7)} ms  ${line}`);
  }

  async perform(): Promise<RealReport> {
    const draw = new Draw(randomFor(this.#plan.seed, 'real faults'));
    const nemesis = new RealNemesis(
      { cluster: this.#cluster, habitat: this.#habitat, osds: OSDS, draw },
      this.#trace,
    );
    const onRejection = (error: unknown) =>
      this.#violate({ checker: 'unhandled', message: describe(error) });
    process.on('unhandledRejection', onRejection);
    try {
      const { scene, seats } = await this.#set();
      const disturbing = nemesis.run();
      await this.#habitat.sleep(this.#plan.durationMs);
      nemesis.stop();
      await disturbing;
      this.#trace('no faults any more');
      await this.#settle(seats);
      const reader = await this.#connect();
      await inspect(scene, reader);
      await reader.close();
      for (const each of judgeHistory(this.#history, { atOnce: true })) this.#violate(each);
    } catch (error) {
      nemesis.stop();
      this.#violate({ checker: 'exception', message: describe(error) });
    } finally {
      for (const client of this.#habitat.clients) client.kill();
      process.off('unhandledRejection', onRejection);
    }
    const { ops } = this.#history;
    return {
      violations: this.#violations,
      operations: ops.length,
      unknown: ops.filter(({ end }) => end === 'unknown').length,
      sectorsChecked: ops.reduce((sum, { values }) => sum + (values?.length ?? 0), 0),
      faults: nemesis.fired,
    };
  }

  async #set(): Promise<{ scene: Scene; seats: Seats }> {
    const setting = {
      ...{ habitat: this.#habitat, plan: this.#plan, history: this.#history, trace: this.#trace },
      images: new KnownImages(),
      violate: (violation: Violation) => this.#violate(violation),
    };
    const maker = await this.#connect();
    const scene: Scene = { ...setting, image: await makeImage(setting, maker) };
    await maker.close();
    const seats = new Seats(scene);
    await seats.start();
    return { scene, seats };
  }

  async #connect() {
    const client = this.#habitat.process();
    await client.connect({ msMode: this.#plan.msMode, memoryBytes: CLIENT_MEMORY_BYTES });
    return client;
  }

  async #settle(seats: Seats): Promise<void> {
    const late = this.#habitat.sleep(SETTLE_MS).then(() => 'late');
    if ((await Promise.race([seats.finish(), late])) !== 'late') return;
    const pending = this.#history.pending.map(({ id, client, kind }) => `#${id} ${client} ${kind}`);
    this.#violate({
      checker: 'liveness',
      message: `not settled ${SETTLE_MS / 1000} s after the last fault`,
      ops: [...(await seats.describe()), ...pending].slice(0, VIOLATIONS_MAX),
    });
  }

  #violate(violation: Violation): void {
    if (this.#violations.length >= VIOLATIONS_MAX) return;
    this.#violations.push(violation);
    this.#trace(`VIOLATION ${violation.checker}: ${violation.message}`);
  }
}
