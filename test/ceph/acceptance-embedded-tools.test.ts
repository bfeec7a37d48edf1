// The acceptance script on the embedded cluster with Ceph's own programs as judges, and images that QEMU and the
// command line of Ceph share with our client.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Cluster, EmbeddedCluster } from '../../src/index.js';
import { acceptance } from '../acceptance/script.js';
import { connectTo, expectSameBytes, KIB, MIB, Random } from '../acceptance/support.js';
import { embeddedTarget, type Target } from '../acceptance/target.js';
import { embeddedWithTools, toolsFor } from './acceptance-target.js';
import { describeCeph } from './support/ceph-cluster.js';
import { runOrThrow } from './support/processes.js';

describeCeph('linger', () => {
  acceptance(embeddedWithTools);

  describe('programs that know nothing of linger, on images that it made', () => {
    let target: Target;
    let cluster: Cluster;
    const content = Buffer.concat([
      new Random(1).bytes(3 * MIB + 512),
      Buffer.alloc(4 * MIB),
      new Random(2).bytes(MIB - 512),
    ]);

    beforeAll(async () => {
      const server = await EmbeddedCluster.start({ osds: 3, pools: ['rbd'] });
      target = embeddedTarget(server, toolsFor(server.confPath));
      cluster = await connectTo(target);
      await writeFile(join(target.dir, 'content'), content);
    });
    afterAll(async () => {
      await cluster?.close();
      await target?.stop();
    });

    const qemuImg = (...args: string[]) => runOrThrow('qemu-img', args);
    const uri = (spec: string) => `rbd:${spec}:conf=${target.confPath}`;
    const path = (name: string) => join(target.dir, name);

    it('qemu-img fills an image that we read, and finds ours equal to a file', async () => {
      const { images } = cluster.pool('rbd');
      await images.create('theirs', { size: content.length, stripeUnit: 64 * KIB, stripeCount: 2 });
      const raw = ['-f', 'raw', '-O', 'raw'];
      await qemuImg('convert', '-n', ...raw, path('content'), uri('rbd/theirs'));
      {
        await using device = await cluster.map('rbd/theirs');
        expectSameBytes(await device.read(0, device.size), content);
      }
      await images.create('ours', { size: content.length, order: 16 });
      {
        await using device = await cluster.map('rbd/ours');
        await device.write(0, content);
      }
      const equal = await qemuImg('compare', path('content'), uri('rbd/ours'));
      expect(equal.stdout).toContain('Images are identical');
      await qemuImg('convert', ...raw, uri('rbd/ours'), path('copy'));
      expectSameBytes(await readFile(path('copy')), content);
    });

    it('qemu-img keeps an image of a format of its own in one of ours', async () => {
      await cluster.pool('rbd').images.create('qcow', { size: 32 * MIB });
      await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', path('content'), path('file.qcow2'));
      const qcow = await readFile(path('file.qcow2'));
      await using device = await cluster.map('rbd/qcow');
      await device.write(0, qcow);
      await device.flush();
      const check = await qemuImg('check', '-f', 'qcow2', uri('rbd/qcow'));
      expect(check.stdout).toContain('No errors were found');
      await qemuImg('convert', '-f', 'qcow2', '-O', 'raw', uri('rbd/qcow'), path('out'));
      expectSameBytes(await readFile(path('out')), content);
    });

    it('rbd bench writes under our reads, and each sees what the other did', async () => {
      await cluster.pool('rbd').images.create('benched', { size: 8 * MIB, order: 18 });
      await using device = await cluster.map('rbd/benched');
      await device.write(0, new Random(3).bytes(8 * MIB));
      const bench = target.tools?.rbd(
        ...['bench', '--io-type', 'write', '--io-size', '64K', '--io-threads', '8'],
        ...['--io-total', '8M', '--io-pattern', 'seq', 'rbd/benched'],
      );
      let done = false;
      const reading = (async () => {
        for (let at = 0; !done; at = (at + 40 * KIB) % (7 * MIB)) await device.read(at, 256 * KIB);
      })();
      expect(await bench).toContain('elapsed');
      done = true;
      await reading;
      const bytes = await device.read(0, device.size);
      // rbd bench fills its buffers with one byte drawn at random.
      expectSameBytes(bytes, Buffer.alloc(bytes.length, bytes[0]));
    });
  });
});
