/**
 * The best ready-made store for Node: SQLite by better-sqlite3, with a write-ahead log and every commit on the disk
 * (`synchronous = FULL`). It is no dependency, for its installation compiles: `npm install --no-save better-sqlite3`.
 */

import { createRequire } from 'node:module';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OBJECTS } from './transactions.js';

const BLOCKS = 1024;
const BLOCK_BYTES = 4096;

interface Statement {
  run(...values: unknown[]): unknown;
}

interface Database {
  pragma(text: string): unknown;
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
  transaction(work: (count: number) => void): (count: number) => void;
  close(): void;
}

export interface SqliteStore {
  /** As many 4 KiB writes as an OSD has them, in one transaction. */
  commit(count: number): void;
  close(): Promise<void>;
}

/** A new one, all of whose blocks are written. Undefined where better-sqlite3 is not installed. */
export async function openSqlite(parent: string): Promise<SqliteStore | undefined> {
  const Sqlite = load();
  if (!Sqlite) return undefined;
  const dir = join(parent, 'sqlite');
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  const db = new Sqlite(join(dir, 'store.db'));
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec(`
    CREATE TABLE block (object INTEGER, block INTEGER, data BLOB, PRIMARY KEY (object, block));
    CREATE TABLE omap (object INTEGER, key TEXT, value BLOB, PRIMARY KEY (object, key));
    CREATE TABLE log (version INTEGER PRIMARY KEY, object INTEGER, request TEXT);
    CREATE TABLE pg (id INTEGER PRIMARY KEY, version INTEGER);
  `);
  const block = db.prepare('INSERT OR REPLACE INTO block VALUES (?, ?, ?)');
  const omap = db.prepare("INSERT OR REPLACE INTO omap VALUES (?, 'key', ?)");
  const log = db.prepare('INSERT INTO log VALUES (?, ?, ?)');
  const pg = db.prepare('INSERT OR REPLACE INTO pg VALUES (?, ?)');
  const fill = db.transaction((object) => {
    for (let at = 0; at < BLOCKS; at++) block.run(object, at, Buffer.alloc(BLOCK_BYTES, 7));
  });
  for (let object = 0; object < OBJECTS; object++) fill(object);
  let version = 0;
  const commit = db.transaction((count) => {
    for (let i = 0; i < count; i++) {
      version++;
      const object = Math.floor(Math.random() * OBJECTS);
      const at = Math.floor(Math.random() * BLOCKS);
      block.run(object, at, Buffer.alloc(BLOCK_BYTES, version));
      omap.run(object, Buffer.from(String(version)));
      log.run(version, object, `client.4100.0:${version}`);
      pg.run(object % 8, version);
    }
  });
  return {
    commit,
    close: async () => {
      db.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function load(): (new (path: string) => Database) | undefined {
  try {
    return createRequire(import.meta.url)('better-sqlite3') as new (
      path: string,
    ) => Database;
  } catch {
    return undefined;
  }
}
