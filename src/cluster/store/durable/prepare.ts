/** What a transaction needs to know of objects' bytes before it changes anything. */

import { type ObjectId, objectKey } from '../object-id.js';
import { RangeSet } from '../range-set.js';
import type { StoreOp } from '../transaction.js';
import type { BlockData } from './block-data.js';
import { BLOCK_BYTES } from './block-space.js';
import type { Index } from './record.js';

/** Operations on bytes. */
const DATA_OPS: ReadonlySet<StoreOp['op']> = new Set([
  'write',
  'zero',
  'truncate',
  'remove',
  'install',
  'clone',
  'removeAll',
]);

/**
 * Reads the blocks that the operations will change in part, so that nothing can fail once they have begun. EIO for
 * those that are damaged, unless the transaction replaces all that is in them.
 */
export function prepareTransaction(
  index: Index,
  collection: string,
  ops: readonly StoreOp[],
): void {
  let only: StoreOp | undefined;
  let count = 0;
  for (const op of ops) {
    if (!DATA_OPS.has(op.op)) continue;
    only = op;
    count++;
  }
  if (count > 1) new Preparation(index, collection).run(ops);
  else if (only?.op === 'write') {
    index.get(collection, only.id)?.data.prepareWrite(only.offset, only.data.length, undefined);
  }
}

/** An object as the operations so far would leave it: its bytes from before, less what they change. */
interface Pending {
  readonly data: BlockData | undefined;
  readonly changed: RangeSet;
}

class Preparation {
  readonly #index: Index;
  readonly #collection: string;
  readonly #pending = new Map<string, Pending>();

  constructor(index: Index, collection: string) {
    this.#index = index;
    this.#collection = collection;
  }

  run(ops: readonly StoreOp[]): void {
    for (const op of ops) {
      switch (op.op) {
        case 'write': {
          const { data, changed } = this.#of(op.id);
          data?.prepareWrite(op.offset, op.data.length, changed);
          changed.add(op.offset, op.offset + op.data.length);
          break;
        }
        case 'zero':
          this.#of(op.id).changed.add(op.offset, op.offset + op.length);
          break;
        case 'truncate':
          this.#of(op.id).changed.add(op.size, Number.POSITIVE_INFINITY);
          break;
        case 'remove':
          this.#replace(op.id, undefined);
          break;
        case 'install':
          this.#replace(op.object.id, undefined);
          break;
        case 'clone': {
          const { data, changed } = this.#of(op.from);
          this.#replace(op.to, data, changed.clone());
          break;
        }
        case 'removeAll':
          // Nothing is left of which a later write could keep a part.
          return;
        default:
          break;
      }
    }
  }

  #of(id: ObjectId): Pending {
    const key = objectKey(id);
    const known = this.#pending.get(key);
    if (known) return known;
    const pending = {
      data: this.#index.get(this.#collection, id)?.data,
      changed: new RangeSet(),
    };
    this.#pending.set(key, pending);
    return pending;
  }

  #replace(id: ObjectId, data: BlockData | undefined, changed = new RangeSet()): void {
    this.#pending.set(objectKey(id), { data, changed });
  }
}

/** Blocks that the operations would take, at most. */
export function newBlocks(index: Index, collection: string, ops: readonly StoreOp[]): number {
  let blocks = 0;
  for (const op of ops) {
    if (op.op === 'write') {
      const data = index.get(collection, op.id)?.data;
      blocks +=
        data?.newBlocks(op.offset, op.data.length) ?? Math.ceil(op.data.length / BLOCK_BYTES) + 1;
    } else if (op.op === 'install') {
      blocks += Math.ceil(op.object.data.size / BLOCK_BYTES);
    }
  }
  return blocks;
}
