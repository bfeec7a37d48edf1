/** The real runtime in a thread that ends at its n-th write, as often as it is told to. */

import type { BlockBackend, RuntimeFactory } from '../../../src/block/backend.js';
import { createRuntime as createReal } from '../../../src/block/runtime.js';

export interface Poison {
  /** Words: how many threads end yet, and after how many writes. */
  poison: SharedArrayBuffer;
}

export const createRuntime: RuntimeFactory = (context) => {
  const { poison, ...config } = context.config as Poison;
  const words = new Int32Array(poison);
  let left = Atomics.load(words, 1);
  const runtime = createReal({ ...context, config });
  const poisoned =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> => {
      // The last one is sent, but what comes of it nobody will know.
      const result = method(...args);
      if (--left !== 0 || Atomics.sub(words, 0, 1) <= 0) return result;
      setImmediate(() => process.exit(1));
      return new Promise(() => {});
    };
  const open = runtime.open.bind(runtime);
  runtime.open = async (...args) => {
    const backend: BlockBackend = await open(...args);
    backend.write = poisoned(backend.write.bind(backend));
    return backend;
  };
  return runtime;
};
