/**
 * Which units of one region are free: first fit, lowest first.
 *
 * Free extents are kept sorted by place, so that neighbours merge and large extents survive at the high end while
 * small requests come and go at the low one.
 */
export class FreeExtents {
  /** By first unit. `#count` entries are in use; two free extents never touch. */
  #starts = new Int32Array(16);
  #lengths = new Int32Array(16);
  #count = 0;
  #units = 0;
  #free = 0;

  /** All of `units` is free. */
  constructor(units: number) {
    this.grow(units);
  }

  /** Of the region. */
  get units(): number {
    return this.#units;
  }

  get free(): number {
    return this.#free;
  }

  /** First of `units` contiguous units, or -1 when no free extent is long enough now. */
  take(units: number): number {
    const lengths = this.#lengths;
    for (let i = 0; i < this.#count; i++) {
      const length = lengths[i]!;
      if (length < units) continue;
      const start = this.#starts[i]!;
      if (length === units) this.#remove(i);
      else {
        this.#starts[i] = start + units;
        lengths[i] = length - units;
      }
      this.#free -= units;
      return start;
    }
    return -1;
  }

  /** `start` and `units` as `take` had them. RangeError when they are not taken. */
  give(start: number, units: number): void {
    const end = start + units;
    const next = this.#firstFrom(start);
    const starts = this.#starts;
    const lengths = this.#lengths;
    const touchesPrevious = next > 0 && starts[next - 1]! + lengths[next - 1]! === start;
    const touchesNext = next < this.#count && starts[next]! === end;
    const overlaps =
      (next > 0 && starts[next - 1]! + lengths[next - 1]! > start) ||
      (next < this.#count && starts[next]! < end);
    if (!Number.isInteger(start) || start < 0 || end > this.#units || overlaps) {
      throw new RangeError(`${units} units from ${start} on were not taken`);
    }
    if (touchesPrevious && touchesNext) {
      lengths[next - 1] = lengths[next - 1]! + units + lengths[next]!;
      this.#remove(next);
    } else if (touchesPrevious) {
      lengths[next - 1] = lengths[next - 1]! + units;
    } else if (touchesNext) {
      starts[next] = start;
      lengths[next] = lengths[next]! + units;
    } else {
      this.#insert(next, start, units);
    }
    this.#free += units;
  }

  /** The region has so many more units at its end, free. */
  grow(units: number): void {
    const start = this.#units;
    this.#units += units;
    if (units > 0) this.give(start, units);
  }

  /** Of the free extent at the region's end: what need not be grown. */
  get freeAtEnd(): number {
    const last = this.#count - 1;
    if (last < 0) return 0;
    const length = this.#lengths[last]!;
    return this.#starts[last]! + length === this.#units ? length : 0;
  }

  /** Index of the first free extent that starts at or after `unit`. */
  #firstFrom(unit: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! < unit) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remove(index: number): void {
    this.#starts.copyWithin(index, index + 1, this.#count);
    this.#lengths.copyWithin(index, index + 1, this.#count);
    this.#count--;
  }

  #insert(index: number, start: number, units: number): void {
    if (this.#count === this.#starts.length) {
      this.#starts = twiceAsLong(this.#starts);
      this.#lengths = twiceAsLong(this.#lengths);
    }
    this.#starts.copyWithin(index + 1, index, this.#count);
    this.#lengths.copyWithin(index + 1, index, this.#count);
    this.#starts[index] = start;
    this.#lengths[index] = units;
    this.#count++;
  }
}

function twiceAsLong(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const longer = new Int32Array(2 * array.length);
  longer.set(array);
  return longer;
}
