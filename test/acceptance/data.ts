/** Bytes on their way into images of all kinds and back. */

import { createHash } from 'node:crypto';
import { createReadStream as readFileStream, createWriteStream as writeFileStream } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  type BlockDevice,
  type Cluster,
  createReadStream,
  createWriteStream,
} from '../../src/index.js';
import { blockDeviceCompliance } from '../block/compliance.js';
import { rejection } from '../block/support/hosts.js';
import {
  connectTo,
  expectSameBytes,
  type GetTarget,
  type ImageKind,
  imageKinds,
  KIB,
  MIB,
  Random,
  specOf,
} from './support.js';
import type { TargetKind } from './target.js';

const SIZE = 9 * MIB + 4 * KIB + 5;
/** Discards are exact at multiples of it. */
const ALLOC_SIZE = 4 * KIB;

export function data(kind: TargetKind, getTarget: GetTarget): void {
  describe('the bytes of an image', () => {
    let cluster: Cluster;
    let other: Cluster;

    beforeAll(async () => {
      [cluster, other] = await Promise.all([connectTo(getTarget()), connectTo(getTarget())]);
    });
    afterAll(async () => {
      await Promise.all([cluster?.close(), other?.close()]);
    });

    const create = async (imageKind: ImageKind, purpose: string, size: number) => {
      const name = `${purpose}, ${imageKind.kind}`;
      const inside = cluster.pool('rbd', imageKind.namespace).images;
      await inside.create(name, { size, ...imageKind.options });
      return specOf(imageKind, name);
    };

    /** What the other client and, where installed, Ceph's own see in an image. */
    const expectContent = async (spec: string, content: Uint8Array) => {
      await using device = await other.map(spec, { readOnly: true });
      expect(device.size).toBe(content.length);
      expectSameBytes(await device.read(0, device.size), content);
      const { tools, dir } = getTarget();
      if (!tools) return;
      const path = join(dir, 'exported');
      await rm(path, { force: true }); // rbd overwrites nothing
      await tools.rbd('export', '--no-progress', spec, path);
      expectSameBytes(await readFile(path), content);
    };

    describe.each(imageKinds(kind))('of a $kind image', (imageKind) => {
      it('are what any mix of changes makes them, as other clients see it', async () => {
        const spec = await create(imageKind, 'mixed', SIZE);
        const model = Buffer.alloc(SIZE);
        {
          await using device = await cluster.map(spec, { allocSize: ALLOC_SIZE });
          await changeAtRandom(device, model, { seed: 20, steps: 80 });
          expectSameBytes(await device.read(0, SIZE), model);
        }
        await expectContent(spec, model);
      });

      it('are compared and replaced in one step, and a mismatch is told with its place', async () => {
        const spec = await create(imageKind, 'compared', SIZE);
        await using device = await cluster.map(spec);
        const before = new Random(3).bytes(4 * KIB);
        const after = new Random(4).bytes(4 * KIB);
        for (const offset of [8 * KIB, 4 * MIB + 4 * KIB]) {
          // Nothing was written there yet.
          await device.compareAndWrite(offset, Buffer.alloc(4 * KIB), before);
          const wrong = Buffer.from(before);
          wrong.writeUInt8(before.readUInt8(3000) ^ 1, 3000);
          expect(await rejection(device.compareAndWrite(offset, wrong, after))).toMatchObject({
            ...{ code: 'EILSEQ', outcome: 'not-applied', target: spec },
            mismatchOffset: offset + 3000,
          });
          expectSameBytes(await device.read(offset, 4 * KIB), before);
          await device.compareAndWrite(offset, before, after);
          expectSameBytes(await device.read(offset, 4 * KIB), after);
        }
        const { objectSize, stripeUnit } = device.attributes;
        const edge = Math.min(objectSize, stripeUnit);
        const across = device.compareAndWrite(edge - 1, Buffer.alloc(2), Buffer.alloc(2));
        expect(await rejection(across)).toMatchObject({ code: 'EINVAL', outcome: 'not-applied' });
      });

      it('pass through streams unchanged, with holes left out', async () => {
        const { dir } = getTarget();
        const content = Buffer.concat([
          new Random(5).bytes(2 * MIB + 123),
          Buffer.alloc(3 * MIB),
          new Random(6).bytes(MIB + 7),
        ]);
        const [source, copy] = [join(dir, 'source'), join(dir, 'copy')];
        await writeFile(source, content);
        const spec = await create(imageKind, 'streamed', content.length);
        {
          await using device = await cluster.map(spec);
          await pipeline(
            readFileStream(source),
            createWriteStream(device, { skipZeroBlocks: 64 * KIB }),
          );
        }
        await expectContent(spec, content);
        await using device = await other.map(spec, { readOnly: true });
        await pipeline(createReadStream(device), writeFileStream(copy));
        expectSameBytes(await readFile(copy), content);
      });

      if (kind.hasTools) {
        it('that rbd imported are read, also across holes and objects', async () => {
          const { dir, tools } = getTarget();
          const content = Buffer.concat([
            new Random(7).bytes(3 * MIB + 77),
            Buffer.alloc(2 * MIB + 5),
            new Random(8).bytes(2 * MIB - 1234),
          ]);
          await writeFile(join(dir, 'theirs'), content);
          const spec = specOf(imageKind, `theirs, ${imageKind.kind}`);
          await tools?.rbd(
            ...['import', '--no-progress', '--image-feature', 'layering', ...imageKind.args],
            ...[join(dir, 'theirs'), spec],
          );
          await using device = await cluster.map(spec);
          expectSameBytes(await device.read(0, device.size), content);
          for (const [offset, length] of [
            [3 * MIB, 200],
            [5 * MIB, 300],
            [4 * MIB - 10, 20],
            [content.length - 5, 5],
          ] as const) {
            const expected = content.subarray(offset, offset + length);
            expectSameBytes(await device.read(offset, length), expected);
          }
          await device.write(4 * MIB - 3, Buffer.from('linger'));
          content.write('linger', 4 * MIB - 3);
          await expectContent(spec, content);
        });
      }
    });

    it('are given back to the pool when they are discarded', async () => {
      const spec = await create(plainOf(kind), 'thin', 8 * MIB);
      await using device = await cluster.map(spec);
      await device.write(0, new Random(9).bytes(8 * MIB));
      await device.discard(4 * MIB, 4 * MIB);
      await expectContent(
        spec,
        Buffer.concat([new Random(9).bytes(4 * MIB), Buffer.alloc(4 * MIB)]),
      );
      const { tools } = getTarget();
      if (!tools) return;
      const { blockNamePrefix } = await cluster.pool('rbd').images.info('thin, plain');
      const objects = (await tools.rados('-p', 'rbd', 'ls')).split('\n');
      expect(objects.filter((oid) => oid.startsWith(blockNamePrefix))).toHaveLength(1);
    });

    it('change only where a discard covers whole units, and nowhere outside of it', async () => {
      const spec = await create(plainOf(kind), 'unaligned', 4 * MIB);
      await using device = await cluster.map(spec, { options: 'alloc_size=65536' });
      const before = new Random(10).bytes(4 * MIB);
      await device.write(0, before);
      await device.discard(100_000, 300_000);
      const expected = Buffer.from(before);
      expected.fill(0, 2 * 65_536, 6 * 65_536);
      expectSameBytes(await device.read(0, 4 * MIB), expected);
    });

    it('are seen through a file handle as those of a file', async () => {
      const spec = await create(plainOf(kind), 'file', MIB + 10);
      const device = await cluster.map(spec);
      await using handle = device.asFileHandle();
      expect((await handle.stat()).size).toBe(MIB + 10);
      const content = new Random(11).bytes(100_000);
      expect(await handle.write(content, 0, 60_000)).toMatchObject({ bytesWritten: 60_000 });
      expect(await handle.write(content, 60_000)).toMatchObject({ bytesWritten: 40_000 });
      await handle.sync();
      const into = Buffer.alloc(100_000);
      expect((await handle.read(into, 0, into.length, 0)).bytesRead).toBe(100_000);
      expectSameBytes(into, content);
      // Past the end: cut, as for a block special file.
      expect((await handle.read(into, 0, 100, MIB)).bytesRead).toBe(10);
      expect((await handle.write(content, 0, 100, MIB)).bytesWritten).toBe(10);
      const beyond = await rejection(handle.write(content, 0, 1, MIB + 10));
      expect(beyond).toMatchObject({ code: 'ENOSPC' });
      const hash = createHash('sha256');
      for await (const chunk of handle.createReadStream({ end: 99_999 }))
        hash.update(chunk as Buffer);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
    });

    describe('under two clients', () => {
      it('are seen by the one as soon as the other’s write is acknowledged', async () => {
        const spec = await create(plainOf(kind), 'shared', MIB);
        await using first = await cluster.map(spec);
        await using second = await other.map(spec);
        for (let i = 1; i <= 50; i++) {
          await first.write(i * 100, Buffer.alloc(5000, i));
          expectSameBytes(await second.read(i * 100, 5000), Buffer.alloc(5000, i));
          await second.write(i * 100 + 50, Buffer.alloc(10, i + 100));
          expectSameBytes(await first.read(i * 100 + 50, 10), Buffer.alloc(10, i + 100));
        }
      });

      it('count up without a lost step when both compare and write', async () => {
        const spec = await create(plainOf(kind), 'counter', MIB);
        await using first = await cluster.map(spec);
        await using second = await other.map(spec);
        const STEPS = 40;
        const stepUp = async (device: BlockDevice) => {
          for (let done = 0; done < STEPS; ) {
            const before = await device.read(512, 8);
            const after = Buffer.from(before);
            after.writeBigUInt64LE(after.readBigUInt64LE() + 1n);
            await device.compareAndWrite(512, before, after).then(
              () => done++,
              (error: { code: string }) => expect(error.code).toBe('EILSEQ'),
            );
          }
        };
        await Promise.all([stepUp(first), stepUp(second), stepUp(first)]);
        const total = Buffer.from(await second.read(512, 8)).readBigUInt64LE();
        expect(total).toBe(BigInt(3 * STEPS));
      });
    });

    if (kind.hasTools) {
      it('of a snapshot stay as they were, and can only be read', async () => {
        const spec = await create(plainOf(kind), 'snapped', 5 * MIB);
        const before = new Random(12).bytes(5 * MIB);
        {
          await using device = await cluster.map(spec);
          await device.write(0, before);
        }
        await getTarget().tools?.rbd('snap', 'create', '--no-progress', `${spec}@then`);
        const after = Buffer.from(before);
        {
          await using device = await cluster.map(spec);
          await device.write(MIB, Buffer.alloc(MIB, 1));
          await device.writeZeroes(4 * MIB - 100, 200);
          after.fill(1, MIB, 2 * MIB);
          after.fill(0, 4 * MIB - 100, 4 * MIB + 100);
        }
        await using snapshot = await other.map(`${spec}@then`);
        expect(snapshot.readOnly).toBe(true);
        expect(snapshot.attributes.currentSnap).toBe('then');
        expectSameBytes(await snapshot.read(0, snapshot.size), before);
        const write = await rejection(snapshot.write(0, Buffer.alloc(1)));
        expect(write).toMatchObject({ code: 'EROFS', outcome: 'not-applied' });
        await expectContent(spec, after);
        expect((await cluster.pool('rbd').images.info('snapped, plain')).snapshotCount).toBe(1);
        const removal = await rejection(cluster.pool('rbd').images.remove('snapped, plain'));
        expect(removal).toMatchObject({ code: 'ENOTEMPTY' });
      });
    }

    compliance(kind, getTarget);
  });
}

/** The suite that every block device has to pass, here over images. */
function compliance(kind: TargetKind, getTarget: GetTarget): void {
  const chosen = ['plain', 'striped', 'namespaced, striped, data-pool'];
  for (const imageKind of imageKinds(kind).filter((each) => chosen.includes(each.kind))) {
    for (const threads of imageKind.kind === 'striped' ? [1] : [1, 0]) {
      const open = async () => {
        const cluster = await connectTo(getTarget(), { threads });
        const name = `compliant, ${imageKind.kind}, ${threads}`;
        const inside = cluster.pool('rbd', imageKind.namespace).images;
        await inside.create(name, { size: 32 * MIB, ...imageKind.options });
        const device = await cluster.map(specOf(imageKind, name));
        return { device, close: () => cluster.close() };
      };
      const name = `a ${imageKind.kind} image, threads: ${threads}`;
      blockDeviceCompliance(name, open, { sync: threads > 0 });
    }
  }
}

function plainOf(kind: TargetKind): ImageKind {
  return imageKinds(kind).find((each) => each.kind === 'plain') as ImageKind;
}

/** Changes of all sorts and sizes at places of all sorts, several at a time; the same to the model. */
async function changeAtRandom(
  device: BlockDevice,
  model: Buffer,
  { seed, steps }: { seed: number; steps: number },
): Promise<void> {
  const random = new Random(seed);
  const { size } = device;
  let calls: Promise<unknown>[] = [];
  for (let step = 0; step < steps; step++) {
    const longest = step % 4 === 0 ? 2 * MIB : 20 * KIB;
    const length = 1 + random.below(longest);
    const offset = random.below(size - length);
    switch (random.below(6)) {
      case 0:
      case 1: {
        const bytes = random.bytes(length);
        calls.push(device.write(offset, bytes));
        bytes.copy(model, offset);
        break;
      }
      case 2:
        calls.push(device.writeZeroes(offset, length, { noUnmap: step % 2 === 0 }));
        model.fill(0, offset, offset + length);
        break;
      case 3: {
        const from = offset - (offset % ALLOC_SIZE);
        const bytes = Math.min(size - from, Math.ceil(length / ALLOC_SIZE) * ALLOC_SIZE);
        const whole = bytes - (bytes % ALLOC_SIZE);
        calls.push(device.discard(from, whole));
        model.fill(0, from, from + whole);
        break;
      }
      case 4: {
        const part = random.bytes(1 + random.below(600));
        const times = Math.max(1, Math.floor(length / part.length));
        const bytes = Math.min(times, Math.floor((size - offset) / part.length)) * part.length;
        calls.push(device.writeSame(offset, bytes, part));
        if (bytes > 0) model.fill(part, offset, offset + bytes);
        break;
      }
      case 5: {
        // Reads see what was called before, also while that is on its way.
        const expected = Buffer.from(model.subarray(offset, offset + length));
        calls.push(device.read(offset, length).then((bytes) => expectSameBytes(bytes, expected)));
      }
    }
    if (calls.length < 12) continue;
    await Promise.all(calls);
    if (step % 3 === 0) await device.flush();
    calls = [];
  }
  await Promise.all(calls);
}
