// Goal: what the disk has lost or changed is never taken for what was written. Method: bits flipped in the files of a
// store that was closed in order, or whose log was not yet checkpointed.

import { describe, expect, it } from 'vitest';
import { isRadosError } from '../../../../src/base/errors.js';
import type { DurableStore } from '../../../../src/cluster/store/durable/durable-store.js';
import { FORMAT_VERSION } from '../../../../src/cluster/store/durable/format.js';
import type { ObjectId } from '../../../../src/cluster/store/object-id.js';
import { NOSNAP } from '../../../../src/encoding/types.js';
import { seededRandom } from '../../../../src/sim/random.js';
import { contentsOf } from '../support/contents.js';
import { DurableWorld, STORE_DIR } from '../support/durable-world.js';
import { Workload } from '../support/workload.js';

const PG = '1.0';
const BLOCK_BITS = 4096 * 8;

const id = (oid: string): ObjectId => ({
  pool: 1,
  nspace: '',
  oid,
  key: '',
  hash: 7,
  snap: NOSNAP,
});

async function write(
  scene: DurableWorld,
  store: DurableStore,
  oid: string,
  data: Uint8Array,
  at = 0,
) {
  await scene.world.until(
    store.apply({ collection: PG, ops: [{ op: 'write', id: id(oid), offset: at, data }] }),
  );
}

/** Closed in order and opened again, with one bit of the data file changed in between. */
async function damagedBlock(oid: string, byte: number): Promise<[DurableWorld, DurableStore]> {
  const scene = new DurableWorld();
  let store = await scene.open();
  await write(scene, store, 'good', Buffer.alloc(5000, 'g'));
  await write(scene, store, oid, Buffer.alloc(12_000, 'x'));
  await scene.close(store);
  const content = scene.disk.contentOf(`${STORE_DIR}/data`);
  const block = content.indexOf(Buffer.alloc(4096, 'x'));
  expect(block).toBeGreaterThan(0);
  scene.disk.flipBit(`${STORE_DIR}/data`, (block + byte) * 8);
  store = await scene.open();
  return [scene, store];
}

function failureOf(act: () => unknown): unknown {
  try {
    act();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('a block that is not what was written', () => {
  it('is an error of the object that it belongs to, and of nothing else', async () => {
    const [, store] = await damagedBlock('bad', 100);
    const failure = failureOf(() => store.get(PG, id('bad'))?.read(0, 12_000));
    expect(isRadosError(failure, 'EIO') && failure.message).toContain('object bad is damaged');
    // What lies in other blocks is as it was.
    expect(Buffer.from(store.get(PG, id('bad'))?.read(8192, 3000) ?? [])).toEqual(
      Buffer.alloc(3000, 'x'),
    );
    expect(Buffer.from(store.get(PG, id('good'))?.read(0, 5000) ?? [])).toEqual(
      Buffer.alloc(5000, 'g'),
    );
  });

  it('refuses a write that would keep a part of it, and changes nothing', async () => {
    const [scene, store] = await damagedBlock('bad', 100);
    const before = scene.disk.operations;
    const ops = [
      { op: 'omapSet', id: id('good'), values: [['k', Buffer.from('v')]] },
      { op: 'write', id: id('bad'), offset: 50, data: Buffer.from('part') },
    ] as const;
    const failure = failureOf(() => void store.apply({ collection: PG, ops }));
    expect(isRadosError(failure, 'EIO')).toBe(true);
    expect(store.get(PG, id('good'))?.omapSize).toBe(0);
    await scene.world.advance(1000);
    expect(scene.disk.operations).toBe(before);
  });

  it('is healed by a write of all of it, also by one that cuts the object first', async () => {
    const [scene, store] = await damagedBlock('bad', 100);
    await scene.world.until(
      store.apply({
        collection: PG,
        ops: [
          { op: 'truncate', id: id('bad'), size: 100 },
          { op: 'write', id: id('bad'), offset: 0, data: Buffer.alloc(100, 'n') },
        ],
      }),
    );
    expect(Buffer.from(store.get(PG, id('bad'))?.read(0, 200) ?? [])).toEqual(
      Buffer.alloc(100, 'n'),
    );
  });

  it('goes to another store as what it is: lost', async () => {
    const [, store] = await damagedBlock('bad', 4000);
    const object = store.dump(PG, id('bad'));
    expect(object?.damaged).toEqual([[0, 4096]]);
    const scene = new DurableWorld();
    let other = await scene.open();
    if (!object) throw new Error('no dump');
    await scene.world.until(other.apply({ collection: PG, ops: [{ op: 'install', object }] }));
    for (let i = 0; i < 2; i++) {
      expect(
        isRadosError(
          failureOf(() => other.get(PG, id('bad'))?.read(10, 10)),
          'EIO',
        ),
      ).toBe(true);
      expect(Buffer.from(other.get(PG, id('bad'))?.read(4096, 7904) ?? [])).toEqual(
        Buffer.alloc(7904, 'x'),
      );
      expect(other.dump(PG, id('bad'))?.damaged).toEqual([[0, 4096]]);
      await scene.close(other);
      other = await scene.open();
    }
  });

  it('is found whichever bit it is', async () => {
    for (const byte of [0, 1, 2047, 4095]) {
      const [, store] = await damagedBlock('bad', byte);
      expect(failureOf(() => store.get(PG, id('bad'))?.read(0, 1))).toBeDefined();
    }
  });
});

describe('a store whose files were changed', () => {
  /** What a start after the change finds: an error, or contents. */
  async function outcome(prepare: (scene: DurableWorld) => Promise<void>) {
    const scene = new DurableWorld({ seed: 5 });
    await prepare(scene);
    try {
      return { contents: contentsOf(await scene.open()) };
    } catch (error) {
      if (!isRadosError(error)) throw error;
      return { error };
    }
  }

  async function filled(scene: DurableWorld, changes: number): Promise<DurableStore> {
    const store = await scene.open();
    const workload = new Workload(seededRandom(9));
    for (let i = 0; i < changes; i++) {
      const change = workload.next();
      if (change.kind === 'apply') await scene.world.until(store.apply(change.transaction));
    }
    return store;
  }

  const close = async (scene: DurableWorld) => scene.close(await filled(scene, 12));

  it('never has something else than was written, whichever bit of its checkpoint is flipped', async () => {
    const intact = await outcome(close);
    expect(intact.error).toBeUndefined();
    const path = `${STORE_DIR}/checkpoint`;
    let bits = 0;
    for (let bit = 0; bits === 0 || bit < bits; bit += 1009) {
      const found = await outcome(async (scene) => {
        await close(scene);
        bits = scene.disk.contentOf(path).length * 8;
        scene.disk.flipBit(path, bit);
      });
      expect([bit, found.error?.code]).toEqual([bit, 'EIO']);
    }
    expect(bits).toBeGreaterThan(10_000);
  });

  it('is refused when its log is damaged before its end', async () => {
    const crashed = async (scene: DurableWorld, bit: number | undefined) => {
      const store = await scene.open({
        segments: { firstBytes: 1024 * 1024, maxBytes: 1024 * 1024 },
        idleMs: 1_000_000,
      });
      for (const oid of ['a', 'b', 'c', 'd']) {
        await write(scene, store, oid, Buffer.alloc(3000, oid));
      }
      const random = seededRandom(1);
      scene.disk = scene.disk.afterCrash({ keep: 'none', random });
      if (bit !== undefined) scene.disk.flipBit(`${STORE_DIR}/wal.1`, bit);
    };
    const intact = await outcome((scene) => crashed(scene, undefined));
    expect(intact.error).toBeUndefined();
    // Groups of one block each: the first three are followed by others, the last is not.
    for (const group of [0, 1, 2]) {
      for (const bit of [3, 70, 300, 20_000]) {
        const found = await outcome((scene) => crashed(scene, group * BLOCK_BITS + bit));
        expect(found.error, `bit ${bit} of group ${group}`).toMatchObject({ code: 'EIO' });
        expect(found.error?.message).toContain('lost records');
      }
    }
    const cut = await outcome((scene) => crashed(scene, 3 * BLOCK_BITS + 300));
    expect((cut.contents?.[PG] as { objects: unknown[] }).objects).toHaveLength(3);
  });

  it('is refused when a piece of its log is gone, or its description', async () => {
    for (const [path, message] of [
      [`${STORE_DIR}/wal.2`, 'lost records'],
      [`${STORE_DIR}/store.json`, 'no store.json'],
    ] as const) {
      const found = await outcome(async (scene) => {
        const segments = { firstBytes: 16 * 1024, maxBytes: 16 * 1024 };
        const store = await scene.open({ segments, idleMs: 1_000_000 });
        for (let i = 0; i < 12; i++) await write(scene, store, `o${i}`, Buffer.alloc(3000, i));
        scene.disk = scene.disk.afterCrash({ keep: 'none', random: seededRandom(1) });
        await scene.world.until(scene.disk.remove(path));
      });
      expect(found.error?.message).toContain(message);
    }
  });

  it('is refused when a newer linger wrote it, and says so', async () => {
    const found = await outcome(async (scene) => {
      await close(scene);
      const text = scene.disk.contentOf(`${STORE_DIR}/store.json`);
      const found = `"version": ${FORMAT_VERSION}`;
      text.write(`"version": ${FORMAT_VERSION + 1}`, text.indexOf(found));
    });
    expect(found.error).toMatchObject({ code: 'EINVAL' });
    expect(found.error?.message).toContain(
      `has format ${FORMAT_VERSION + 1}, written by a newer linger; this one reads up to ${FORMAT_VERSION}`,
    );
  });
});
