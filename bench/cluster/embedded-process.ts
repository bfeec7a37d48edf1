/** An embedded cluster as a process of its own, as a user has one. Argument: `EmbeddedClusterOptions` as JSON. */

import {
  EmbeddedCluster,
  type EmbeddedClusterOptions,
} from '../../src/cluster/embedded-cluster.js';

/** What it sends to its parent once it serves. */
export interface EmbeddedReady {
  conf: string;
  startUpMs: number;
}

const options = JSON.parse(process.argv[2] as string) as EmbeddedClusterOptions;
const started = performance.now();
const cluster = await EmbeddedCluster.start(options);
const ready: EmbeddedReady = { conf: cluster.confPath, startUpMs: performance.now() - started };
process.send!(ready);
process.once('disconnect', () => void cluster.stop());
