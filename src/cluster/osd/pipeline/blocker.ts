/**
 * What keeps operations where they are: they hold their slots meanwhile, so whatever is sequenced behind them waits too. For
 * those whose clients were sent away meanwhile their backoffs wait (`osd/backoffs.ts`).
 *
 * When it is lifted all go on in the order in which they came, and look again whether anything else keeps them.
 */

/** What an operation waits for, by name. */
export type BlockerType =
  | 'osd_boot'
  | 'osdmap_gate'
  | 'pg_creation'
  | 'pg_active'
  | 'readable'
  | 'missing'
  | 'degraded'
  | 'scrub'
  | 'obc_lock'
  | 'metalock'
  | 'repop'
  | 'copy_source'
  | 'store_full'
  | 'fault';

interface Blocked {
  lifted(): void;
}

export class Blocker {
  readonly type: BlockerType;
  readonly detail: string;
  readonly #blocked = new Set<Blocked>();

  constructor(type: BlockerType, detail = '') {
    this.type = type;
    this.detail = detail;
  }

  /** How many it keeps. */
  get size(): number {
    return this.#blocked.size;
  }

  add(blocked: Blocked): void {
    this.#blocked.add(blocked);
  }

  remove(blocked: Blocked): void {
    this.#blocked.delete(blocked);
  }

  /** It is over. It may be used again. */
  lift(): void {
    if (this.#blocked.size === 0) return;
    const all = [...this.#blocked];
    this.#blocked.clear();
    for (const each of all) each.lifted();
  }
}
