/** Object map kernels as good plain JavaScript has them: words of 16 objects in a Uint32Array, and no calls within loops. */

const LOW = 0x55555555;

/** Objects as in the packed bytes: the first in the highest bits. */
function reversed(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function bits(low: number): number {
  let x = (low & 0x33333333) + ((low >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}

export function countJs(words: Uint32Array): [number, number, number, number] {
  let low = 0;
  let high = 0;
  let both = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]! | 0;
    const shifted = word >>> 1;
    low += bits(word & LOW);
    high += bits(shifted & LOW);
    both += bits(word & shifted & LOW);
  }
  return [words.length * 16 - low - high + both, low - both, high - both, both];
}

/** The first object whose state is in the set; the function for a set is made once. */
export function nextJs(words: Uint32Array, states: number): number {
  const none = -(states & 1);
  const low = -((states ^ (states >>> 1)) & 1);
  const high = -((states ^ (states >>> 2)) & 1);
  const both = -((states ^ (states >>> 1) ^ (states >>> 2) ^ (states >>> 3)) & 1);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]! | 0;
    const found = (none ^ (low & word) ^ ((word >>> 1) & (high ^ (both & word)))) & LOW;
    if (found !== 0) return i * 16 + (Math.clz32(reversed(found)) >>> 1);
  }
  return -1;
}

/** The first that is not NONEXISTENT. */
export function nextExistingJs(words: Uint32Array): number {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]! | 0;
    if (word !== 0) return i * 16 + (Math.clz32(reversed((word | (word >>> 1)) & LOW)) >>> 1);
  }
  return -1;
}

export function replaceJs(words: Uint32Array, from: number, to: number): number {
  const pattern = LOW * from;
  const target = LOW * to;
  let changed = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]! | 0;
    const differs = word ^ pattern;
    const found = ~(differs | (differs >>> 1)) & LOW;
    if (found === 0) continue;
    const lanes = found | (found << 1);
    words[i] = (word & ~lanes) | (target & lanes);
    changed += bits(found);
  }
  return changed;
}

export function mergeJs(next: Uint32Array, removed: Uint32Array): number {
  let changed = 0;
  for (let i = 0; i < next.length; i++) {
    const word = next[i]! | 0;
    const gone = removed[i]! | 0;
    const found = word & (word >>> 1) & gone & ~(gone >>> 1) & LOW;
    if (found === 0) continue;
    next[i] = word ^ (found << 1);
    changed += bits(found);
  }
  return changed;
}

/** Entries as the kernel writes them, over and over into `out`; how many there were. */
export function diffJs(from: Uint32Array, to: Uint32Array, out: Uint32Array): number {
  const mask = out.length - 1;
  let count = 0;
  let before = 0;
  for (let i = 0; i < to.length; i++) {
    const t = to[i]! | 0;
    const f = from[i]! | 0;
    const changed = (t ^ (t >>> 1)) | (t ^ f) | ((f >>> 1) & ~t);
    if ((changed & LOW) === 0 && before === 0) continue;
    const low = changed & LOW;
    const classes = reversed((low << 1) | (low & (t | (t >>> 1))));
    const differs = classes ^ ((classes >>> 2) | (before << 30));
    let flags = (differs | (differs >>> 1)) & LOW;
    while (flags !== 0) {
      const bit = Math.clz32(flags) - 1;
      out[count++ & mask] = ((i * 16 + (bit >>> 1)) << 2) | ((classes >>> (30 - bit)) & 3);
      flags ^= 1 << (30 - bit);
    }
    before = classes & 3;
  }
  return count + (before === 0 ? 0 : 1);
}

export function stepJs(states: Uint32Array, map: Uint32Array, isLast: boolean): void {
  const last = isLast ? LOW : 0;
  for (let i = 0; i < states.length; i++) {
    const s = states[i]! | 0;
    const m = map[i]! | 0;
    const s1 = s >>> 1;
    const exists = m | (m >>> 1);
    const known = s | s1;
    const written = s1 | (s & (m ^ (m >>> 1))) | (last & ~known);
    const updated = (written & exists) | (known & ~exists);
    states[i] = (exists & (known | last) & LOW) | ((updated & LOW) << 1);
  }
}
