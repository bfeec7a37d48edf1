/**
 * What became of each object of an image from snapshot to snapshot, by their object maps (the state table of
 * `librbd/object_map/DiffRequest.cc`). Two bits an object, in the places where the maps have theirs: the high one says that
 * the object was changed, the low one that it exists.
 *
 *     state           next map says    NONEXISTENT     EXISTS, PENDING    EXISTS_CLEAN
 *     00 HOLE                          HOLE            DATA_UPDATED *     DATA_UPDATED *     * at the end; before, HOLE
 *     01 DATA                          HOLE_UPDATED    DATA_UPDATED       DATA
 *     10 HOLE_UPDATED                  HOLE_UPDATED    DATA_UPDATED       DATA_UPDATED
 *     11 DATA_UPDATED                  HOLE_UPDATED    DATA_UPDATED       DATA_UPDATED
 *
 * What an object that did not exist at the start was in between does not matter. As many objects at a time as fit a word:
 * there is no branch in it.
 */

/** Objects `first` up to, but without, `end` that changed, and whether they exist now. */
export interface ObjectRun {
  readonly first: number;
  readonly end: number;
  readonly exists: boolean;
}

/** An object map: two bits an object, the first object in the highest bits of the first byte. */
export interface StateMap {
  readonly bytes: Uint8Array;
  /** Objects that count, of those that the bytes have. */
  readonly objectCount: number;
}

const PER_BYTE = 4;
const PER_WORD = 16;
const LOW = 0x5555_5555;
const HIGH = 0xaaaa_aaaa;
const ALL_DATA = 0xffff_ffff;
const ALL_HOLES = HIGH;

export class DiffStates {
  #words = new Uint32Array(0);
  /** The same memory. */
  #bytes = new Uint8Array(this.#words.buffer);
  #count = 0;

  /** Objects, as of the last map. */
  get objectCount(): number {
    return this.#count;
  }

  /** The map of the snapshot that the diff starts from. What is being removed there may be there or not: it changed. */
  *start(map: StateMap): Generator<void, void, undefined> {
    this.#resize(map.objectCount);
    const words = this.#words;
    const next = wordsOf(map);
    for (const [begin, end] of turns(words.length)) {
      for (let i = begin; i < end; i++) {
        const word = next[i] as number;
        const high = (word >>> 1) & LOW;
        words[i] = ((high & ~word & LOW) << 1) | ((word | high) & LOW);
      }
      yield;
    }
    this.#trim();
  }

  /** The map of the next snapshot, which is the last at the end of the diff. What it does not have any more is forgotten. */
  *next(map: StateMap, { isEnd }: { isEnd: boolean }): Generator<void, void, undefined> {
    this.#resize(map.objectCount);
    const words = this.#words;
    const next = wordsOf(map);
    const born = isEnd ? LOW : 0;
    for (const [begin, end] of turns(words.length)) {
      for (let i = begin; i < end; i++) {
        const word = next[i] ?? 0;
        const state = words[i] as number;
        const high = (word >>> 1) & LOW;
        const exists = (word | high) & LOW;
        const clean = word & high;
        const changed = (state >>> 1) & LOW;
        const known = (state | changed) & LOW;
        const news = exists & ~known & born;
        words[i] = ((((known & ~clean) | changed | news) & LOW) << 1) | (exists & known) | news;
      }
      yield;
    }
    this.#trim();
  }

  /** Whether the object neither exists at the end nor did at the start. */
  isHole(objectNo: number): boolean {
    return this.#stateOf(objectNo) === 0;
  }

  /** The objects that changed, ascending. */
  *runs(): Generator<ObjectRun, void, undefined> {
    const words = this.#words;
    let run: { first: number; end: number; exists: boolean } | undefined;
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as number;
      const base = i * PER_WORD;
      if (run && word === (run.exists ? ALL_DATA : ALL_HOLES)) {
        run.end = base + PER_WORD;
        continue;
      }
      if (!run && (word & HIGH) === 0) continue;
      for (let objectNo = base; objectNo < base + PER_WORD; objectNo++) {
        const state = this.#stateOf(objectNo);
        const hasChanged = state >= 2;
        const exists = state === 3;
        if (run && (!hasChanged || run.exists !== exists)) {
          yield run;
          run = undefined;
        }
        if (!hasChanged) continue;
        if (run) run.end = objectNo + 1;
        else run = { first: objectNo, end: objectNo + 1, exists };
      }
    }
    if (run) yield run;
  }

  /** The objects that exist at the end, or did at the start, whether they changed or not: ascending. */
  *occupied(): Generator<{ readonly first: number; readonly end: number }, void, undefined> {
    const words = this.#words;
    let first = -1;
    for (let i = 0; i < words.length; i++) {
      if (first < 0 && words[i] === 0) continue;
      for (let objectNo = i * PER_WORD; objectNo < (i + 1) * PER_WORD; objectNo++) {
        if (!this.isHole(objectNo)) {
          if (first < 0) first = objectNo;
        } else if (first >= 0) {
          yield { first, end: objectNo };
          first = -1;
        }
      }
    }
    if (first >= 0) yield { first, end: this.#count };
  }

  #stateOf(objectNo: number): number {
    const byte = this.#bytes[Math.floor(objectNo / PER_BYTE)] ?? 0;
    return (byte >> ((PER_BYTE - 1 - (objectNo % PER_BYTE)) * 2)) & 3;
  }

  #resize(count: number): void {
    const words = Math.ceil(count / PER_WORD);
    if (words !== this.#words.length) {
      const resized = new Uint32Array(words);
      resized.set(this.#words.subarray(0, words));
      this.#words = resized;
      this.#bytes = new Uint8Array(resized.buffer);
    }
    this.#count = count;
    this.#trim();
  }

  /** Nothing is beyond the last object, whatever a map has there. */
  #trim(): void {
    const bytes = this.#bytes;
    const rest = this.#count % PER_BYTE;
    const whole = Math.floor(this.#count / PER_BYTE);
    if (rest > 0) bytes[whole] = (bytes[whole] as number) & (0xff << ((PER_BYTE - rest) * 2));
    bytes.fill(0, Math.ceil(this.#count / PER_BYTE));
  }
}

/** Words between two chances for others to go on: a few milliseconds of work. */
const WORDS_PER_TURN = 2 ** 20;

function* turns(words: number): Generator<[begin: number, end: number], void, undefined> {
  for (let begin = 0; begin < words; begin += WORDS_PER_TURN) {
    yield [begin, Math.min(words, begin + WORDS_PER_TURN)];
  }
}

/** The map's objects as words, zeros behind them. */
function wordsOf({ bytes, objectCount }: StateMap): Uint32Array {
  const words = new Uint32Array(Math.ceil(objectCount / PER_WORD));
  const copy = new Uint8Array(words.buffer);
  const used = Math.ceil(objectCount / PER_BYTE);
  copy.set(bytes.subarray(0, used));
  const rest = objectCount % PER_BYTE;
  if (rest > 0) copy[used - 1] = (copy[used - 1] as number) & (0xff << ((PER_BYTE - rest) * 2));
  return words;
}
