// A client of a throwaway cluster, as images take it.

import type { Environment } from '../../../src/base/environment.js';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { type ConnectOptions, connectRados } from '../../../src/rados/connect.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';

/** Connects with the cluster's ceph.conf, as `client.admin` unless told. */
export async function connectTo(
  cluster: { readonly confPath: string },
  options: ConnectOptions = {},
  env: Environment = nodeEnvironment(),
): Promise<RadosClient> {
  const { client } = await connectRados(env, loadKernels(), {
    conf: cluster.confPath,
    // A test that cannot reach its cluster fails rather than hangs.
    mountTimeoutMs: 30_000,
    osdOpTimeoutMs: 60_000,
    ...options,
  });
  return client;
}

/** Bytes that tell their own place apart: no two 8-byte words are alike. */
export function patternBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil(length / 8) * 8);
  for (let i = 0; i < bytes.length; i += 8) {
    bytes.writeUInt32LE(i / 8, i);
    bytes.writeUInt32LE((seed ^ Math.imul(i, 0x9e3779b1)) >>> 0, i + 4);
  }
  return bytes.subarray(0, length);
}
