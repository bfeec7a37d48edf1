/**
 * A map with its keys in order: omap keys, and a PG's objects.
 *
 * A hash map for lookups beside a sorted array of keys. An insertion moves the array's tail, which for the sizes
 * that an object or a PG holds (up to some 100,000) is a short memmove; in return iteration and seeking are plain
 * array walks.
 */

export class SortedMap<K, V> {
  readonly #compare: (a: K, b: K) => number;
  readonly #hash: (key: K) => string;
  readonly #values = new Map<string, V>();
  readonly #keys: K[] = [];

  constructor(compare: (a: K, b: K) => number, hash: (key: K) => string) {
    this.#compare = compare;
    this.#hash = hash;
  }

  get size(): number {
    return this.#keys.length;
  }

  get(key: K): V | undefined {
    return this.#values.get(this.#hash(key));
  }

  has(key: K): boolean {
    return this.#values.has(this.#hash(key));
  }

  set(key: K, value: V): void {
    const hash = this.#hash(key);
    if (!this.#values.has(hash)) {
      const last = this.#keys.at(-1);
      // Keys that arrive in order, as listings and copies bring them, need no search.
      if (last === undefined || this.#compare(last, key) < 0) this.#keys.push(key);
      else this.#keys.splice(this.seek(key), 0, key);
    }
    this.#values.set(hash, value);
  }

  delete(key: K): boolean {
    const hash = this.#hash(key);
    if (!this.#values.delete(hash)) return false;
    let at = this.seek(key);
    // Of two keys that the order holds for equal, or one whose place is not where it was put: the one that is meant.
    const is = (each: K | undefined) => each !== undefined && this.#hash(each) === hash;
    if (!is(this.#keys[at])) at = this.#keys.findIndex(is);
    this.#keys.splice(at, 1);
    return true;
  }

  clear(): void {
    this.#values.clear();
    this.#keys.length = 0;
  }

  /** Index of the first key that is not below `key`. */
  seek(key: K): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(this.#keys[middle] as K, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  keyAt(index: number): K | undefined {
    return this.#keys[index];
  }

  /** Keys from `from` on (inclusive), in order. Do not change the map meanwhile. */
  *keysFrom(from: K): Iterable<K> {
    for (let i = this.seek(from); i < this.#keys.length; i++) yield this.#keys[i] as K;
  }

  *entries(): Iterable<[K, V]> {
    for (const key of this.#keys) yield [key, this.get(key) as V];
  }
}
