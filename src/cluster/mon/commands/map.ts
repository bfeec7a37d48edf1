/** The OSD map, its epochs and what it says about objects: `osd dump`, `osd getmap`, `osd map`. */

import { type PgId, formatPgId } from '../../../encoding/types.js';
import { objectHash, stableMod } from '../../../osdmap/object-hash.js';
import type { OsdMap } from '../../../osdmap/osdmap.js';
import { formatTable, type Json, leftColumn } from '../formatter.js';
import { type MonState, placementOf } from '../mon-state.js';
import { pgMapJson, pgStatLine } from '../pg-map.js';
import { type Command, type CommandArgs, CommandError } from './command.js';
import { existingOsds, osdDumpJson, osdDumpText } from './osd-dump.js';
import { osdSummary, osdSummaryJson } from './status.js';
import { parsePg } from './upmap.js';

export const EPOCH_ARG = { name: 'epoch', type: 'CephInt', optional: true, range: '0' } as const;

/** The newest map, or the one of the epoch that was asked for. */
export function mapOfEpoch(state: MonState, args: CommandArgs): OsdMap {
  const epoch = args.int('epoch') ?? 0;
  const map = epoch === 0 ? state.osdMaps.map : state.osdMaps.mapAt(epoch);
  if (!map) throw new CommandError('ENOENT', `there is no map for epoch ${epoch}`);
  return map;
}

function pgPlace(state: MonState, map: OsdMap, pg: PgId) {
  const { up, upPrimary, acting, actingPrimary } = placementOf(state, map).pgToUpActing(pg);
  const set = (osds: readonly number[]) => `[${osds.join(',')}]`;
  return { up, upPrimary, acting, actingPrimary, set };
}

export const mapCommands: readonly Command[] = [
  {
    prefix: 'osd stat',
    help: 'print summary of OSD map',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) =>
      output({
        plain: () => osdSummary(state, { margin: '', epoch: true }),
        json: () => osdSummaryJson(state.osdMaps.map),
      }),
  },
  {
    prefix: 'osd dump',
    args: [EPOCH_ARG],
    help: 'print summary of OSD map',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const map = mapOfEpoch(state, args);
      return output({
        plain: () => osdDumpText(map),
        json: () => osdDumpJson(map),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'osd ls',
    args: [EPOCH_ARG],
    help: 'show all OSD ids',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const osds = existingOsds(mapOfEpoch(state, args));
      return output({
        plain: () => osds.map((osd) => `${osd}\n`).join(''),
        json: () => osds,
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'osd getmaxosd',
    help: 'show largest OSD id',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) => {
      const { epoch, maxOsd } = state.osdMaps.map;
      return output({
        plain: () => `max_osd = ${maxOsd} in epoch ${epoch}\n`,
        json: () => ({ epoch, max_osd: maxOsd }),
      });
    },
  },
  {
    prefix: 'osd getmap',
    args: [EPOCH_ARG],
    help: 'get OSD map',
    module: 'osd',
    perm: 'r',
    run: ({ state, args }) => {
      const { epoch } = mapOfEpoch(state, args);
      const out = state.osdMaps.fullMap(epoch) as Uint8Array;
      return { r: 0, rs: `got osdmap epoch ${epoch}`, out };
    },
  },
  {
    prefix: 'osd lspools',
    help: 'list pools',
    module: 'osd',
    perm: 'r',
    flags: 4,
    run: ({ state, output }) => {
      const pools = [...state.osdMaps.map.poolName];
      return output({
        plain: () => pools.map(([id, name]) => `${id} ${name}\n`).join(''),
        json: () => pools.map(([poolnum, poolname]) => ({ poolnum, poolname })),
        newline: 'ensured',
      });
    },
  },
  {
    prefix: 'osd map',
    args: [
      { name: 'pool', type: 'CephPoolname' },
      { name: 'object', type: 'CephObjectname' },
      { name: 'nspace', type: 'CephString', optional: true },
    ],
    help: 'find pg for <object> in <pool> with [namespace]',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const poolName = args.string('pool');
      const oid = args.string('object');
      const nspace = args.string('nspace');
      const map = state.osdMaps.map;
      const found = map.poolByName(poolName);
      if (!found) throw new CommandError('ENOENT', `pool ${poolName} does not exist`);
      const { id, pool } = found;
      const hash = objectHash(pool.objectHash, { oid, nspace });
      const raw = formatPgId({ pool: id, seed: hash });
      const pg = { pool: id, seed: stableMod(hash, pool.pgNum) };
      const { up, upPrimary, acting, actingPrimary, set } = pgPlace(state, map, pg);
      const shown = nspace === '' ? oid : `${nspace}/${oid}`;
      return output({
        plain: () =>
          `osdmap e${map.epoch} pool '${poolName}' (${id}) object '${shown}' -> pg ${raw} ` +
          `(${formatPgId(pg)}) -> up (${set(up)}, p${upPrimary}) ` +
          `acting (${set(acting)}, p${actingPrimary})\n`,
        json: (): Json => ({
          epoch: map.epoch,
          pool: poolName,
          pool_id: id,
          objname: shown,
          raw_pgid: raw,
          pgid: formatPgId(pg),
          up,
          up_primary: upPrimary,
          acting,
          acting_primary: actingPrimary,
        }),
      });
    },
  },
  {
    prefix: 'pg map',
    args: [{ name: 'pgid', type: 'CephPgid' }],
    help: 'show mapping of pg to osds',
    module: 'pg',
    perm: 'r',
    run: ({ state, args, output }) => {
      const map = state.osdMaps.map;
      const raw = parsePg(args.string('pgid'));
      const pool = map.pool(raw.pool);
      if (!pool) throw new CommandError('ENOENT', `pg '${args.string('pgid')}' does not exist`);
      const pg = { pool: raw.pool, seed: stableMod(raw.seed, pool.pgNum) };
      const { up, acting, set } = pgPlace(state, map, pg);
      return output({
        plain: () =>
          `osdmap e${map.epoch} pg ${formatPgId(raw)} (${formatPgId(pg)}) -> ` +
          `up ${set(up)} acting ${set(acting)}\n`,
        json: () => ({
          epoch: map.epoch,
          raw_pgid: formatPgId(raw),
          pgid: formatPgId(pg),
          up,
          acting,
        }),
      });
    },
  },
  {
    prefix: 'pg stat',
    help: 'show placement group status.',
    module: 'pg',
    perm: 'r',
    run: ({ state, output }) => {
      const pgs = state.pgStats();
      return output({
        plain: () => pgStatLine(pgs),
        json: () => ({ pg_ready: true, pg_summary: pgMapJson(pgs) }),
      });
    },
  },
  {
    prefix: 'pg dump',
    args: [{ name: 'dumpcontents', type: 'CephChoices', strings: 'pgs_brief' }],
    help: 'show human-readable versions of pg map (only pgs_brief valid with plain)',
    module: 'pg',
    perm: 'r',
    run: ({ state, output }) => {
      const pgs = [...state.pgStats()].sort(
        (a, b) => a.pg.pool - b.pg.pool || a.pg.seed - b.pg.seed,
      );
      return output({
        plain: () =>
          formatTable(
            BRIEF_COLUMNS.map(leftColumn),
            pgs.map(({ pg, state: name, up, acting }) => [
              ...[formatPgId(pg), name, `[${up.join(',')}]`, String(up[0] ?? -1)],
              ...[`[${acting.join(',')}]`, String(acting[0] ?? -1)],
            ]),
          ),
        json: () => ({
          pg_stats: pgs.map(({ pg, state: name, up, acting }) => ({
            pgid: formatPgId(pg),
            state: name,
            up,
            acting,
            up_primary: up[0] ?? -1,
            acting_primary: acting[0] ?? -1,
          })),
        }),
      });
    },
  },
];

const BRIEF_COLUMNS = ['PG_STAT', 'STATE', 'UP', 'UP_PRIMARY', 'ACTING', 'ACTING_PRIMARY'];
