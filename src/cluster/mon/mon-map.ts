/** The map of monitors: one of them, called `a`. */

import { encodeWith } from '../../encoding/codec.js';
import type { EntityAddr } from '../../encoding/entity.js';
import { utimeFromMs } from '../../encoding/types.js';
import { type MonMap, monMap } from '../../messages/mon-messages.js';
import { RELEASE } from './releases.js';

export const MON_NAME = 'a';

/** kraken, luminous, mimic, osdmap-prune, nautilus, octopus, pacific, elector-pinging. */
const PERSISTENT_FEATURES = 0xffn;

export const PERSISTENT_FEATURE_NAMES = [
  'kraken',
  'luminous',
  'mimic',
  'osdmap-prune',
  'nautilus',
  'octopus',
  'pacific',
  'elector-pinging',
];

export const ELECTION_STRATEGY_CLASSIC = 1;

export function createMonMap(options: {
  fsid: string;
  addrs: readonly EntityAddr[];
  nowMs: number;
}): MonMap {
  const now = utimeFromMs(options.nowMs);
  return {
    fsid: options.fsid,
    epoch: 1,
    lastChanged: now,
    created: now,
    persistentFeatures: { features: PERSISTENT_FEATURES },
    optionalFeatures: { features: 0n },
    monInfo: new Map([
      [
        MON_NAME,
        {
          name: MON_NAME,
          publicAddrs: [...options.addrs],
          priority: 0,
          weight: 0,
          crushLoc: new Map<string, string>(),
        },
      ],
    ]),
    ranks: [MON_NAME],
    minMonRelease: RELEASE.pacific,
    removedRanks: [],
    strategy: ELECTION_STRATEGY_CLASSIC,
    disallowedLeaders: [],
    stretchModeEnabled: 0,
    tiebreakerMon: '',
    stretchMarkedDownMons: [],
  };
}

export function encodeMonMap(map: MonMap): Uint8Array {
  return encodeWith(monMap, map);
}
