/**
 * CRUSH and placement: the WebAssembly kernel, its TypeScript twin, and Ceph's own osdmaptool and crushtool (where
 * installed) on the same maps. One JSON object per line.
 *
 *   node dist/bench/micro/crush.bench.js
 *
 * "rule" is one run of a rule, as fast as it can be repeated. "whole map" is the wall time for every PG of a pool,
 * object by object, as a client would compute it if it touched all; the tools' start-up (the same map with one PG or
 * one input) is subtracted. Rounds are interleaved, medians are given. Ratios are of CPU time, which other work on the
 * machine disturbs least; below 1 means less than Ceph's.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Benchmark from 'benchmark';

import { createCrc32c } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';
import { createOsdMap, replicatedRule } from '../../src/osdmap/build.js';
import {
  BUCKET_ALG,
  type CrushBucket,
  CrushMap,
  emptyCrushFields,
} from '../../src/osdmap/crush-map.js';
import type { CrushMappers } from '../../src/osdmap/crush-mapper.js';
import { twinMappers } from '../../src/osdmap/crush-twin.js';
import { wasmMappers } from '../../src/osdmap/crush-wasm.js';
import { encodeOsdMap, type OsdMap } from '../../src/osdmap/osdmap.js';
import { Placement } from '../../src/osdmap/placement.js';
import { createPool } from '../../src/osdmap/pool.js';

const POOL = 1;
const REPLICAS = 3;
const PGS = 65_536;
const ROUNDS = 7;
const FSID = '00010203-0405-0607-0809-0a0b0c0d0e0f';
const ONE = 0x10000;

const SHAPES = [
  { racks: 4, hosts: 5, osds: 12 },
  { racks: 25, hosts: 20, osds: 20 },
];

const kernels = loadKernels();
const crc32c = createCrc32c(kernels);
const IMPLEMENTATIONS: Record<string, CrushMappers> = {
  wasm: wasmMappers(kernels),
  twin: twinMappers,
};

for (const shape of SHAPES) {
  const crush = rackedCrush(shape);
  const map = mapWithPgs(crush, PGS);
  const size = { osds: crush.maxDevices, replicas: REPLICAS };
  for (const [implementation, mappers] of Object.entries(IMPLEMENTATIONS)) {
    report({ bench: 'crush rule', implementation, ...size, ...measureRule(map, mappers) });
  }
  compareWholeMap(map, size);
}

/** Racks of hosts of OSDs in straw2 buckets, with one rule that puts replicas on different hosts. */
function rackedCrush(shape: { racks: number; hosts: number; osds: number }): CrushMap {
  const fields = emptyCrushFields();
  const add = (type: number, items: number[], itemWeight: number): number => {
    const id = -1 - fields.buckets.length;
    const itemWeights = items.map(() => itemWeight);
    const weight = itemWeight * items.length;
    const bucket: CrushBucket = {
      ...{ alg: BUCKET_ALG.STRAW2, id, type, hash: 0, weight, items, itemWeights },
    };
    fields.buckets.push(bucket);
    fields.itemNames.set(id, `bucket${-id}`);
    return id;
  };
  const range = (count: number) => Array.from({ length: count }, (_, i) => i);
  let osd = 0;
  const racks = range(shape.racks).map(() => {
    const hosts = range(shape.hosts).map(() =>
      add(
        1,
        range(shape.osds).map(() => osd++),
        ONE,
      ),
    );
    return add(3, hosts, shape.osds * ONE);
  });
  const root = add(11, racks, shape.hosts * shape.osds * ONE);
  fields.typeNames = new Map([
    [0, 'osd'],
    [1, 'host'],
    [3, 'rack'],
    [11, 'root'],
  ]);
  fields.rules = [replicatedRule(0, root, 1)];
  fields.ruleNames.set(0, 'replicated_rule');
  return new CrushMap(fields);
}

function mapWithPgs(crush: CrushMap, pgNum: number): OsdMap {
  return createOsdMap({
    fsid: FSID,
    epoch: 1,
    created: { sec: 1, nsec: 0 },
    crush,
    osds: Array.from({ length: crush.maxDevices }, (_, id) => ({ id, uuid: FSID })),
    pools: [{ id: POOL, name: 'p', pool: createPool({ size: REPLICAS, pgNum }) }],
  });
}

function measureRule(map: OsdMap, mappers: CrushMappers) {
  const mapper = mappers(map.crush);
  const weights = map.osdWeight;
  let x = 0;
  const call = () =>
    mapper.doRule({ rule: 0, x: x++, resultMax: REPLICAS, weights, chooseArgs: undefined });
  const bench = new Benchmark(call, { maxTime: 1 });
  bench.run();
  if (bench.error !== undefined) throw bench.error as unknown as Error;
  return {
    nsPerCall: Number((bench.stats.mean * 1e9).toPrecision(4)),
    marginPercent: Number(bench.stats.rme.toFixed(2)),
  };
}

interface Times {
  wall: number;
  cpu: number;
}

function compareWholeMap(map: OsdMap, size: Record<string, number>): void {
  const folder = mkdtempSync(join(tmpdir(), 'linger-bench-'));
  try {
    writeFileSync(join(folder, 'map'), encodeOsdMap(map, crc32c));
    writeFileSync(join(folder, 'one'), encodeOsdMap(mapWithPgs(map.crush, 1), crc32c));
    writeFileSync(join(folder, 'crush'), map.crush.bytes);
    const run = (tool: string, ...args: string[]) => toolTimes(folder, tool, args);
    const crushTest = (maxX: number) =>
      run(
        'crushtool',
        ...`-i crush --test --num-rep ${REPLICAS} --min-x 0 --max-x ${maxX}`.split(' '),
      );
    const contestants: Record<string, () => Times | undefined> = {
      'wasm placement': () => placementTimes(map, 'wasm'),
      'twin placement': () => placementTimes(map, 'twin'),
      'osdmaptool --test-map-pgs': () =>
        minus(
          run('osdmaptool', 'map', '--test-map-pgs'),
          run('osdmaptool', 'one', '--test-map-pgs'),
        ),
      'wasm rules': () => rulesTimes(map, 'wasm'),
      'crushtool --test': () => minus(crushTest(PGS - 1), crushTest(0)),
    };
    const cpu = new Map<string, number>();
    const rounds = Array.from({ length: ROUNDS }, () =>
      Object.entries(contestants).map(([name, measure]) => [name, measure()] as const),
    ).flat();
    for (const implementation of Object.keys(contestants)) {
      const times = rounds.flatMap(([name, time]) =>
        name === implementation && time !== undefined ? [time] : [],
      );
      if (times.length === 0) continue;
      const middle = median(times.map((time) => time.cpu));
      cpu.set(implementation, middle);
      report({
        ...{ bench: 'whole map', implementation, ...size, pgs: PGS },
        wallMs: Number((median(times.map((time) => time.wall)) * 1e3).toPrecision(4)),
        cpuMs: Number((middle * 1e3).toPrecision(4)),
        cpuUsPerPg: Number(((middle * 1e6) / PGS).toPrecision(3)),
      });
    }
    for (const [ours, theirs] of [
      ['wasm placement', 'osdmaptool --test-map-pgs'],
      ['wasm rules', 'crushtool --test'],
    ] as const) {
      const a = cpu.get(ours);
      const b = cpu.get(theirs);
      if (a === undefined || b === undefined) continue;
      report({ bench: 'ratio', ours, theirs, ...size, cpuRatio: Number((a / b).toFixed(2)) });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Every PG of the pool once, with a fresh cache. */
function placementTimes(map: OsdMap, implementation: string): Times {
  const mappers = IMPLEMENTATIONS[implementation] as CrushMappers;
  const placement = new Placement(map, mappers(map.crush));
  return timed(() => {
    for (let seed = 0; seed < PGS; seed++) placement.pgToUpActing({ pool: POOL, seed });
  });
}

function rulesTimes(map: OsdMap, implementation: string): Times {
  const mapper = (IMPLEMENTATIONS[implementation] as CrushMappers)(map.crush);
  const weights = map.osdWeight;
  return timed(() => {
    for (let x = 0; x < PGS; x++) {
      mapper.doRule({ rule: 0, x, resultMax: REPLICAS, weights, chooseArgs: undefined });
    }
  });
}

function timed(work: () => void): Times {
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  work();
  const wall = (performance.now() - start) / 1e3;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { wall, cpu: (user + system) / 1e6 };
}

/** Node does not tell a child's CPU time; bash does. */
function toolTimes(folder: string, tool: string, args: string[]): Times | undefined {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null 2>&1';
  const result = spawnSync('bash', ['-c', script, 'bash', tool, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const NOT_FOUND = 127;
  if (result.status === NOT_FOUND) return undefined;
  if (result.status !== 0) throw new Error(`${tool} ${args.join(' ')} failed: ${result.status}`);
  const [wall = 0, user = 0, system = 0] = result.stderr.trim().split(' ').map(Number);
  return { wall, cpu: user + system };
}

function minus(a: Times | undefined, b: Times | undefined): Times | undefined {
  return a && b && { wall: a.wall - b.wall, cpu: a.cpu - b.cpu };
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}

function report(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}
