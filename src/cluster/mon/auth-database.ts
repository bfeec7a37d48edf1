/** The entities of the cluster: names, keys and caps, as `ceph auth` shows and changes them. */

import type { CephxKeyServer } from '../../auth/cephx-server.js';
import { type CryptoKey, cryptoKey } from '../../auth/crypto-key.js';
import { formatAuthEntity } from '../../auth/method.js';
import { decodeAll, encodeWith, map, record, string } from '../../encoding/codec.js';
import { type AuthEntity, parseAuthEntity } from '../../encoding/entity.js';
import { MonDatabase } from './mon-database.js';

export interface AuthRecord {
  entity: AuthEntity;
  key: CryptoKey;
  /** By service, in the order in which they are listed. */
  caps: ReadonlyMap<string, string>;
}

/** Entities that a cluster may have: keeps a script in a loop from filling the memory. */
const MAX_ENTITIES = 100_000;

/** An entity as the monitor's database has it, under its name. */
const keptRecord = record('auth record', { key: cryptoKey, caps: map(string, string) });

export class AuthDatabase {
  readonly #keys: CephxKeyServer;
  readonly #database: MonDatabase;
  readonly #records = new Map<string, AuthRecord>();

  constructor(keys: CephxKeyServer, database = new MonDatabase()) {
    this.#keys = keys;
    this.#database = database;
    for (const [name, bytes] of database.entries('auth')) {
      const { key, caps } = decodeAll(name, keptRecord, bytes);
      this.#put(name, { entity: parseAuthEntity(name), key, caps });
    }
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
    this.#put(name, record);
    const kept = { key: record.key, caps: new Map(record.caps) };
    this.#database.write('auth', { set: [[name, encodeWith(keptRecord, kept)]] });
    return record;
  }

  remove(name: string): boolean {
    const record = this.#records.get(name);
    if (!record) return false;
    this.#records.delete(name);
    this.#keys.removeEntity(record.entity);
    this.#database.write('auth', { remove: [name] });
    return true;
  }

  #put(name: string, record: AuthRecord): void {
    this.#records.set(name, record);
    this.#keys.setEntity(record.entity, { key: record.key, caps: Object.fromEntries(record.caps) });
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
