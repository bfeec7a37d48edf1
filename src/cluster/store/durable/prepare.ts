/** What a transaction needs to know of objects' bytes before it changes anything. */

import { type ObjectId, objectKey } from '../object-id.js';
import { RangeSet } from '../range-set.js';
import type { StoreOp } from '../transaction.js';
import { type BlockData, DIRECT_BLOCKS } from './block-data.js';
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
  /** Since the clone that the operations make, none of the object's blocks is its own. */
  const cloned = new Set<string>();
  for (const op of ops) {
    if (op.op === 'clone') {
      cloned.add(objectKey(op.from));
    } else if (op.op === 'write') {
      const { data } = index.get(collection, op.id) ?? {};
      const own = cloned.has(objectKey(op.id)) ? undefined : data;
      blocks +=
        own?.newBlocks(op.offset, op.data.length) ?? Math.ceil(op.data.length / BLOCK_BYTES) + 1;
    } else if (op.op === 'install') {
      blocks += Math.ceil(op.object.data.size / BLOCK_BYTES);
    }
  }
  return blocks;
}

/** About what the log needs for the operations, rather more: blocks that are changed go into it whole. */
export function recordBytes(ops: readonly StoreOp[]): number {
  let bytes = OP_BYTES;
  for (const op of ops) {
    bytes += OP_BYTES;
    switch (op.op) {
      case 'write':
        bytes += Math.min(op.data.length, DIRECT_BLOCKS * BLOCK_BYTES) + 2 * BLOCK_BYTES;
        break;
      case 'zero':
      case 'truncate':
        bytes += 2 * BLOCK_BYTES;
        break;
      case 'setXattr':
        bytes += op.value.length;
        break;
      case 'omapSet':
        for (const [key, value] of op.values) bytes += UTF8_MAX * key.length + value.length + 8;
        break;
      case 'omapHeader':
        bytes += op.header.length;
        break;
      case 'setMeta':
        bytes += OP_BYTES * (op.meta.info.watchers.length + op.meta.snapSet.clones.length);
        break;
      case 'log':
        for (const { outdata } of op.entry.returns ?? []) bytes += outdata.length + 8;
        break;
      default:
        break;
    }
  }
  return bytes;
}

/** Names, versions, watchers: what an operation needs but for the bytes that it brings. */
const OP_BYTES = 512;
const UTF8_MAX = 3;
