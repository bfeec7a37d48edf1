/** Faults of connections, and of what they carry. */

import type { Draw } from '../random.js';
import {
  aClient,
  anOsd,
  byCluster,
  type FaultKindOfSim,
  onRequest,
  SAFE,
  type Scene,
} from './fault-kind.js';

/** Of one client, of one daemon, of both, or all. */
async function someConnections(scene: Scene): Promise<{ osd?: number; client?: string }> {
  const which = scene.draw.int(0, 3);
  const osd = anOsd(scene);
  const client = await aClient(scene)?.addr();
  if (which === 0) return {};
  if (which === 1 || client === undefined) return { osd };
  return which === 2 ? { client } : { client, osd };
}

/** More of something in the whole network for a while; those of several faults add up. */
function longer(
  key: 'latencyMs' | 'jitterMs',
  holds: string,
  ms: (draw: Draw) => number,
): FaultKindOfSim {
  return {
    layer: 'tcp',
    holds,
    maxMs: 20_000,
    begin: async ({ simulation, draw }) => {
      const { network } = simulation.world;
      const meter = network.meter();
      const more = ms(draw);
      network[key] += more;
      return {
        fired: () => meter.links,
        stop: () => {
          meter.end();
          network[key] = Math.max(0, network[key] - more);
        },
      };
    },
  };
}

export const networkFaults = {
  'tcp.reset': byCluster('tcp', SAFE, 0, async (scene) =>
    scene.simulation.cluster.faults.resetConnections(await someConnections(scene)),
  ),
  'tcp.reset-new': byCluster('tcp', SAFE, 15_000, async (scene) =>
    scene.simulation.cluster.faults.resetConnections({
      ...(await someConnections(scene)),
      connections: 'next',
      times: scene.draw.int(1, 4),
    }),
  ),
  'tcp.flapping': byCluster('tcp', `${SAFE}; one registration at a time`, 10_000, async (scene) =>
    scene.simulation.cluster.faults.resetConnections({
      ...(await someConnections(scene)),
      everyMs: scene.draw.int(100, 2000),
    }),
  ),
  'tcp.refuse': byCluster('tcp', SAFE, 10_000, async (scene) =>
    scene.simulation.cluster.faults.refuseConnections({ osd: anOsd(scene) }),
  ),
  'tcp.silent': onRequest({
    layer: 'tcp',
    holds: SAFE,
    maxMs: 20_000,
    // As when a host goes without a word: who dials it now hears nothing, also when it is there again.
    begin: async ({ simulation, draw }) => {
      const { network } = simulation.world;
      const number = draw.pick(network.listening);
      const port = network.port(number);
      if (port.onConnect !== 'accept') return undefined;
      port.onConnect = 'silent';
      const broken = network.to(number);
      for (const stream of broken) stream.reset();
      return {
        fired: () => broken.length,
        stop: () => {
          port.onConnect = 'accept';
        },
      };
    },
  }),
  'tcp.black-hole': byCluster('tcp', SAFE, 70_000, async (scene) =>
    scene.simulation.cluster.faults.blackHole(await someConnections(scene)),
  ),
  'tcp.black-hole-to-cluster': byCluster('tcp', SAFE, 40_000, async (scene) =>
    scene.simulation.cluster.faults.blackHole({
      ...(await someConnections(scene)),
      direction: 'toCluster',
    }),
  ),
  'tcp.black-hole-to-client': byCluster('tcp', SAFE, 40_000, async (scene) =>
    scene.simulation.cluster.faults.blackHole({
      ...(await someConnections(scene)),
      direction: 'toClient',
    }),
  ),
  'tcp.slow': byCluster('tcp', SAFE, 20_000, async (scene) =>
    scene.simulation.cluster.faults.delayConnections({
      ...(await someConnections(scene)),
      ms: scene.draw.int(5, 500),
    }),
  ),
  'tcp.jitter': byCluster('tcp', SAFE, 20_000, async (scene) =>
    scene.simulation.cluster.faults.delayConnections({
      ...(await someConnections(scene)),
      ms: 1,
      jitterMs: scene.draw.int(10, 1000),
    }),
  ),
  'tcp.throttle': byCluster('tcp', SAFE, 15_000, async (scene) =>
    scene.simulation.cluster.faults.throttleConnections({
      ...(await someConnections(scene)),
      bytesPerSecond: Math.round(scene.draw.logarithmic(10_000, 1_000_000)),
    }),
  ),
  'tcp.break-in-frame': byCluster('tcp', SAFE, 10_000, async (scene) =>
    scene.simulation.cluster.faults.breakAfterBytes({
      ...(await someConnections(scene)),
      bytes: scene.draw.int(1, 20_000),
      times: scene.draw.int(1, 3),
    }),
  ),
  'tcp.distance': longer('latencyMs', 'requests take longer', (draw) => draw.int(5, 200)),
  'tcp.reordering-clients': longer(
    'jitterMs',
    'what clients do at a time takes any order',
    (draw) => draw.int(1, 50),
  ),
  'tcp.small-segments': {
    layer: 'tcp',
    holds: 'frames are put together from any pieces',
    maxMs: 5000,
    begin: async ({ simulation, draw }) => {
      const { network } = simulation.world;
      const meter = network.meter();
      network.segmentBytes = draw.pick([1, 7, 64, 1000]);
      return {
        fired: () => meter.links,
        stop: () => {
          meter.end();
          network.segmentBytes = Number.POSITIVE_INFINITY;
        },
      };
    },
  },
  'tcp.half-close': {
    layer: 'tcp',
    holds: SAFE,
    maxMs: 0,
    begin: async ({ simulation, draw }) => {
      const streams = [...simulation.world.network.streams];
      if (streams.length === 0) return undefined;
      draw.pick(streams).halfClose();
      return { fired: () => 1, stop: () => {} };
    },
  },
  'frame.bit-flip': {
    layer: 'frame',
    holds: 'the damage is found, the connection ends, and nothing of the frame is believed',
    maxMs: 10_000,
    begin: async ({ simulation, draw }) => {
      const streams = [...simulation.world.network.streams];
      if (streams.length === 0) return undefined;
      const stream = draw.pick(streams);
      let fired = 0;
      stream.tap = (bytes) => {
        stream.tap = undefined;
        if (bytes.length === 0) return bytes;
        fired++;
        const damaged = Uint8Array.from(bytes);
        const at = draw.int(0, bytes.length - 1);
        damaged[at] = (damaged[at] as number) ^ (1 << draw.int(0, 7));
        return damaged;
      };
      return {
        fired: () => fired,
        stop: () => {
          stream.tap = undefined;
        },
      };
    },
  },
} satisfies Record<string, FaultKindOfSim>;
