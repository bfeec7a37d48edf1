/** The entities of the cluster: names, keys and caps, as `ceph auth` shows and changes them. */

import type { CephxKeyServer } from '../../auth/cephx-server.js';
import type { CryptoKey } from '../../auth/crypto-key.js';
import { formatAuthEntity } from '../../auth/method.js';
import { type AuthEntity, parseAuthEntity } from '../../encoding/entity.js';

export interface AuthRecord {
  entity: AuthEntity;
  key: CryptoKey;
  /** By service, in the order in which they are listed. */
  caps: ReadonlyMap<string, string>;
}

/** Entities that a cluster may have: keeps a script in a loop from filling the memory. */
const MAX_ENTITIES = 100_000;

export class AuthDatabase {
  readonly #keys: CephxKeyServer;
  readonly #records = new Map<string, AuthRecord>();

  constructor(keys: CephxKeyServer) {
    this.#keys = keys;
  }

  get(name: string): AuthRecord | undefined {
    return this.#records.get(name);
  }

  /** Daemons first, as their types' numbers are smaller, then by id. */
  list(): AuthRecord[] {
    return [...this.#records.values()].sort(
      (a, b) =>
        a.entity.type - b.entity.type ||
        (a.entity.id < b.entity.id ? -1 : a.entity.id > b.entity.id ? 1 : 0),
    );
  }

  /** Adds an entity, with a new key unless one is given, or changes the caps of one that is there. */
  set(name: string, caps: Readonly<Record<string, string>>, key?: CryptoKey): AuthRecord {
    const known = this.#records.get(name);
    if (!known && this.#records.size >= MAX_ENTITIES) throw new RangeError('too many entities');
    const record: AuthRecord = {
      entity: known?.entity ?? parseAuthEntity(name),
      key: key ?? known?.key ?? this.#keys.generateKey(),
      caps: new Map(Object.entries(caps).sort(([a], [b]) => (a < b ? -1 : 1))),
    };
    this.#records.set(name, record);
    this.#keys.setEntity(record.entity, { key: record.key, caps });
    return record;
  }

  remove(name: string): boolean {
    const record = this.#records.get(name);
    if (!record) return false;
    this.#records.delete(name);
    this.#keys.removeEntity(record.entity);
    return true;
  }
}

/** One entity in keyring form. It holds the secret: for the client that asked, and for files only. */
export function formatKeyring(record: AuthRecord, options: { caps: boolean }): string {
  const lines = [`[${formatAuthEntity(record.entity)}]`, `\tkey = ${record.key.toBase64()}`];
  if (options.caps) {
    for (const [service, caps] of record.caps) lines.push(`\tcaps ${service} = "${caps}"`);
  }
  return `${lines.join('\n')}\n`;
}
