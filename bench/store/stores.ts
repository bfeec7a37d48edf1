/** The stores that are measured. */

import { join } from 'node:path';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { randomUuid } from '../../src/cluster/mon/initial-map.js';
import { DiskSpace } from '../../src/cluster/store/durable/disk-space.js';
import { DurableStore } from '../../src/cluster/store/durable/durable-store.js';
import { Lane } from '../../src/cluster/store/durable/housekeeping.js';
import { MemoryStore } from '../../src/cluster/store/memory-store.js';
import type { ObjectStore } from '../../src/cluster/store/object-store.js';
import { createCrc32c } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  close(): Promise<void>;
}

export async function openMemory(): Promise<StoreUnderTest> {
  const store = new MemoryStore();
  return { store, close: () => store.close() };
}

/** A new one. */
export async function openDurable(parent: string): Promise<StoreUnderTest> {
  const env = nodeEnvironment({ log: { level: 'warn' } });
  const dir = join(parent, 'store');
  await env.disk.remove(dir);
  await env.disk.mkdir(dir);
  const store = await DurableStore.open({
    disk: env.disk,
    dir,
    timers: env.timers,
    crc32c: createCrc32c(loadKernels()),
    log: env.log.osd,
    generateId: () => randomUuid(env),
    space: new DiskSpace(env.disk, dir, env.clock),
    lane: new Lane(),
    onFailure: (error) => {
      throw error;
    },
  });
  return { store, close: () => store.close() };
}
