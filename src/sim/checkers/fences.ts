/**
 * Who was fenced, and when. A fenced client changes nothing any more, but nothing may come through to it either, and where its
 * object map tells that there is nothing it need not ask an OSD: until its watch is too old to be relied on, it sees the image as
 * it was when it was fenced.
 */

import type { OsdMap } from '../../osdmap/osdmap.js';
import type { Op } from './history.js';

export class Fences {
  /** Now, as a place in the history's order. */
  readonly #order: () => number;
  /** By the nonce of the client's address. */
  readonly #fencedAs = new Map<number, number>();
  readonly #nonces = new Map<string, number>();
  #epoch = 0;

  constructor(order: () => number) {
    this.#order = order;
  }

  /** An OSD is about to do something by this map. */
  onMap({ epoch, map }: { epoch: number; map: OsdMap }): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    for (const { addr } of map.blocklist.values()) {
      if (!this.#fencedAs.has(addr.nonce)) this.#fencedAs.set(addr.nonce, this.#order());
    }
  }

  /** By which nonce the cluster knows a client. */
  know(client: string, nonce: number): void {
    this.#nonces.set(client, nonce);
  }

  /** As of when an operation's client may see the image. */
  seenSince({ client, startedAs }: Op): number {
    const nonce = this.#nonces.get(client);
    const fencedAs = nonce === undefined ? undefined : this.#fencedAs.get(nonce);
    return Math.min(startedAs, fencedAs ?? startedAs);
  }
}
