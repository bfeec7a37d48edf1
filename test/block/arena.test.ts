import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ARENA_PAGE_BYTES as PAGE, Arena } from '../../src/block/arena.js';

function newArena(pages: number): Arena {
  const base = 3 * PAGE;
  return new Arena(new ArrayBuffer(base + pages * PAGE), base, pages * PAGE);
}

describe('the payload arena', () => {
  it('gives out pages, and -1 when none is left', () => {
    const arena = newArena(2);
    const first = arena.alloc(1);
    const second = arena.alloc(PAGE);
    expect([first, second]).toEqual([arena.base, arena.base + PAGE]);
    expect(arena.alloc(1)).toBe(-1);
    arena.free(first, 1);
    expect(arena.alloc(PAGE + 1)).toBe(-1);
    expect(arena.alloc(PAGE)).toBe(first);
  });

  it('joins neighbours, in any order of freeing', () => {
    const arena = newArena(4);
    const [a, b, c, d] = [1, 2, 3, 4].map(() => arena.alloc(PAGE));
    for (const address of [b!, d!, a!, c!]) arena.free(address, PAGE);
    expect(arena.alloc(4 * PAGE)).toBe(arena.base);
  });

  it('refuses to free what was not allocated', () => {
    const arena = newArena(4);
    const address = arena.alloc(2 * PAGE);
    expect(() => arena.free(address + PAGE, 2 * PAGE)).toThrow(RangeError);
    arena.free(address, 2 * PAGE);
    expect(() => arena.free(address, 2 * PAGE)).toThrow(RangeError);
    expect(() => arena.free(address - PAGE, PAGE)).toThrow(RangeError);
    expect(() => arena.free(address + 7, PAGE)).toThrow(RangeError);
  });

  it('never gives a page out twice, and loses none', () => {
    const command = fc.record({ bytes: fc.integer({ min: 1, max: 9 * PAGE }), pick: fc.nat() });
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 300 }),
        fc.integer({ min: 1, max: 64 }),
        (commands, pages) => {
          const arena = newArena(pages);
          const owner = new Array<number>(pages).fill(0);
          const live: { address: number; bytes: number }[] = [];
          commands.forEach(({ bytes, pick }, index) => {
            if (pick % 5 < 2 && live.length > 0) {
              const [gone] = live.splice(pick % live.length, 1);
              arena.free(gone!.address, gone!.bytes);
              mark(owner, arena, gone!, 0);
              return;
            }
            const address = arena.alloc(bytes);
            if (address < 0) {
              // First fit fails only when no run of free pages is long enough.
              expect(longestRun(owner)).toBeLessThan(Math.ceil(bytes / PAGE));
              return;
            }
            mark(owner, arena, { address, bytes }, index + 1);
            live.push({ address, bytes });
          });
          expect(arena.freeBytes).toBe(owner.filter((id) => id === 0).length * PAGE);
          for (const { address, bytes } of live) arena.free(address, bytes);
          expect(arena.alloc(pages * PAGE)).toBe(arena.base);
        },
      ),
      { numRuns: 300 },
    );
  });
});

function mark(
  owner: number[],
  arena: Arena,
  { address, bytes }: { address: number; bytes: number },
  id: number,
): void {
  const first = (address - arena.base) / PAGE;
  for (let page = first; page < first + Math.ceil(bytes / PAGE); page++) {
    if (id !== 0) expect(owner[page]).toBe(0);
    owner[page] = id;
  }
}

function longestRun(owner: number[]): number {
  let longest = 0;
  let run = 0;
  for (const id of owner) {
    run = id === 0 ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}
