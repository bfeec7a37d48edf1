/**
 * OSDs that know watches, for FakeCluster: registrations of objects, their timeouts, notifications and their completions,
 * as a real OSD keeps them (`osd/Watch.cc`). Every object exists unless a test deletes it. What a test wants otherwise it
 * takes into its own hands with `intercept`.
 */

import { encodeWith } from '../../src/encoding/codec.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { encode } from '../../src/encoding/encoder.js';
import { OP, type OsdOp, WATCH_OP } from '../../src/messages/osd-op.js';
import { MSG, outgoing } from '../../src/messages/types.js';
import { notifyReplies, WATCH_EVENT, watchNotify } from '../../src/messages/watch-notify.js';
import type { Connection } from '../../src/msgr/connection.js';
import type { Timer } from '../../src/base/environment.js';
import type { Arrival, FakeCluster } from './fake-cluster.js';

export interface Registration {
  oid: string;
  gid: bigint;
  cookie: bigint;
  timeoutMs: number;
  connection: Connection | undefined;
  timer: Timer | undefined;
}

interface Notification {
  id: bigint;
  oid: string;
  payload: Uint8Array;
  notifier: Connection;
  cookie: bigint;
  waiting: Set<Registration>;
  replies: { gid: bigint; cookie: bigint; payload: Uint8Array }[];
  timer: Timer;
}

export type WatchOpName = 'watch' | 'reconnect' | 'ping' | 'unwatch' | 'notify' | 'ack' | 'other';

export interface WatchLogEntry {
  at: number;
  osd: number;
  what: WatchOpName;
  oid: string;
  cookie: bigint;
  gen: number;
  tid: number;
}

const NOTHING: Uint8Array = new Uint8Array(0);
const NAMES = new Map<number, WatchOpName>([
  [WATCH_OP.WATCH, 'watch'],
  [WATCH_OP.RECONNECT, 'reconnect'],
  [WATCH_OP.PING, 'ping'],
  [WATCH_OP.UNWATCH, 'unwatch'],
]);

export class WatchOsds {
  readonly registrations: Registration[] = [];
  readonly log: WatchLogEntry[] = [];
  readonly deleted = new Set<string>();
  readonly fenced = new Set<bigint>();
  /** Takes an operation itself when it returns true. Called after it is in the log. */
  intercept: (entry: WatchLogEntry, arrival: Arrival) => boolean = () => false;
  readonly #cluster: FakeCluster;
  readonly #notifications = new Map<bigint, Notification>();
  #lastNotifyId = 0n;

  constructor(cluster: FakeCluster) {
    this.#cluster = cluster;
    for (const osd of cluster.osds) osd.onRequest = (arrival) => this.#onRequest(arrival);
  }

  /** How often something was asked, by the log. */
  count(what: WatchOpName): number {
    return this.log.filter((entry) => entry.what === what).length;
  }

  of(oid: string): Registration[] {
    return this.registrations.filter((each) => each.oid === oid);
  }

  /** Forgets the registrations of an object without a word. */
  kill(oid: string): void {
    for (const registration of this.of(oid)) this.#remove(registration, false);
  }

  delete(oid: string): void {
    this.deleted.add(oid);
    for (const registration of this.of(oid)) this.#remove(registration, true);
  }

  fence(gid: bigint): void {
    this.fenced.add(gid);
    for (const each of [...this.registrations]) if (each.gid === gid) this.#remove(each, true);
  }

  /** Connections and notifications are forgotten; registrations stay, with all their time. */
  newInterval(oid: string): void {
    for (const each of this.of(oid)) {
      each.connection = undefined;
      this.#arm(each);
    }
    for (const notification of this.#notifications.values()) {
      if (notification.oid !== oid) continue;
      notification.timer.cancel();
      this.#notifications.delete(notification.id);
    }
  }

  /** A notification by somebody outside; `onComplete` hears who answered and who did not. */
  notify(
    oid: string,
    payload: Uint8Array,
    timeoutMs: number,
    onComplete: (replies: Notification['replies'], missed: Registration[]) => void = () => {},
    id: bigint = ++this.#lastNotifyId,
  ): void {
    const notifier = {
      send: () => onComplete(notification.replies, [...notification.waiting]),
    } as unknown as Connection;
    const notification = this.#start({ oid, payload, notifier, cookie: 0n, timeoutMs, id });
  }

  /** A NOTIFY message as an OSD sends it, for what is not registered too. */
  send(connection: Connection, cookie: bigint, id: bigint, payload = NOTHING, gid = 99n): void {
    this.#send(connection, { event: WATCH_EVENT.NOTIFY, cookie, notifyId: id, payload, gid });
  }

  disconnect(registration: Registration): void {
    this.#remove(registration, true);
  }

  #onRequest(arrival: Arrival): void {
    const { request, connection, osd, tid } = arrival;
    const [op] = request.ops;
    const arg = op?.arg;
    const gid = connection.peer.globalId;
    const { oid } = request;
    const what = arg?.kind === 'watch' ? (NAMES.get(arg.op) ?? 'other') : nameOf(op);
    const cookie = arg?.kind === 'watch' || arg?.kind === 'notify' ? arg.cookie : 0n;
    const gen = arg?.kind === 'watch' ? arg.gen : 0;
    const entry = { at: this.#cluster.world.now, osd, what, oid, cookie, gen, tid };
    this.log.push(entry);
    // Clients learn of new maps from the OSDs that they talk to (`OSDService::maybe_share_map`).
    if (request.epoch < this.#cluster.epoch) {
      connection.send(this.#cluster.mapMessage(request.epoch + 1));
    }
    if (this.intercept(entry, arrival)) return;
    this.answer(entry, arrival, gid);
  }

  /** What an OSD does with it. */
  answer(entry: WatchLogEntry, arrival: Arrival, gid = arrival.connection.peer.globalId): void {
    const { oid, what, cookie } = entry;
    const { connection, request, reply } = arrival;
    const [op] = request.ops;
    if (this.fenced.has(gid)) return reply({ result: -108 });
    if (this.deleted.has(oid) && what !== 'ack') return reply({ result: -2 });
    const known = this.registrations.find(
      (each) => each.oid === oid && each.gid === gid && each.cookie === cookie,
    );
    switch (what) {
      case 'watch':
      case 'reconnect': {
        if (what === 'reconnect' && !known) return reply({ result: -107 });
        const timeoutS = (op?.arg.kind === 'watch' && op.arg.timeout) || 30;
        const registration = known ?? this.#add(oid, gid, cookie, 1000 * timeoutS);
        const again = registration.connection !== connection;
        registration.connection = connection;
        this.#arm(registration);
        // What is in progress comes before the answer.
        if (again) {
          for (const notification of this.#notifications.values()) {
            if (notification.waiting.has(registration)) this.#deliver(notification, registration);
          }
        }
        return reply();
      }
      case 'ping':
        if (!known) return reply({ result: -107 });
        if (known.connection !== connection) return reply({ result: -110 });
        this.#arm(known);
        return reply();
      case 'unwatch':
        if (known) this.#remove(known, false);
        return reply();
      case 'notify': {
        const input = new Decoder(op?.indata ?? NOTHING);
        input.u32();
        const timeoutMs = 1000 * (input.u32() || 30);
        const payload = new Uint8Array(input.blob());
        const id = ++this.#lastNotifyId;
        reply({ outputs: [encode((e) => e.u64(id))] });
        this.#start({ oid, payload, notifier: connection, cookie, timeoutMs, id });
        return;
      }
      case 'ack': {
        const input = new Decoder(op?.indata ?? NOTHING);
        const id = input.u64();
        const acked = input.u64();
        const payload = new Uint8Array(input.blob());
        const notification = this.#notifications.get(id);
        const from = [...(notification?.waiting ?? [])].find(
          (each) => each.gid === gid && each.cookie === acked,
        );
        if (notification && from) {
          notification.waiting.delete(from);
          notification.replies.push({ gid, cookie: acked, payload });
          this.#check(notification);
        }
        return reply();
      }
      case 'other':
        return reply();
    }
  }

  #add(oid: string, gid: bigint, cookie: bigint, timeoutMs: number): Registration {
    const registration: Registration = {
      ...{ oid, gid, cookie, timeoutMs },
      connection: undefined,
      timer: undefined,
    };
    this.registrations.push(registration);
    return registration;
  }

  #arm(registration: Registration): void {
    registration.timer?.cancel();
    registration.timer = this.#cluster.world.after(registration.timeoutMs, () =>
      this.#remove(registration, true),
    );
  }

  #remove(registration: Registration, tell: boolean): void {
    registration.timer?.cancel();
    const at = this.registrations.indexOf(registration);
    if (at >= 0) this.registrations.splice(at, 1);
    for (const notification of [...this.#notifications.values()]) {
      if (notification.waiting.delete(registration)) this.#check(notification);
    }
    const { connection, cookie } = registration;
    if (!tell || !connection) return;
    this.#send(connection, {
      ...{ event: WATCH_EVENT.DISCONNECT, cookie },
      ...{ notifyId: 0n, payload: NOTHING, gid: 0n },
    });
  }

  #start(options: {
    oid: string;
    payload: Uint8Array;
    notifier: Connection;
    cookie: bigint;
    timeoutMs: number;
    id: bigint;
  }): Notification {
    const { timeoutMs, ...rest } = options;
    const notification: Notification = {
      ...rest,
      waiting: new Set(this.of(options.oid)),
      replies: [],
      timer: this.#cluster.world.after(timeoutMs, () => this.#complete(notification, -110)),
    };
    this.#notifications.set(notification.id, notification);
    for (const registration of notification.waiting) this.#deliver(notification, registration);
    this.#check(notification);
    return notification;
  }

  #deliver(notification: Notification, { connection, cookie }: Registration): void {
    if (connection) this.send(connection, cookie, notification.id, notification.payload);
  }

  #check(notification: Notification): void {
    if (notification.waiting.size === 0) this.#complete(notification, 0);
  }

  #complete(notification: Notification, returnCode: number): void {
    if (!this.#notifications.delete(notification.id)) return;
    notification.timer.cancel();
    const { replies, waiting, notifier, cookie, id } = notification;
    const missed = [...waiting].map((each) => ({ gid: each.gid, cookie: each.cookie }));
    this.#send(
      notifier,
      { event: WATCH_EVENT.COMPLETE, cookie, notifyId: id, payload: NOTHING, gid: 99n, returnCode },
      encodeWith(notifyReplies, { replies, missed }),
    );
  }

  #send(
    connection: Connection,
    event: {
      event: number;
      cookie: bigint;
      notifyId: bigint;
      payload: Uint8Array;
      gid: bigint;
      returnCode?: number;
    },
    data?: Uint8Array,
  ): void {
    const front = encodeWith(watchNotify, {
      ...{ protocolVersion: 1, version: 1n, returnCode: 0, notifierGid: event.gid },
      ...event,
    });
    connection.send(
      outgoing(MSG.WATCH_NOTIFY, front, { version: 3, ...(data ? { data: [data] } : {}) }),
    );
  }
}

function nameOf(op: OsdOp | undefined): WatchOpName {
  if (op?.code === OP.NOTIFY) return 'notify';
  return op?.code === OP.NOTIFY_ACK ? 'ack' : 'other';
}
