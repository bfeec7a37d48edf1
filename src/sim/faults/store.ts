/** Faults of the disks that OSDs keep what they have on. */

import { isRadosError } from '../../base/errors.js';
import { DATA_DIR } from '../simulation.js';
import { anOsd, type FaultKindOfSim, type Scene } from './fault-kind.js';

const KEPT = 'what was acknowledged is there when the OSD comes back, and nothing is made up';
/** Room that a disk has left when it fills up. */
const ROOM_BYTES = { min: 4096, max: 512 * 1024 };

/** The next write fails, and with it the OSD; it comes back with what its disk has then. */
function lostPower(keep: 'none' | 'some' | 'all'): FaultKindOfSim {
  return {
    layer: 'store',
    onRequest: true,
    holds: KEPT,
    maxMs: 10_000,
    begin: async (scene: Scene) => {
      const { disk, cluster, world } = scene.simulation;
      // One disk at a time, so that it can be told whose it was.
      if (!disk || disk.failing) return undefined;
      const osd = anOsd(scene);
      const directory = `${DATA_DIR}/osd.${osd}`;
      let fired = 0;
      const failing = {
        path: new RegExp(`^${directory}/`),
        code: 'EIO',
        onFailed: () => {
          fired++;
          disk.failing = undefined;
          disk.loseUnsynced(directory, { keep, random: world.random });
        },
      };
      disk.failing = failing;
      return {
        fired: () => fired,
        stop: async () => {
          if (disk.failing === failing) disk.failing = undefined;
          if (fired === 0) return;
          await cluster.startOsd(osd).catch((error: unknown) => {
            // Another fault has brought it back, or its start met another: the end of that one brings it back.
            if (!isRadosError(error, 'EEXIST') && !isDiskError(error)) throw error;
          });
        },
      };
    },
  };
}

function isDiskError(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'EIO';
}

export const storeFaults = {
  'store.lost-unsynced': lostPower('none'),
  'store.torn-unsynced': lostPower('some'),
  'store.write-error': lostPower('all'),
  'store.disk-full': {
    layer: 'store',
    onRequest: true,
    holds: 'writes wait until there is room; what removes goes on',
    maxMs: 15_000,
    begin: async ({ simulation: { disk }, draw }) => {
      if (!disk || disk.capacityBytes !== Number.POSITIVE_INFINITY) return undefined;
      const { refusals } = disk;
      disk.capacityBytes = disk.usedBytes + draw.int(ROOM_BYTES.min, ROOM_BYTES.max);
      return {
        fired: () => disk.refusals - refusals,
        stop: () => {
          disk.capacityBytes = Number.POSITIVE_INFINITY;
        },
      };
    },
  },
} satisfies Record<string, FaultKindOfSim>;
