// The soak of `npm run soak:watch`, scaled down: watch errors one after the other, under writes and changes of the header.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StampedSectors } from '../../bench/soak/stamped-sectors.js';
import { identify, SECTOR_BYTES, stamp } from '../../src/sim/checkers/stamps.js';
import { soakWatch } from '../../bench/soak/watch-soak.js';
import { type BlockDevice, EmbeddedCluster } from '../../src/index.js';

describe('a device that loses its watch again and again', () => {
  let embedded: EmbeddedCluster;
  beforeAll(async () => {
    embedded = await EmbeddedCluster.start({ osds: 3, pools: ['rbd'] });
  });
  afterAll(() => embedded?.stop());

  it.each([
    ['without a lock', false],
    ['mapped with exclusive', true],
  ])('neither stalls nor fails nor loses a write (%s)', async (_kind, exclusive) => {
    const report = await soakWatch({
      ...{ confPath: embedded.confPath, embedded, exclusive },
      ...{ durationMs: 4000, everyMs: 200 },
    });
    expect(report.problems).toEqual([]);
    // One is found out at once, the other by the next ping.
    expect(report.watchErrors).toBeGreaterThanOrEqual(2);
    expect(report.staleSends).toBe(0);
    // Each of the writers beside it had its turn.
    expect(report.writes).toBeGreaterThan(128);
    expect(report.headerUpdates).toBeGreaterThan(0);
  });

  it('is judged by a model that notices lost, torn and misplaced writes', async () => {
    // The judge: memory that forgets a write, which the model must notice.
    const memory = Buffer.alloc(4 * SECTOR_BYTES);
    let forget = false;
    const device = {
      write: async (offset: number, data: Buffer) => {
        await Promise.resolve();
        if (!forget) data.copy(memory, offset);
      },
      read: (offset: number, length: number) =>
        Promise.resolve(Buffer.from(memory.subarray(offset, offset + length))),
    } as unknown as BlockDevice;
    const sectors = new StampedSectors(memory.length);
    await sectors.write(device, 1);
    await sectors.verify(device);
    await sectors.read(device, 1);
    forget = true;
    await sectors.write(device, 1);
    await expect(sectors.read(device, 1)).rejects.toThrow('sector 1 holds write 1');
    await expect(sectors.verify(device)).rejects.toThrow('it must hold write 2');
    const torn = stamp(1, 2);
    stamp(1, 1).copy(torn, 256, 256);
    expect(() => identify(torn, 1)).toThrow('torn');
    expect(() => identify(stamp(2, 1), 1)).toThrow('belongs to 2');
  });
});
