/** A thread of the kernel pool: runs one kernel at a time over the memory that it shares (src/kernels/pool.ts). */

import { workerData } from 'node:worker_threads';

import { instantiateKernels } from '../src/kernels/load.js';
import type { KernelCall, KernelThreadData } from '../src/kernels/pool.js';

const { module, memory } = workerData as KernelThreadData;
const exports = instantiateKernels(memory, module);

export function call({ kernel, args, scratch }: KernelCall): number {
  exports.setCrc32cScratch(scratch);
  const run = exports[kernel] as (...args: readonly number[]) => number;
  return run(...args);
}
