// Every decoder of what peers send, given damaged and made-up bytes: `npm run fuzz` does it for longer.

import { expect, it } from 'vitest';
import { fuzz } from './fuzz.js';
import { fuzzTargets } from './targets.js';

const INPUTS = 2000;
const SEED = 1;

const targets = await fuzzTargets();

it('finds the decoders', () => {
  expect(targets.length).toBeGreaterThan(150);
});

it.each(targets)('$name answers anything with a value or with its own error', (target) => {
  const { findings } = fuzz(target, { inputs: INPUTS, seed: SEED });
  expect(findings).toEqual([]);
});
