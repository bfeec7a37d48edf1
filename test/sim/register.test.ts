import { describe, expect, it } from 'vitest';
import { type Effect, type RegisterOp, searchOrder } from '../../src/sim/checkers/register.js';
import type { Op } from '../../src/sim/checkers/history.js';
import { Draw, seededRandom } from '../../src/sim/random.js';

const KINDS: readonly Effect['kind'][] = ['set', 'maybe-set', 'read', 'swap'];

function op(effect: Effect, from: number, to: number | undefined): RegisterOp {
  return { op: {} as Op, effect, from, to };
}

/** Beginnings and ends of so many operations, in an order that is drawn. */
function drawn(draw: Draw, count: number): RegisterOp[] {
  const places = Array.from({ length: 2 * count }, (_, place) => ({ place, key: draw.int(0, 1e9) }))
    .sort((a, b) => a.key - b.key)
    .map(({ place }) => place);
  return Array.from({ length: count }, (_, i) => {
    const [a = 0, b = 0] = places.slice(2 * i, 2 * i + 2);
    const kind = draw.pick(KINDS);
    const value = draw.int(0, 3);
    const effect: Effect =
      kind === 'swap' ? { kind, expected: draw.int(0, 3), value } : { kind, value };
    const isUnknown = kind !== 'read' && draw.chance(0.2);
    return op(effect, Math.min(a, b), isUnknown ? undefined : Math.max(a, b));
  });
}

/** Every order there is, and everything that each may leave. */
function hasOrder(left: readonly RegisterOp[], content: number): boolean {
  if (left.every(({ to }) => to === undefined)) return true;
  return left.some((next) => {
    if (left.some(({ to }) => to !== undefined && to < next.from)) return false;
    const rest = left.filter((other) => other !== next);
    return outcomes(next, content).some((value) => hasOrder(rest, value));
  });
}

function outcomes({ effect, to }: RegisterOp, content: number): number[] {
  switch (effect.kind) {
    case 'set':
      return [effect.value];
    case 'maybe-set':
      return [effect.value, content];
    case 'read':
      return effect.value === content ? [content] : [];
    case 'swap':
      if (effect.expected === content) return [effect.value];
      return to === undefined ? [content] : [];
  }
}

describe('the order of operations on a register', () => {
  it('is found exactly when trying them all finds one', () => {
    const verdicts = { yes: 0, no: 0 };
    for (let seed = 1; seed <= 3000; seed++) {
      const draw = new Draw(seededRandom(seed));
      const ops = drawn(draw, draw.int(1, 6));
      const expected = hasOrder(ops, 0);
      expect(searchOrder(ops) === undefined, `seed ${seed}`).toBe(expected);
      verdicts[expected ? 'yes' : 'no']++;
    }
    expect(Math.min(verdicts.yes, verdicts.no)).toBeGreaterThan(500);
  });

  it('of a hundred writes at a time that nobody read from takes no search', () => {
    const writes = Array.from({ length: 100 }, (_, i) =>
      op({ kind: 'set', value: 10 + i }, i, 200 + i),
    );
    const last = op({ kind: 'set', value: 1 }, 310, 311);
    const read = (value: number) => op({ kind: 'read', value }, 320, 321);
    expect(searchOrder([...writes, last, read(1)])).toBeUndefined();
    expect(searchOrder([...writes, last, read(10)])).toMatchObject({ effect: { kind: 'read' } });
  });
});
