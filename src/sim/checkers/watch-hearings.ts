/**
 * When an OSD last heard of each watch of a header: of its registration, its reconnect, or a ping. A client that goes by
 * the header has sent one of these within the time in which the OSD keeps a watch that it does not hear of.
 */

import type { ClientOp } from '../../cluster/osd/client-op.js';
import { WATCH_OP } from '../../messages/osd-op.js';
import { WATCH_STOP_MS } from '../../osd-client/watch-times.js';

export class WatchHearings {
  readonly #now: () => number;
  /** By client and header, of all of its watches. */
  readonly #heardAt = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Of an operation on a header. */
  onReply({ client, reply }: ClientOp): void {
    if (!reply || reply.result < 0) return;
    const isHeard = client.request.ops.some(
      ({ arg }) => arg.kind === 'watch' && arg.op !== WATCH_OP.UNWATCH,
    );
    if (isHeard)
      this.#heardAt.set(keyOf(client.session.addr.nonce, client.request.oid), this.#now());
  }

  /** By the nonce of the client's address; undefined: never. */
  heardAt(nonce: number, header: string): number | undefined {
    return this.#heardAt.get(keyOf(nonce, header));
  }
}

/**
 * Whether what began then, and has been answered, may have gone by the header: somewhere in between the client passed the gate,
 * which relies on what it had sent at most so long before.
 */
export function mayRely(heardAt: number, beganAt: number): boolean {
  return heardAt >= beganAt - WATCH_STOP_MS;
}

function keyOf(nonce: number, header: string): string {
  return `${nonce} ${header}`;
}
