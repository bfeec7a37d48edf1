// P3, P4, P9, P14, P17, P19, P20 of an object's lane, in every interleaving there is.

import { expect, it } from 'vitest';
import { PIPELINE_MODES } from '../../../../src/cluster/settings.js';
import { explore } from './support/lane-explorer.js';
import type { Kind } from './support/lane-world.js';

const KINDS: readonly Kind[] = ['R', 'W', 'RWORDERED'];

/** All sequences of so many. */
function sequences(length: number): Kind[][] {
  if (length === 0) return [[]];
  return sequences(length - 1).flatMap((rest) => KINDS.map((kind) => [...rest, kind]));
}

it.each([
  ['object-rw', 4, 5000],
  ['object', 3, 500],
  ['seed', 3, 500],
] as const)(
  'in mode %s, %i requests of any kinds do as if one after the other',
  (mode, count, least) => {
    let states = 0;
    for (const kinds of sequences(count)) {
      const explored = explore({ kinds, mode, disturb: true });
      expect(explored.wrong).toBeUndefined();
      states += explored.states;
    }
    expect(states).toBeGreaterThan(least);
  },
);

it.each([
  ['R', 'R', 'W', 'R', 'R', 'W'],
  ['W', 'R', 'R', 'W', 'W', 'R'],
  ['R', 'W', 'RWORDERED', 'R', 'R', 'W'],
] as Kind[][])('in mode object-rw so do %s, %s, %s, %s, %s, %s', (...kinds) => {
  const { states, wrong } = explore({ kinds, mode: 'object-rw', disturb: true });
  expect(wrong).toBeUndefined();
  expect(states).toBeGreaterThan(500);
});

it('reads that follow one another are together in mode object-rw, and in no other', () => {
  const kinds: Kind[] = ['W', 'R', 'R', 'RWORDERED', 'R'];
  for (const mode of PIPELINE_MODES) {
    const { together } = explore({ kinds, mode, disturb: false });
    expect(together, mode).toBe(mode === 'object-rw' ? 2 : 1);
  }
});
