/** What an OSD asks of its store. */

import type { ObjectId } from '../../src/cluster/store/object-id.js';
import { EMPTY_SNAPSET, NEW_OBJECT_INFO } from '../../src/cluster/store/object-meta.js';
import { NEW_PG_INFO } from '../../src/cluster/store/pg-record.js';
import type { Transaction } from '../../src/cluster/store/transaction.js';
import { NOSNAP } from '../../src/encoding/types.js';

export const OBJECTS = 64;
const OBJECT_BYTES = 4 * 1024 * 1024;
const PGS = 8;

const objects = Array.from({ length: OBJECTS }, (_, number) => ({
  collection: `1.${number % PGS}`,
  id: {
    pool: 1,
    nspace: '',
    oid: `rbd_data.1f2e3d4c5b6a.${number.toString(16).padStart(16, '0')}`,
    key: '',
    hash: Math.imul(number, 0x9e3779b1) >>> 0,
    snap: NOSNAP,
  } satisfies ObjectId,
}));

export function objectAt(number: number): { collection: string; id: ObjectId } {
  return objects[number % OBJECTS] as { collection: string; id: ObjectId };
}

export function fillTransaction(number: number): Transaction {
  const { collection, id } = objectAt(number);
  return { collection, ops: [{ op: 'write', id, offset: 0, data: Buffer.alloc(OBJECT_BYTES, 7) }] };
}

let commits = 0;

/** A 4 KiB write as it reaches the store, with a small omap key. */
export function blockTransaction(): Transaction {
  const number = ++commits;
  const { collection, id } = objectAt(Math.floor(Math.random() * OBJECTS));
  const version = { version: BigInt(number), epoch: 1 };
  const offset = 4096 * Math.floor(Math.random() * (OBJECT_BYTES / 4096));
  const info = { ...NEW_OBJECT_INFO, version, userVersion: BigInt(number) };
  const reqid = { name: { type: 8, num: 4100n }, inc: 0, tid: number };
  return {
    collection,
    ops: [
      { op: 'write', id, offset, data: Buffer.alloc(4096, number) },
      { op: 'omapSet', id, values: [['key', Buffer.from(String(number))]] },
      { op: 'setMeta', id, meta: { info, snapSet: EMPTY_SNAPSET } },
      {
        op: 'log',
        entry: { version, objects: [id], reqid, result: 0, userVersion: BigInt(number) },
      },
      { op: 'pgInfo', info: { ...NEW_PG_INFO, lastUpdate: version } },
    ],
  };
}
