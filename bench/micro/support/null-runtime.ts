/** A runtime whose images answer at once and move no bytes: what is left is the way between the threads. */

import type { BlockBackend, BlockRuntime } from '../../../src/block/backend.js';

const SIZE = 2 ** 40;
const done = Promise.resolve();

export function createRuntime(): BlockRuntime {
  return {
    open: (spec, options) => {
      const backend: BlockBackend = {
        size: SIZE,
        readOnly: false,
        objectSize: 4 * 1024 * 1024,
        attributes: () => ({
          size: SIZE,
          features: 0n,
          pool: spec.pool,
          poolId: 1,
          poolNs: spec.namespace,
          name: spec.image,
          imageId: 'null',
          currentSnap: '-',
          snapId: 0xfffffffffffffffen,
          clientAddr: '127.0.0.1:0/0',
          clientId: 'client0',
          clusterFsid: '00000000-0000-0000-0000-000000000000',
          configInfo: '',
          parents: [],
          readOnly: false,
          objectSize: 4 * 1024 * 1024,
          stripeUnit: 4 * 1024 * 1024,
          stripeCount: 1,
          allocSize: options.allocSize,
        }),
        read: () => done,
        write: () => done,
        discard: () => done,
        writeZeroes: () => done,
        compareAndWrite: () => done,
        flush: () => done,
        close: () => done,
      };
      return Promise.resolve(backend);
    },
    close: () => done,
  };
}
