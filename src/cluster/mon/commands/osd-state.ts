/** What an operator does to OSDs: in, out, down, weights, and the map's flags. */

import { NEW_OSD_XINFO } from '../../../osdmap/apply-incremental.js';
import { MAX_PRIMARY_AFFINITY, OSD_IN, OSD_STATE, type OsdMap } from '../../../osdmap/osdmap.js';
import { mapFlagNames, settableFlag, SETTABLE_FLAGS } from '../flags.js';
import { formatShort } from '../formatter.js';
import type { MonState } from '../mon-state.js';
import { RELEASE } from '../releases.js';
import { minCompatClient } from './osd-dump.js';
import { requiredOsd } from './osd.js';
import { type Command, type CommandCall, CommandError, done } from './command.js';

const IDS_ARG = { name: 'ids', type: 'CephString', many: true } as const;
const ID_ARG = { name: 'id', type: 'CephOsdName' } as const;
const SURE_ARG = { name: 'yes_i_really_mean_it', type: 'CephBool', optional: true } as const;

/** `0`, `osd.0`; `any` and `all` are the caller's. */
export function parseOsdIds(words: readonly string[], map: OsdMap): number[] {
  return words.flatMap((word) => {
    if (word === 'any' || word === 'all' || word === '*') {
      return Array.from({ length: map.maxOsd }, (_, osd) => osd).filter((osd) => map.exists(osd));
    }
    const number = /^(?:osd\.)?(\d{1,9})$/.exec(word)?.[1];
    if (number === undefined) {
      throw new CommandError(
        'EINVAL',
        `Expected option value to be integer, got '${word}'invalid osd id-1`,
      );
    }
    return [Number(number)];
  });
}

interface Change {
  verb: 'in' | 'out' | 'down';
  /** Already so. */
  is(map: OsdMap, osd: number): boolean;
  marked: string;
}

const CHANGES: Record<Change['verb'], Change> = {
  in: { verb: 'in', is: (map, osd) => !map.isOut(osd), marked: 'marked in' },
  out: { verb: 'out', is: (map, osd) => map.isOut(osd), marked: 'marked out' },
  down: { verb: 'down', is: (map, osd) => !map.isUp(osd), marked: 'marked down' },
};

/** Several OSDs in one epoch; what could not be done to one of them is said and does not stop the others. */
function changeOsds({ state, args }: CommandCall, change: Change) {
  const words = args.strings('ids');
  const map = state.osdMaps.map;
  const wholesale = words.some((word) => word === 'any' || word === 'all');
  const said: string[] = [];
  const changed: number[] = [];
  for (const osd of parseOsdIds(words, map)) {
    if (!map.exists(osd)) {
      said.push(`osd.${osd} does not exist. `);
    } else if (change.is(map, osd)) {
      if (!wholesale) said.push(`osd.${osd} is already ${change.verb}. `);
    } else {
      changed.push(osd);
      if (!wholesale) said.push(`${change.marked} osd.${osd}. `);
    }
  }
  if (changed.length > 0) applyChange(state, change.verb, changed);
  return done(said.join(''));
}

function applyChange(state: MonState, verb: Change['verb'], osds: readonly number[]): void {
  if (verb === 'down') {
    state.osds.markDown(osds);
    return;
  }
  state.osdMaps.commit((incremental, map) => {
    for (const osd of osds) {
      const xinfo = map.osdXinfo[osd] ?? NEW_OSD_XINFO;
      // The weight that an OSD had comes back with it.
      incremental.newWeight.set(osd, verb === 'in' ? xinfo.oldWeight || OSD_IN : 0);
      const oldWeight = verb === 'in' ? 0 : (map.osdWeight[osd] ?? 0);
      incremental.newXinfo.set(osd, { ...xinfo, oldWeight });
      // Whoever was put out by hand stays out when it boots.
      if (verb === 'out' && (map.osdState[osd] ?? 0) & OSD_STATE.AUTOOUT) {
        incremental.newState.set(osd, OSD_STATE.AUTOOUT);
      }
    }
    incremental.newLastInChange = incremental.modified;
  });
}

/** 16.16 fixed point, shown in hexadecimal. */
function fixedPoint(value: number): number {
  return Math.trunc(value * 0x10000);
}

function setFlag({ state, args }: CommandCall, to: boolean) {
  const key = args.string('key');
  const flag = settableFlag(key);
  if (flag === undefined) throw new CommandError('EINVAL', `unrecognized flag '${key}'`);
  state.osdMaps.commit((incremental, map) => {
    incremental.newFlags = to ? map.flags | flag : map.flags & ~flag;
  });
  return done(`${mapFlagNames(flag).join(',')} is ${to ? 'set' : 'unset'}`);
}

const FLAG_ARG = {
  name: 'key',
  type: 'CephChoices',
  strings: SETTABLE_FLAGS.join('|'),
} as const;

export const osdStateCommands: readonly Command[] = [
  {
    prefix: 'osd set',
    args: [FLAG_ARG, SURE_ARG],
    help: 'set <key>',
    module: 'osd',
    perm: 'rw',
    run: (call) => setFlag(call, true),
  },
  {
    prefix: 'osd unset',
    args: [FLAG_ARG],
    help: 'unset <key>',
    module: 'osd',
    perm: 'rw',
    run: (call) => setFlag(call, false),
  },
  {
    prefix: 'osd in',
    args: [IDS_ARG],
    help: 'set osd(s) <id> [<id>...] in, can use <any|all> to automatically set all previously out osds in',
    module: 'osd',
    perm: 'rw',
    run: (call) => changeOsds(call, CHANGES.in),
  },
  {
    prefix: 'osd out',
    args: [IDS_ARG],
    help: 'set osd(s) <id> [<id>...] out, or use <any|all> to set all osds out',
    module: 'osd',
    perm: 'rw',
    run: (call) => changeOsds(call, CHANGES.out),
  },
  {
    prefix: 'osd down',
    args: [IDS_ARG, { name: 'definitely_dead', type: 'CephBool', optional: true }],
    help: 'set osd(s) <id> [<id>...] down, or use <any|all> to set all osds down',
    module: 'osd',
    perm: 'rw',
    run: (call) => changeOsds(call, CHANGES.down),
  },
  {
    prefix: 'osd reweight',
    args: [ID_ARG, { name: 'weight', type: 'CephFloat', range: '0.0|1.0' }],
    help: 'reweight osd to 0.0 < <weight> < 1.0',
    module: 'osd',
    perm: 'rw',
    run: ({ state, args }) => {
      const weight = args.requiredFloat('weight');
      if (weight < 0) throw new CommandError('EINVAL', 'weight must be >= 0');
      const osd = requiredOsd(state, args);
      const fixed = fixedPoint(weight);
      if (fixed > 0xffff_ffff) throw new CommandError('EINVAL', 'weight is too large');
      state.osdMaps.commit((incremental) => incremental.newWeight.set(osd, fixed));
      return done(`reweighted osd.${osd} to ${formatShort(weight)} (${fixed.toString(16)})`);
    },
  },
  {
    prefix: 'osd primary-affinity',
    args: [ID_ARG, { name: 'weight', type: 'CephFloat', range: '0.0|1.0' }],
    help: 'adjust osd primary-affinity from 0.0 <= <weight> <= 1.0',
    module: 'osd',
    perm: 'rw',
    run: ({ state, args }) => {
      const weight = args.requiredFloat('weight');
      if (weight < 0) throw new CommandError('EINVAL', 'weight must be >= 0');
      const osd = requiredOsd(state, args);
      const affinity = Math.min(Math.trunc(weight * MAX_PRIMARY_AFFINITY), 0xffff_ffff);
      state.osdMaps.commit((incremental) => incremental.newPrimaryAffinity.set(osd, affinity));
      // Ceph prints the values of two stream flags around the number, where it meant to print it in hexadecimal.
      return done(`set osd.${osd} primary-affinity to ${formatShort(weight)} (8${affinity}2)`);
    },
  },
  {
    prefix: 'osd set-require-min-compat-client',
    args: [{ name: 'version', type: 'CephString' }, SURE_ARG],
    help: 'set the minimum client version we will maintain compatibility with',
    module: 'osd',
    perm: 'rw',
    run: ({ state, args }) => {
      const version = args.string('version');
      if (!Object.hasOwn(RELEASE, version)) {
        throw new CommandError('EINVAL', `version ${version} is not recognized`);
      }
      const release = RELEASE[version as keyof typeof RELEASE];
      const needed = minCompatClient(state.osdMaps.map);
      if (release < RELEASE[needed as keyof typeof RELEASE]) {
        throw new CommandError(
          'EPERM',
          `osdmap current utilizes features that require ${needed}; cannot set require_min_compat_client below that to ${version}`,
        );
      }
      state.osdMaps.commit((incremental) => {
        incremental.newRequireMinCompatClient = release;
      });
      return done(`set require_min_compat_client to ${version}`);
    },
  },
];
