// Goal: what a clone holds is the same for us and for librbd, whoever wrote it, at the head and at its snapshots. Method: a
// chain of clones with layouts of their own, changed by both; everything is compared with a copy in memory, as read by us
// and as exported by rbd.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, connect } from '../../src/index.js';
import { describeCeph } from './support/ceph-cluster.js';
import { patternBytes } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const OBJECT = 256 * KIB;
const SIZE = 5 * OBJECT + 100 * KIB;
const FEATURES = ['--image-feature', 'layering,exclusive-lock'];

for (const server of SERVERS) {
  describeCeph(`the data of clones on ${server.name}`, () => clones(server));
}

function clones(kind: ServerKind): void {
  let server: Server;
  let cluster: Cluster;
  /** The base image's bytes, with an object that is missing and one of zeros. */
  const base = patternBytes(SIZE, 1);
  base.fill(0, OBJECT, 3 * OBJECT);

  beforeAll(async () => {
    server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }, { name: 'other' }] });
    await server.ceph('osd', 'set-require-min-compat-client', 'mimic');
    const file = join(server.dir, 'base');
    await writeFile(file, base);
    await server.rbd('import', '--object-size', '256K', ...FEATURES, file, 'rbd/base');
    await server.rbd('snap', 'create', 'rbd/base@s');
    await server.rbd('snap', 'protect', 'rbd/base@s');
    cluster = await connect({ conf: server.confPath });
  });
  afterAll(async () => {
    await cluster?.close();
    await server?.stop();
  });

  const theirs = async (spec: string) => {
    const file = join(server.dir, 'export');
    await server.rbd('export', '--no-progress', spec, file);
    const bytes = await readFile(file);
    await server.run('rm', [file]);
    return bytes;
  };
  const ours = async (spec: string) => {
    await using disk = await cluster.map(spec, { readOnly: true });
    return Buffer.from(await disk.read(0, disk.size));
  };
  /** Both see these bytes. */
  const expectBytes = async (spec: string, bytes: Buffer) => {
    const differs = (read: Buffer) => read.findIndex((byte, i) => byte !== bytes[i]);
    for (const read of [await ours(spec), await theirs(spec)]) {
      expect(read.length).toBe(bytes.length);
      expect(differs(read)).toBe(-1);
    }
  };

  it('is the parent’s where nothing was written, through three images of other layouts', async () => {
    await server.rbd('clone', '--object-size', '1M', ...FEATURES, 'rbd/base@s', 'rbd/one');
    await server.rbd('snap', 'create', 'rbd/one@s');
    const striping = ['--object-size', '512K', '--stripe-unit', '64K', '--stripe-count', '3'];
    await server.rbd('clone', ...striping, ...FEATURES, 'rbd/one@s', 'other/two');
    await server.rbd('snap', 'create', 'other/two@s');
    await server.rbd('clone', ...FEATURES, 'other/two@s', 'rbd/three');
    await expectBytes('rbd/three', base);
    await expectBytes('other/two@s', base);

    const bytes = Buffer.from(base);
    await using disk = await cluster.map('rbd/three');
    const data = patternBytes(3000, 7);
    for (const offset of [10, OBJECT - 1000, 2 * OBJECT + 5, SIZE - 3000]) {
      await disk.write(offset, data);
      data.copy(bytes, offset);
    }
    await expectBytes('rbd/three', bytes);
    await expectBytes('other/two@s', base);
  });

  describe('a clone that both change', () => {
    const bytes = Buffer.from(base);
    const snapshots = new Map<string, Buffer>();

    it('keeps the parent’s bytes around what is written, discarded, zeroed and compared', async () => {
      await server.rbd('clone', ...FEATURES, 'rbd/base@s', 'rbd/both');
      await using disk = await cluster.map('rbd/both');
      const piece = patternBytes(70_000, 3);
      await disk.write(OBJECT - 5000, piece);
      piece.copy(bytes, OBJECT - 5000);
      await disk.discard(3 * OBJECT + 64 * KIB, 64 * KIB);
      bytes.fill(0, 3 * OBJECT + 64 * KIB, 3 * OBJECT + 128 * KIB);
      await disk.writeZeroes(4 * OBJECT + 1, 999);
      bytes.fill(0, 4 * OBJECT + 1, 4 * OBJECT + 1000);
      const at = 5 * OBJECT + 512;
      const wrong = Buffer.alloc(512, 'x');
      await expect(disk.compareAndWrite(at, wrong, wrong)).rejects.toMatchObject({
        code: 'EILSEQ',
        mismatchOffset: at,
      });
      await disk.compareAndWrite(at, bytes.subarray(at, at + 512), wrong);
      wrong.copy(bytes, at);
      await expectBytes('rbd/both', bytes);
    });

    it('shows each snapshot what there was, though it was copied up later', async () => {
      for (const name of ['a', 'b', 'c']) {
        await server.rbd('snap', 'create', `rbd/both@${name}`);
        snapshots.set(name, Buffer.from(bytes));
        await using disk = await cluster.map('rbd/both');
        const piece = patternBytes(5000, name.charCodeAt(0));
        for (const offset of [100, 4 * OBJECT + 50_000]) {
          await disk.write(offset, piece);
          piece.copy(bytes, offset);
        }
        if (name === 'b') {
          await disk.discard(0, OBJECT);
          bytes.fill(0, 0, OBJECT);
        }
      }
      await expectBytes('rbd/both', bytes);
      for (const [name, then] of snapshots) await expectBytes(`rbd/both@${name}`, then);
    });

    it('hides what the parent has where a whole object is discarded or overwritten', async () => {
      await using disk = await cluster.map('rbd/both');
      await disk.discard(3 * OBJECT, OBJECT);
      bytes.fill(0, 3 * OBJECT, 4 * OBJECT);
      const whole = patternBytes(OBJECT, 11);
      await disk.write(4 * OBJECT, whole);
      whole.copy(bytes, 4 * OBJECT);
      await expectBytes('rbd/both', bytes);
      for (const [name, then] of snapshots) await expectBytes(`rbd/both@${name}`, then);
    });
  });

  it('has zeros where it was cut and grew again, not the parent’s bytes', async () => {
    await server.rbd('clone', ...FEATURES, 'rbd/base@s', 'rbd/cut');
    await using disk = await cluster.map('rbd/cut');
    const size = 3 * OBJECT + 10_000;
    await disk.resize(size);
    await disk.resize(SIZE);
    const bytes = Buffer.from(base);
    bytes.fill(0, size);
    await expectBytes('rbd/cut', bytes);
    await disk.write(size + 100, Buffer.from('x'));
    bytes.write('x', size + 100);
    await expectBytes('rbd/cut', bytes);
  });

  it('loses nothing when many write to one object that is not there yet', async () => {
    await server.rbd('clone', ...FEATURES, 'rbd/base@s', 'rbd/many');
    await using disk = await cluster.map('rbd/many');
    const bytes = Buffer.from(base);
    const piece = Buffer.alloc(512, 'w');
    const offsets = Array.from({ length: 64 }, (_, i) => 3 * OBJECT + i * 1024);
    await Promise.all(offsets.map((offset) => disk.write(offset, piece)));
    for (const offset of offsets) piece.copy(bytes, offset);
    await expectBytes('rbd/many', bytes);
  });

  it('goes on without its parent once another client has flattened it', async () => {
    await server.rbd('clone', '--image-feature', 'layering', 'rbd/base@s', 'rbd/flat');
    await using disk = await cluster.map('rbd/flat');
    expect(Buffer.from(await disk.read(0, 512)).equals(base.subarray(0, 512))).toBe(true);
    await server.rbd('flatten', '--no-progress', 'rbd/flat');
    const bytes = Buffer.from(base);
    await disk.write(OBJECT + 7, Buffer.from('after'));
    bytes.write('after', OBJECT + 7);
    expect(Buffer.from(await disk.read(0, SIZE)).equals(bytes)).toBe(true);
    await expectBytes('rbd/flat', bytes);
  });
}
