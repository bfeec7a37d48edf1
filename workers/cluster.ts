/** The embedded cluster's thread: one monitor and its OSDs (src/cluster/embedded-cluster.ts). */

import { parentPort, workerData } from 'node:worker_threads';

import { nodeEnvironment } from '../src/base/node-environment.js';
import { ClusterHost } from '../src/cluster/cluster-host.js';
import { serveCluster } from '../src/cluster/cluster-rpc.js';
import type { ClusterSettings } from '../src/cluster/settings.js';

const settings = workerData as ClusterSettings;
if (parentPort === null) throw new Error('workers/cluster runs in a worker thread only');
serveCluster(parentPort, ClusterHost.start(nodeEnvironment({ log: settings.log }), settings));
