/**
 * Which block of the data file holds which block of an object. 0: none.
 *
 * Pages of 256 entries that exist where something was written, each only as long as it was needed so far: 4 bytes for
 * each block, and little for small and for sparse objects.
 */

const PAGE_ENTRIES = 256;
const FIRST_ENTRIES = 4;

export class BlockMap {
  readonly #pages: (Uint32Array | undefined)[] = [];

  get(index: number): number {
    return this.#pages[Math.floor(index / PAGE_ENTRIES)]?.[index % PAGE_ENTRIES] ?? 0;
  }

  set(index: number, block: number): void {
    const number = Math.floor(index / PAGE_ENTRIES);
    const at = index % PAGE_ENTRIES;
    let page = this.#pages[number];
    if (!page || page.length <= at) {
      let length = page?.length ?? FIRST_ENTRIES;
      while (length <= at) length *= 2;
      const grown = new Uint32Array(length);
      if (page) grown.set(page);
      page = grown;
      this.#pages[number] = page;
    }
    page[at] = block;
  }

  /** Calls for every mapped block from index `from` up to, and without, `to`. */
  forEach(from: number, to: number, visit: (index: number, block: number) => void): void {
    const last = Math.min(this.#pages.length, Math.ceil(to / PAGE_ENTRIES));
    for (let number = Math.floor(from / PAGE_ENTRIES); number < last; number++) {
      const page = this.#pages[number];
      if (!page) continue;
      const first = number * PAGE_ENTRIES;
      const end = Math.min(page.length, to - first);
      for (let at = Math.max(0, from - first); at < end; at++) {
        const block = page[at] as number;
        if (block !== 0) visit(first + at, block);
      }
    }
  }

  all(visit: (index: number, block: number) => void): void {
    this.forEach(0, this.#pages.length * PAGE_ENTRIES, visit);
  }

  clone(): BlockMap {
    const copy = new BlockMap();
    for (const [number, page] of this.#pages.entries()) {
      if (page) copy.#pages[number] = page.slice();
    }
    return copy;
  }
}
