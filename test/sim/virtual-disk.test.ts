// Goal: a simulated machine that loses its power does nothing more, as a real one: what it had begun is not done later.

import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/sim/random.js';
import { VirtualDisk } from '../../src/sim/virtual-disk.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

const bytes = (text: string) => [Buffer.from(text)];
const outcome = (done: Promise<void>) =>
  done.then(
    () => 'done',
    ({ code }: { code: string }) => code,
  );

describe('a machine that loses its power', () => {
  it('fails what is under way, and what is asked of the files that it had open', async () => {
    const world = new VirtualWorld();
    const disk = new VirtualDisk(world);
    const log = await world.until(disk.open('/osd.0/log', { create: true, durable: true }));
    const data = await world.until(disk.open('/osd.0/data', { create: true }));
    const other = await world.until(disk.open('/osd.1/log', { create: true, durable: true }));
    await world.until(log.write(bytes('before'), 0));
    const underWay = [log.write(bytes('after'), 6), data.write(bytes('data'), 0), data.sync()];
    const others = other.write(bytes('other'), 0);

    disk.loseUnsynced('/osd.0', { keep: 'none', random: seededRandom(1) });
    expect(await world.until(Promise.all(underWay.map(outcome)))).toEqual(['EIO', 'EIO', 'EIO']);
    expect(await world.until(outcome(others))).toBe('done');
    expect(await world.until(outcome(log.write(bytes('later'), 6)))).toBe('EIO');
    expect(await world.until(outcome(data.sync()))).toBe('EIO');
    expect(disk.contentOf('/osd.0/log').toString()).toBe('before');
    expect(disk.contentOf('/osd.0/data').length).toBe(0);

    const again = await world.until(disk.open('/osd.0/log', { durable: true }));
    expect(await world.until(outcome(again.write(bytes('again'), 6)))).toBe('done');
    expect(disk.contentOf('/osd.0/log').toString()).toBe('beforeagain');
  });
});
