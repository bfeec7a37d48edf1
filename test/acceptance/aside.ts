/** What goes on while the main thread is blocked: seen by another client, in a thread of its own. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import type { Target } from './target.js';

/** Blocks this thread for so long; nothing runs in it meanwhile. Returns when it began and ended. */
export function blockMainThread(ms: number): { from: number; until: number } {
  const from = Date.now();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  return { from, until: Date.now() };
}

export interface Aside extends AsyncDisposable {
  /** When the last block of the image first held ones, as `Date.now()` has it; infinity: not yet. */
  seenAt(): number;
}

/** Resolves when the watcher reads the image, which holds zeroes. `block`: log2 of the bytes looked at as one. */
export async function watchFromAside(
  target: Target,
  spec: string,
  image: { size: number; block: number },
): Promise<Aside> {
  const seenAt = new Float64Array(new SharedArrayBuffer(8));
  seenAt[0] = Number.POSITIVE_INFINITY;
  const worker = new Worker(new URL('./aside-worker.mjs', import.meta.url), {
    workerData: { conf: target.confPath, spec, ...image, seenAt },
  });
  const failed = once(worker, 'error').then(([error]) => Promise.reject(error as Error));
  await Promise.race([once(worker, 'message'), failed]);
  failed.catch(() => {});
  return {
    seenAt: () => seenAt[0] as number,
    [Symbol.asyncDispose]: async () => {
      await worker.terminate();
    },
  };
}
