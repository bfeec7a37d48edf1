/** The live watches of a PG's objects, and what a successful op vector does to them (`do_osd_op_effects`). */

import type { Environment } from '../../base/environment.js';
import { headKey, type ObjectId } from '../store/object-id.js';
import type { WatchRecord } from '../store/object-meta.js';
import { type ClientSession, requestId } from './client-request.js';
import type { OpContext } from './op-context.js';
import { ObjectWatches, startNotify } from './watches.js';

export class PgWatches {
  readonly #env: Environment;
  readonly #expire: (id: ObjectId, record: WatchRecord) => void;
  readonly #objects = new Map<string, { id: ObjectId; watches: ObjectWatches }>();

  /** `expire` removes a registration from its object, which then disconnects it here. */
  constructor(env: Environment, expire: (id: ObjectId, record: WatchRecord) => void) {
    this.#env = env;
    this.#expire = expire;
  }

  of(id: ObjectId): ObjectWatches | undefined {
    return this.#objects.get(headKey(id))?.watches;
  }

  /** A new primary: registrations stand in the objects, their connections are gone. */
  load(id: ObjectId, records: readonly WatchRecord[]): void {
    for (const record of records) this.#ensure(id).ensure(record).startDisconnected();
  }

  apply(ctx: OpContext, session: ClientSession): void {
    const { connects, disconnects, notifies, acks } = ctx.effects;
    for (const { record, notify } of disconnects) this.remove(ctx.id, record, notify);
    for (const { record, willPing } of connects) {
      this.#ensure(ctx.id).ensure(record).connect(session, willPing);
    }
    for (const event of notifies) {
      startNotify(this.#env, this.of(ctx.id)?.all() ?? [], event, session, ctx.info.userVersion);
    }
    const entity = requestId(ctx.client).name;
    for (const ack of acks) this.of(ctx.id)?.ack(entity, ack);
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

  /** Removes the watches of fenced clients. */
  expireWhere(isFenced: (record: WatchRecord) => boolean): void {
    for (const { id, watches } of [...this.#objects.values()]) {
      for (const { record } of watches.all()) if (isFenced(record)) this.#expire(id, record);
    }
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
      const watches = new ObjectWatches(this.#env, (watch) => this.#expire(id, watch.record));
      entry = { id, watches };
      this.#objects.set(key, entry);
    }
    return entry.watches;
  }
}
