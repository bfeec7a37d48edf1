/**
 * Gives space back to the file system: blocks from the end of the data file move into the gaps before them, until the
 * file can be cut.
 *
 * A block that moves is copied first, durably; then a record in the log says which objects have it elsewhere; then the
 * old place comes free. At no time does a crash leave an object without its block. What changes while it is being copied
 * is left where it is.
 */

import type { ObjectId } from '../object-id.js';
import { BLOCK_BYTES } from './block-space.js';
import type { DataFile } from './data-file.js';
import type { Index, MovedBlocks } from './record.js';

/** Moved with one record. */
const BATCH_BLOCKS = 256;

export interface CompactionTarget {
  readonly index: Index;
  readonly file: DataFile;
  /** Writes the record, and does what it says; resolves when it is durable. */
  readonly move: (collection: string, moved: readonly MovedBlocks[]) => Promise<void>;
  readonly pause: () => Promise<void>;
}

/** Gaps of less than `slackBytes`, or of less than a quarter of the file, are worth no work: new data fill them. */
export function isWorthCompacting({ space }: DataFile, slackBytes: number): boolean {
  return space.free * BLOCK_BYTES > slackBytes && space.free > space.end / 4;
}

/** Moves what lies beyond the place where everything would fit. */
export async function compact(target: CompactionTarget): Promise<void> {
  const { index, file, pause } = target;
  const limit = file.space.end - file.space.free;
  for (const name of index.names()) {
    const mover = new Mover(target, name, limit);
    // By position: objects come and go meanwhile, and what is missed stays for the next time.
    for (let at = 0; ; at++) {
      const id = index.find(name)?.objects.keyAt(at);
      if (!id) break;
      await mover.add(id);
      if (at % 64 === 0) await pause();
    }
    await mover.finish();
    if (mover.exhausted) return;
  }
}

interface Item {
  readonly id: ObjectId;
  readonly index: number;
  readonly from: number;
}

/** Moves blocks of one collection: clones, which share blocks, are in the collection of their object. */
class Mover {
  readonly #target: CompactionTarget;
  readonly #collection: string;
  readonly #limit: number;
  /** Old and new place of everything that was copied. The new ones are held until the end. */
  readonly #places = new Map<number, number>();
  #items: Item[] = [];
  /** There are no gaps left. */
  exhausted = false;

  constructor(target: CompactionTarget, collection: string, limit: number) {
    this.#target = target;
    this.#collection = collection;
    this.#limit = limit;
  }

  async add(id: ObjectId): Promise<void> {
    const data = this.#target.index.get(this.#collection, id)?.data;
    data?.map.all((index, from) => {
      if (from >= this.#limit) this.#items.push({ id, index, from });
    });
    while (this.#items.length >= BATCH_BLOCKS) await this.#moveBatch();
  }

  async finish(): Promise<void> {
    while (this.#items.length > 0) await this.#moveBatch();
    for (const to of this.#places.values()) this.#target.file.release(to);
  }

  async #moveBatch(): Promise<void> {
    const items = this.#items.splice(0, BATCH_BLOCKS);
    await this.#copy(items);
    const moved = this.#stillThere(items);
    if (moved.length > 0) await this.#target.move(this.#collection, moved);
  }

  async #copy(items: readonly Item[]): Promise<void> {
    const { file } = this.#target;
    const copies: { from: number; to: number }[] = [];
    const asked = new Set<number>();
    for (const { from } of items) {
      if (this.#places.has(from) || asked.has(from)) continue;
      const to = file.space.allocateBelow(this.#limit);
      if (to === undefined) {
        this.exhausted = true;
        break;
      }
      asked.add(from);
      copies.push({ from, to });
    }
    const copied = await file.copyBlocks(copies);
    for (const { from, to } of copies) {
      if (copied.has(from)) this.#places.set(from, to);
      else file.release(to);
    }
  }

  /** What can move, now: the object has the block still, and the block what was copied. */
  #stillThere(items: readonly Item[]): MovedBlocks[] {
    const { index: objects, file } = this.#target;
    const byObject = new Map<ObjectId, { index: number; to: number }[]>();
    for (const { id, index, from } of items) {
      const to = this.#places.get(from);
      if (to === undefined || !file.holdsTheSame(from, to)) continue;
      if (objects.get(this.#collection, id)?.data.map.get(index) !== from) continue;
      const moves = byObject.get(id) ?? [];
      moves.push({ index, to });
      byObject.set(id, moves);
    }
    return [...byObject].map(([id, moves]) => ({ id, moves }));
  }
}
