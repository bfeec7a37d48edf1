/** Faults of clients, of what they own, and of clocks. */

import {
  aClient,
  anOwner,
  byCluster,
  type FaultKindOfSim,
  onRequest,
  SAFE,
  toClient,
} from './fault-kind.js';

export const processFaults = {
  'lock.blocklisted': byCluster(
    'lock',
    'it changes nothing any more, and says so',
    0,
    async (scene) => {
      const client = await aClient(scene)?.addr();
      if (client === undefined) return undefined;
      return scene.simulation.cluster.faults.blocklist({ client, expireS: 3600 });
    },
  ),
  'lock.owner-dies': toClient(
    'lock',
    'another gets the lock; nothing of the dead one follows',
    0,
    (client) => {
      client.kill();
      return undefined;
    },
    anOwner,
  ),
  'lock.owner-sleeps': toClient(
    'lock',
    'who wakes checks before it acts',
    50_000,
    ({ process }) => {
      process.stop();
      return () => process.continue();
    },
    anOwner,
  ),
  'client.pause': toClient('client', SAFE, 4000, ({ process }) => {
    process.stop();
    return () => process.continue();
  }),
  'clock.client-late-timers': onRequest(
    toClient(
      'clock',
      'what is late is late; nothing is believed for longer than it may be',
      30_000,
      ({ process }, { draw }) => {
        const late = draw.int(200, 6000);
        process.timersLateMs += late;
        return () => {
          process.timersLateMs -= late;
        };
      },
    ),
  ),
  'clock.cluster-stands': byCluster('clock', SAFE, 20_000, (scene) =>
    scene.simulation.cluster.faults.freezeClock(),
  ),
  'clock.cluster-forward': byCluster('clock', SAFE, 0, ({ simulation, draw }) =>
    simulation.cluster.faults.jumpClock({ ms: draw.int(1000, 40_000) }),
  ),
  'clock.cluster-wall-back': byCluster('clock', SAFE, 0, ({ simulation, draw }) =>
    simulation.cluster.faults.jumpClock({ ms: -draw.int(1000, 3_600_000), clock: 'wall' }),
  ),
  'clock.client-wall': toClient(
    'clock',
    'nothing but dates changes',
    0,
    ({ process }, { draw }) => {
      process.wallOffsetMs += draw.int(-3_600_000, 3_600_000);
      return undefined;
    },
  ),
} satisfies Record<string, FaultKindOfSim>;
