// What the acceptance script runs on where Ceph is installed, with Ceph's own programs as judges: a cluster of real
// daemons, and the embedded one.

import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import {
  embedded,
  embeddedTarget,
  OSDS,
  type Target,
  type TargetKind,
  type Tools,
} from '../acceptance/target.js';
import { CephCluster } from './support/ceph-cluster.js';
import { runOrThrow } from './support/processes.js';

/** Images have their data in pools of either kind. */
const ERASURE_CODED = { name: 'ec', pgNum: 8, erasure: { k: 2, m: 1 } };

/** All PGs at once and without pauses: nobody here minds that clients get less meanwhile. */
const RECOVERY = `
osd max backfills = 32
osd recovery max active = 32
osd recovery sleep = 0
osd backfill retry interval = 0.5
`;

export const real: TargetKind = {
  name: 'a real cluster',
  hasTools: true,
  dataPools: ['data', ERASURE_CODED.name],
  failures: 4,
  // Real OSDs take their time to recover.
  failoverTimeoutMs: 240_000,
  start: async (pools) => {
    const withData = pools.some(({ name }) => name === 'data');
    const cluster = await CephCluster.start({
      osds: OSDS,
      minSize: 1,
      osdConf: RECOVERY,
      pools: withData ? [...pools, ERASURE_CODED] : pools,
    });
    return realTarget(cluster);
  },
};

function realTarget(cluster: CephCluster): Target {
  return {
    confPath: cluster.confPath,
    dir: cluster.dir,
    tools: cluster,
    killOsd: (osd) => cluster.killOsd(osd),
    startOsd: (osd) => cluster.startOsd(osd),
    settled: () => cluster.settled(),
    stop: () => cluster.stop(),
  };
}

export const embeddedWithTools: TargetKind = {
  ...embedded,
  hasTools: true,
  start: async (pools) => {
    const cluster = await EmbeddedCluster.start({ osds: OSDS, pools });
    return embeddedTarget(cluster, toolsFor(cluster.confPath));
  },
};

export function toolsFor(confPath: string): Tools {
  const env = { CEPH_CONF: confPath, CEPH_ARGS: undefined };
  const tool =
    (command: string) =>
    async (...args: string[]) =>
      (await runOrThrow(command, args, { env })).stdout;
  return { ceph: tool('ceph'), rados: tool('rados'), rbd: tool('rbd') };
}
