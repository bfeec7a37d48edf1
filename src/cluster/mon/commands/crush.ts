/** The CRUSH map itself: `osd getcrushmap`, `osd setcrushmap`, rules and classes. */

import { DecodeError } from '../../../encoding/decoder.js';
import { CrushMap, type CrushRule, type CrushStep, RULE_OP } from '../../../osdmap/crush-map.js';
import { MAX_POOL_SIZE } from '../pools.js';
import type { Json } from '../formatter.js';
import { itemClass, itemWeight } from '../crush-tree.js';
import { type Command, CommandError } from './command.js';
import { EPOCH_ARG, mapOfEpoch } from './map.js';
import { parseOsdIds } from './osd-state.js';

const CHOOSE_OPS: Record<number, string> = {
  [RULE_OP.CHOOSE_FIRSTN]: 'choose_firstn',
  [RULE_OP.CHOOSE_INDEP]: 'choose_indep',
  [RULE_OP.CHOOSELEAF_FIRSTN]: 'chooseleaf_firstn',
  [RULE_OP.CHOOSELEAF_INDEP]: 'chooseleaf_indep',
};

const SET_OPS: Record<number, string> = {
  [RULE_OP.SET_CHOOSE_TRIES]: 'set_choose_tries',
  [RULE_OP.SET_CHOOSELEAF_TRIES]: 'set_chooseleaf_tries',
};

const ALG_NAMES = ['unknown', 'uniform', 'list', 'tree', 'straw', 'straw2'];

function stepJson(crush: CrushMap, { op, arg1, arg2 }: CrushStep): Json {
  if (op === RULE_OP.NOOP) return { op: 'noop' };
  if (op === RULE_OP.EMIT) return { op: 'emit' };
  if (op === RULE_OP.TAKE) {
    return { op: 'take', item: arg1, item_name: crush.itemNames.get(arg1) ?? '' };
  }
  const choose = CHOOSE_OPS[op];
  if (choose) return { op: choose, num: arg1, type: crush.typeNames.get(arg2) ?? '' };
  const set = SET_OPS[op];
  return set ? { op: set, num: arg1 } : { opcode: op, arg1, arg2 };
}

function ruleJson(crush: CrushMap, rule: CrushRule, id: number): Json {
  return {
    rule_id: id,
    rule_name: crush.ruleNames.get(id) ?? '',
    ruleset: rule.ruleset,
    type: rule.type,
    min_size: rule.minSize,
    max_size: rule.maxSize,
    steps: rule.steps.map((step) => stepJson(crush, step)),
  };
}

function rulesJson(crush: CrushMap): Json[] {
  return crush.rules.flatMap((rule, id) => (rule ? [ruleJson(crush, rule, id)] : []));
}

function crushJson(crush: CrushMap): Json {
  const { tunables } = crush;
  return {
    devices: Array.from({ length: crush.maxDevices }, (_, id) => {
      const deviceClass = itemClass(crush, id);
      return {
        id,
        name: crush.itemNames.get(id) ?? `device${id}`,
        ...(deviceClass === undefined ? {} : { class: deviceClass }),
      };
    }),
    types: [...crush.typeNames].map(([type_id, name]) => ({ type_id, name })),
    buckets: crush.buckets.flatMap((bucket) =>
      bucket
        ? [
            {
              id: bucket.id,
              name: crush.itemNames.get(bucket.id) ?? '',
              type_id: bucket.type,
              type_name: crush.typeNames.get(bucket.type) ?? '',
              weight: bucket.weight,
              alg: ALG_NAMES[bucket.alg] ?? 'unknown',
              hash: 'rjenkins1',
              items: bucket.items.map((id, pos) => ({ id, weight: itemWeight(bucket, pos), pos })),
            },
          ]
        : [],
    ),
    rules: rulesJson(crush),
    tunables: {
      choose_local_tries: tunables.chooseLocalTries,
      choose_local_fallback_tries: tunables.chooseLocalFallbackTries,
      choose_total_tries: tunables.chooseTotalTries,
      chooseleaf_descend_once: tunables.chooseleafDescendOnce,
      chooseleaf_vary_r: tunables.chooseleafVaryR,
      chooseleaf_stable: tunables.chooseleafStable,
      straw_calc_version: tunables.strawCalcVersion,
      allowed_bucket_algs: tunables.allowedBucketAlgs,
    },
    choose_args: {},
  };
}

export const crushCommands: readonly Command[] = [
  {
    prefix: 'osd getcrushmap',
    args: [EPOCH_ARG],
    help: 'get CRUSH map',
    module: 'osd',
    perm: 'r',
    run: ({ state, args }) => {
      const map = mapOfEpoch(state, args);
      return { r: 0, rs: String(map.crushVersion), out: map.crush.bytes };
    },
  },
  {
    prefix: 'osd setcrushmap',
    args: [{ name: 'prior_version', type: 'CephInt', optional: true }],
    help: 'set crush map from input file',
    module: 'osd',
    perm: 'rw',
    run: ({ state, args, input }) => {
      const map = state.osdMaps.map;
      const prior = args.int('prior_version');
      if (prior !== undefined && prior !== map.crushVersion) {
        throw new CommandError(
          'EPERM',
          `prior_version ${prior} != crush version ${map.crushVersion}`,
        );
      }
      let crush: CrushMap;
      try {
        crush = CrushMap.decode(input.slice());
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        throw new CommandError('EINVAL', `Failed to parse crushmap: ${error.message}`);
      }
      checkPools(crush, map);
      const epoch = state.osdMaps.commit((incremental) => {
        incremental.crush = crush.bytes;
      });
      return { r: 0, rs: String(state.osdMaps.mapAt(epoch)?.crushVersion ?? 0), out: '' };
    },
  },
  {
    prefix: 'osd crush rule ls',
    help: 'list crush rules',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) => {
      const { crush } = state.osdMaps.map;
      const names = [...crush.ruleNames].filter(([id]) => crush.rules[id]).map(([, name]) => name);
      return output({ plain: () => names.map((name) => `${name}\n`).join(''), json: () => names });
    },
  },
  {
    prefix: 'osd crush rule dump',
    args: [{ name: 'name', type: 'CephString', optional: true, goodchars: '[A-Za-z0-9-_.]' }],
    help: 'dump crush rule <name> (default all)',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const { crush } = state.osdMaps.map;
      const name = args.string('name');
      if (name === '') return output({ json: () => rulesJson(crush), newline: 'added' });
      const id = [...crush.ruleNames].find(([, ruleName]) => ruleName === name)?.[0];
      const rule = id === undefined ? undefined : crush.rules[id];
      if (id === undefined || !rule) {
        throw new CommandError('ENOENT', `unknown crush rule '${name}'`);
      }
      return output({ json: () => ruleJson(crush, rule, id), newline: 'added' });
    },
  },
  {
    prefix: 'osd crush dump',
    help: 'dump crush map',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) =>
      output({ json: () => crushJson(state.osdMaps.map.crush), newline: 'added' }),
  },
  {
    prefix: 'osd crush class ls',
    help: 'list all crush device classes',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) =>
      output({ json: () => [...state.osdMaps.map.crush.classNames.values()] }),
  },
  {
    prefix: 'osd crush get-device-class',
    args: [{ name: 'ids', type: 'CephString', many: true }],
    help: 'get classes of specified osd(s) <id> [<id>...]',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const map = state.osdMaps.map;
      const osds = parseOsdIds(args.strings('ids'), map).filter((osd) => map.exists(osd));
      const classOf = (osd: number) => itemClass(map.crush, osd) ?? '';
      return output({
        plain: () => osds.map((osd) => `osd.${osd} ${classOf(osd)}\n`).join(''),
        json: () => osds.map((osd) => ({ osd, device_class: classOf(osd) })),
      });
    },
  },
  {
    prefix: 'osd erasure-code-profile ls',
    help: 'list all erasure code profiles',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) => {
      const names = [...state.osdMaps.map.erasureCodeProfiles.keys()];
      return output({
        plain: () => names.map((name) => `${name}\n`).join(''),
        json: () => names,
        newline: 'added',
      });
    },
  },
];

/** A new map must still have every rule that a pool uses. */
function checkPools(
  crush: CrushMap,
  map: { pools: ReadonlyMap<number, { crushRule: number; type: number; size: number }> },
): void {
  for (const [id, pool] of map.pools) {
    if (pool.size > MAX_POOL_SIZE || crush.findRule(pool) === undefined) {
      throw new CommandError(
        'EINVAL',
        `crush map has no rule ${pool.crushRule} for pool ${id} of size ${pool.size}`,
      );
    }
  }
}
