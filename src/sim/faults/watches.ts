/** Faults of watches and notifications. */

import {
  byCluster,
  type FaultKindOfSim,
  onRequest,
  HEADER,
  lostReplies,
  POOL,
  type Scene,
  WATCHED,
} from './fault-kind.js';

/** An image's header that somebody watches. */
async function aHeader({ draw, simulation }: Scene): Promise<string | undefined> {
  const watches = await simulation.cluster.faults.watches({});
  const headers = watches.map(({ object }) => object).filter((name) => name.startsWith(HEADER));
  return headers.length > 0 ? draw.pick([...new Set(headers)].sort()) : undefined;
}

export const watchFaults = {
  'watch.dropped': byCluster('watch', WATCHED, 0, async (scene) => {
    const object = await aHeader(scene);
    if (object === undefined) return undefined;
    return scene.simulation.cluster.faults.dropWatch({ pool: POOL, object });
  }),
  'watch.lost-registration': lostReplies('watch'),
  'watch.lost-pong': lostReplies('ping'),
  'watch.slow-registration': byCluster('watch', WATCHED, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.delayReplies({
      ops: ['watch', 'reconnect'],
      ms: draw.int(500, 20_000),
    }),
  ),
  'watch.slow-pong': byCluster('watch', WATCHED, 30_000, ({ simulation, draw }) =>
    simulation.cluster.faults.delayReplies({ ops: 'ping', ms: draw.int(500, 12_000) }),
  ),
  // The connection's own signs of life go on.
  'watch.held-ping': onRequest(
    byCluster('watch', WATCHED, 40_000, ({ simulation, draw }) =>
      simulation.cluster.faults.opPoint({
        point: 'osd.*.op.O1.process.entered',
        action: 'delay',
        ops: 'ping',
        ms: draw.int(5000, 40_000),
      }),
    ),
  ),
  'watch.lost-notification': byCluster('watch', WATCHED, 10_000, ({ simulation, draw }) =>
    simulation.cluster.faults.dropNotify({ times: draw.int(1, 3) }),
  ),
  'watch.lost-ack': byCluster('watch', WATCHED, 10_000, ({ simulation, draw }) =>
    simulation.cluster.faults.dropNotify({ message: 'ack', times: draw.int(1, 3) }),
  ),
  'watch.slow-notification': byCluster('watch', WATCHED, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.delayNotify({ ms: draw.int(100, 8000) }),
  ),
  'watch.slow-ack': byCluster('watch', WATCHED, 20_000, ({ simulation, draw }) =>
    simulation.cluster.faults.delayNotify({ message: 'ack', ms: draw.int(100, 8000) }),
  ),
  'watch.second-notification': byCluster('watch', 'it is acted on once', 20_000, (scene) =>
    scene.simulation.cluster.faults.duplicateNotify({ times: scene.draw.int(1, 5) }),
  ),
  'watch.refused-ping': onRequest(
    byCluster('watch', WATCHED, 10_000, ({ simulation, draw }) =>
      simulation.cluster.faults.failOps({
        ops: 'ping',
        // The OSD has no such watch; or has it, on another connection.
        errno: draw.pick(['ENOTCONN', 'ETIMEDOUT'] as const),
        times: draw.int(1, 3),
      }),
    ),
  ),
  'watch.refused-reconnect': onRequest(
    byCluster('watch', WATCHED, 10_000, ({ simulation, draw }) =>
      simulation.cluster.faults.failOps({
        ops: 'reconnect',
        errno: 'ENOTCONN',
        times: draw.int(1, 3),
      }),
    ),
  ),
} satisfies Record<string, FaultKindOfSim>;
