/** The monitor and its quorum of one: `mon dump`, `mon stat`, `quorum_status`, `features`. */

import { ADDR_TYPE, type EntityAddr, formatAddrvec } from '../../../encoding/entity.js';
import { FEATURES_SUPPORTED } from '../../../messages/features.js';
import { compactJson, type Json } from '../formatter.js';
import { encodeMonMap, MON_NAME, PERSISTENT_FEATURE_NAMES } from '../mon-map.js';
import type { MonState } from '../mon-state.js';
import { releaseName } from '../releases.js';
import { formatTime, formatTimeZulu } from '../times.js';
import { type Command, CommandError } from './command.js';
import { countOsds, ELECTION_EPOCH, MGR_MODULES, quorumAge } from './status.js';

/** `host:port`, IPv6 in brackets. */
function hostPort(addr: EntityAddr): string {
  return `${addr.host.includes(':') ? `[${addr.host}]` : addr.host}:${addr.port}`;
}

const TYPE_NAMES: Record<number, string> = {
  [ADDR_TYPE.NONE]: 'none',
  [ADDR_TYPE.LEGACY]: 'v1',
  [ADDR_TYPE.MSGR2]: 'v2',
  [ADDR_TYPE.ANY]: 'any',
};

export function addrvecJson(addrs: readonly EntityAddr[]): Json {
  return {
    addrvec: addrs.map((addr) => ({
      type: TYPE_NAMES[addr.type] ?? '???',
      addr: addr.host === '' ? '(unrecognized address family 0)' : hostPort(addr),
      nonce: addr.nonce,
    })),
  };
}

/** The one address that clients of messenger v1 would use, or else the first. */
export function legacyAddr(addrs: readonly EntityAddr[]): string {
  const addr = addrs.find(({ type }) => type === ADDR_TYPE.LEGACY) ?? addrs[0];
  if (!addr || addr.host === '') return '(unrecognized address family 0)/0';
  return `${hostPort(addr)}/${addr.nonce}`;
}

function monMapEntries(state: MonState): Record<string, Json> {
  const map = state.monMap;
  return {
    epoch: map.epoch,
    fsid: map.fsid,
    modified: formatTimeZulu(map.lastChanged),
    created: formatTimeZulu(map.created),
    min_mon_release: map.minMonRelease,
    min_mon_release_name: releaseName(map.minMonRelease),
    election_strategy: map.strategy,
    'disallowed_leaders: ': '',
    stretch_mode: false,
    tiebreaker_mon: '',
    'removed_ranks: ': '',
    features: { persistent: PERSISTENT_FEATURE_NAMES, optional: [] },
    mons: map.ranks.map((name, rank) => {
      const addrs = map.monInfo.get(name)?.publicAddrs ?? [];
      return {
        rank,
        name,
        public_addrs: addrvecJson(addrs),
        addr: legacyAddr(addrs),
        public_addr: legacyAddr(addrs),
        priority: 0,
        weight: 0,
        crush_location: '{}',
      };
    }),
  };
}

function monMapText(state: MonState): string {
  const map = state.monMap;
  const lines = [
    `epoch ${map.epoch}`,
    `fsid ${map.fsid}`,
    `last_changed ${formatTime(map.lastChanged)}`,
    `created ${formatTime(map.created)}`,
    `min_mon_release ${map.minMonRelease} (${releaseName(map.minMonRelease)})`,
    `election_strategy: ${map.strategy}`,
    ...map.ranks.map(
      (name, rank) =>
        `${rank}: ${formatAddrvec(map.monInfo.get(name)?.publicAddrs ?? [])} mon.${name}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

/** There is one epoch of the monmap; any other is refused. */
function checkEpoch(state: MonState, epoch: number | undefined): void {
  if (epoch !== undefined && epoch !== 0 && epoch !== state.monMap.epoch) {
    throw new CommandError('ENOENT', `there is no map for epoch ${epoch}`);
  }
}

const EPOCH_ARG = { name: 'epoch', type: 'CephInt', optional: true, range: '0' } as const;

function featureGroup(features: bigint, count: number): Json {
  return { features: `0x${features.toString(16)}`, release: 'luminous', num: count };
}

export const monCommands: readonly Command[] = [
  {
    prefix: 'mon dump',
    args: [EPOCH_ARG],
    help: 'dump formatted monmap (optionally from epoch)',
    module: 'mon',
    perm: 'r',
    run: ({ state, args, output }) => {
      checkEpoch(state, args.int('epoch'));
      return output({
        rs: `dumped monmap epoch ${state.monMap.epoch}`,
        plain: () => monMapText(state),
        json: () => ({ ...monMapEntries(state), quorum: [0] }),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'mon getmap',
    args: [EPOCH_ARG],
    help: 'get monmap',
    module: 'mon',
    perm: 'r',
    run: ({ state, args }) => {
      checkEpoch(state, args.int('epoch'));
      const rs = `got monmap epoch ${state.monMap.epoch}`;
      return { r: 0, rs, out: encodeMonMap(state.monMap) };
    },
  },
  {
    prefix: 'mon stat',
    help: 'summarize monitor status',
    module: 'mon',
    perm: 'r',
    run: ({ state, output }) => {
      const { epoch, minMonRelease } = state.monMap;
      const addrs = formatAddrvec(state.monMap.monInfo.get(MON_NAME)?.publicAddrs ?? []);
      return output({
        plain: () =>
          `e${epoch}: 1 mons at {${MON_NAME}=${addrs}} removed_ranks: {}, election epoch ` +
          `${ELECTION_EPOCH}, leader 0 ${MON_NAME}, quorum 0 ${MON_NAME}\n`,
        json: () => ({
          epoch,
          min_mon_release_name: releaseName(minMonRelease),
          num_mons: 1,
          leader: MON_NAME,
          quorum: [{ rank: 0, name: MON_NAME }],
        }),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'quorum_status',
    help: 'report status of monitor quorum',
    module: 'mon',
    perm: 'r',
    run: ({ state, args, output }) => {
      const json = () => ({
        election_epoch: ELECTION_EPOCH,
        quorum: [0],
        quorum_names: [MON_NAME],
        quorum_leader_name: MON_NAME,
        quorum_age: quorumAge(state),
        features: {
          quorum_con: String(FEATURES_SUPPORTED),
          quorum_mon: PERSISTENT_FEATURE_NAMES,
        },
        monmap: monMapEntries(state),
      });
      // On one line even when nobody asked for JSON.
      return output({
        json,
        ...(args.has('format') ? {} : { plain: () => compactLine(json()) }),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'features',
    help: 'report of connected features',
    module: 'mon',
    perm: 'r',
    run: ({ state, output }) => {
      const clients = new Map<bigint, number>();
      for (const { features } of state.clients()) {
        clients.set(features, (clients.get(features) ?? 0) + 1);
      }
      const { up } = countOsds(state.osdMaps.map);
      return output({
        json: () => ({
          mon: [featureGroup(FEATURES_SUPPORTED, 1)],
          ...(up > 0 ? { osd: [featureGroup(FEATURES_SUPPORTED, up)] } : {}),
          client: [...clients].map(([features, count]) => featureGroup(features, count)),
        }),
      });
    },
  },
  {
    prefix: 'time-sync-status',
    help: 'show time sync status',
    module: 'mon',
    perm: 'r',
    run: ({ output }) =>
      output({
        json: () => ({
          timechecks: { epoch: ELECTION_EPOCH, round: 0, round_status: 'finished' },
        }),
      }),
  },
  {
    prefix: 'mgr stat',
    help: 'dump basic info about the mgr cluster state',
    module: 'mgr',
    perm: 'r',
    run: ({ output }) =>
      output({ json: () => ({ epoch: 1, available: false, active_name: '', num_standby: 0 }) }),
  },
  {
    prefix: 'mgr module ls',
    help: 'list active mgr modules',
    module: 'mgr',
    perm: 'r',
    run: ({ output }) =>
      output({
        json: () => ({
          always_on_modules: [],
          enabled_modules: MGR_MODULES,
          disabled_modules: [],
        }),
      }),
  },
  {
    prefix: 'mgr services',
    help: 'list service endpoints provided by mgr modules',
    module: 'mgr',
    perm: 'r',
    run: ({ output }) => output({ json: () => ({}) }),
  },
];

function compactLine(value: Json): string {
  return `${compactJson(value)}\n`;
}
