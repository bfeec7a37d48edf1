// Goal: whatever the disk is doing when the machine dies, the next start finds every acknowledged change, and none in
// part. Method: random changes on a disk in memory that dies at a given operation; what the next start finds must be
// what some number of the changes, in order, have made of an empty store, and no fewer than were acknowledged.

import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { DurableStore } from '../../../../src/cluster/store/durable/durable-store.js';
import { MemoryStore } from '../../../../src/cluster/store/memory-store.js';
import type { ObjectStore } from '../../../../src/cluster/store/object-store.js';
import { seededRandom } from '../../../../src/sim/random.js';
import { contentsOf } from '../support/contents.js';
import { DurableWorld } from '../support/durable-world.js';
import { type Change, Workload } from '../support/workload.js';

function perform(store: ObjectStore, change: Change): Promise<void> {
  return change.kind === 'apply'
    ? store.apply(change.transaction)
    : store.removeCollection(change.collection);
}

/** What the changes make of an empty store, one by one. */
class Model {
  readonly #store = new MemoryStore();
  readonly #changes: Change[];
  #done = 0;

  constructor(changes: Change[]) {
    this.#changes = changes;
  }

  after(count: number): Record<string, unknown> {
    while (this.#done < count) void perform(this.#store, this.#changes[this.#done++] as Change);
    return contentsOf(this.#store);
  }
}

class Run {
  readonly scene: DurableWorld;
  readonly changes: Change[] = [];
  readonly #workload: Workload;
  readonly #random;
  acknowledged = 0;

  constructor(seed: number) {
    this.scene = new DurableWorld({ seed });
    this.#random = seededRandom(seed + 1000);
    this.#workload = new Workload(seededRandom(seed + 2000));
  }

  /** Makes changes, several at a time and with pauses, until `count` are acknowledged or the disk stops. */
  async work(store: DurableStore, count: number): Promise<void> {
    const { world, disk } = this.scene;
    for (let i = 0; i < count && !disk.stopped; i++) {
      const change = this.#workload.next();
      this.changes.push(change);
      const number = this.changes.length;
      void perform(store, change).then(() => {
        expect(number, 'acknowledged in order').toBe(this.acknowledged + 1);
        this.acknowledged = number;
      });
      if (this.#random.float() < 0.5) await world.advance(this.#random.float());
      if (this.#random.float() < 0.02) await world.advance(120);
    }
    await world.advance(5);
  }

  /** The machine died: opens what is left of the disk, and compares. */
  async recover(keep: 'none' | 'some' | 'all'): Promise<DurableStore> {
    this.scene.disk = this.scene.disk.afterCrash({ keep, random: this.#random });
    const store = await this.scene.open();
    const found = contentsOf(store);
    const model = new Model(this.changes);
    for (let count = 0; count <= this.changes.length; count++) {
      if (count < this.acknowledged) continue;
      if (!isDeepStrictEqual(found, model.after(count))) continue;
      // What was not acknowledged and did not happen never will.
      this.changes.length = count;
      this.acknowledged = count;
      return store;
    }
    expect(found).toEqual(new Model(this.changes).after(this.acknowledged));
    throw new Error('not reached');
  }
}

/** More of them with LINGER_STORE_SEEDS=1000; LINGER_STORE_SEED=n runs one. */
const only = process.env['LINGER_STORE_SEED'];
const seeds = only
  ? [Number(only)]
  : Array.from({ length: Number(process.env['LINGER_STORE_SEEDS'] ?? 40) }, (_, i) => i + 1);

describe('a durable store', () => {
  it('has the same after a clean end as before', async () => {
    const run = new Run(1);
    const store = await run.scene.open();
    await run.work(store, 200);
    await run.scene.close(store);
    await run.recover('none');
    expect(run.acknowledged).toBe(200);
  });

  it.each(seeds)(
    'has what it acknowledged after three crashes anywhere (seed %i)',
    async (seed) => {
      const run = new Run(seed);
      const random = seededRandom(seed + 3000);
      let store = await run.scene.open();
      for (let crash = 0; crash < 3; crash++) {
        run.scene.disk.stopAt(1 + Math.floor(random.float() * 250));
        await run.work(store, 150);
        store = await run.recover(
          (['none', 'some', 'some', 'all'] as const)[random.u32() % 4] ?? 'some',
        );
      }
      await run.work(store, 20);
      await run.scene.close(store);
      expect(run.scene.failures).toEqual([]);
      await run.recover('none');
    },
  );

  it('has what it acknowledged after a crash at each operation of a short life', async () => {
    const life = async (stopAt: number) => {
      const run = new Run(7);
      run.scene.disk.stopAt(stopAt);
      const { world, disk } = run.scene;
      const store = await Promise.race([run.scene.opening(), world.until(disk.stop)]).catch(
        () => {},
      );
      if (store) await run.work(store, 40);
      return run;
    };
    const whole = await life(Number.MAX_SAFE_INTEGER);
    const operations = whole.scene.disk.operations;
    expect(operations).toBeGreaterThan(100);
    for (let stopAt = 1; stopAt <= operations; stopAt++) {
      const run = await life(stopAt);
      await run.recover(stopAt % 3 === 0 ? 'none' : 'some').catch((error: unknown) => {
        throw new Error(`crash at operation ${stopAt}`, { cause: error });
      });
    }
  });
});
