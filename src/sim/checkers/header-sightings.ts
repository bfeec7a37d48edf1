/**
 * Which snapshots of an image each watcher of its header must know of, as the OSDs see it: those that there were when a
 * notification was sent that it has acknowledged, or when its watch was connected, once it pings on that connection.
 *
 * A client counts its requests: what it asks for after an acknowledgement, or after such a ping, it made afterwards.
 */

import type { ClientOp } from '../../cluster/osd/client-op.js';
import { WATCH_OP } from '../../messages/osd-op.js';
import { decodeNotifyPayload } from '../../rbd/notify-payloads.js';

interface Sighting {
  /** Requests with a higher tid are made by it. */
  readonly tid: number;
  readonly seq: bigint;
}

export class HeaderSightings {
  /** By header and notify id, which each OSD counts for itself: the newest snapshot then. */
  readonly #announced = new Map<string, bigint>();
  /** By watcher: the newest snapshot when its watch was connected. */
  readonly #connected = new Map<string, bigint>();
  readonly #seen = new Map<string, Sighting>();
  /** By client and header: the cookies under which it watches, and by which request it said that it does no more. */
  readonly #watches = new Map<string, Map<bigint, number | undefined>>();

  /** Of an operation on a header, whose newest snapshot is `seq` now. */
  onReply(op: ClientOp, seq: bigint): void {
    const { client, context, reply } = op;
    const { oid } = client.request;
    if (!context || !reply || reply.result < 0) return;
    for (const { id, payload } of context.effects.notifies) {
      // Of other things whoever hears of them learns nothing of snapshots.
      if (isHeaderUpdate(payload)) this.#announced.set(`${oid} ${id}`, seq);
    }
    for (const { notifyId, cookie } of context.effects.acks) {
      const announced = this.#announced.get(`${oid} ${notifyId}`);
      if (cookie !== undefined && announced !== undefined) this.#see(op, cookie, announced);
    }
    for (const { arg } of client.request.ops) {
      if (arg.kind !== 'watch') continue;
      const watcher = keyOf(client.session.name.num, arg.cookie);
      const watches = this.#watchesOf(op);
      if (arg.op === WATCH_OP.UNWATCH) {
        if (watches.has(arg.cookie)) watches.set(arg.cookie, client.tid);
      } else if (arg.op === WATCH_OP.WATCH || arg.op === WATCH_OP.RECONNECT) {
        this.#connected.set(watcher, seq);
        watches.set(arg.cookie, undefined);
      } else if (arg.op === WATCH_OP.PING) {
        const connected = this.#connected.get(watcher);
        if (connected !== undefined) this.#see(op, arg.cookie, connected);
      }
    }
  }

  /**
   * What all of the client's watches know of that made this request; undefined when one may know of nothing yet. One that an
   * OSD has dropped counts: its client may not know. So does one that the client gave up after it made the request, which
   * may have been on its way for longer.
   */
  of(op: ClientOp, image: string): bigint | undefined {
    const { session, tid } = op.client;
    let least: bigint | undefined;
    for (const [cookie, until] of this.#watches.get(`${session.name.num} rbd_header.${image}`) ??
      []) {
      if (until !== undefined && until < tid) continue;
      const seen = this.#seen.get(keyOf(session.name.num, cookie));
      if (!seen || seen.tid >= tid) return undefined;
      if (least === undefined || seen.seq < least) least = seen.seq;
    }
    return least;
  }

  #watchesOf({ client: { session, request } }: ClientOp): Map<bigint, number | undefined> {
    const key = `${session.name.num} ${request.oid}`;
    const watches = this.#watches.get(key) ?? new Map<bigint, number | undefined>();
    this.#watches.set(key, watches);
    return watches;
  }

  #see({ client: { session, tid } }: ClientOp, cookie: bigint, seq: bigint): void {
    const watcher = keyOf(session.name.num, cookie);
    const before = this.#seen.get(watcher);
    if (!before || seq > before.seq) this.#seen.set(watcher, { tid, seq });
  }
}

function isHeaderUpdate(payload: Uint8Array): boolean {
  try {
    return decodeNotifyPayload(payload).op === 'headerUpdate';
  } catch {
    return false;
  }
}

function keyOf(gid: bigint, cookie: bigint): string {
  return `${gid} ${cookie}`;
}
