/**
 * crc32c: the readable twin against what the library uses, beside the copy of the same bytes, which
 * is the speed that memory sets. One JSON object per line.
 *
 *   node dist/bench/micro/crc32c.bench.js
 */
import Benchmark from 'benchmark';

import { createCrc32c, crc32cTwin } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';

const KIB = 1024;
const SIZES = [32, 4 * KIB, 64 * KIB, 4 * KIB * KIB];

const kernels = loadKernels({ memoryBytes: 32 * KIB * KIB });
const crc32c = createCrc32c(kernels);

for (const size of SIZES) {
  const outside = new Uint8Array(size);
  for (let i = 0; i < size; i++) outside[i] = (i * 2654435761) >>> 13;
  const inside = kernels.u8.subarray(kernels.alloc(size)).subarray(0, size);
  const target = kernels.alloc(size);
  inside.set(outside);

  run('twin', size, () => crc32cTwin(0, outside));
  run('copied into wasm', size, () => crc32c(0, outside));
  run('in place', size, () => crc32c(0, inside));
  run('memory copy', size, () =>
    kernels.u8.copyWithin(target, inside.byteOffset, inside.byteOffset + size),
  );
}

function run(implementation: string, bytes: number, call: () => unknown): void {
  const bench = new Benchmark(call, { maxTime: 1 });
  bench.run();
  if (bench.error !== undefined) throw bench.error as unknown as Error;
  const seconds = bench.stats.mean;
  console.log(
    JSON.stringify({
      bench: 'crc32c',
      implementation,
      bytes,
      nsPerCall: Number((seconds * 1e9).toPrecision(4)),
      gigabytesPerSecond: Number((bytes / seconds / 1e9).toPrecision(3)),
      marginPercent: Number(bench.stats.rme.toFixed(2)),
    }),
  );
}
