/** Faults of keys and tickets. */

import { byCluster, type FaultKindOfSim, onRequest, type Scene } from './fault-kind.js';

const RENEWED = 'a client whose ticket is good no more gets another; nobody is let in without';

/** Nothing happens to a cluster without tickets. */
async function retire({ simulation: { cluster } }: Scene) {
  return cluster.auth === 'cephx' ? cluster.faults.retireTickets() : undefined;
}

export const authFaults = {
  'auth.retired-tickets': onRequest(byCluster('auth', RENEWED, 0, retire)),
  'auth.retired-tickets-and-reset': onRequest(
    byCluster('auth', RENEWED, 0, async (scene) => {
      const fault = await retire(scene);
      await (await scene.simulation.cluster.faults.resetConnections({})).stop();
      return fault;
    }),
  ),
} satisfies Record<string, FaultKindOfSim>;
