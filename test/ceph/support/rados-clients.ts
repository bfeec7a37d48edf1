/** Our clients of a real cluster. */

import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { type ConnectOptions, connectRados } from '../../../src/rados/connect.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import type { CephCluster } from './ceph-cluster.js';

const MOUNT_TIMEOUT_MS = 30_000;

/** Connects as `client.admin`, unless told otherwise. */
export async function connectTo(
  cluster: CephCluster,
  options: ConnectOptions = {},
): Promise<RadosClient> {
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), {
    conf: cluster.confPath,
    mountTimeoutMs: MOUNT_TIMEOUT_MS,
    ...options,
  });
  return client;
}
