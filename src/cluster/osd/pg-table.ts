/** An OSD's PGs, in the order in which they came. Looked up for every request, so by numbers: no text is made for it. */

import type { PgId } from '../../encoding/types.js';

export class PgTable<P extends { readonly id: PgId }> implements Iterable<P> {
  readonly #inOrder = new Set<P>();
  /** Pool → seed → PG. */
  readonly #pools = new Map<number, Map<number, P>>();

  get size(): number {
    return this.#inOrder.size;
  }

  get({ pool, seed }: PgId): P | undefined {
    return this.#pools.get(pool)?.get(seed);
  }

  /** One that is not there yet. */
  add(pg: P): void {
    const { pool, seed } = pg.id;
    let seeds = this.#pools.get(pool);
    if (!seeds) {
      seeds = new Map();
      this.#pools.set(pool, seeds);
    }
    seeds.set(seed, pg);
    this.#inOrder.add(pg);
  }

  delete({ pool, seed }: PgId): void {
    const seeds = this.#pools.get(pool);
    const pg = seeds?.get(seed);
    if (!seeds || !pg) return;
    this.#inOrder.delete(pg);
    seeds.delete(seed);
    if (seeds.size === 0) this.#pools.delete(pool);
  }

  clear(): void {
    this.#inOrder.clear();
    this.#pools.clear();
  }

  [Symbol.iterator](): IterableIterator<P> {
    return this.#inOrder.values();
  }
}
