/** What a fault of the simulation is, and what faults are made with. */

import type { Fault } from '../../cluster/faults/faults.js';
import type { Draw } from '../random.js';
import type { SimulatedClient, Simulation } from '../simulation.js';

export type Layer =
  | 'tcp'
  | 'frame'
  | 'mon'
  | 'map'
  | 'auth'
  | 'osd'
  | 'store'
  | 'watch'
  | 'lock'
  | 'client'
  | 'clock';

/** A fault that is in place. */
export interface Disturbance {
  /** How often it has acted; all that it did to one direction of a connection counts as one. */
  fired(): Promise<number> | number;
  /** Undoes it. */
  stop(): Promise<void> | void;
}

/** Where a fault is brought about, and what it may draw. */
export interface Scene {
  readonly simulation: Simulation;
  readonly draw: Draw;
}

export interface FaultKindOfSim {
  readonly layer: Layer;
  /** What must hold while it acts and after. */
  readonly holds: string;
  /** How long it stays at most, in virtual milliseconds; 0 for what is done in an instant. */
  readonly maxMs: number;
  /** And at least, where it would miss what it is about. */
  readonly minMs?: number;
  /** Drawn only when it is asked for: it is new, or what it has found is still to be mended (docs/track-record.md). */
  readonly onRequest?: true;
  /** Undefined: it does not apply now. */
  readonly begin: (scene: Scene) => Promise<Disturbance | undefined>;
}

export const SAFE = 'no write is lost, torn or done twice; requests wait and go on';
export const WATCHED = 'no request goes by a header older than the newest that was announced';

/** Watches are pinged every 5 s, and later where that is in the way. */
const PINGED = { minMs: 10_000, maxMs: 20_000 };

export const HEADER = 'rbd_header.';
export const DATA = 'rbd_data.';
export const POOL = 'rbd';

/** With a fault of the embedded cluster's own. */
export function byCluster(
  layer: Layer,
  holds: string,
  maxMs: number,
  arm: (scene: Scene) => Promise<Fault | undefined>,
): FaultKindOfSim {
  return {
    layer,
    holds,
    maxMs,
    begin: async (scene) => {
      const fault = await arm(scene);
      return fault && { fired: () => fault.activations(), stop: () => fault.stop() };
    },
  };
}

export const anOsd = ({ draw, simulation }: Scene) => draw.int(0, simulation.cluster.osds - 1);

export function aClient({ draw, simulation }: Scene): SimulatedClient | undefined {
  const clients = simulation.clients.filter(({ isWorking }) => isWorking);
  return clients.length > 0 ? draw.pick(clients) : undefined;
}

/** Of a kind that is new, or whose findings are open. */
export function onRequest(kind: FaultKindOfSim): FaultKindOfSim {
  return { ...kind, onRequest: true };
}

/** One that has an image's exclusive lock; any other where nobody has. */
export async function anOwner({ draw, simulation }: Scene): Promise<SimulatedClient | undefined> {
  const clients = simulation.clients.filter(({ isWorking }) => isWorking);
  const owns = await Promise.all(
    clients.map((client) =>
      // Who cannot tell at once is still connecting, and has nothing.
      Promise.race([client.ownsLock(), simulation.sleep(1).then(() => false)]),
    ),
  );
  // Some may have died meanwhile.
  const alive = clients.filter(({ isWorking }) => isWorking);
  const owners = alive.filter((client) => owns[clients.indexOf(client)]);
  const choice = owners.length > 0 ? owners : alive;
  return choice.length > 0 ? draw.pick(choice) : undefined;
}

/** Something done to one client's process. */
export function toClient(
  layer: Layer,
  holds: string,
  maxMs: number,
  act: (client: SimulatedClient, scene: Scene) => (() => void) | undefined,
  choose: (
    scene: Scene,
  ) => Promise<SimulatedClient | undefined> | SimulatedClient | undefined = aClient,
): FaultKindOfSim {
  return {
    layer,
    holds,
    maxMs,
    begin: async (scene) => {
      const client = await choose(scene);
      if (!client) return undefined;
      const undo = act(client, scene);
      return { fired: () => 1, stop: () => undo?.() };
    },
  };
}

/** Replies get lost, and the connection with them, as when an OSD dies between the two. */
export function lostReplies(ops: 'read' | 'write' | 'watch' | 'ping'): FaultKindOfSim {
  return {
    layer: ops === 'watch' || ops === 'ping' ? 'watch' : 'osd',
    holds: 'what was done is done once, and answered by the resend',
    ...(ops === 'ping' ? PINGED : { maxMs: 3000 }),
    begin: async ({ simulation: { cluster }, draw }) => {
      const fault = await cluster.faults.dropReplies({ ops, times: draw.int(1, 5) });
      return {
        fired: () => fault.fired(),
        stop: async () => {
          await fault.stop();
          await (await cluster.faults.resetConnections({})).stop();
        },
      };
    },
  };
}
