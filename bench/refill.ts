/** The same state before every measurement: an image that was rewritten with 4 MiB writes. */

import type { Cluster } from '../src/block/cluster.js';
import type { Target } from './clients.js';

const CHUNK = 4 * 1024 * 1024;
const WRITERS = 4;

export async function refill(cluster: Cluster, { pool, image }: Target): Promise<void> {
  await using device = await cluster.map(`${pool}/${image}`);
  const chunk = Buffer.alloc(CHUNK, 0xa5);
  let next = 0;
  const writer = async () => {
    while (next < device.size) {
      const offset = next;
      next += chunk.length;
      await device.write(offset, chunk.subarray(0, Math.min(chunk.length, device.size - offset)), {
        borrowed: true,
      });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}
