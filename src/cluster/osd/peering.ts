/**
 * How a primary begins an interval (a simple form of `osd/PeeringState.cc`):
 *
 *   ask        every OSD that is up what it has of the PG; from then on it refuses older intervals
 *   choose     the authority: a whole copy of the newest activation, with the newest write of those
 *   check      that somebody answered for every interval after that activation in which a write may have been
 *              acknowledged; if not, wait: serving now could lose acknowledged writes
 *   merge      every member takes the authority's log for its own, and learns from it which objects its copy lacks
 *   alive      the monitor has noted that this primary lived to serve (`up_thru`): it is asked for that at the beginning
 *   activate   every member notes that all have the same log now, and what went before no longer matters
 *
 * Acknowledged writes survive because a write is acknowledged only when every member of its interval has it, and every
 * later interval starts from a log that a member of that one has. The objects follow while the PG serves
 * (`object-recovery.ts`): a log that tells of a write is a promise to have its object before anybody sees it.
 */

import { RadosError } from '../../base/errors.js';
import type { PgId } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import type { PastInterval, PgInfo } from '../store/pg-record.js';
import { compareVersions, type PgHistory } from './log-merge.js';
import type { PeerDirectory, PgCopy } from './osd-peer.js';

export interface PeeringOptions {
  readonly pg: PgId;
  readonly whoami: number;
  /** The epoch that the interval began at. */
  readonly since: number;
  readonly acting: readonly number[];
  readonly minSize: number;
  /** OSDs that the map says are up. */
  readonly up: readonly number[];
  readonly peers: PeerDirectory;
  /** Throws when the interval ended. */
  readonly check: () => void;
  /** Resolves when the map says that this OSD was alive in the interval. */
  readonly becomeAlive: () => Promise<void>;
  /** All intervals since the pool exists, for a PG that nobody has heard of. */
  readonly fullHistory: () => PastInterval[];
  readonly onDead: (osd: number) => void;
  /** Has others serve until this OSD can. False: it is not done. */
  readonly handOver: (osds: readonly number[]) => boolean;
}

/** Members have the same log and are active; `strays` have copies that will not be needed when all is recovered. */
export interface ActivePeering {
  kind: 'active';
  /** What each member lacks. */
  missing: ReadonlyMap<number, readonly ObjectId[]>;
  /** Members whose copies have to be filled, and up to where they are. */
  backfill: ReadonlyMap<number, ObjectId | undefined>;
  strays: number[];
}

/** Others are going to serve: the next map says so. */
export interface HandedOver {
  kind: 'handedOver';
}

/** Waiting for one of these OSDs to come back, or for anybody with a whole copy. */
export interface BlockedPeering {
  kind: 'down' | 'incomplete';
  blockedBy: number[];
}

export type PeeringResult = ActivePeering | BlockedPeering | HandedOver;

type Answers = ReadonlyMap<number, PgCopy | undefined>;

export async function peer(options: PeeringOptions): Promise<PeeringResult> {
  const { pg, since, acting, check } = options;
  const alive = options.becomeAlive();
  // Where it is not waited for, it does not matter.
  alive.catch(() => {});
  const answers = await askAll(options);
  check();
  for (const osd of acting) {
    if (!answers.has(osd)) throw new RadosError('EAGAIN', `osd.${osd} does not answer`);
  }
  const best = chooseAuthority(options, answers);
  if (!best && [...answers.values()].some((copy) => copy && hasAnything(copy.info))) {
    return { kind: 'incomplete', blockedBy: [] };
  }
  const history = best ? best.info.pastIntervals : options.fullHistory();
  const blocking = history.find((interval) => !interval.acting.some((osd) => answers.has(osd)));
  if (blocking) return { kind: 'down', blockedBy: [...blocking.acting] };

  const members = await prepareMembers(options, answers, best);
  if (!members) return { kind: 'handedOver' };
  await alive;
  check();
  // Async, so that one who is gone leaves no other's answer unheard.
  await Promise.all(acting.map(async (osd) => peerOf(options, osd).activate(pg, since)));
  check();
  const strays = [...answers]
    .filter(([osd, copy]) => copy !== undefined && !acting.includes(osd))
    .map(([osd]) => osd);
  return { kind: 'active', ...members, strays };
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
async function askAll(options: PeeringOptions): Promise<Answers> {
  const { pg, since, up, peers, onDead } = options;
  const answers = new Map<number, PgCopy | undefined>();
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

/** It took part in something: there is more to the PG than a new one has. */
function hasAnything({ complete, lastEpochStarted, lastUpdate }: PgInfo): boolean {
  return !complete || lastEpochStarted > 0 || lastUpdate.version > 0n;
}

/**
 * Only of the newest activation that anybody took part in, even if nobody of it has a whole copy: what was written since is
 * in no older one. Of equal ones the primary's own, then a member's, then the one that lacks least.
 */
function chooseAuthority(
  { whoami, acting }: PeeringOptions,
  answers: Answers,
): { osd: number; info: PgInfo } | undefined {
  const copies = [...answers].flatMap(([osd, copy]) => (copy ? [{ osd, ...copy }] : []));
  const newest = Math.max(0, ...copies.map(({ info }) => info.lastEpochStarted));
  // An OSD that never took part in an activation has nothing that was acknowledged.
  if (newest === 0) return undefined;
  const distance = (osd: number) => (osd === whoami ? 0 : acting.includes(osd) ? 1 : 2);
  const candidates = copies
    .filter(({ info }) => info.complete && info.lastEpochStarted === newest)
    .sort(
      (a, b) =>
        compareVersions(b.info.lastUpdate, a.info.lastUpdate) ||
        distance(a.osd) - distance(b.osd) ||
        a.missing.length - b.missing.length,
    );
  return candidates[0];
}

interface Members {
  missing: Map<number, readonly ObjectId[]>;
  backfill: Map<number, ObjectId | undefined>;
}

/** Gives every member the authority's log. Undefined when another OSD is going to do it. */
async function prepareMembers(
  options: PeeringOptions,
  answers: Answers,
  best: { osd: number; info: PgInfo } | undefined,
): Promise<Members | undefined> {
  const { pg, since, acting, check } = options;
  const members: Members = { missing: new Map(), backfill: new Map() };
  const stale: number[] = [];
  for (const osd of acting) {
    const copy = answers.get(osd);
    // Versions are never used twice: the same newest one, the same log.
    const isEqual =
      !best ||
      (copy?.info.complete && compareVersions(copy.info.lastUpdate, best.info.lastUpdate) === 0);
    if (isEqual) members.missing.set(osd, copy?.missing ?? []);
    else stale.push(osd);
  }
  if (!best || stale.length === 0) return members;
  const history = await peerOf(options, best.osd).history(pg, since);
  check();
  if (!history) throw new RadosError('EAGAIN', `osd.${best.osd} has no such PG any more`);
  const lagging: number[] = [];
  await Promise.all(
    stale.map(async (osd) => {
      const lacks = await peerOf(options, osd).merge(pg, since, history);
      if (lacks) members.missing.set(osd, lacks);
      else lagging.push(osd);
    }),
  );
  check();
  const able = await fillLagging(options, { members, lagging, authority: best.osd, history });
  return able ? members : undefined;
}

/**
 * Members whose logs share nothing with the authority's. They are filled while the PG serves, if enough others are there to
 * serve it and one of those is the primary; else they have to copy everything first.
 */
async function fillLagging(
  options: PeeringOptions,
  {
    members,
    lagging,
    authority,
    history,
  }: { members: Members; lagging: readonly number[]; authority: number; history: PgHistory },
): Promise<boolean> {
  const { pg, since, acting, minSize, whoami } = options;
  if (lagging.length === 0) return true;
  const others = acting.filter((osd) => !lagging.includes(osd));
  const canServe = others.length >= Math.max(1, minSize);
  if (canServe && lagging.includes(whoami)) {
    if (options.handOver([...others, ...lagging])) return false;
  }
  const copies = !canServe || lagging.includes(whoami);
  await Promise.all(
    lagging.map(async (osd) => {
      const member = peerOf(options, osd);
      if (copies) {
        await member.recover(pg, since, authority);
        members.missing.set(osd, history.missing);
        return;
      }
      const { last, missing } = await member.beginBackfill(pg, since, history);
      members.missing.set(osd, missing);
      members.backfill.set(osd, last);
    }),
  );
  return true;
}
