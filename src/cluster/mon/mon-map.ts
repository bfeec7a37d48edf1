/** The map of monitors: one of them, called `a`. */

import { decodeAll, encodeWith } from '../../encoding/codec.js';
import { type EntityAddr, formatAddrvec } from '../../encoding/entity.js';
import { utimeFromMs } from '../../encoding/types.js';
import { type MonMap, monMap } from '../../messages/mon-messages.js';
import type { MonDatabase } from './mon-database.js';
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

export interface MonMapOptions {
  fsid: string;
  addrs: readonly EntityAddr[];
  nowMs: number;
}

/** The map that the database has, in its next epoch when the monitor's address is another one now; else a first one. */
export function currentMonMap(database: MonDatabase, options: MonMapOptions): MonMap {
  const bytes = database.get('monmap', 'current');
  const known = bytes && decodeAll('MonMap', monMap, bytes);
  const current = known ? movedTo(known, options) : createMonMap(options);
  if (current !== known) {
    database.write('monmap', { set: [['current', encodeMonMap(current)]] });
  }
  return current;
}

function movedTo(known: MonMap, { addrs, nowMs }: MonMapOptions): MonMap {
  const info = known.monInfo.get(MON_NAME);
  if (!info || formatAddrvec(info.publicAddrs) === formatAddrvec(addrs)) return known;
  return {
    ...known,
    epoch: known.epoch + 1,
    lastChanged: utimeFromMs(nowMs),
    monInfo: new Map([[MON_NAME, { ...info, publicAddrs: [...addrs] }]]),
  };
}

function createMonMap(options: MonMapOptions): MonMap {
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
