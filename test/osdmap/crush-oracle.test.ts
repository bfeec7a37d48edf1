// Goal: CRUSH, in WebAssembly and in TypeScript, chooses what Ceph's own crushtool chooses. Method: random maps of every
// bucket kind are written in Ceph's encoding, crushtool maps a range of inputs with them, and both implementations
// must give the same lists.

import { describe, expect, it } from 'vitest';

import { loadKernels } from '../../src/kernels/load.js';
import {
  BUCKET_ALG,
  CrushMap,
  type CrushFields,
  encodeCrushFields,
} from '../../src/osdmap/crush-map.js';
import type { CrushMapper } from '../../src/osdmap/crush-mapper.js';
import { twinMappers } from '../../src/osdmap/crush-twin.js';
import { wasmMappers } from '../../src/osdmap/crush-wasm.js';
import { crushtoolMappings, haveCephTools } from './support/ceph-tools.js';
import { randomCrush, randomWeights, seeded, weightVector } from './support/random-crush.js';

const MAX_X = 127;
const wasm = wasmMappers(loadKernels());

function ourMappings(
  mapper: CrushMapper,
  fields: CrushFields,
  test: { rule: number; numRep: number; weights: ReadonlyMap<number, number> },
): number[][] {
  const weights = weightVector(fields, test.weights);
  // crushtool maps as for pool 0.
  const chooseArgs = [0, -1].find((index) => fields.chooseArgs.has(index));
  return Array.from({ length: MAX_X + 1 }, (_, x) => [
    ...mapper.doRule({ rule: test.rule, x, resultMax: test.numRep, weights, chooseArgs }),
  ]);
}

function compare(seed: number, options: Parameters<typeof randomCrush>[1]): void {
  const draw = seeded(seed);
  const fields = randomCrush(draw, options);
  const bytes = encodeCrushFields(fields);
  const map = CrushMap.decode(bytes);
  fields.rules.forEach((_, rule) => {
    const numRep = 1 + draw(6);
    const weights = randomWeights(draw, fields.maxDevices);
    const expected = crushtoolMappings(bytes, { rule, numRep, maxX: MAX_X, weights });
    expect(expected).toHaveLength(MAX_X + 1);
    const test = { rule, numRep, weights };
    expect(ourMappings(twinMappers(map), fields, test), `seed ${seed} twin`).toEqual(expected);
    expect(ourMappings(wasm(map), fields, test), `seed ${seed} wasm`).toEqual(expected);
  });
}

describe.skipIf(!haveCephTools())('CRUSH against crushtool', { timeout: 120_000 }, () => {
  for (const [name, alg] of Object.entries(BUCKET_ALG)) {
    it(`maps ${name.toLowerCase()} buckets alike, with modern and legacy tunables`, () => {
      for (let i = 0; i < 3; i++) {
        compare(100 * alg + i, { alg, legacy: false });
        compare(100 * alg + 50 + i, { alg, legacy: true });
      }
    });
  }

  it('maps trees of mixed bucket kinds alike', () => {
    for (let seed = 1000; seed < 1010; seed++) compare(seed, {});
  });

  it('maps straw2 buckets with choose_args alike: weight sets by position, and other ids', () => {
    for (let seed = 2000; seed < 2010; seed++) {
      compare(seed, { alg: BUCKET_ALG.STRAW2, chooseArgs: true });
    }
  });
});
