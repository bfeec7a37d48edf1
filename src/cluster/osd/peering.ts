/**
 * How a primary begins an interval (a simple form of `osd/PeeringState.cc`):
 *
 *   ask        every OSD that is up what it has of the PG; from then on it refuses older intervals
 *   choose     the best copy: of the newest activation, then with the newest write
 *   check      that somebody answered for every interval after that activation in which a write may have been
 *              acknowledged; if not, wait: serving now could lose acknowledged writes
 *   recover    every member whose copy is another one copies the chosen one
 *   activate   every member notes that all are equal now, and what went before no longer matters
 *
 * Acknowledged writes survive because a write is acknowledged only when every member of its interval has it, and every
 * later interval starts from a copy that a member of that one has.
 */

import { RadosError } from '../../base/errors.js';
import type { Eversion, PgId } from '../../encoding/types.js';
import type { PastInterval, PgInfo } from '../store/pg-record.js';
import type { PeerDirectory } from './osd-peer.js';

export interface PeeringOptions {
  readonly pg: PgId;
  /** The epoch that the interval began at. */
  readonly since: number;
  readonly acting: readonly number[];
  /** OSDs that the map says are up. */
  readonly up: readonly number[];
  readonly peers: PeerDirectory;
  /** Throws when the interval ended. */
  readonly check: () => void;
  /** All intervals since the pool exists, for a PG that nobody has heard of. */
  readonly fullHistory: () => PastInterval[];
  readonly onDead: (osd: number) => void;
}

export type PeeringResult =
  /** Members are equal and active; `strays` have a copy that nobody needs any more. */
  | { kind: 'active'; strays: number[] }
  /** Waiting for one of these OSDs to come back. */
  | { kind: 'down'; blockedBy: number[] };

export async function peer(options: PeeringOptions): Promise<PeeringResult> {
  const { pg, since, acting, check } = options;
  const answers = await askAll(options);
  check();
  for (const osd of acting) {
    if (!answers.has(osd)) throw new RadosError('EAGAIN', `osd.${osd} does not answer`);
  }
  const best = bestCopy(answers);
  const history = best ? best.info.pastIntervals : options.fullHistory();
  const blocking = history.find((interval) => !interval.acting.some((osd) => answers.has(osd)));
  if (blocking) return { kind: 'down', blockedBy: [...blocking.acting] };
  if (!best && [...answers.values()].some((info) => info && !info.complete)) {
    return { kind: 'down', blockedBy: [] };
  }

  if (best) {
    const stale = acting.filter((osd) => !sameCopy(answers.get(osd), best.info));
    await Promise.all(stale.map((osd) => peerOf(options, osd).recover(pg, since, best.osd)));
    check();
  }
  await Promise.all(acting.map((osd) => peerOf(options, osd).activate(pg, since)));
  check();
  const strays = [...answers]
    .filter(([osd, info]) => info !== undefined && !acting.includes(osd))
    .map(([osd]) => osd);
  return { kind: 'active', strays };
}

function peerOf({ peers, onDead }: PeeringOptions, osd: number) {
  const found = peers.osd(osd);
  if (!found) {
    onDead(osd);
    throw new RadosError('EAGAIN', `osd.${osd} is gone`);
  }
  return found;
}

/** By OSD: what it has, undefined for nothing. Who does not answer is missing. */
async function askAll(options: PeeringOptions): Promise<Map<number, PgInfo | undefined>> {
  const { pg, since, up, peers, onDead } = options;
  const answers = new Map<number, PgInfo | undefined>();
  await Promise.all(
    up.map(async (osd) => {
      try {
        const found = peers.osd(osd);
        if (!found) throw new RadosError('EAGAIN', `osd.${osd} is gone`);
        answers.set(osd, await found.query(pg, since));
      } catch {
        onDead(osd);
      }
    }),
  );
  return answers;
}

export function compareVersions(a: Eversion, b: Eversion): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  return a.version < b.version ? -1 : a.version > b.version ? 1 : 0;
}

function bestCopy(
  answers: ReadonlyMap<number, PgInfo | undefined>,
): { osd: number; info: PgInfo } | undefined {
  let best: { osd: number; info: PgInfo } | undefined;
  for (const [osd, info] of answers) {
    // An OSD that never took part in an activation has nothing that was acknowledged.
    if (!info?.complete || info.lastEpochStarted === 0) continue;
    const better =
      !best ||
      info.lastEpochStarted > best.info.lastEpochStarted ||
      (info.lastEpochStarted === best.info.lastEpochStarted &&
        compareVersions(info.lastUpdate, best.info.lastUpdate) > 0);
    if (better) best = { osd, info };
  }
  return best;
}

/** Same activation and same newest write: the same content. */
function sameCopy(info: PgInfo | undefined, best: PgInfo): boolean {
  return (
    info !== undefined &&
    info.complete &&
    info.lastEpochStarted === best.lastEpochStarted &&
    compareVersions(info.lastUpdate, best.lastUpdate) === 0
  );
}
