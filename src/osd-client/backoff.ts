/**
 * Ranges of objects that an OSD asked this session to hold back (MOSDBackoff, `doc/dev/osd_internals/backoff.rst`).
 *
 * They live as long as the connection. `end` is exclusive; an empty range means the one object `begin`.
 */

import { type Hobject, NO_SHARD, type SpgId } from '../encoding/types.js';
import { compareHobject } from '../osdmap/hobject-order.js';

export interface Backoff {
  pg: SpgId;
  id: bigint;
  begin: Hobject;
  end: Hobject;
}

/** An OSD that blocks without end is not believed. */
const MAX_BACKOFFS = 65_536;

export class BackoffSet {
  readonly #byPg = new Map<string, Backoff[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** False when there are too many. */
  add(backoff: Backoff): boolean {
    if (this.#size >= MAX_BACKOFFS) return false;
    const key = pgKey(backoff.pg);
    const list = this.#byPg.get(key) ?? [];
    if (list.length === 0) this.#byPg.set(key, list);
    list.push(backoff);
    this.#size++;
    return true;
  }

  /** Removes by id; returns what was removed. */
  remove(pg: SpgId, id: bigint): Backoff | undefined {
    const key = pgKey(pg);
    const list = this.#byPg.get(key);
    const index = list?.findIndex((backoff) => backoff.id === id) ?? -1;
    if (!list || index < 0) return undefined;
    const [removed] = list.splice(index, 1);
    if (list.length === 0) this.#byPg.delete(key);
    this.#size--;
    return removed;
  }

  /** Whether operations on `object` must wait. */
  covers(pg: SpgId, object: Hobject): boolean {
    if (this.#size === 0) return false;
    return (this.#byPg.get(pgKey(pg)) ?? []).some((backoff) => inRange(object, backoff));
  }

  clear(): void {
    this.#byPg.clear();
    this.#size = 0;
  }
}

export function inRange(object: Hobject, { begin, end }: Backoff): boolean {
  const fromBegin = compareHobject(object, begin);
  if (compareHobject(begin, end) === 0) return fromBegin === 0;
  return fromBegin >= 0 && compareHobject(object, end) < 0;
}

function pgKey({ pg, shard }: SpgId): string {
  return shard === NO_SHARD ? `${pg.pool}.${pg.seed}` : `${pg.pool}.${pg.seed}s${shard}`;
}
