/**
 * The object map kernels beside what else could do their work: plain JavaScript on words of 32 bits, C with AVX2 by hand
 * (where gcc is installed), and the copy of the same bytes, which is the speed that memory sets. One JSON object per line.
 *
 *   node dist/bench/micro/bitmap.bench.js [ROUNDS]
 *
 * The three take turns, and each has its best time of all rounds: what is slower than that was somebody else's doing.
 * Ratios above 1: the kernel is faster.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { copyBytes } from '../../src/base/copy-bytes.js';
import { packageFile } from '../../src/base/paths.js';
import { isZero } from '../../src/base/zeroes.js';
import { diffRuns, ObjectBitmap } from '../../src/kernels/bitmap.js';
import { BitmapMemory } from '../../src/kernels/bitmap-memory.js';
import type { Runs } from '../../src/kernels/bitmap-runs.js';
import { OBJECT_STATE, setOf } from '../../src/kernels/object-state.js';
import {
  countJs,
  diffJs,
  mergeJs,
  nextExistingJs,
  nextJs,
  replaceJs,
  stepJs,
} from './support/bitmap-js.js';

const { NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN } = OBJECT_STATE;
const SIZES = [16 * 1024 * 1024, 256_000_000];
const ROUNDS = Number(process.argv[2] ?? 5);
const ROUND_MS = 60;

const memory = new BitmapMemory();
const entries = new Uint32Array(16_384);
const folder = mkdtempSync(join(tmpdir(), 'linger-bitmap-'));
const compiled = compileC();

try {
  for (const objects of SIZES) benchSize(objects);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

interface Case {
  readonly kernel: string;
  readonly pattern?: string;
  wasm(): unknown;
  js?(): unknown;
  /** Arguments of support/bitmap.c: a kernel, and maps. */
  readonly c?: readonly [kernel: string, ...maps: ObjectBitmap[]];
  /** Results that must be the same. */
  result?(result: unknown): number;
}

function benchSize(objects: number): void {
  const one = ObjectBitmap.allocate(memory, objects);
  const two = ObjectBitmap.allocate(memory, objects);
  const words = (bitmap: ObjectBitmap) =>
    new Uint32Array(memory.memory.buffer, bitmap.address, objects / 16);
  const copy = measure(objects, {
    kernel: 'memory copy',
    wasm: () => copyBytes(bytesOf(two), bytesOf(one)),
    c: ['copy', one],
    result: () => 0,
  });
  const run = (test: Case) => measure(objects, test, copy);

  scatter(one, 1, [NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN], 1);
  run({
    kernel: 'count',
    wasm: () => one.count(),
    js: () => Object.values(countJs(words(one))),
    c: ['count', one],
    result: (counts) => {
      const [a, b, c, d] = Object.values(counts as object) as number[];
      return a! + 3 * b! + 5 * c! + 7 * d!;
    },
  });

  one.fill(0, objects, NONEXISTENT);
  one.set(objects - 1, EXISTS);
  run({
    kernel: 'next',
    pattern: 'the last alone exists',
    wasm: () => one.next(0b1110),
    js: () => nextExistingJs(words(one)),
    c: ['next', one],
  });
  one.fill(0, objects, EXISTS_CLEAN);
  one.set(objects - 1, EXISTS);
  run({
    kernel: 'next',
    pattern: 'the last alone is EXISTS',
    wasm: () => one.next(setOf(EXISTS)),
    js: () => nextJs(words(one), setOf(EXISTS)),
  });

  const diff = (pattern: string) =>
    run({
      kernel: 'diff',
      pattern,
      wasm: () => entriesOf(diffRuns(one, two)),
      js: () => diffJs(words(one), words(two), entries),
      c: ['diff', one, two],
    });
  // As a snapshot finds and leaves them: runs of objects, some written since the snapshot before.
  cluster(one, 2, 4000, [NONEXISTENT, EXISTS, EXISTS_CLEAN]);
  copyBytes(bytesOf(two), bytesOf(one));
  two.snapshotAdded();
  diff('none changed');
  clusterChanges(two, 3, 1000, 0.01);
  diff('1 % in runs of 1,000');
  copyBytes(bytesOf(two), bytesOf(one));
  two.snapshotAdded();
  scatter(two, 4, [EXISTS], 0.01);
  diff('1 % at random');
  scatter(two, 5, [EXISTS, NONEXISTENT], 0.5);
  diff('50 % at random');
  two.fill(0, objects, EXISTS);
  diff('all changed');

  scatter(two, 6, [EXISTS, NONEXISTENT, EXISTS_CLEAN], 1);
  run({
    kernel: 'diff step',
    wasm: () => memory.exports.bitmapDiffStep(one.address, two.address, objects / 256, 0),
    js: () => stepJs(words(one), words(two), false),
    result: () => 0,
  });

  let state: 1 | 3 = EXISTS;
  two.fill(0, objects, EXISTS);
  run({
    kernel: 'replace',
    pattern: 'all',
    wasm: () => {
      two.replace(setOf(state), state === EXISTS ? EXISTS_CLEAN : EXISTS);
      state = state === EXISTS ? EXISTS_CLEAN : EXISTS;
    },
    js: () => {
      replaceJs(words(two), state, 4 - state);
      state = state === EXISTS ? EXISTS_CLEAN : EXISTS;
    },
    result: () => 0,
  });
  two.fill(0, objects, EXISTS_CLEAN);
  run({
    kernel: 'replace',
    pattern: 'none',
    wasm: () => two.replace(setOf(EXISTS), EXISTS_CLEAN),
    js: () => replaceJs(words(two), EXISTS, EXISTS_CLEAN),
  });
  scatter(one, 7, [EXISTS], 0.01);
  run({
    kernel: 'merge',
    wasm: () => two.snapshotRemoved(one),
    js: () => mergeJs(words(two), words(one)),
    result: () => 0,
  });

  one.fill(0, objects, NONEXISTENT);
  run({
    kernel: 'zero blocks',
    pattern: 'all zero',
    wasm: () => zeroBlocks(one),
    js: () => zeroBlocksJs(bytesOf(one)),
    c: ['zero', one],
  });
  scatter(one, 8, [EXISTS], 1);
  run({
    kernel: 'zero blocks',
    pattern: 'none zero',
    wasm: () => zeroBlocks(one),
    js: () => zeroBlocksJs(bytesOf(one)),
    c: ['zero', one],
  });
  one.free();
  two.free();
}

// ---- work ----

/** Without the copy that `Runs.read` makes, as C and JavaScript make none. */
function entriesOf(runs: Runs): number {
  let count = 0;
  for (let some = runs.read(); some; some = runs.read()) count += some.length;
  return count;
}

function zeroBlocks(bitmap: ObjectBitmap): number {
  const { exports, entriesAddress } = memory;
  const { length } = bytesOf(bitmap);
  return exports.dataExtents(bitmap.address, length, 4096, 0, entriesAddress, 16_384);
}

function zeroBlocksJs(bytes: Uint8Array): number {
  let boundaries = 0;
  let wasData = false;
  for (let at = 0; at < bytes.length; at += 4096) {
    const isData = !isZero(bytes.subarray(at, at + 4096));
    if (isData !== wasData) boundaries++;
    wasData = isData;
  }
  return boundaries + (wasData ? 1 : 0);
}

function bytesOf(bitmap: ObjectBitmap): Uint8Array {
  return new Uint8Array(memory.memory.buffer, bitmap.address, bitmap.objectCount / 4);
}

// ---- maps ----

type State = 0 | 1 | 2 | 3;

function numbers(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Each object with this probability into one of the states. */
function scatter(bitmap: ObjectBitmap, seed: number, states: readonly State[], density: number) {
  const random = numbers(seed);
  for (let objectNo = 0; objectNo < bitmap.objectCount; objectNo++) {
    if (density < 1 && random() >= density) continue;
    bitmap.set(objectNo, states[Math.floor(random() * states.length)] as State);
  }
}

function cluster(bitmap: ObjectBitmap, seed: number, run: number, states: readonly State[]): void {
  const random = numbers(seed);
  for (let at = 0; at < bitmap.objectCount; ) {
    const end = Math.min(bitmap.objectCount, at + 1 + Math.floor(random() * 2 * run));
    bitmap.fill(at, end, states[Math.floor(random() * states.length)] as State);
    at = end;
  }
}

function clusterChanges(bitmap: ObjectBitmap, seed: number, run: number, share: number): void {
  const random = numbers(seed);
  const runs = (bitmap.objectCount * share) / run;
  for (let i = 0; i < runs; i++) {
    const at = Math.floor(random() * (bitmap.objectCount - run));
    bitmap.fill(at, at + run, random() < 0.9 ? EXISTS : NONEXISTENT);
  }
}

// ---- measuring ----

/** Returns the kernel's best time in nanoseconds. */
function measure(objects: number, test: Case, copyNs?: number): number {
  const best: Record<string, number> = {};
  const results: Record<string, number> = {};
  const took = (who: string, ns: number, result: number) => {
    best[who] = Math.min(best[who] ?? Infinity, ns);
    results[who] = result;
  };
  const runC = compiled && test.c ? cRunner(compiled, objects, test.c) : undefined;
  for (let round = 0; round < ROUNDS; round++) {
    for (const who of ['wasm', 'js'] as const) {
      const work = test[who];
      if (!work) continue;
      const until = performance.now() + ROUND_MS;
      do {
        const start = process.hrtime.bigint();
        const result = work.call(test);
        const ns = Number(process.hrtime.bigint() - start);
        took(who, ns, test.result ? test.result(result) : Number(result));
      } while (performance.now() < until);
    }
    if (runC) {
      const [ns, result] = runC();
      took('c', ns, test.result && test.kernel !== 'count' ? 0 : result);
    }
  }
  for (const who of ['js', 'c']) {
    if (results[who] === undefined || results[who] === results['wasm']) continue;
    throw new Error(`${test.kernel}: ${who} says ${results[who]}, wasm ${results['wasm']}`);
  }
  const { wasm = NaN, js, c } = best;
  const digits = (value: number) => Number(value.toPrecision(3));
  console.log(
    JSON.stringify({
      bench: 'bitmap',
      kernel: test.kernel,
      ...(test.pattern && { pattern: test.pattern }),
      objects,
      microseconds: digits(wasm / 1000),
      gigabytesPerSecond: digits(objects / 4 / wasm),
      ...(js !== undefined && { overJs: digits(js / wasm) }),
      ...(c !== undefined && { overC: digits(c / wasm) }),
      ...(copyNs !== undefined && { overMemoryCopy: digits(copyNs / wasm) }),
    }),
  );
  return wasm;
}

function compileC(): string | undefined {
  const target = join(folder, 'bitmap');
  const source = packageFile('bench/micro/support/bitmap.c');
  const { error, status, stderr } = spawnSync(
    'gcc',
    ['-O3', '-march=native', '-mavx2', '-o', target, source],
    { encoding: 'utf8' },
  );
  if (!error && status === 0) return target;
  const why = error ? 'gcc is not installed' : stderr.trim().split('\n')[0];
  console.log(JSON.stringify({ bench: 'bitmap', absent: 'C', why }));
  return undefined;
}

function cRunner(
  binary: string,
  objects: number,
  [kernel, ...maps]: readonly [string, ...ObjectBitmap[]],
) {
  const files = maps.map((map, index) => {
    const file = join(folder, `map${index}`);
    writeFileSync(file, bytesOf(map));
    return file;
  });
  return (): [ns: number, result: number] => {
    const { stdout, status } = spawnSync(
      binary,
      [kernel, String(objects), String(ROUND_MS), ...files],
      { encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`support/bitmap.c ${kernel} ended with ${status}`);
    const [ns, result] = stdout.trim().split(' ').map(Number);
    return [ns!, result!];
  };
}
