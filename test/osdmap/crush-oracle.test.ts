// Goal: CRUSH, in WebAssembly and in TypeScript, chooses what Ceph's own crushtool chooses. Method: random maps of every
// bucket kind are written in Ceph's encoding, crushtool maps a range of inputs with them, and both implementations
// must give the same lists.

import { describe, expect, it } from 'vitest';

import { loadKernels } from '../../src/kernels/load.js';
import { BUCKET_ALG, CrushMap, encodeCrushFields } from '../../src/osdmap/crush-map.js';
import { twinMappers } from '../../src/osdmap/crush-twin.js';
import { wasmMappers } from '../../src/osdmap/crush-wasm.js';
import { recapture } from './support/captured.js';
import { crushtoolMappings, haveCephTools } from './support/ceph-tools.js';
import { ourCrushMappings } from './support/our-mappings.js';
import { randomCrush, randomWeights, seeded } from './support/random-crush.js';

const MAX_X = 127;
const wasm = wasmMappers(loadKernels());

function compare(seed: number, options: Parameters<typeof randomCrush>[1]): void {
  const draw = seeded(seed);
  const fields = randomCrush(draw, options);
  const bytes = encodeCrushFields(fields);
  const map = CrushMap.decode(bytes);
  fields.rules.forEach((_, rule) => {
    const numRep = 1 + draw(6);
    const weights = randomWeights(draw, fields.maxDevices);
    const test = { rule, numRep, maxX: MAX_X, weights };
    const expected = crushtoolMappings(bytes, test);
    expect(expected).toHaveLength(MAX_X + 1);

    expect(ourCrushMappings(twinMappers(map), fields, test), `seed ${seed} twin`).toEqual(expected);
    expect(ourCrushMappings(wasm(map), fields, test), `seed ${seed} wasm`).toEqual(expected);
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

  it('gets the captured answers of crushtool again', () => {
    const captured = recapture('crush', () =>
      Array.from({ length: 15 }, (_, seed) => {
        const draw = seeded(500 + seed);
        // Each kind alone, then all kinds mixed.
        const alg = Object.values(BUCKET_ALG)[seed >> 1];
        const fields = randomCrush(draw, alg === undefined ? {} : { alg });
        const crush = encodeCrushFields(fields);
        const tests = fields.rules.map((_, rule) => {
          const weights = [...randomWeights(draw, fields.maxDevices)];
          const test = { rule, numRep: 1 + draw(6), maxX: 63 };
          const mappings = crushtoolMappings(crush, { ...test, weights: new Map(weights) });
          return { ...test, weights, mappings };
        });
        return { crush: Buffer.from(crush).toString('base64'), tests };
      }),
    );
    for (const { crush, tests } of captured) {
      for (const { weights, mappings, ...test } of tests) {
        const bytes = Buffer.from(crush, 'base64');
        const again = crushtoolMappings(bytes, { ...test, weights: new Map(weights) });
        expect(again).toEqual(mappings);
      }
    }
  });

  it('maps trees of mixed bucket kinds alike', () => {
    for (let seed = 1000; seed < 1010; seed++) compare(seed, {});
  });

  it('maps straw2 buckets with choose_args alike: weight sets by position, and other ids', () => {
    for (let seed = 2000; seed < 2010; seed++) {
      compare(seed, { alg: BUCKET_ALG.STRAW2, chooseArgs: true });
    }
  });
});
