/** `ceph config-key`: names and values of anybody's choice; under `config/` and `config-history/`, the configuration. */

import { RadosError } from '../../../base/errors.js';
import { latin1, latin1Bytes } from '../../byte-string.js';
import { type MonChange, MonDatabase } from '../mon-database.js';

/** Keeps a script in a loop from filling the memory. */
const MAX_KEYS = 100_000;

export class ConfigKeys {
  readonly #database: MonDatabase;
  readonly #values: Map<string, Uint8Array>;
  readonly #listeners = new Set<() => void>();

  constructor(database = new MonDatabase()) {
    this.#database = database;
    this.#values = new Map(
      [...database.entries('config-key')].map(([name, value]) => [
        Buffer.from(latin1Bytes(name)).toString(),
        value,
      ]),
    );
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  /** In the order of their names. */
  names(prefix = ''): string[] {
    return [...this.#values.keys()]
      .filter((name) => name.startsWith(prefix))
      .sort((a, b) => (a < b ? -1 : 1));
  }

  /** All of it or nothing. Throws `RadosError` `ENOSPC`. */
  change({ set = [], remove = [] }: MonChange): void {
    if (this.#values.size + set.length > MAX_KEYS) {
      throw new RadosError('ENOSPC', 'too many keys', { op: 'config-key set' });
    }
    for (const [name, value] of set) this.#values.set(name, value);
    for (const name of remove) this.#values.delete(name);
    this.#database.write('config-key', {
      set: set.map(([name, value]) => [storedName(name), value] as const),
      remove: remove.map(storedName),
    });
    for (const listener of [...this.#listeners]) listener();
  }

  /** Called after each change. */
  subscribe(listener: () => void): void {
    this.#listeners.add(listener);
  }
}

/** Names of a store are bytes. */
function storedName(name: string): string {
  return latin1(Buffer.from(name));
}
