import { expect, it } from 'vitest';
import { simulate } from '../../src/sim/simulate.js';

const MIB = 1024 * 1024;
const KIB = 1024;

it('a read that waits while another client cuts its end off fails, and gives nothing of other reads away', async () => {
  await simulate({ seed: 1, cluster: { osds: 1, size: 1 } }, async (simulation) => {
    const { cluster } = await simulation.connect();
    await cluster.pool('rbd').images.create('vm', { size: MIB, features: ['layering'] });
    const disk = await cluster.map('rbd/vm', { arenaBytes: MIB });
    const other = await (await simulation.connect()).cluster.map('rbd/vm', { arenaBytes: MIB });
    await disk.write(0, Buffer.alloc(MIB / 2, 7));
    await disk.read(0, MIB / 2);

    const { faults } = simulation.cluster;
    const slow = await faults.delayReplies({ prefix: 'rbd_header.', ops: 'call', ms: 300 });
    const shrunk = other.resize(4 * KIB);
    // Until one waits: its device has not heard of the new size, and the header that it is to go by is on its way.
    let read: Promise<Uint8Array>;
    let waits: boolean;
    do {
      read = disk.read(0, 8 * KIB);
      const answered = read.then(() => false);
      waits = await Promise.race([answered, simulation.sleep(10).then(() => true)]);
    } while (!waits);
    await expect(read).rejects.toMatchObject({ code: 'EIO' });
    await slow.stop();
    await shrunk;
    expect(disk.size).toBe(4 * KIB);
  });
});
