/**
 * Objects whose every change follows from their name and the change's number: what an object must be after its n-th
 * change can be computed by anybody, at any time.
 *
 * Each change is one op vector: it writes, zeroes, cuts or replaces a range of sectors, and says its number in an xattr
 * and twice in the omap. If a vector were applied in part, the number would not fit the bytes.
 */

import {
  createOp,
  deleteOp,
  omapSetValsOp,
  type OsdOp,
  setXattrOp,
  truncateOp,
  writeFullOp,
  writeOp,
  zeroOp,
} from '../../src/messages/osd-op.js';

export const SECTOR_BYTES = 512;
const SECTORS_MAX = 768;
const KEYS = 20;

export const NUMBER_XATTR = 'number';
export const NUMBER_KEY = 'number';

interface Change {
  readonly kind: 'write' | 'replace' | 'zero' | 'cut' | 'new';
  /** Sectors. */
  readonly from: number;
  readonly count: number;
}

/** A 32-bit hash of numbers: what all that is "random" here comes from. */
function mix(...numbers: number[]): number {
  let hash = 0x9e3779b9;
  for (const number of numbers) {
    hash = Math.imul(hash ^ number, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

function changeOf(object: number, number: number): Change {
  const draw = (what: number, bound: number) => mix(object, number, what) % bound;
  const kind = draw(1, 100);
  if (kind < 60) {
    const count = 1 + draw(2, 16);
    return { kind: 'write', from: draw(3, SECTORS_MAX - count), count };
  }
  if (kind < 72) {
    // Goes to the data file at once, not through the log.
    const count = 136 + draw(2, 500);
    return { kind: 'write', from: draw(3, SECTORS_MAX - count), count };
  }
  if (kind < 82) return { kind: 'zero', from: draw(3, SECTORS_MAX), count: 1 + draw(2, 200) };
  if (kind < 90) return { kind: 'cut', from: draw(3, SECTORS_MAX), count: 0 };
  if (kind < 96) return { kind: 'replace', from: 0, count: 1 + draw(2, 300) };
  return { kind: 'new', from: 0, count: 1 + draw(2, 20) };
}

function fillSector(into: Buffer, object: number, number: number, sector: number): void {
  const seed = mix(object, number, sector, 7);
  for (let at = 0; at < SECTOR_BYTES; at += 4) into.writeUInt32LE((seed + at) >>> 0, at);
}

function bytesOf(object: number, number: number, { from, count }: Change): Buffer {
  const bytes = Buffer.alloc(count * SECTOR_BYTES);
  for (let i = 0; i < count; i++) {
    fillSector(bytes.subarray(i * SECTOR_BYTES), object, number, from + i);
  }
  return bytes;
}

export const objectName = (object: number) => `kill_trial.${object}`;

export function vectorOf(object: number, number: number): OsdOp[] {
  const text = Buffer.from(String(number));
  const change = changeOf(object, number);
  const marks = [
    setXattrOp(NUMBER_XATTR, text),
    omapSetValsOp(
      new Map([
        [`key.${number % KEYS}`, text],
        [NUMBER_KEY, text],
      ]),
    ),
  ];
  const at = change.from * SECTOR_BYTES;
  switch (change.kind) {
    case 'write':
      return [writeOp(at, bytesOf(object, number, change)), ...marks];
    case 'replace':
      return [...marks, writeFullOp(bytesOf(object, number, change))];
    case 'zero':
      return [createOp(false), zeroOp(at, change.count * SECTOR_BYTES), ...marks];
    case 'cut':
      return [createOp(false), truncateOp(at), ...marks];
    case 'new':
      return number === 1
        ? [writeOp(at, bytesOf(object, number, change)), ...marks]
        : [deleteOp(), createOp(false), writeOp(at, bytesOf(object, number, change)), ...marks];
  }
}

/** An object after so many changes. */
export class ExpectedObject {
  readonly #object: number;
  /** By sector: the change that wrote it; 0 for a hole. */
  readonly #sectors = new Int32Array(SECTORS_MAX + 1024);
  #size = 0;
  #keys = new Map<string, number>();

  constructor(object: number, changes: number) {
    this.#object = object;
    for (let number = 1; number <= changes; number++) this.#apply(number);
  }

  get bytes(): Buffer {
    const bytes = Buffer.alloc(this.#size * SECTOR_BYTES);
    for (let sector = 0; sector < this.#size; sector++) {
      const number = this.#sectors[sector] as number;
      if (number === 0) continue;
      fillSector(bytes.subarray(sector * SECTOR_BYTES), this.#object, number, sector);
    }
    return bytes;
  }

  get keys(): ReadonlyMap<string, number> {
    return this.#keys;
  }

  #apply(number: number): void {
    const { kind, from, count } = changeOf(this.#object, number);
    if (kind === 'new' && number > 1) {
      this.#cut(0);
      this.#keys = new Map();
    }
    if (kind === 'replace') this.#cut(count);
    if (kind === 'cut') this.#cut(from);
    if (kind === 'zero') {
      // A zeroed end is cut off, as RADOS does it; zeroing beyond the end does nothing.
      if (from < this.#size && from + count >= this.#size) this.#cut(from);
      else if (from < this.#size) this.#sectors.fill(0, from, from + count);
    }
    if (kind === 'write' || kind === 'replace' || kind === 'new') {
      this.#sectors.fill(number, from, from + count);
      this.#size = Math.max(this.#size, from + count);
    }
    this.#keys.set(`key.${number % KEYS}`, number);
    this.#keys.set(NUMBER_KEY, number);
  }

  #cut(size: number): void {
    this.#sectors.fill(0, size);
    this.#size = size;
  }
}
