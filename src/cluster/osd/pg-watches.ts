/** The live watches of a PG's objects, and what a successful op vector does to them (`do_osd_op_effects`). */

import { headKey, type ObjectId } from '../store/object-id.js';
import type { WatchRecord } from '../store/object-meta.js';
import { type ClientSession, requestId } from './client-request.js';
import type { OpContext } from './op-context.js';
import { ObjectWatches, passNotify, startNotify, type Watch, type WatchHost } from './watches.js';

export class PgWatches {
  readonly #host: WatchHost;
  readonly #expire: (watch: Watch) => void;
  readonly #objects = new Map<string, { id: ObjectId; watches: ObjectWatches }>();

  /** `expire` removes a registration from its object, which then disconnects it here. */
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

  /** A new primary: registrations stand in the objects, their connections are gone. */
  load(id: ObjectId, records: readonly WatchRecord[]): void {
    for (const record of records) this.#ensure(id).ensure(record).startDisconnected();
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

  /** The interval ended: notifies in progress are forgotten, their notifiers send them again. */
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
