/** Which bytes of an object were written: disjoint, non-touching ranges `[start, end)` in order. */

/** `[offset, length]` */
export type Extent = readonly [offset: number, length: number];

export class RangeSet {
  #starts: number[] = [];
  #ends: number[] = [];

  add(start: number, end: number): void {
    // All ranges that overlap or touch [start, end) become one with it.
    const first = firstAtLeast(this.#ends, start);
    const isCovered =
      (this.#starts[first] as number) <= start && end <= (this.#ends[first] as number);
    if (isCovered) return;
    const past = firstAtLeast(this.#starts, end + 1);
    if (first < past) {
      start = Math.min(start, this.#starts[first] as number);
      end = Math.max(end, this.#ends[past - 1] as number);
    }
    this.#starts.splice(first, past - first, start);
    this.#ends.splice(first, past - first, end);
  }

  remove(start: number, end: number): void {
    const first = firstAtLeast(this.#ends, start + 1);
    const past = firstAtLeast(this.#starts, end);
    if (first >= past) return;
    const starts: number[] = [];
    const ends: number[] = [];
    const leftStart = this.#starts[first] as number;
    const rightEnd = this.#ends[past - 1] as number;
    if (leftStart < start) {
      starts.push(leftStart);
      ends.push(start);
    }
    if (rightEnd > end) {
      starts.push(end);
      ends.push(rightEnd);
    }
    this.#starts.splice(first, past - first, ...starts);
    this.#ends.splice(first, past - first, ...ends);
  }

  within(start: number, end: number): Extent[] {
    const found: Extent[] = [];
    for (let i = firstAtLeast(this.#ends, start + 1); i < this.#starts.length; i++) {
      const from = Math.max(this.#starts[i] as number, start);
      const to = Math.min(this.#ends[i] as number, end);
      if (from >= end) break;
      found.push([from, to - from]);
    }
    return found;
  }

  /** Whether anything of `[start, end)` is in it. */
  touches(start: number, end: number): boolean {
    const first = firstAtLeast(this.#ends, start + 1);
    return first < this.#starts.length && (this.#starts[first] as number) < end;
  }

  get count(): number {
    return this.#starts.length;
  }

  *ranges(): Iterable<[start: number, end: number]> {
    for (const [i, start] of this.#starts.entries()) yield [start, this.#ends[i] as number];
  }

  clone(): RangeSet {
    const copy = new RangeSet();
    copy.#starts = this.#starts.slice();
    copy.#ends = this.#ends.slice();
    return copy;
  }
}

/** Index of the first element that is at least `value`. */
function firstAtLeast(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
