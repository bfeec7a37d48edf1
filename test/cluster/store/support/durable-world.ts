/** Durable stores on a disk in memory, in virtual time. */

import { DiskSpace } from '../../../../src/cluster/store/durable/disk-space.js';
import {
  DurableStore,
  type StoreLimits,
} from '../../../../src/cluster/store/durable/durable-store.js';
import { Lane } from '../../../../src/cluster/store/durable/housekeeping.js';
import { randomUuid } from '../../../../src/cluster/mon/initial-map.js';
import { createCrc32c } from '../../../../src/kernels/crc32c.js';
import { loadKernels } from '../../../../src/kernels/load.js';
import { VirtualDisk } from '../../../../src/sim/virtual-disk.js';
import { VirtualWorld } from '../../../../src/sim/virtual-world.js';

const crc32c = createCrc32c(loadKernels());

export const STORE_DIR = '/store';

/** So small that a short test meets full segments, flushes and checkpoints. */
export const SMALL_LIMITS: StoreLimits = {
  segments: { firstBytes: 16 * 1024, maxBytes: 64 * 1024 },
  checkpointBytes: 96 * 1024,
  flushBytes: 48 * 1024,
  changedMaxBytes: 256 * 1024,
  slackBytes: 16 * 1024,
  idleMs: 50,
  spareMinBytes: 16 * 1024,
};

export class DurableWorld {
  readonly world: VirtualWorld;
  disk: VirtualDisk;
  readonly failures: Error[] = [];

  constructor(options: { seed?: number } = {}) {
    this.world = new VirtualWorld(options);
    this.disk = new VirtualDisk(this.world);
  }

  /** Begins to open; ends when time passes. */
  opening(limits: Partial<StoreLimits> = SMALL_LIMITS): Promise<DurableStore> {
    const { env } = this.world;
    return DurableStore.open({
      disk: this.disk,
      dir: STORE_DIR,
      timers: env.timers,
      crc32c,
      log: env.log.osd,
      generateId: () => randomUuid(env),
      space: new DiskSpace(this.disk, STORE_DIR, env.clock),
      lane: new Lane(),
      limits,
      onFailure: (error) => this.failures.push(error),
    });
  }

  open(limits: Partial<StoreLimits> = SMALL_LIMITS): Promise<DurableStore> {
    return this.world.until(this.opening(limits));
  }

  /** A store whose promises settle by themselves: time passes while anything waits for it. */
  async openLive(): Promise<DurableStore> {
    const pass = async () => {
      await this.world.advance(1);
      setImmediate(() => void pass()).unref();
    };
    setImmediate(() => void pass()).unref();
    return await this.opening();
  }

  close(store: DurableStore): Promise<void> {
    return this.world.until(store.close());
  }
}
