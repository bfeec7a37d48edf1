/** Exceptions from CRUSH's placement: `osd pg-upmap`, `osd pg-upmap-items`, `osd pg-temp`, `osd primary-temp`. */

import { formatPgId, type PgId } from '../../../encoding/types.js';
import { parsePgId } from '../../../osdmap/collections.js';
import type { OsdMap } from '../../../osdmap/osdmap.js';
import type { PgPool } from '../../../osdmap/pool.js';
import type { MonState } from '../mon-state.js';
import { type Command, type CommandCall, CommandError, done } from './command.js';

const PG_ARG = { name: 'pgid', type: 'CephPgid' } as const;
const OSDS_ARG = { name: 'id', type: 'CephOsdName', many: true } as const;

/** The PG that a text names, which need not exist. */
export function parsePg(text: string): PgId {
  try {
    return parsePgId(text);
  } catch {
    throw new CommandError('EINVAL', `invalid pgid '${text}'`);
  }
}

function existingPg({ state, args }: CommandCall): { pg: PgId; pool: PgPool; key: string } {
  const text = args.string('pgid');
  const pg = parsePg(text);
  const pool = state.osdMaps.map.pool(pg.pool);
  if (!pool || pg.seed >= pool.pgNum) {
    throw new CommandError('ENOENT', `pg ${text} does not exist`);
  }
  return { pg, pool, key: formatPgId(pg) };
}

function checkOsds(map: OsdMap, osds: readonly number[]): void {
  for (const osd of osds) {
    if (!map.exists(osd)) throw new CommandError('ENOENT', `osd.${osd} does not exist`);
  }
}

/** Upmaps need clients that know them. */
function checkCompat(state: MonState): void {
  if (state.osdMaps.map.requireMinCompatClient >= 12) return;
  throw new CommandError(
    'EPERM',
    'min_compat_client jewel < luminous, which is required for pg-upmap. ' +
      "Try 'ceph osd set-require-min-compat-client luminous' before using the new interface",
  );
}

export const upmapCommands: readonly Command[] = [
  {
    prefix: 'osd pg-upmap',
    args: [PG_ARG, OSDS_ARG],
    help: 'set pg_upmap mapping <pgid>:[<id> [<id>...]] (developers only)',
    module: 'osd',
    perm: 'rw',
    run: (call) => {
      const { pool, key } = existingPg(call);
      const { state, args } = call;
      checkCompat(state);
      const osds = args.ints('id');
      if (osds.length > pool.size) {
        throw new CommandError('EINVAL', `num of osds (${osds.length}) > pool size (${pool.size})`);
      }
      checkOsds(state.osdMaps.map, osds);
      if (new Set(osds).size !== osds.length) {
        throw new CommandError('EINVAL', 'duplicate osds in the mapping');
      }
      state.osdMaps.commit((incremental) => incremental.newPgUpmap.set(key, osds));
      return done(`set ${key} pg_upmap mapping to [${osds.join(',')}]`);
    },
  },
  {
    prefix: 'osd rm-pg-upmap',
    args: [PG_ARG],
    help: 'clear pg_upmap mapping for <pgid> (developers only)',
    module: 'osd',
    perm: 'rw',
    run: (call) => {
      const { pg, key } = existingPg(call);
      call.state.osdMaps.commit((incremental) => incremental.oldPgUpmap.push(pg));
      return done(`clear ${key} pg_upmap mapping`);
    },
  },
  {
    prefix: 'osd pg-upmap-items',
    args: [PG_ARG, OSDS_ARG],
    help: 'set pg_upmap_items mapping <pgid>:{<id> to <id>, [...]} (developers only)',
    module: 'osd',
    perm: 'rw',
    run: (call) => {
      const { pool, key } = existingPg(call);
      const { state, args } = call;
      checkCompat(state);
      const osds = args.ints('id');
      if (osds.length % 2 !== 0) {
        throw new CommandError('EINVAL', 'you must specify pairs of osd ids to be remapped');
      }
      const pairs = Array.from({ length: osds.length / 2 }, (_, i): [number, number] => [
        osds[2 * i] as number,
        osds[2 * i + 1] as number,
      ]);
      if (pairs.length > pool.size) {
        throw new CommandError(
          'EINVAL',
          `num of osd pairs (${pairs.length}) > pool size (${pool.size})`,
        );
      }
      // A pair that moves nothing is left out, with a word about it.
      const said = pairs
        .filter(([from, to]) => from === to)
        .map(([from, to]) => `from osd.${from} == to osd.${to}, `);
      const moving = pairs.filter(([from, to]) => from !== to);
      checkOsds(state.osdMaps.map, moving.flat());
      if (moving.length === 0) {
        throw new CommandError(
          'EINVAL',
          `${said.join('')}no valid upmap items(pairs) is specified`,
        );
      }
      state.osdMaps.commit((incremental) => incremental.newPgUpmapItems.set(key, moving));
      const shown = moving.map(([from, to]) => `${from}->${to}`).join(',');
      return done(`${said.join('')}set ${key} pg_upmap_items mapping to [${shown}]`);
    },
  },
  {
    prefix: 'osd rm-pg-upmap-items',
    args: [PG_ARG],
    help: 'clear pg_upmap_items mapping for <pgid> (developers only)',
    module: 'osd',
    perm: 'rw',
    run: (call) => {
      const { pg, key } = existingPg(call);
      call.state.osdMaps.commit((incremental) => incremental.oldPgUpmapItems.push(pg));
      return done(`clear ${key} pg_upmap_items mapping`);
    },
  },
  {
    prefix: 'osd pg-temp',
    args: [PG_ARG, { ...OSDS_ARG, optional: true }],
    help: 'set pg_temp mapping pgid:[<id> [<id>...]] (developers only)',
    module: 'osd',
    perm: 'rw',
    run: (call) => {
      const { key } = existingPg(call);
      const { state, args } = call;
      const osds = args.ints('id');
      checkOsds(state.osdMaps.map, osds);
      state.osds.pinPgTemp(key, osds.length > 0);
      state.osdMaps.commit((incremental) => incremental.newPgTemp.set(key, osds));
      if (osds.length === 0) return done(`done cleaning up pg_temp of ${key}`);
      return done(`set ${key} pg_temp mapping to [${osds.join(',')}]`);
    },
  },
  {
    prefix: 'osd primary-temp',
    args: [PG_ARG, { name: 'id', type: 'CephOsdName' }],
    help: 'set primary_temp mapping pgid:<id>|-1 (developers only)',
    module: 'osd',
    perm: 'rw',
    run: (call) => {
      const { key } = existingPg(call);
      const { state, args } = call;
      const osd = args.requiredInt('id');
      if (osd !== -1) checkOsds(state.osdMaps.map, [osd]);
      state.osdMaps.commit((incremental) => incremental.newPrimaryTemp.set(key, osd));
      return done(`set ${key} primary_temp mapping to ${osd}`);
    },
  },
];
