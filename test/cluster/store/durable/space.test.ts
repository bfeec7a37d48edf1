// Goal: a disk that fills up loses nothing and is usable again when there is room; what is deleted is given back.

import { describe, expect, it } from 'vitest';
import type { DurableStore } from '../../../../src/cluster/store/durable/durable-store.js';
import type { ObjectId } from '../../../../src/cluster/store/object-id.js';
import type { Transaction } from '../../../../src/cluster/store/transaction.js';
import { NOSNAP } from '../../../../src/encoding/types.js';
import { seededRandom } from '../../../../src/sim/random.js';
import { DurableWorld, SMALL_LIMITS, STORE_DIR } from '../support/durable-world.js';

const PG = '1.0';
const MIB = 1024 * 1024;

const id = (number: number): ObjectId => ({
  pool: 1,
  nspace: '',
  oid: `o${number}`,
  key: '',
  hash: Math.imul(number, 0x9e3779b1) >>> 0,
  snap: NOSNAP,
});

function writing(number: number, bytes: number, offset = 0): Transaction {
  const data = Buffer.alloc(bytes, number);
  return { collection: PG, ops: [{ op: 'write', id: id(number), offset, data }] };
}

function expectContent(store: DurableStore, number: number, bytes: number): void {
  const found = Buffer.from(store.get(PG, id(number))?.read(0, bytes + 1) ?? []);
  expect(found.equals(Buffer.alloc(bytes, number)), `object ${number}`).toBe(true);
}

async function settle(scene: DurableWorld): Promise<void> {
  await scene.world.advance(10 * SMALL_LIMITS.idleMs);
}

describe('a full disk', () => {
  it.each([
    ['small', 20_000],
    ['large', 200_000],
  ])('refuses %s writes while there is no room, and takes them when there is', async (_, bytes) => {
    const scene = new DurableWorld();
    scene.disk.capacityBytes = 12 * MIB;
    let store = await scene.open();
    let written = 0;
    // Until there is no room even when everything is tidied up.
    for (let before = -1; written > before; await settle(scene)) {
      before = written;
      while (store.hasRoomFor(writing(written, bytes))) {
        await scene.world.until(store.apply(writing(written, bytes)));
        if (++written % 10 === 0) await scene.world.advance(150);
      }
    }
    expect(written * bytes).toBeGreaterThan(4 * MIB);
    expect(store.hasRoomFor(writing(9999, bytes))).toBe(false);
    // What there is can be changed and removed.
    expect(store.hasRoomFor(writing(0, bytes === 20_000 ? bytes : 4096))).toBe(true);
    await scene.close(store);
    store = await scene.open();
    for (let i = 0; i < written; i++) expectContent(store, i, bytes);
    for (let i = 0; i < written / 2; i++) {
      const ops = [{ op: 'remove', id: id(i) }] as const;
      await scene.world.until(store.apply({ collection: PG, ops }));
    }
    await settle(scene);
    expect(store.hasRoomFor(writing(9999, bytes))).toBe(true);
    await scene.world.until(store.apply(writing(9999, bytes)));
    for (let i = Math.ceil(written / 2); i < written; i++) expectContent(store, i, bytes);
    expect(scene.failures).toEqual([]);
  });

  it('keeps what was accepted, and acknowledges it when there is room, should others take all of it', async () => {
    const scene = new DurableWorld();
    let store = await scene.open();
    for (let i = 0; i < 20; i++) await scene.world.until(store.apply(writing(i, 20_000)));
    scene.disk.capacityBytes = scene.disk.usedBytes;
    let acknowledged = 0;
    const count = 40;
    for (let i = 20; i < 20 + count; i++) {
      void store.apply(writing(i, i % 2 ? 200_000 : 20_000)).then(() => acknowledged++);
    }
    await scene.world.advance(10_000);
    expect(acknowledged).toBeLessThan(count);
    for (let i = 0; i < 20 + count; i++)
      expectContent(store, i, i >= 20 && i % 2 ? 200_000 : 20_000);
    scene.disk.capacityBytes = 64 * MIB;
    await scene.world.advance(10_000);
    expect(acknowledged).toBe(count);
    expect(scene.failures).toEqual([]);
    await scene.close(store);
    store = await scene.open();
    for (let i = 0; i < 20 + count; i++)
      expectContent(store, i, i >= 20 && i % 2 ? 200_000 : 20_000);
  });

  it('is not filled by the log of what is overwritten', async () => {
    const scene = new DurableWorld();
    // A checkpoint is not due for long, so the log would grow and grow.
    const store = await scene.open({ ...SMALL_LIMITS, checkpointBytes: 64 * MIB });
    for (let i = 0; i < 20; i++) await scene.world.until(store.apply(writing(i, 20_000)));
    await settle(scene);
    scene.disk.capacityBytes = scene.disk.usedBytes + 200_000;
    await scene.world.advance(2000);
    let written = 0;
    for (let tries = 0; written < 400 && tries < 2000; tries++) {
      if (store.hasRoomFor(writing(written % 20, 20_000))) {
        await scene.world.until(store.apply(writing(written++ % 20, 20_000)));
      } else {
        await scene.world.advance(100);
      }
    }
    expect(written).toBe(400);
    expect(scene.failures).toEqual([]);
    await scene.close(store);
    const later = await scene.open();
    for (let i = 0; i < 20; i++) expectContent(later, i, 20_000);
  });

  it('refuses a write to an object of which the same change makes a clone, for it takes new blocks', async () => {
    const scene = new DurableWorld();
    const store = await scene.open();
    await scene.world.until(store.apply(writing(1, 20_000)));
    await settle(scene);
    scene.disk.capacityBytes = scene.disk.usedBytes + 100_000;
    await scene.world.advance(2000);
    const overwriting = writing(1, 20_000);
    // Who asks makes it look.
    store.hasRoomFor(writing(2, 20_000));
    await scene.world.advance(500);
    expect(store.hasRoomFor(writing(2, 20_000))).toBe(false);
    expect(store.hasRoomFor(overwriting)).toBe(true);
    const clone = { op: 'clone', from: id(1), to: { ...id(1), snap: 4n } } as const;
    expect(store.hasRoomFor({ collection: PG, ops: [clone, ...overwriting.ops] })).toBe(false);
  });

  it('leaves nothing at work in a store that was closed while writes waited for room', async () => {
    const scene = new DurableWorld();
    const store = await scene.open();
    await scene.world.until(store.apply(writing(0, 20_000)));
    scene.disk.capacityBytes = scene.disk.usedBytes;
    const waiting = [1, 2, 3].map((i) => store.apply(writing(i, 200_000)));
    const outcome = Promise.allSettled(waiting);
    await scene.world.advance(500);
    await scene.close(store);
    await scene.world.until(outcome);
    scene.disk.capacityBytes = 64 * MIB;
    const { operations } = scene.disk;
    await scene.world.advance(10_000);
    expect(scene.disk.operations).toBe(operations);
  });

  it('is no reason not to close, or not to open', async () => {
    const scene = new DurableWorld();
    let store = await scene.open();
    for (let i = 0; i < 20; i++) await scene.world.until(store.apply(writing(i, 20_000)));
    scene.disk.capacityBytes = 0;
    await scene.close(store);
    store = await scene.open();
    for (let i = 0; i < 20; i++) expectContent(store, i, 20_000);
  });
});

describe('a disk that fails', () => {
  it('takes the store out of service, and what was acknowledged is there on the next start', async () => {
    const scene = new DurableWorld();
    let store = await scene.open();
    await scene.world.until(store.apply(writing(1, 5000)));
    scene.disk.failing = { path: /wal/, code: 'EIO' };
    const failure: unknown = await scene.world.until(
      store.apply(writing(2, 5000)).catch((error: unknown) => error as Error),
    );
    expect(failure).toMatchObject({ code: 'EIO' });
    expect(() => store.apply(writing(3, 5000))).toThrow('the log cannot be written');
    expect(scene.failures).toHaveLength(1);
    scene.disk.failing = undefined;
    await scene.close(store);
    store = await scene.open();
    expectContent(store, 1, 5000);
    expect(store.get(PG, id(3))).toBeUndefined();
  });
});

describe('a sync of the data file that fails', () => {
  it.each(['ENOSPC', 'EIO'])(
    'with %s takes the store out of service, and nothing is lost',
    async (code) => {
      const scene = new DurableWorld();
      let store = await scene.open();
      for (let i = 0; i < 8; i++) await scene.world.until(store.apply(writing(i, 20_000)));
      // What has not reached the platters then never will, whoever syncs again.
      scene.disk.failing = { path: /data$/, code, only: 'sync' };
      await scene.world.advance(5000);
      scene.disk.failing = undefined;
      expect(scene.failures).toMatchObject([{ code: 'EIO' }]);
      await scene.close(store);
      scene.disk = scene.disk.afterCrash({ keep: 'none', random: seededRandom(1) });
      store = await scene.open();
      for (let i = 0; i < 8; i++) expectContent(store, i, 20_000);
    },
  );
});

describe('a change that cannot be written down', () => {
  /** A request id of a kind that the log has no form for. */
  const tid = 2 ** 60;
  const unwritable = (number: number): Transaction => {
    const version = { version: 1n, epoch: 1 };
    const reqid = { name: { type: 8, num: 4100n }, inc: 0, tid };
    const entry = { version, objects: [id(number)], reqid, result: 0, userVersion: 1n };
    return {
      collection: PG,
      ops: [...writing(number, 5000).ops, { op: 'log', entry }],
    };
  };

  it('takes the store out of service, and no part of it is there later, nor of what came with it', async () => {
    const scene = new DurableWorld();
    let store = await scene.open();
    await scene.world.until(store.apply(writing(1, 5000)));
    const outcome = Promise.allSettled([store.apply(writing(2, 5000))]);
    expect(() => store.apply(unwritable(3))).toThrow();
    expect(await scene.world.until(outcome)).toMatchObject([{ status: 'rejected' }]);
    expect(scene.failures).toHaveLength(1);
    await scene.world.advance(5000);
    await scene.close(store);
    store = await scene.open();
    expectContent(store, 1, 5000);
    expect(store.get(PG, id(2))).toBeUndefined();
    expect(store.get(PG, id(3))).toBeUndefined();
  });

  it('keeps neither a checkpoint nor the end waiting', async () => {
    const scene = new DurableWorld();
    const store = await scene.open();
    await scene.world.until(store.apply(writing(1, 5000)));
    const isAtCheckpoint = async () =>
      (await scene.disk.list(STORE_DIR)).includes('checkpoint.new');
    while (!(await isAtCheckpoint())) await scene.world.advance(0.05);
    expect(() => store.apply(unwritable(2))).toThrow();
    await scene.world.advance(5000);
    await scene.close(store);
    expectContent(await scene.open(), 1, 5000);
  });
});

describe('a write of the log that failed and was done nevertheless', () => {
  it('leaves no hole when later ones are lost with the power', async () => {
    const scene = new DurableWorld();
    let store = await scene.open();
    await scene.world.until(store.apply(writing(1, 5000)));
    scene.disk.failing = { path: /wal/, code: 'EIO', cached: true };
    const outcome = Promise.allSettled([store.apply(writing(2, 5000))]);
    expect(await scene.world.until(outcome)).toMatchObject([{ status: 'rejected' }]);
    scene.disk.failing = undefined;
    await scene.close(store);
    // Opened again, it has the write after all, and what follows relies on it.
    store = await scene.open({ ...SMALL_LIMITS, idleMs: 100_000 });
    expectContent(store, 2, 5000);
    await scene.world.until(store.apply(writing(3, 5000)));
    scene.disk = scene.disk.afterCrash({ keep: 'none', random: seededRandom(1) });
    store = await scene.open();
    for (const number of [1, 2, 3]) expectContent(store, number, 5000);
  });
});

describe('what is deleted', () => {
  it('is given back to the file system', async () => {
    const scene = new DurableWorld();
    const store = await scene.open();
    for (let i = 0; i < 40; i++) await scene.world.until(store.apply(writing(i, 100_000)));
    await settle(scene);
    const full = scene.disk.contentOf(`${STORE_DIR}/data`).length;
    expect(full).toBeGreaterThan(4_000_000);
    // Every second one: what is left moves together.
    for (let i = 0; i < 40; i += 2) {
      const ops = [{ op: 'remove', id: id(i) }] as const;
      await scene.world.until(store.apply({ collection: PG, ops }));
    }
    await settle(scene);
    expect(scene.disk.contentOf(`${STORE_DIR}/data`).length).toBeLessThan(0.6 * full);
    for (let i = 1; i < 40; i += 2) expectContent(store, i, 100_000);
    // Holes in what is left.
    for (let i = 1; i < 40; i += 2) {
      const ops = [{ op: 'zero', id: id(i), offset: 4096, length: 80_000 }] as const;
      await scene.world.until(store.apply({ collection: PG, ops }));
    }
    await settle(scene);
    expect(scene.disk.contentOf(`${STORE_DIR}/data`).length).toBeLessThan(0.2 * full);
    for (let i = 1; i < 40; i += 2) {
      const ops = [{ op: 'remove', id: id(i) }] as const;
      await scene.world.until(store.apply({ collection: PG, ops }));
    }
    await settle(scene);
    expect(scene.disk.contentOf(`${STORE_DIR}/data`).length).toBeLessThan(10_000);
  });

  it('lets the log and what it was made of be used again', async () => {
    const scene = new DurableWorld();
    const store = await scene.open();
    for (let i = 0; i < 300; i++) await scene.world.until(store.apply(writing(i % 5, 10_000)));
    await settle(scene);
    expect(scene.disk.usedBytes).toBeLessThan(MIB);
    expect(scene.failures).toEqual([]);
  });
});
