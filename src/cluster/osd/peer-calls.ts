/** What other OSDs ask of this one, answered by its PGs. */

import { RadosError } from '../../base/errors.js';
import { formatPgId, type PgId } from '../../encoding/types.js';
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

  async #requirePg(id: PgId, since: number): Promise<Pg> {
    const pg = await this.#pgFor(id, since);
    if (pg) return pg;
    throw new RadosError('ENOENT', `osd.${this.#host.whoami} has no PG ${formatPgId(id)}`);
  }

  async ping(): Promise<void> {
    await this.#host.pingPassage?.();
  }

  async query(id: PgId, since: number): Promise<PgCopy | undefined> {
    return (await this.#pgFor(id, since))?.query(since);
  }

  async history(id: PgId, since: number): Promise<PgHistory | undefined> {
    return (await this.#pgFor(id, since))?.history(since);
  }

  async merge(
    id: PgId,
    since: number,
    authority: PgHistory,
  ): Promise<readonly ObjectId[] | undefined> {
    const pg = await this.#requirePg(id, since);
    return await pg.merge(since, authority);
  }

  async listObjects(
    id: PgId,
    since: number,
    from: ObjectId | undefined,
    max: number,
  ): Promise<ObjectId[]> {
    const pg = await this.#requirePg(id, since);
    return pg.listObjects(since, from, max);
  }

  async pull(id: PgId, since: number, object: ObjectId): Promise<RecoveredObject | undefined> {
    return (await this.#pgFor(id, since))?.pull(since, object);
  }

  async push(id: PgId, since: number, objects: readonly RecoveredObject[]): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.push(since, objects);
  }

  async beginBackfill(id: PgId, since: number, authority: PgHistory): Promise<BackfillStart> {
    const pg = await this.#requirePg(id, since);
    return await pg.beginBackfill(since, authority);
  }

  async backfill(
    id: PgId,
    since: number,
    objects: readonly RecoveredObject[],
    last: ObjectId,
  ): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.backfill(since, objects, last);
  }

  async endBackfill(id: PgId, since: number): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.endBackfill(since);
  }

  async recover(id: PgId, since: number, source: number): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.recover(since, source);
  }

  async activate(id: PgId, since: number): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.activate(since);
  }

  async scrubMap(
    id: PgId,
    since: number,
    range: ScrubRange,
    deep: boolean,
  ): Promise<ScrubbedObject[]> {
    const pg = await this.#requirePg(id, since);
    return await pg.scrubMap(since, range, deep);
  }

  async replicate(id: PgId, since: number, change: ReplicatedChange): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.replicate(since, change);
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
