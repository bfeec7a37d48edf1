// Goal: the WebAssembly kernel and its TypeScript twin choose the same items, which are the ones that Ceph's crushtool
// chose (captured answers), and no map can make them run astray.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DecodeError } from '../../src/encoding/decoder.js';
import { createCrushKernel } from '../../src/kernels/crush.js';
import { loadKernels } from '../../src/kernels/load.js';
import { layoutCrushMap } from '../../src/osdmap/crush-layout.js';
import { straw2LogTable } from '../../src/osdmap/crush-ln.js';
import {
  BUCKET_ALG,
  CRUSH_ITEM_NONE,
  type CrushBucket,
  type CrushFields,
  CrushMap,
  emptyCrushFields,
  encodeCrushFields,
  LEGACY_TUNABLES,
  RULE_OP,
} from '../../src/osdmap/crush-map.js';
import type { CrushMapper, DoRuleInput } from '../../src/osdmap/crush-mapper.js';
import { limitedTwinMappers, twinMappers } from '../../src/osdmap/crush-twin.js';
import { wasmMappers } from '../../src/osdmap/crush-wasm.js';
import { readCaptured } from './support/captured.js';
import { ourCrushMappings } from './support/our-mappings.js';
import {
  type Draw,
  randomCrush,
  randomWeights,
  seeded,
  weightVector,
} from './support/random-crush.js';

const kernels = loadKernels();
const wasm = wasmMappers(kernels);

/** The same, but soon out of patience: for maps that are meant to search without end. */
const hastyWasm = wasmMappers(kernels, 10_000);
const hastyTwin = limitedTwinMappers(10_000);

/** The items, or the error's code. */
function outcome(mapper: CrushMapper, input: DoRuleInput): number[] | string {
  try {
    return [...mapper.doRule(input)];
  } catch (error) {
    return (error as { code: string }).code;
  }
}

function straw2(id: number, type: number, items: number[], weight = 0x10000): CrushBucket {
  const itemWeights = items.map(() => weight);
  return { alg: BUCKET_ALG.STRAW2, id, type, hash: 0, weight: 0, items, itemWeights };
}

function mapOf(buckets: (CrushBucket | undefined)[], change: Partial<CrushFields> = {}) {
  return new CrushMap({
    ...emptyCrushFields(),
    buckets,
    rules: [
      {
        ruleset: 0,
        type: 1,
        minSize: 1,
        maxSize: 10,
        steps: [
          { op: RULE_OP.TAKE, arg1: -1, arg2: 0 },
          { op: RULE_OP.CHOOSE_FIRSTN, arg1: 0, arg2: 0 },
          { op: RULE_OP.EMIT, arg1: 0, arg2: 0 },
        ],
      },
    ],
    ...change,
  });
}

const allIn = (devices: number) => new Uint32Array(devices).fill(0x10000);

describe('CRUSH', () => {
  it('chooses what crushtool chose, in WebAssembly and in TypeScript', () => {
    for (const { crush, tests } of readCaptured('crush')) {
      const map = CrushMap.decode(Buffer.from(crush, 'base64'));
      for (const { weights, mappings, ...rest } of tests) {
        const test = { ...rest, weights: new Map(weights) };
        expect(ourCrushMappings(twinMappers(map), map, test)).toEqual(mappings);
        expect(ourCrushMappings(wasm(map), map, test)).toEqual(mappings);
      }
    }
  });

  it('chooses the same in WebAssembly as in TypeScript, on any map', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const draw = seeded(seed);
        const map = CrushMap.decode(encodeCrushFields(stretched(draw, randomCrush(draw))));
        const weights = weightVector(map, randomWeights(draw, map.maxDevices));
        for (let rule = 0; rule < map.rules.length; rule++) {
          for (let i = 0; i < 10; i++) {
            const chooseArgs = [undefined, -1, 0, 7][draw(4)];
            const x = draw(2 ** 32) | 0;
            const input = { rule, x, resultMax: 1 + draw(12), weights, chooseArgs };
            expect(outcome(wasm(map), input)).toEqual(outcome(twinMappers(map), input));
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('gives nothing for a rule that does not exist or finds nothing to take', () => {
    const map = mapOf([straw2(-1, 1, [0, 1])]);
    const lost = mapOf([undefined, straw2(-2, 1, [0])]);
    for (const mappers of [wasm, twinMappers]) {
      const input = { x: 1, resultMax: 2, weights: allIn(2), chooseArgs: undefined };
      expect(mappers(map).doRule({ ...input, rule: 5 })).toHaveLength(0);
      expect(mappers(lost).doRule({ ...input, rule: 0 })).toHaveLength(0);
      expect(mappers(map).doRule({ ...input, rule: 0, resultMax: 0 })).toHaveLength(0);
    }
  });

  it('treats OSDs beyond the weights as out', () => {
    const map = mapOf([straw2(-1, 1, [0, 1, 2, 3])]);
    for (const mappers of [wasm, twinMappers]) {
      const input = { rule: 0, x: 9, resultMax: 4, weights: allIn(2), chooseArgs: undefined };
      expect([...mappers(map).doRule(input)].sort()).toEqual([0, 1]);
    }
  });

  it('gives up, with an error, on rules that would search for hours', () => {
    // Two OSDs cannot fill three places: each of two billion tries is in vain.
    const endless = mapOf([straw2(-1, 1, [0, 1])], {
      tunables: { ...emptyCrushFields().tunables, chooseTotalTries: 0x7fff_fff0 },
    });
    const input = { rule: 0, x: 1, resultMax: 3, weights: allIn(2), chooseArgs: undefined };
    expect(outcome(wasm(endless), input)).toBe('EDOM');
    expect(outcome(hastyWasm(endless), input)).toBe('EDOM');
    expect(outcome(hastyTwin(endless), input)).toBe('EDOM');
  });
});

/** Now and then weights at the far end of their range, where draws are equal and the first must win. */
function stretched(draw: Draw, fields: CrushFields): CrushFields {
  if (draw(2)) return fields;
  for (const bucket of fields.buckets) {
    if (bucket?.alg !== BUCKET_ALG.STRAW2) continue;
    bucket.itemWeights = bucket.itemWeights.map(() => 0xffff_ffff - draw(2));
  }
  return fields;
}

describe('the CRUSH kernel', () => {
  it('serves any number of maps in bounded memory', () => {
    const own = loadKernels();
    let allocated = 0;
    const counting = {
      ...own,
      alloc: (bytes: number, align?: number) => {
        allocated += bytes;
        return own.alloc(bytes, align);
      },
    };
    const kernel = createCrushKernel(counting, straw2LogTable());
    const run = (devices: number) => {
      const items = Array.from({ length: devices }, (_, i) => i);
      const { bytes } = layoutCrushMap(mapOf([straw2(-1, 1, items)]));
      const limits = { argSet: -1, workLimit: 1 << 20 };
      return kernel
        .load(bytes)
        .doRule({ rule: 0, x: 1, resultMax: 1, weights: allIn(devices), ...limits });
    };
    for (let i = 0; i < 100; i++) run(1000 + i);
    const settled = allocated;
    for (let i = 0; i < 500; i++) expect(run(1000 + (i % 100))).toHaveLength(1);
    expect(allocated).toBe(settled);
  });

  it('brings a map back that was pushed out, with its own weights', () => {
    const maps = Array.from({ length: 7 }, (_, i) => mapOf([straw2(-1, 1, [i, i + 10])]));
    const mappers = maps.map(wasm);
    for (let round = 0; round < 3; round++) {
      maps.forEach((_, i) => {
        const weights = allIn(20);
        weights[i + 10] = 0;
        const input = { rule: 0, x: round, resultMax: 2, weights, chooseArgs: undefined };
        expect([...mappers[i]!.doRule(input)]).toEqual([i]);
      });
    }
  });

  it('leaves a map that does not fit into its memory to the twin', () => {
    const small = wasmMappers(loadKernels({ memoryBytes: 1024 * 1024 }));
    const items = Array.from({ length: 60_000 }, (_, i) => i);
    const map = mapOf([straw2(-1, 1, items)]);
    const input = { rule: 0, x: 5, resultMax: 2, weights: allIn(60_000), chooseArgs: undefined };
    expect([...small(map).doRule(input)]).toEqual([...twinMappers(map).doRule(input)]);
  });
});

describe('a CRUSH map from the wire', () => {
  const valid = () => [straw2(-1, 2, [-2, -3]), straw2(-2, 1, [0, 1]), straw2(-3, 1, [2])];

  it('counts as devices what is in a bucket or has a name', () => {
    expect(mapOf(valid()).maxDevices).toBe(3);
    expect(mapOf(valid(), { itemNames: new Map([[8, 'osd.8']]) }).maxDevices).toBe(9);
  });

  it('reads what ends before the tunables as a legacy map', () => {
    const bytes = encodeCrushFields(mapOf(valid()));
    // Behind the three lists of names: tunables of 23 bytes and four empty collections of the later releases.
    const old = CrushMap.decode(bytes.subarray(0, bytes.length - 23 - 16));
    expect(old.tunables).toEqual(LEGACY_TUNABLES);
    expect(old.buckets).toEqual(valid());
  });

  it('is refused when a rule could not run over it safely', () => {
    const [root, host, other] = valid() as [CrushBucket, CrushBucket, CrushBucket];
    const tree = { ...host, alg: BUCKET_ALG.TREE, nodeWeights: [0, 1, 2] } as CrushBucket;
    const cases: [string, () => unknown, RegExp][] = [
      ['a bucket in itself', () => mapOf([{ ...root, items: [-1, -1] }]), /contains itself/],
      [
        'a cycle of two',
        () => mapOf([root, { ...host, items: [-3, -3] }, { ...other, items: [-2] }]),
        /contains itself/,
      ],
      ['a missing bucket', () => mapOf([root, host]), /contains -3, which does not exist/],
      [
        'an item that means NONE',
        () => mapOf([{ ...other, id: -1, items: [CRUSH_ITEM_NONE] }]),
        /does not exist/,
      ],
      ['a bucket in the wrong slot', () => mapOf([host, root, other]), /bucket -2 in slot 0/],
      ['a bucket of type 0', () => mapOf([{ ...other, id: -1, type: 0 }]), /claims to be a device/],
      ['an unknown hash', () => mapOf([{ ...other, id: -1, hash: 1 }]), /unknown hash 1/],
      ['a tree of wrong size', () => mapOf([root, tree, other]), /lists of other lengths/],
      [
        'choose_args of wrong size',
        () =>
          mapOf(valid(), {
            chooseArgs: new Map([[-1, [{ bucketIndex: 0, weightSet: [[1]], ids: [] }]]]),
          }),
        /do not fit its 2 items/,
      ],
      [
        'choose_args for no bucket',
        () =>
          mapOf(valid(), {
            chooseArgs: new Map([[-1, [{ bucketIndex: 9, weightSet: [], ids: [] }]]]),
          }),
        /for bucket 9/,
      ],
    ];
    for (const [name, build, reason] of cases) {
      expect(build, name).toThrow(reason);
      expect(build, name).toThrow(DecodeError);
    }
  });

  it('is refused quickly when it is a chain as deep as it is long, with a cycle at its end', () => {
    const depth = 20_000;
    const chain = Array.from({ length: depth }, (_, i) =>
      straw2(-1 - i, 1, [i + 1 < depth ? -2 - i : 0]),
    );
    expect(mapOf(chain).maxDevices).toBe(1);
    chain[depth - 1] = straw2(-depth, 1, [-1]);
    expect(() => mapOf(chain)).toThrow(/contains itself/);
  });

  it('never harms when cut short or altered: it is refused, or maps alike in both implementations', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const draw = seeded(seed);
        const bytes = Uint8Array.from(encodeCrushFields(randomCrush(draw)));
        for (let i = draw(4); i >= 0; i--) bytes[draw(bytes.length)] = draw(256);
        const cut = draw(3) === 0 ? bytes.subarray(0, draw(bytes.length)) : bytes;
        let map: CrushMap;
        try {
          map = CrushMap.decode(cut);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
          return;
        }
        const weights = allIn(Math.min(map.maxDevices, 200));
        map.rules.forEach((_, index) => {
          const input = { rule: index, x: draw(1000), resultMax: 4, weights, chooseArgs: -1 };
          expect(outcome(hastyWasm(map), input)).toEqual(outcome(hastyTwin(map), input));
        });
      }),
      { numRuns: 1000 },
    );
  });
});
