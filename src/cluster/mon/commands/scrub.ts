/** Has PGs scrubbed, as a manager would (`mgr/DaemonServer.cc`): `pg|osd scrub|deep-scrub|repair`. */

import { formatPgId, type PgId } from '../../../encoding/types.js';
import type { ScrubKind } from '../../osd/scrub/scrubber.js';
import { type MonState, placementOf } from '../mon-state.js';
import { type Command, type CommandCall, CommandError, done } from './command.js';

const KINDS: Readonly<Record<string, ScrubKind>> = {
  scrub: { deep: false, repair: false },
  'deep-scrub': { deep: true, repair: false },
  repair: { deep: true, repair: true },
};

function scrubPg({ state, args }: CommandCall, word: string, kind: ScrubKind) {
  const text = args.string('pgid');
  const match = /^(\d+)\.([\da-f]+)$/.exec(text);
  if (!match) throw new CommandError('EINVAL', `invalid pgid '${text}'`);
  const pg: PgId = { pool: Number(match[1]), seed: Number.parseInt(match[2] as string, 16) };
  const pool = state.osdMaps.map.pool(pg.pool);
  if (!pool || pg.seed >= pool.pgNum) throw new CommandError('ENOENT', `pg ${text} does not exist`);
  const primary = primaryOf(state, pg);
  if (primary < 0) throw new CommandError('EAGAIN', `pg ${text} has no primary osd`);
  if (!state.scrub(primary, pg, kind)) {
    throw new CommandError(
      'EAGAIN',
      `pg ${text} primary osd.${primary} is not currently connected`,
    );
  }
  return done(`instructing pg ${formatPgId(pg)} on osd.${primary} to ${word}`);
}

function scrubOsd({ state, args }: CommandCall, word: string, kind: ScrubKind) {
  const who = args.string('who');
  const { map } = state.osdMaps;
  const isAll = who === '*' || who === 'all' || who === 'any';
  const id = /^(?:osd\.)?(\d+)$/.exec(who)?.[1];
  if (!isAll && id === undefined) {
    throw new CommandError('EINVAL', `osd '${who}' does not exist`);
  }
  const osds = isAll
    ? Array.from({ length: map.maxOsd }, (_, osd) => osd).filter((osd) => map.isUp(osd))
    : [Number(id)];
  if (!isAll && !map.isUp(Number(id))) throw new CommandError('EAGAIN', `osd.${id} is not up`);
  for (const [pool, { pgNum }] of map.pools) {
    for (let seed = 0; seed < pgNum; seed++) {
      const pg = { pool, seed };
      const primary = primaryOf(state, pg);
      if (osds.includes(primary)) state.scrub(primary, pg, kind);
    }
  }
  return done(`osd(s) ${osds.join(',')} instructed to ${word}`);
}

function primaryOf(state: MonState, pg: PgId): number {
  return placementOf(state, state.osdMaps.map).pgToUpActing(pg).actingPrimary;
}

export const scrubCommands: readonly Command[] = Object.entries(KINDS).flatMap(
  ([word, kind]): Command[] => [
    {
      prefix: `pg ${word}`,
      args: [{ name: 'pgid', type: 'CephPgid' }],
      help: `start ${word} on <pgid>`,
      module: 'pg',
      perm: 'rw',
      run: (call) => scrubPg(call, word, kind),
    },
    {
      prefix: `osd ${word}`,
      args: [{ name: 'who', type: 'CephString' }],
      help: `initiate ${word} on osd <who>, or use <all|any> to initiate on all`,
      module: 'osd',
      perm: 'rw',
      run: (call) => scrubOsd(call, word, kind),
    },
  ],
);
