// Goal: a cluster whose machine loses its power has all that it acknowledged, and each object is as one of its changes left
// it. The whole cluster is on a disk in memory that tears and forgets what nobody waited for; a seed decides everything.

import { describe, expect, it } from 'vitest';
import { examine, type Known } from '../../bench/soak/kill-check.js';
import { objectName, vectorOf } from '../../bench/soak/kill-model.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { ClusterWorld } from '../support/cluster-world.js';
import { VirtualDisk } from '../../src/sim/virtual-disk.js';
import { seededRandom } from '../../src/sim/random.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

const KIB = 1024;
const OBJECTS = 6;
const LIVES = 3;

/** Changes until the power fails; the numbers are kept in `known`. */
async function write(io: IoContext, known: { acknowledged: number; begun: number }[], i: number) {
  const of = known[i] as { acknowledged: number; begun: number };
  for (;;) {
    of.begun++;
    await io.operate(objectName(i), vectorOf(i, of.begun));
    of.acknowledged = of.begun;
  }
}

describe('a cluster whose power fails', () => {
  it.each([1, 2])('has what it acknowledged, each time (seed %i)', async (seed) => {
    const random = seededRandom(seed);
    const world = new VirtualWorld({ seed });
    let disk = new VirtualDisk(world);
    let known: Known[] = Array.from({ length: OBJECTS }, () => ({ acknowledged: 0, begun: 0 }));
    let acknowledged = 0;
    for (let life = 0; life <= LIVES; life++) {
      const cluster = await ClusterWorld.startIn(world, {
        ...{ disk, dataDir: '/data', osds: 3, size: 2 },
        storeLimits: {
          segments: { firstBytes: 32 * KIB, maxBytes: 256 * KIB },
          checkpointBytes: 256 * KIB,
          flushBytes: 128 * KIB,
          changedMaxBytes: 1024 * KIB,
          slackBytes: 64 * KIB,
          idleMs: 200,
        },
      });
      const client = await cluster.client();
      const io = await cluster.until(client.rados.ioctx('rbd'));
      const numbers: { acknowledged: number; begun: number }[] = [];
      for (const [object, expected] of known.entries()) {
        const { number, problems } = await cluster.until(examine(io, object, expected));
        expect(problems, `seed ${seed}, life ${life}`).toEqual([]);
        numbers.push({ acknowledged: number, begun: number });
      }
      for (let i = 0; i < OBJECTS; i++) void write(io, numbers, i);
      await world.advance(random.float() * 60);
      const after = disk.afterCrash({ keep: 'some', random });
      known = numbers.map((each) => ({ ...each }));
      acknowledged += known.reduce((sum, each) => sum + each.acknowledged, 0);
      client.kill();
      // Its end changes a disk that nobody will look at.
      await cluster.stop();
      disk = after;
    }
    expect(acknowledged).toBeGreaterThan(20);
  });
});
