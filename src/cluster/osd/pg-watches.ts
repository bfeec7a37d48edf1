/**
 * The live watches of a PG's objects, and what a successful op vector does to them (`do_osd_op_effects`).
 *
 * They live as long as the map's interval, in which their clients have no reason to register again, and notifiers none to
 * notify again: also while the PG peers anew within it.
 */

import { headKey, type ObjectId } from '../store/object-id.js';
import type { WatchRecord } from '../store/object-meta.js';
import { type ClientSession, requestId } from './client-request.js';
import type { OpContext } from './op-context.js';
import { ObjectWatches, passNotify, startNotify, type Watch, type WatchHost } from './watches.js';

export class PgWatches {
  readonly #host: WatchHost;
  readonly #expire: (watch: Watch) => void;
  readonly #objects = new Map<string, { id: ObjectId; watches: ObjectWatches }>();

  /** `expire` removes a registration from its object, which then disconnects it here; nobody may be there to. */
  constructor(host: WatchHost, expire: (watch: Watch) => void) {
    this.#host = host;
    this.#expire = expire;
  }

  all(): Watch[] {
    return [...this.#objects.values()].flatMap(({ watches }) => watches.all());
  }

  of(id: ObjectId): ObjectWatches | undefined {
    return this.#objects.get(headKey(id))?.watches;
  }

  /** Heads that are watched. */
  heads(): ObjectId[] {
    return [...this.#objects.values()].map(({ id }) => id);
  }

  /**
   * An object turns up at a primary, with the registrations that stand in it. Those that live here go on as they are. Of the
   * others the connections are gone; and what lives here and does not stand there has ended in a change whose end nobody
   * saw.
   */
  load(id: ObjectId, records: readonly WatchRecord[]): void {
    if (records.length === 0 && this.#objects.size === 0) return;
    const alive = this.of(id);
    const ended = new Set(alive?.all());
    for (const record of records) {
      const known = alive?.get(record);
      if (known) ended.delete(known);
      else this.#ensure(id).ensure(record).startDisconnected();
    }
    for (const { record } of ended) this.remove(id, record, true);
  }

  apply(ctx: OpContext, session: ClientSession): void {
    if (!ctx.someEffects) return;
    const { connects, disconnects, notifies, acks } = ctx.someEffects;
    for (const { record, notify } of disconnects) this.remove(ctx.id, record, notify);
    for (const { record, willPing } of connects) {
      this.#ensure(ctx.id).ensure(record).connect(session, willPing);
    }
    for (const event of notifies) {
      const watches = this.of(ctx.id)?.all() ?? [];
      const target = { object: ctx.id, watches, version: ctx.info.userVersion };
      startNotify(this.#host, target, event, session);
    }
    const entity = requestId(ctx.client).name;
    for (const ack of acks) {
      passNotify(this.#host, 'ack', ctx.id, session, () => this.of(ctx.id)?.ack(entity, ack));
    }
  }

  remove(id: ObjectId, record: WatchRecord, notify: boolean): void {
    const key = headKey(id);
    const entry = this.#objects.get(key);
    entry?.watches.remove(record, notify);
    if (entry?.watches.size === 0) this.#objects.delete(key);
  }

  sessionClosed(session: ClientSession): void {
    for (const { watches } of this.#objects.values()) {
      for (const watch of watches.all()) watch.disconnect(session);
    }
  }

  where(isMeant: (record: WatchRecord) => boolean): Watch[] {
    return this.all().filter(({ record }) => isMeant(record));
  }

  /** The map's interval ended: notifies in progress are forgotten, their notifiers send them again on the new map. */
  discard(): void {
    for (const { watches } of this.#objects.values()) watches.discard();
    this.#objects.clear();
  }

  #ensure(id: ObjectId): ObjectWatches {
    const key = headKey(id);
    let entry = this.#objects.get(key);
    if (!entry) {
      const watches = new ObjectWatches(this.#host, id, this.#expire);
      entry = { id, watches };
      this.#objects.set(key, entry);
    }
    return entry.watches;
  }
}
