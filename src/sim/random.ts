/** Random numbers that are the same every time for the same seed. */

import type { Random } from '../base/environment.js';

/** xorshift32, started far from the small numbers that seeds are. */
export function seededRandom(seed: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) | 0 || 1;
  const u32 = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => u32() >>> 24),
    u32,
    float: () => u32() / 2 ** 32,
  };
}

/**
 * A generator of its own for one purpose of a run: what one part draws does not shift what another draws, so that a run
 * from which something is left out stays the same elsewhere.
 */
export function randomFor(seed: number, purpose: string): Random {
  const random = seededRandom(seed ^ fnv1a(purpose));
  // The first numbers of neighbouring seeds are alike.
  for (let i = 0; i < 8; i++) random.u32();
  return random;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a over the UTF-16 units of a text, going on from `hash`. */
export function fnv1a(text: string, hash = FNV_OFFSET): number {
  let result = hash;
  for (let i = 0; i < text.length; i++) result = Math.imul(result ^ text.charCodeAt(i), FNV_PRIME);
  return result >>> 0;
}

/** Draws in the words of whoever makes a run up. */
export class Draw {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.#random.float() * (max - min + 1));
  }

  /** From `min` up to `max`, small ones as likely as large ones by order of magnitude. */
  logarithmic(min: number, max: number): number {
    return min * (max / min) ** this.#random.float();
  }

  chance(probability: number): boolean {
    return this.#random.float() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(0, choices.length - 1)] as T;
  }

  /** One of the keys, as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.#random.float() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0) return key;
    }
    return (entries.at(-1) as [K, number])[0];
  }
}
