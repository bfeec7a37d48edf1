/** What other OSDs ask of this one, answered by its PGs. */

import { RadosError } from '../../base/errors.js';
import { type Eversion, formatPgId, type PgId } from '../../encoding/types.js';
import { objectToPg } from '../../osdmap/placement.js';
import type { ObjectId } from '../store/object-id.js';
import type { PgHistory } from './log-merge.js';
import type { CopySource } from './op-context.js';
import type { OsdMaps } from './osd-maps.js';
import type {
  BackfillStart,
  CopyTarget,
  OsdPeer,
  PgCopy,
  RecoveredObject,
  ReplicatedChange,
} from './osd-peer.js';
import type { Pg } from './pg.js';
import type { PgMember } from './pg-member.js';
import type { ScrubbedObject, ScrubRange } from './scrub/scrub-map.js';

export interface PeerCallsHost {
  readonly whoami: number;
  readonly maps: OsdMaps;
  /** What calls of other OSDs wait for, when they must. */
  readonly passage: (() => Promise<void> | undefined) | undefined;
  /** The same for heartbeats. */
  readonly pingPassage: (() => Promise<void> | undefined) | undefined;
  /** Undefined when there is none, or the OSD has stopped. */
  readonly pg: (id: PgId) => Pg | undefined;
  readonly removePg: (pg: Pg) => Promise<void>;
}

export class PeerCalls implements OsdPeer {
  readonly #host: PeerCallsHost;

  constructor(host: PeerCallsHost) {
    this.#host = host;
  }

  /** The caller may know a map that this OSD has not seen yet. */
  async #pgFor(id: PgId, since: number): Promise<Pg | undefined> {
    const { passage, maps, pg } = this.#host;
    // Always a turn: who has waited must not come behind one that need not.
    await passage?.();
    await maps.reached(since);
    maps.check();
    return pg(id);
  }

  async #requireMember(id: PgId, since: number): Promise<PgMember> {
    const pg = await this.#pgFor(id, since);
    if (pg) return pg.member;
    throw new RadosError('ENOENT', `osd.${this.#host.whoami} has no PG ${formatPgId(id)}`);
  }

  async ping(): Promise<void> {
    await this.#host.pingPassage?.();
  }

  async query(id: PgId, since: number): Promise<PgCopy | undefined> {
    return (await this.#pgFor(id, since))?.member.query(since);
  }

  async history(id: PgId, since: number): Promise<PgHistory | undefined> {
    return (await this.#pgFor(id, since))?.member.history(since);
  }

  async merge(
    id: PgId,
    since: number,
    authority: PgHistory,
  ): Promise<readonly ObjectId[] | undefined> {
    const member = await this.#requireMember(id, since);
    return await member.merge(since, authority);
  }

  async listObjects(
    id: PgId,
    since: number,
    from: ObjectId | undefined,
    max: number,
  ): Promise<ObjectId[]> {
    const member = await this.#requireMember(id, since);
    return member.listObjects(since, from, max);
  }

  async pull(
    id: PgId,
    since: number,
    object: ObjectId,
    asOf: Eversion,
  ): Promise<RecoveredObject | undefined> {
    // As many turns as a change takes: one that was sent before it is made before it.
    const member = await this.#requireMember(id, since);
    return member.pull(since, object, asOf);
  }

  async push(id: PgId, since: number, objects: readonly RecoveredObject[]): Promise<void> {
    const member = await this.#requireMember(id, since);
    await member.push(since, objects);
  }

  async beginBackfill(id: PgId, since: number, authority: PgHistory): Promise<BackfillStart> {
    const member = await this.#requireMember(id, since);
    return await member.beginBackfill(since, authority);
  }

  async backfill(
    id: PgId,
    since: number,
    objects: readonly RecoveredObject[],
    last: ObjectId,
  ): Promise<void> {
    const member = await this.#requireMember(id, since);
    await member.backfill(since, objects, last);
  }

  async endBackfill(id: PgId, since: number): Promise<void> {
    const member = await this.#requireMember(id, since);
    await member.endBackfill(since);
  }

  async recover(id: PgId, since: number, source: number): Promise<void> {
    const member = await this.#requireMember(id, since);
    await member.recover(since, source);
  }

  async activate(id: PgId, since: number): Promise<void> {
    const member = await this.#requireMember(id, since);
    await member.activate(since);
  }

  async scrubMap(
    id: PgId,
    since: number,
    range: ScrubRange,
    deep: boolean,
  ): Promise<ScrubbedObject[]> {
    const member = await this.#requireMember(id, since);
    return await member.scrubMap(since, range, deep);
  }

  async replicate(id: PgId, since: number, change: ReplicatedChange): Promise<void> {
    const member = await this.#requireMember(id, since);
    await member.replicate(since, change);
  }

  async removePg(id: PgId, since: number): Promise<void> {
    const pg = await this.#pgFor(id, since);
    if (pg?.mayRemove(since)) await this.#host.removePg(pg);
  }

  async copySource(target: CopyTarget): Promise<CopySource> {
    const { passage, maps, pg: pgOf } = this.#host;
    await passage?.();
    const place = objectToPg(maps.view.map, target);
    const pg = place && pgOf(place.pg);
    if (!pg) throw maps.goneError();
    return pg.copySource(target, place.hash);
  }
}
