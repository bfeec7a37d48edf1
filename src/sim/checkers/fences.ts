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
  /** What clients said of themselves. */
  readonly #claims: { client: string; what: string }[] = [];
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

  /** A client says that it is fenced, of which it may have heard before any OSD has acted by it. */
  claim(client: string, what: string): void {
    this.#claims.push({ client, what });
  }

  /** When all OSDs have come to know what there was: who said so and was not, of those who are known. */
  unfounded(): string[] {
    const isFalse = ({ client }: { client: string }) => {
      const nonce = this.#nonces.get(client);
      return nonce !== undefined && !this.#fencedAs.has(nonce);
    };
    return this.#claims
      .filter(isFalse)
      .map(({ client, what }) => `${client} was not fenced: ${what}`);
  }

  /** As of when an operation's client may see the image. */
  seenSince({ client, startedAs }: Op): number {
    const nonce = this.#nonces.get(client);
    const fencedAs = nonce === undefined ? undefined : this.#fencedAs.get(nonce);
    return Math.min(startedAs, fencedAs ?? startedAs);
  }
}
