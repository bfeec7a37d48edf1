/** Random transactions of every kind, on few objects, so that they meet. */

import { ObjectData } from '../../../../src/cluster/store/object-data.js';
import type { ObjectId } from '../../../../src/cluster/store/object-id.js';
import { NEW_OBJECT_INFO } from '../../../../src/cluster/store/object-meta.js';
import { NEW_PG_INFO } from '../../../../src/cluster/store/pg-record.js';
import type { StoreOp, Transaction } from '../../../../src/cluster/store/transaction.js';
import { NOSNAP } from '../../../../src/encoding/types.js';
import type { Random } from '../../../../src/base/environment.js';

const COLLECTIONS = ['1.0', '1.1'];

export type Change =
  | { kind: 'apply'; transaction: Transaction }
  | { kind: 'removeCollection'; collection: string };

export class Workload {
  readonly #random: Random;
  #number = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** The number of a change stands in its PG's info, and in every byte that it writes. */
  next(): Change {
    const number = ++this.#number;
    const collection = this.#pick(COLLECTIONS);
    if (this.#below(60) === 0) return { kind: 'removeCollection', collection };
    const ops: StoreOp[] = [];
    for (let left = 1 + this.#below(3); left > 0; left--) ops.push(...this.#op(number));
    ops.push(this.#logEntry(number));
    ops.push({
      op: 'pgInfo',
      info: { ...NEW_PG_INFO, lastUpdate: { version: BigInt(number), epoch: 1 } },
    });
    return { kind: 'apply', transaction: { collection, ops } };
  }

  #op(number: number): StoreOp[] {
    const id = this.#id();
    switch (this.#below(18)) {
      case 0:
        return [{ op: 'touch', id }];
      case 1:
      case 2:
      case 3:
      case 4:
        return [{ op: 'write', id, offset: this.#offset(), data: this.#bytes(number, 9000) }];
      case 5:
        // Large enough to go to the data file at once.
        return [{ op: 'write', id, offset: this.#offset(), data: this.#stamped(number, 80_000) }];
      case 6:
        return [{ op: 'zero', id, offset: this.#offset(), length: this.#below(30_000) }];
      case 7:
        return [{ op: 'truncate', id, size: this.#offset() }];
      case 8:
        return [{ op: 'remove', id }];
      case 9:
        return [{ op: 'clone', from: id, to: { ...id, snap: BigInt(1 + this.#below(3)) } }];
      case 10: {
        const name = `x${this.#below(3)}`;
        return [
          this.#below(3) === 0
            ? { op: 'removeXattr', id, name }
            : { op: 'setXattr', id, name, value: this.#bytes(number, 40) },
        ];
      }
      case 11:
      case 12: {
        const values = Array.from(
          { length: 1 + this.#below(3) },
          () => [`k${this.#below(20)}`, this.#bytes(number, 60)] as const,
        );
        return [{ op: 'omapSet', id, values }];
      }
      case 13:
        return [{ op: 'omapRemove', id, keys: [`k${this.#below(20)}`] }];
      case 14:
        return [{ op: 'omapRemoveRange', id, begin: `k${this.#below(9)}`, end: 'k2' }];
      case 15:
        return this.#below(4) === 0
          ? [{ op: 'omapClear', id }]
          : [{ op: 'omapHeader', id, header: this.#bytes(number, 20) }];
      case 16:
        return [this.#install(number, id)];
      default:
        return this.#below(40) === 0 ? [{ op: 'removeAll' }] : [this.#meta(number, id)];
    }
  }

  #install(number: number, id: ObjectId): StoreOp {
    const data = new ObjectData();
    for (let left = this.#below(3); left > 0; left--) {
      data.write(this.#offset(), this.#stamped(number, 1 + this.#below(90_000)));
    }
    if (this.#below(2)) data.truncate(this.#offset());
    return {
      op: 'install',
      object: {
        id,
        meta: { info: NEW_OBJECT_INFO, snapSet: { seq: BigInt(number), clones: [] } },
        data,
        xattrs: new Map([['x1', this.#bytes(number, 30)]]),
        omap: [['k1', this.#bytes(number, 30)]],
        omapHeader: this.#bytes(number, 10),
      },
    };
  }

  #meta(number: number, id: ObjectId): StoreOp {
    const watcher = {
      entity: { type: 8, num: BigInt(number) },
      cookie: 5n,
      timeoutS: 30,
      addr: { type: 2, nonce: number, host: '127.0.0.1', port: 1234 },
    };
    const overlap = [[0, this.#below(10_000)]] as const;
    return {
      op: 'setMeta',
      id,
      meta: {
        info: { ...NEW_OBJECT_INFO, userVersion: BigInt(number), watchers: [watcher] },
        snapSet: {
          seq: 7n,
          clones: [{ id: 3n, snaps: [3n, 2n], size: this.#below(10_000), overlap }],
        },
      },
    };
  }

  #logEntry(number: number): StoreOp {
    return {
      op: 'log',
      entry: {
        version: { version: BigInt(number), epoch: 1 },
        objects: [this.#id()],
        result: this.#below(3) - 2,
        userVersion: BigInt(number),
        ...(this.#below(2)
          ? { reqid: { name: { type: 8, num: 4100n }, inc: 1, tid: number } }
          : {}),
        ...(this.#below(5) === 0
          ? { returns: [{ rval: number, outdata: this.#bytes(number, 8) }] }
          : {}),
      },
    };
  }

  #id(): ObjectId {
    const oid = this.#pick(['a', 'b', 'ü', 'd']);
    const hash = { a: 1, b: 0x80000000, ü: 3, d: 0xffffffff }[oid] as number;
    const snap = this.#below(5) === 0 ? BigInt(1 + this.#below(3)) : NOSNAP;
    return { pool: 1, nspace: '', oid, key: '', hash, snap };
  }

  #offset(): number {
    return this.#below(2) ? 4096 * this.#below(20) : this.#below(70_000);
  }

  #bytes(number: number, max: number): Uint8Array {
    return this.#stamped(number, 1 + this.#below(max));
  }

  #stamped(number: number, length: number): Uint8Array {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(number * 1000 + (at % 997), at);
    return bytes;
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  #below(bound: number): number {
    return Math.floor(this.#random.float() * bound);
  }
}
