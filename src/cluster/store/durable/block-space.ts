/**
 * The blocks of the data file: which are used, by how many objects, and what their checksums are.
 *
 *   free       may be given out
 *   used       by one object, or by several: an object and its clones share what neither has written since
 *   resting    used by nobody any more, but not free yet: until the transaction that freed it is durable, a crash
 *              brings the old owner back, and its bytes must still be there
 *
 * Block 0 is never used: 0 stands for "no block". Costs 6 bytes of memory per block of the file.
 */

export const BLOCK_BYTES = 4096;

/** Consecutive blocks. */
export interface BlockRun {
  readonly start: number;
  readonly count: number;
}

const FREE = 0;
/** A count that reached this stays: the block comes free at the next start, when blocks are counted anew. */
const USERS_MAX = 0xfffe;
const RESTING = 0xffff;

const RESERVED_BLOCKS = 1;
const FIRST_CAPACITY = 1024;
/** Large writes leave shorter gaps than this to small ones. */
const LARGE_RUN_BLOCKS = 16;

export class BlockSpace {
  #users = new Uint16Array(FIRST_CAPACITY);
  #checksums = new Uint32Array(FIRST_CAPACITY);
  #end = RESERVED_BLOCKS;
  #used = 0;
  #resting = 0;
  /** No free block lies below. */
  #lowestFree = RESERVED_BLOCKS;
  /** No free run for large writes begins below. */
  #lowestRun = RESERVED_BLOCKS;

  /** The file is this many blocks long, or will be. */
  get end(): number {
    return this.#end;
  }

  get used(): number {
    return this.#used;
  }

  get free(): number {
    return this.#end - RESERVED_BLOCKS - this.#used - this.#resting;
  }

  isUsed(block: number): boolean {
    const users = this.#users[block];
    return users !== undefined && users !== FREE && users !== RESTING;
  }

  isShared(block: number): boolean {
    return (this.#users[block] as number) > 1;
  }

  checksum(block: number): number {
    return this.#checksums[block] as number;
  }

  setChecksum(block: number, checksum: number): void {
    this.#checksums[block] = checksum;
  }

  allocate(): number {
    const found = this.#users.indexOf(FREE, this.#lowestFree);
    const block = found < 0 || found > this.#end ? this.#end : found;
    this.#take(block, 1);
    this.#lowestFree = block + 1;
    return block;
  }

  /** A free block before `limit`, if there is one. */
  allocateBelow(limit: number): number | undefined {
    const found = this.#users.indexOf(FREE, this.#lowestFree);
    if (found < 0 || found >= Math.min(limit, this.#end)) return undefined;
    this.#take(found, 1);
    this.#lowestFree = found + 1;
    return found;
  }

  /** For a large write: few runs, the longer gaps first from the front, the rest at the end of the file. */
  allocateRuns(count: number): BlockRun[] {
    const runs: BlockRun[] = [];
    let left = count;
    let at = this.#lowestRun;
    while (left > 0) {
      const gap = this.#nextGap(at, Math.min(left, LARGE_RUN_BLOCKS));
      this.#lowestRun = gap.start;
      const run = { start: gap.start, count: Math.min(left, gap.count) };
      this.#take(run.start, run.count);
      runs.push(run);
      left -= run.count;
      at = run.start + run.count;
    }
    return runs;
  }

  /** Takes given blocks, as a log or a checkpoint says. */
  adopt(start: number, count: number): void {
    for (let block = start; block < start + count; block++) {
      this.#reserve(block + 1);
      const users = this.#users[block] as number;
      if (users === FREE || users === RESTING) {
        if (users === RESTING) this.#resting--;
        this.#users[block] = 1;
        this.#used++;
      } else if (users < USERS_MAX) {
        this.#users[block] = users + 1;
      }
    }
    if (start + count > this.#end) this.#end = start + count;
  }

  /** One more object uses the block. */
  share(block: number): void {
    const users = this.#users[block] as number;
    if (users < USERS_MAX) this.#users[block] = users + 1;
  }

  /** One object less. True when it was the last: the block rests until `reuse`. */
  release(block: number): boolean {
    const users = this.#users[block] as number;
    if (users === USERS_MAX) return false;
    if (users > 1) {
      this.#users[block] = users - 1;
      return false;
    }
    this.#users[block] = RESTING;
    this.#used--;
    this.#resting++;
    return true;
  }

  /** Blocks that rested long enough. */
  reuse({ start, count }: BlockRun): void {
    this.#users.fill(FREE, start, start + count);
    this.#resting -= count;
    this.#lowestFree = Math.min(this.#lowestFree, start);
    // Together with what is free before it, it may be long enough for large writes. What was before is known already.
    let first = start;
    const known = Math.max(RESERVED_BLOCKS, start - LARGE_RUN_BLOCKS);
    while (first > known && this.#users[first - 1] === FREE) first--;
    this.#lowestRun = Math.min(this.#lowestRun, first);
  }

  /** After loading: what nobody adopted is free. */
  settle(): void {
    for (let block = RESERVED_BLOCKS; block < this.#end; block++) {
      if (this.#users[block] === RESTING) this.#users[block] = FREE;
    }
    this.#resting = 0;
    this.#lowestFree = RESERVED_BLOCKS;
    this.#lowestRun = RESERVED_BLOCKS;
  }

  /** Gives up the free blocks at the end; returns how long the file must be, in blocks. */
  trimEnd(): number {
    let end = this.#end;
    while (end > RESERVED_BLOCKS && this.#users[end - 1] === FREE) end--;
    this.#end = end;
    return end;
  }

  /** Checksums of the blocks `[start, end)`, as they are in memory. */
  checksums(start: number, end: number): Uint32Array {
    return this.#checksums.subarray(start, end);
  }

  /** Checksums as a checkpoint has them. */
  restoreChecksums(start: number, checksums: Uint32Array): void {
    this.#reserve(start + checksums.length);
    this.#checksums.set(checksums, start);
  }

  #take(start: number, count: number): void {
    this.#reserve(start + count);
    this.#users.fill(1, start, start + count);
    this.#used += count;
    if (start + count > this.#end) this.#end = start + count;
  }

  /** The first run of free blocks from `from` on that is long enough; at the end of the file there is always one. */
  #nextGap(from: number, atLeast: number): BlockRun {
    const users = this.#users;
    for (let start = from; ; ) {
      start = users.indexOf(FREE, start);
      if (start < 0 || start >= this.#end) break;
      let end = start + 1;
      while (end < this.#end && users[end] === FREE) end++;
      if (end === this.#end) return { start, count: Number.MAX_SAFE_INTEGER };
      if (end - start >= atLeast) return { start, count: end - start };
      start = end;
    }
    return { start: this.#end, count: Number.MAX_SAFE_INTEGER };
  }

  #reserve(blocks: number): void {
    const { length } = this.#users;
    if (blocks <= length) return;
    const capacity = Math.max(blocks, length * 2);
    const users = new Uint16Array(capacity);
    users.set(this.#users);
    const checksums = new Uint32Array(capacity);
    checksums.set(this.#checksums);
    this.#users = users;
    this.#checksums = checksums;
  }
}
