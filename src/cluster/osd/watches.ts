/**
 * Watches and notifies of the objects that this OSD is primary for (`osd/Watch.cc`).
 *
 *   a watch      connected ──connection lost──> disconnected ──timeout──> removed (a logged write of the object)
 *                    ^                               │
 *                    └──────WATCH / RECONNECT────────┘        a pinging watch times out while connected too
 *
 *   a notify     waits for every watch of the object until each has acked or was removed, or until its timeout
 *
 * The registrations themselves are part of the object; what is here lives only as long as the map's interval (`PgWatches`).
 *
 * Two clocks, as in Ceph: a watch times out by a timer, and a notify passes over one whose last ping is too old by the
 * wall clock. They differ when the removal that the timer asked for cannot be written yet, and when dates jump.
 */

import type { Environment, Timer } from '../../base/environment.js';
import { ERRNO } from '../../base/errors.js';
import { encode } from '../../encoding/encoder.js';
import type { EntityName } from '../../encoding/entity.js';
import { MSG, outgoing, PRIORITY } from '../../messages/types.js';
import type { OsdFaults } from '../faults/osd-faults.js';
import type { ObjectId } from '../store/object-id.js';
import { compareWatchers, type WatchRecord } from '../store/object-meta.js';
import type { ClientSession } from './client-request.js';
import type { PipelineWorld } from './pipeline/world.js';

const NOTIFY_EVENT = { NOTIFY: 1, COMPLETE: 2, DISCONNECT: 3 } as const;

const NO_DATA: Uint8Array = new Uint8Array(0);

interface WatchNotify {
  event: number;
  cookie: bigint;
  version: bigint;
  notifyId: bigint;
  payload: Uint8Array;
  returnCode: number;
  notifierGid: bigint;
}

/** MWatchNotify, version 3. */
function sendWatchNotify(
  { pipeline }: WatchHost,
  session: ClientSession,
  m: WatchNotify,
  data?: Uint8Array,
): void {
  pipeline.log?.session('notify', session);
  const front = encode((e) => {
    e.u8(1).u8(m.event).u64(m.cookie).u64(m.version).u64(m.notifyId);
    e.blob(m.payload).s32(m.returnCode).u64(m.notifierGid);
  });
  session.send(
    outgoing(MSG.WATCH_NOTIFY, front, {
      version: 3,
      priority: PRIORITY.DEFAULT,
      ...(data ? { data: [data] } : {}),
    }),
  );
}

/** What watches live in. */
export interface WatchHost {
  readonly env: Environment;
  readonly faults: OsdFaults | undefined;
  readonly pipeline: PipelineWorld;
}

/** A message of a notify goes out, or takes effect, unless a fault has other plans. */
export function passNotify(
  { faults }: WatchHost,
  message: 'notification' | 'ack' | 'completion',
  object: ObjectId,
  client: Pick<ClientSession, 'name' | 'addr'>,
  deliver: () => void,
): void {
  const hook = faults?.passNotify;
  if (hook) hook({ message, object, client }, deliver);
  else deliver();
}

function watchKey({ cookie, entity }: { cookie: bigint; entity: EntityName }): string {
  return `${cookie}/${entity.type}.${entity.num}`;
}

export interface NotifyStart {
  readonly id: bigint;
  /** The notifier's own, for the completion. */
  readonly cookie: bigint;
  readonly timeoutS: number;
  readonly payload: Uint8Array;
}

class Notify {
  readonly #waiting = new Set<Watch>();
  readonly #replies: { gid: bigint; cookie: bigint; reply: Uint8Array }[] = [];
  #timer: Timer | undefined;
  #done = false;

  constructor(
    readonly host: WatchHost,
    readonly object: ObjectId,
    readonly event: NotifyStart,
    readonly version: bigint,
    readonly notifier: ClientSession,
  ) {}

  get id(): bigint {
    return this.event.id;
  }

  wait(watch: Watch): void {
    this.#waiting.add(watch);
  }

  /** After all watches were told: with none, it is complete already. */
  start(): void {
    const { timers } = this.host.env;
    const timeoutMs = this.event.timeoutS * 1000;
    this.#timer = timers.after(timeoutMs, () => this.#finish(true), { background: true });
    if (this.#waiting.size === 0) this.#finish(false);
  }

  acked(watch: Watch, reply: Uint8Array): void {
    if (!this.#waiting.delete(watch)) return;
    const { entity, cookie } = watch.record;
    this.#replies.push({ gid: entity.num, cookie, reply });
    if (this.#waiting.size === 0) this.#finish(false);
  }

  /** A removed watch counts as neither acked nor missed. */
  removed(watch: Watch): void {
    if (this.#waiting.delete(watch) && this.#waiting.size === 0) this.#finish(false);
  }

  /** The PG's interval ended: nobody is told, the notifier sends it again. */
  discard(): void {
    this.#done = true;
    this.#timer?.cancel();
  }

  #finish(timedOut: boolean): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer?.cancel();
    const byGidAndCookie = (
      a: { gid: bigint; cookie: bigint },
      b: { gid: bigint; cookie: bigint },
    ) => Number(a.gid - b.gid) || (a.cookie < b.cookie ? -1 : a.cookie > b.cookie ? 1 : 0);
    const replies = this.#replies.sort(byGidAndCookie);
    const missed = [...this.#waiting];
    for (const watch of missed) watch.forget(this);
    this.#waiting.clear();
    const data = encode((e) => {
      e.u32(replies.length);
      for (const { gid, cookie, reply } of replies) e.u64(gid).u64(cookie).blob(reply);
      e.u32(missed.length);
      for (const { record } of missed) e.u64(record.entity.num).u64(record.cookie);
    });
    const event: WatchNotify = {
      event: NOTIFY_EVENT.COMPLETE,
      cookie: this.event.cookie,
      version: this.version,
      notifyId: this.id,
      payload: NO_DATA,
      returnCode: timedOut ? -ERRNO.ETIMEDOUT : 0,
      notifierGid: this.notifier.name.num,
    };
    const { notifier } = this;
    passNotify(this.host, 'completion', this.object, notifier, () => {
      if (!notifier.closed) sendWatchNotify(this.host, notifier, event, data);
    });
  }
}

export class Watch {
  readonly #host: WatchHost;
  readonly #onTimeout: (watch: Watch) => void;
  readonly #notifies = new Map<bigint, Notify>();
  #session: ClientSession | undefined;
  /** Not yet known of one that was loaded from its object: it counts as old only by its timer. */
  #willPing = false;
  #lastPingMs: number | undefined;
  #timer: Timer | undefined;
  #timedOut = false;

  constructor(
    host: WatchHost,
    readonly object: ObjectId,
    readonly record: WatchRecord,
    onTimeout: (watch: Watch) => void,
  ) {
    this.#host = host;
    this.#onTimeout = onTimeout;
  }

  /** Its client's, as far as anybody knows. */
  get session(): ClientSession | undefined {
    return this.#session;
  }

  get connected(): boolean {
    return this.#session !== undefined && !this.#session.closed;
  }

  isConnectedTo(session: ClientSession): boolean {
    return this.#session === session && !session.closed;
  }

  /** By the wall clock: when the client's last sign of life arrived. */
  get lastPingMs(): number | undefined {
    return this.#lastPingMs;
  }

  /** Its timer fired, and no sign of life came since. */
  get timedOut(): boolean {
    return this.#timedOut;
  }

  connect(session: ClientSession, willPing: boolean): void {
    if (this.isConnectedTo(session)) return;
    this.#session = session;
    this.#willPing = willPing;
    for (const notify of this.#notifies.values()) this.#send(notify);
    if (willPing) {
      this.#lastPingMs = this.#host.env.clock.now();
      this.#armTimer();
    } else {
      this.#disarmTimer();
    }
  }

  gotPing(receivedMs: number): void {
    this.#lastPingMs = receivedMs;
    this.#armTimer();
  }

  /** The connection is gone. A pinging watch keeps the timer of its last ping. */
  disconnect(session: ClientSession): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    if (!this.#willPing) this.#armTimer();
  }

  /** Loaded from the object by a new primary: disconnected, with its full timeout to come back. */
  startDisconnected(): void {
    this.#armTimer();
  }

  startNotify(notify: Notify): void {
    const oldestMs = this.#host.env.clock.now() - this.record.timeoutS * 1000;
    if (this.#willPing && (this.#lastPingMs ?? 0) < oldestMs) {
      // It should have been removed by now: nobody waits for it (`Watch::start_notify`).
      this.#session = undefined;
      return;
    }
    this.#notifies.set(notify.id, notify);
    notify.wait(this);
    if (this.connected) this.#send(notify);
  }

  ack(notifyId: bigint, reply: Uint8Array): void {
    const notify = this.#notifies.get(notifyId);
    if (!notify) return;
    this.#notifies.delete(notifyId);
    notify.acked(this, reply);
  }

  forget(notify: Notify): void {
    this.#notifies.delete(notify.id);
  }

  /** Completions go out before the DISCONNECT. */
  remove(sendDisconnect: boolean): void {
    this.#disarmTimer();
    const notifies = [...this.#notifies.values()];
    this.#notifies.clear();
    for (const notify of notifies) notify.removed(this);
    const session = this.#session;
    this.#session = undefined;
    if (!sendDisconnect || !session || session.closed) return;
    sendWatchNotify(this.#host, session, {
      event: NOTIFY_EVENT.DISCONNECT,
      cookie: this.record.cookie,
      version: 0n,
      notifyId: 0n,
      payload: NO_DATA,
      returnCode: 0,
      notifierGid: 0n,
    });
  }

  /** The PG's interval ended. */
  discard(): void {
    this.#disarmTimer();
    for (const notify of this.#notifies.values()) notify.discard();
    this.#notifies.clear();
    this.#session = undefined;
  }

  #armTimer(): void {
    this.#disarmTimer();
    this.#timer = this.#host.env.timers.after(
      this.record.timeoutS * 1000,
      () => {
        this.#timedOut = true;
        this.#onTimeout(this);
      },
      { background: true },
    );
  }

  /** A removal that still waits to be written is called off with it. */
  #disarmTimer(): void {
    this.#timer?.cancel();
    this.#timedOut = false;
  }

  #send(notify: Notify): void {
    const session = this.#session;
    if (!session) return;
    const event: WatchNotify = {
      event: NOTIFY_EVENT.NOTIFY,
      cookie: this.record.cookie,
      version: notify.version,
      notifyId: notify.id,
      payload: notify.event.payload,
      returnCode: 0,
      notifierGid: notify.notifier.name.num,
    };
    passNotify(this.#host, 'notification', this.object, session, () => {
      if (!session.closed) sendWatchNotify(this.#host, session, event);
    });
  }
}

/** The live watches of one object. */
export class ObjectWatches {
  readonly #host: WatchHost;
  readonly #object: ObjectId;
  readonly #onTimeout: (watch: Watch) => void;
  readonly #watches = new Map<string, Watch>();

  constructor(host: WatchHost, object: ObjectId, onTimeout: (watch: Watch) => void) {
    this.#host = host;
    this.#object = object;
    this.#onTimeout = onTimeout;
  }

  get size(): number {
    return this.#watches.size;
  }

  get(record: { cookie: bigint; entity: EntityName }): Watch | undefined {
    return this.#watches.get(watchKey(record));
  }

  /** In the order in which they are told: by cookie, then entity. */
  all(): Watch[] {
    return [...this.#watches.values()].sort((a, b) => compareWatchers(a.record, b.record));
  }

  ensure(record: WatchRecord): Watch {
    const key = watchKey(record);
    let watch = this.#watches.get(key);
    if (!watch) {
      watch = new Watch(this.#host, this.#object, record, this.#onTimeout);
      this.#watches.set(key, watch);
    }
    return watch;
  }

  remove(record: WatchRecord, sendDisconnect: boolean): void {
    const key = watchKey(record);
    const watch = this.#watches.get(key);
    this.#watches.delete(key);
    watch?.remove(sendDisconnect);
  }

  ack(
    entity: EntityName,
    event: { notifyId: bigint; cookie: bigint | undefined; reply: Uint8Array },
  ): void {
    for (const watch of this.all()) {
      const { record } = watch;
      if (record.entity.type !== entity.type || record.entity.num !== entity.num) continue;
      if (event.cookie !== undefined && event.cookie !== record.cookie) continue;
      watch.ack(event.notifyId, event.reply);
    }
  }

  discard(): void {
    for (const watch of this.#watches.values()) watch.discard();
    this.#watches.clear();
  }
}

/** Tells every watch, then waits; with none, the notifier gets its completion at once. */
export function startNotify(
  host: WatchHost,
  target: { object: ObjectId; watches: readonly Watch[]; version: bigint },
  event: NotifyStart,
  notifier: ClientSession,
): void {
  const notify = new Notify(host, target.object, event, target.version, notifier);
  for (const watch of target.watches) watch.startNotify(notify);
  notify.start();
}
