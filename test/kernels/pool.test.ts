/**
 * Goal: kernels in other threads give what they give in place, over the same memory; and no call, thread or memory is left
 * behind, whatever ends it.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { isRadosError } from '../../src/base/errors.js';
import { packageFile } from '../../src/base/paths.js';
import { DecodeError } from '../../src/encoding/decoder.js';
import { DiffChain, diffRuns, ObjectBitmap, StagedBitmap } from '../../src/kernels/bitmap.js';
import { BitmapMemory } from '../../src/kernels/bitmap-memory.js';
import type { Runs } from '../../src/kernels/bitmap-runs.js';
import { KernelPool } from '../../src/kernels/pool.js';
import { bitmapOf, expectSame, randomStates } from './support/maps.js';

/** Every thread that was started in this process. */
const threads: Worker[] = [];
const running = new Set<Worker>();
const onWorker = (worker: Worker) => {
  threads.push(worker);
  running.add(worker);
  worker.on('exit', () => running.delete(worker));
};

let memory: BitmapMemory;
let pool: KernelPool;

beforeEach(() => {
  process.on('worker', onWorker);
  threads.length = 0;
  memory = new BitmapMemory();
  // Everything goes to the pool, but for maps of nothing.
  pool = new KernelPool(memory, { inPlaceBytes: 0 });
});

afterEach(async () => {
  await pool.close();
  process.off('worker', onWorker);
  expect(running.size).toBe(0);
});

async function entriesOf(runs: Runs, read = (of: Runs) => pool.read(of)): Promise<number[]> {
  const all: number[] = [];
  for (let entries = await read(runs); entries; entries = await read(runs)) {
    for (const entry of entries) all.push(entry);
  }
  return all;
}

const inPlace = (runs: Runs) => Promise.resolve(runs.read());

function randomMap(objectCount: number, seed: number, density = 0.3): ObjectBitmap {
  return bitmapOf(memory, randomStates(objectCount, { seed, density, run: 3 }));
}

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('the pool of kernels', () => {
  it('starts no thread for maps that are done sooner in place', async () => {
    await using small = new KernelPool(memory);
    const map = ObjectBitmap.allocate(memory, 1_000_000, 1);
    const next = ObjectBitmap.allocate(memory, 1_000_000, 3);
    expect((await small.count(map)).exists).toBe(1_000_000);
    expect(await entriesOf(diffRuns(map, next), (runs) => small.read(runs))).toEqual([]);
    const chain = DiffChain.start(map.clone());
    await small.step(chain, next, { isLast: true });
    const staged = new StagedBitmap(memory, 250_000 + 500);
    staged.bytes.set((await small.encode(map)).subarray(0, staged.bytes.length));
    await small.decode(staged).then((decoded) => decoded.free());
    expect(threads).toEqual([]);
  });

  it('gives what is given in place: counts, runs, diffs of two maps and of a chain', async () => {
    const one = randomMap(300_001, 1);
    const two = randomMap(290_000, 2);
    const three = randomMap(320_007, 3);
    expect(await pool.count(one)).toEqual(one.count());
    expectSame(await entriesOf(one.runs()), await entriesOf(one.runs(), inPlace));
    expectSame(await entriesOf(diffRuns(one, two)), await entriesOf(diffRuns(one, two), inPlace));
    expectSame(
      await entriesOf(diffRuns(two, three, 1001, 310_000)),
      await entriesOf(diffRuns(two, three, 1001, 310_000), inPlace),
    );
    const chain = DiffChain.start(one.clone());
    const expected = DiffChain.start(one.clone());
    for (const [map, isLast] of [
      [two, false],
      [three, true],
    ] as const) {
      await pool.step(chain, map, { isLast });
      expected.step(map, { isLast });
    }
    expectSame(await entriesOf(chain.runs()), await entriesOf(expected.runs(), inPlace));
    expect(threads.length).toBeGreaterThan(0);
  });

  it('works in slices on a map that is larger than one, at its default settings', async () => {
    await using standard = new KernelPool(memory);
    const from = ObjectBitmap.allocate(memory, 150_000_000, 1);
    const to = ObjectBitmap.allocate(memory, 150_000_000, 3);
    // Boundaries within slices, at their ends, and a run over one.
    for (const first of [0, 67_108_863, 67_108_864, 134_217_000, 149_999_999]) to.set(first, 1);
    to.fill(67_100_000, 67_120_000, 0);
    const diff = diffRuns(from, to);
    const expected = await entriesOf(diffRuns(from, to), inPlace);
    expectSame(await entriesOf(diff, (runs) => standard.read(runs)), expected);
    expect(await standard.count(to)).toEqual(to.count());
    const encoded = await standard.encode(to);
    expect(Buffer.compare(encoded, to.encode())).toBe(0);
    const staged = new StagedBitmap(memory, encoded.length);
    staged.bytes.set(encoded);
    const decoded = await standard.decode(staged);
    expect(await entriesOf(diffRuns(from, decoded), inPlace)).toEqual(expected);
    expect(threads.length).toBeGreaterThan(0);
  });

  it('finds the one bad block of an encoded map, and gives its memory back', async () => {
    const map = randomMap(200_000, 4);
    const encoded = map.encode();
    const used = memory.usedBytes;
    await pool.count(map);
    const withDesk = memory.usedBytes;
    for (const at of [5, 18, 30_000, encoded.length - 1]) {
      const staged = new StagedBitmap(memory, encoded.length);
      staged.bytes.set(encoded);
      staged.bytes[at]! ^= 1;
      expect(await errorOf(pool.decode(staged)), `byte ${at}`).toBeInstanceOf(DecodeError);
    }
    expect(memory.usedBytes).toBe(withDesk);
    await pool.close();
    expect(memory.usedBytes).toBe(used);
  });

  it('sees maps in memory that was added after its threads had started', async () => {
    expect((await pool.count(ObjectBitmap.allocate(memory, 5000, 2))).pending).toBe(5000);
    const before = memory.memory.buffer.byteLength;
    for (const objectCount of [10_000_000, 40_000_000]) {
      const map = ObjectBitmap.allocate(memory, objectCount, 1);
      expect(memory.memory.buffer.byteLength).toBeGreaterThan(before);
      expect((await pool.count(map)).exists).toBe(objectCount);
      expect(await entriesOf(map.runs())).toEqual([1, objectCount * 4]);
    }
    expect(threads.length).toBeLessThanOrEqual(2);
  });

  it('has at most as many threads as it may, and serves every caller', async () => {
    const maps = Array.from({ length: 40 }, (_, i) => randomMap(20_000 + i, 100 + i));
    const counts = await Promise.all(maps.map((map) => pool.count(map)));
    expect(counts).toEqual(maps.map((map) => map.count()));
    expect(threads.length).toBeLessThanOrEqual(2);
    expect(threads.length).toBeGreaterThan(0);
  });

  it('computes checksums in several threads at once without mixing them up', async () => {
    const maps = Array.from({ length: 12 }, (_, i) => randomMap(400_000, 200 + i, 1));
    const encoded = await Promise.all(maps.map((map) => pool.encode(map)));
    maps.forEach((map, i) => {
      expect(Buffer.compare(encoded[i]!, map.encode()), `map ${i}`).toBe(0);
    });
  });
});

describe('a call to the pool that is given up', () => {
  it('is not begun when its signal is aborted already', async () => {
    const signal = AbortSignal.abort();
    const map = randomMap(1000, 5);
    for (const call of [pool.count(map, { signal }), pool.read(map.runs(), { signal })]) {
      expect(isRadosError(await errorOf(call), 'ECANCELED')).toBe(true);
    }
    expect(threads).toEqual([]);
  });

  it('is rejected at once while it waits for a thread, and the others go on', async () => {
    const maps = Array.from({ length: 6 }, (_, i) => randomMap(30_000, 300 + i));
    const abort = new AbortController();
    const others = maps.slice(0, 5).map((map) => pool.count(map));
    const given = pool.count(maps[5]!, { signal: abort.signal });
    abort.abort();
    expect(isRadosError(await errorOf(given), 'ECANCELED')).toBe(true);
    expect(await Promise.all(others)).toEqual(maps.slice(0, 5).map((map) => map.count()));
  });

  it('ends between two slices, with nothing pinned any more', async () => {
    await using standard = new KernelPool(memory, { inPlaceBytes: 0 });
    const map = ObjectBitmap.allocate(memory, 250_000_000, 1);
    const abort = new AbortController();
    const counting = standard.count(map, { signal: abort.signal });
    abort.abort();
    expect(isRadosError(await errorOf(counting), 'ECANCELED')).toBe(true);
    const used = memory.usedBytes;
    map.free();
    expect(used - memory.usedBytes).toBeGreaterThan(62_000_000);
    // The pool is as good as before.
    expect((await standard.count(ObjectBitmap.allocate(memory, 77, 3))).existsClean).toBe(77);
  });

  it('timed out says so', async () => {
    const error = await errorOf(pool.count(randomMap(10, 1), { signal: AbortSignal.timeout(0) }));
    // The call may be faster.
    if (error !== undefined) expect(isRadosError(error, 'ETIMEDOUT')).toBe(true);
  });
});

describe('a map that goes while a thread works on it', () => {
  it('stays in memory until the thread has done', async () => {
    const map = ObjectBitmap.allocate(memory, 30_000_000, 1);
    const counting = pool.count(map);
    map.free();
    const other = ObjectBitmap.allocate(memory, 30_000_000, 2);
    expect((await counting).exists).toBe(30_000_000);
    expect((await pool.count(other)).pending).toBe(30_000_000);
    const again = ObjectBitmap.allocate(memory, 30_000_000, 3);
    expect(again.address).toBeLessThan(other.address);
  });

  it('is read to its new end when it shrinks between two reads', async () => {
    const map = ObjectBitmap.allocate(memory, 600_000);
    for (let objectNo = 0; objectNo < 600_000; objectNo += 2) map.set(objectNo, 1);
    const runs = map.runs();
    const first = await pool.read(runs);
    expect(first!.length).toBeGreaterThan(100_000);
    map.resize(400_001);
    const rest = await entriesOf(runs);
    expect(rest.at(-1)).toBe(400_001 * 4);
    expect(first!.length + rest.length).toBe(400_002);
    expect(await pool.read(runs)).toBeUndefined();
  });
});

describe('the threads of the pool', () => {
  it('are gone after close, which refuses calls that wait and lets those end that run', async () => {
    const maps = Array.from({ length: 8 }, (_, i) => randomMap(30_000, 400 + i));
    const calls = maps.map((map) => errorOf(pool.count(map)));
    await pool.close();
    await pool.close();
    expect(running.size).toBe(0);
    for (const error of await Promise.all(calls)) {
      if (error !== undefined) expect(isRadosError(error, 'EBADF'), String(error)).toBe(true);
    }
    expect(isRadosError(await errorOf(pool.count(maps[0]!)), 'EBADF')).toBe(true);
    // Nothing of the pool's own is left in memory, and nothing is pinned.
    for (const map of maps) map.free();
    expect(memory.usedBytes).toBe(0);
  });

  it('need not have been started to be closed', async () => {
    await pool.close();
    expect(threads).toEqual([]);
  });

  it('may die: the call says so, and the next one has another thread', async () => {
    const map = randomMap(50_000, 6);
    await pool.count(map);
    const large = ObjectBitmap.allocate(memory, 250_000_000, 1);
    const counting = errorOf(pool.count(large));
    await Promise.all([...running].map((thread) => thread.terminate()));
    const error = await counting;
    expect(isRadosError(error, 'EIO'), String(error)).toBe(true);
    expect(await pool.count(map)).toEqual(map.count());
    large.free();
    map.free();
  });

  it('serve a pool within a worker thread, and end with it', async () => {
    const url = (path: string) => pathToFileURL(packageFile(path)).href;
    const source = `
      import { parentPort } from 'node:worker_threads';
      import { BitmapMemory } from '${url('dist/src/kernels/bitmap-memory.js')}';
      import { ObjectBitmap } from '${url('dist/src/kernels/bitmap.js')}';
      import { KernelPool } from '${url('dist/src/kernels/pool.js')}';
      const memory = new BitmapMemory();
      const pool = new KernelPool(memory, { inPlaceBytes: 0 });
      const map = ObjectBitmap.allocate(memory, 12345, 1);
      const counted = await pool.count(map);
      let threads = 0;
      process.on('worker', () => threads++);
      await pool.close();
      parentPort.postMessage(counted.exists);
    `;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
    // A thread's last message may come only as it exits, in the same turn.
    const [[exists], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    expect(exists).toBe(12_345);
    expect(code).toBe(0);
  });

  it('do not keep a process that has nothing else to do', async () => {
    const url = (path: string) => pathToFileURL(packageFile(path)).href;
    const source = `
      import { BitmapMemory } from '${url('dist/src/kernels/bitmap-memory.js')}';
      import { ObjectBitmap } from '${url('dist/src/kernels/bitmap.js')}';
      import { KernelPool } from '${url('dist/src/kernels/pool.js')}';
      const memory = new BitmapMemory();
      const pool = new KernelPool(memory, { inPlaceBytes: 0 });
      await pool.count(ObjectBitmap.allocate(memory, 12345, 1));
    `;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
    const [code] = (await once(worker, 'exit')) as [number];
    expect(code).toBe(0);
  });
});
