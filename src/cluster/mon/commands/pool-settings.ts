/** One setting of a pool: `osd pool get`, `osd pool set`, quotas. */

import { type PgPool, POOL_FLAG, POOL_TYPE } from '../../../osdmap/pool.js';
import type { Json } from '../formatter.js';
import type { MonState } from '../mon-state.js';
import { changePool, MAX_PG_NUM, MAX_POOL_SIZE } from '../pools.js';
import { type Command, type CommandCall, CommandError, done } from './command.js';
import { autoscaleModeName } from './osd-dump.js';
import { POOL_ARG, requiredPool } from './pool.js';
import { POOL_OPTIONS, poolOption, type PoolOptionType } from './pool-options.js';

/** Settings that are one bit of the pool's flags. */
const FLAG_SETTINGS: Record<string, number> = {
  hashpspool: POOL_FLAG.HASHPSPOOL,
  nodelete: POOL_FLAG.NODELETE,
  nopgchange: POOL_FLAG.NOPGCHANGE,
  nosizechange: POOL_FLAG.NOSIZECHANGE,
  write_fadvise_dontneed: POOL_FLAG.WRITE_FADVISE_DONTNEED,
  noscrub: POOL_FLAG.NOSCRUB,
  'nodeep-scrub': POOL_FLAG.NODEEP_SCRUB,
  bulk: POOL_FLAG.BULK,
};

const TIER_SETTINGS = [
  ...['hit_set_type', 'hit_set_period', 'hit_set_count', 'hit_set_fpp', 'target_max_objects'],
  ...['target_max_bytes', 'cache_target_dirty_ratio', 'cache_target_dirty_high_ratio'],
  ...['cache_target_full_ratio', 'cache_min_flush_age', 'cache_min_evict_age'],
  ...['min_read_recency_for_promote', 'min_write_recency_for_promote'],
  ...['hit_set_grade_decay_rate', 'hit_set_search_last_n'],
];

const ERASURE_SETTINGS = ['erasure_code_profile', 'allow_ec_overwrites'];

/** The order in which `get … all` lists them. */
const ALL = [
  ...['size', 'min_size', 'pg_num', 'pgp_num', 'crush_rule'],
  ...['hashpspool', 'nodelete', 'nopgchange', 'nosizechange', 'write_fadvise_dontneed'],
  ...['noscrub', 'nodeep-scrub', 'use_gmt_hitset', 'fast_read'],
  ...['scrub_min_interval', 'scrub_max_interval', 'deep_scrub_interval'],
  ...['recovery_priority', 'recovery_op_priority', 'scrub_priority'],
  ...['compression_mode', 'compression_algorithm', 'compression_required_ratio'],
  ...['compression_max_blob_size', 'compression_min_blob_size'],
  ...['csum_max_block', 'csum_min_block', 'pg_autoscale_mode', 'pg_autoscale_bias'],
  ...['pg_num_min', 'pg_num_max', 'target_size_bytes', 'target_size_ratio', 'bulk'],
];

function value(state: MonState, pool: PgPool, name: string): Json | undefined {
  const flag = Object.hasOwn(FLAG_SETTINGS, name) ? FLAG_SETTINGS[name] : undefined;
  if (flag !== undefined) return (pool.flags & flag) !== 0;
  switch (name) {
    case 'size':
      return pool.size;
    case 'min_size':
      return pool.minSize;
    case 'pg_num':
      return pool.pgNum;
    case 'pgp_num':
      return pool.pgpNum;
    case 'crush_rule':
      return state.osdMaps.map.crush.ruleNames.get(pool.crushRule) ?? String(pool.crushRule);
    case 'use_gmt_hitset':
      return pool.useGmtHitset !== 0;
    case 'fast_read':
      return pool.fastRead;
    case 'pg_autoscale_mode':
      return autoscaleModeName(pool.pgAutoscaleMode);
    default: {
      const option = poolOption(name);
      return option && pool.opts.options.get(option.key);
    }
  }
}

/** Plain text differs from JSON in one place. */
function text(name: string, json: Json): string {
  return name === 'use_gmt_hitset' ? String(Number(json)) : String(json);
}

function get({ state, args, output }: CommandCall) {
  const { id, pool, name } = requiredPool(state, args.string('pool'));
  const variable = args.string('var');
  const names =
    variable === 'all'
      ? ALL.filter((setting) => value(state, pool, setting) !== undefined)
      : [variable];
  if (variable !== 'all') checkApplies(pool, name, variable);
  const settings = names.map((setting) => [setting, value(state, pool, setting)] as const);
  const first = settings[0];
  if (first && first[1] === undefined) {
    if (poolOption(variable)) {
      throw new CommandError('ENOENT', `option '${variable}' is not set on pool '${name}'`);
    }
    throw new CommandError('EINVAL', `pool '${name}': invalid variable: '${variable}'`);
  }
  const known = settings as readonly (readonly [string, Json])[];
  return output({
    plain: () => known.map(([setting, json]) => `${setting}: ${text(setting, json)}\n`).join(''),
    json: () => ({ pool: name, pool_id: id, ...Object.fromEntries(known) }),
  });
}

function checkApplies(pool: PgPool, name: string, variable: string): void {
  const kind = TIER_SETTINGS.includes(variable)
    ? 'tier'
    : ERASURE_SETTINGS.includes(variable) && pool.type !== POOL_TYPE.ERASURE
      ? 'erasure'
      : undefined;
  if (kind) {
    throw new CommandError(
      'EACCES',
      `pool '${name}' is not a ${kind} pool: variable not applicable`,
    );
  }
}

/** Numbers come as text, maybe with a unit (`10M`). */
function parseNumber(text: string, what: string): number {
  if (!/^-?\d+$/.test(text)) {
    throw new CommandError(
      'EINVAL',
      `error parsing ${what} value '${text}': Expected option value to be integer, got '${text}'`,
    );
  }
  return Number(text);
}

function parseBool(text: string): boolean {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new CommandError('EINVAL', "expecting value 'true', 'false', '0', or '1'");
}

type Change = (pool: PgPool) => void;

function set({ state, args }: CommandCall) {
  const { id, pool, name } = requiredPool(state, args.string('pool'));
  const variable = args.string('var');
  const val = args.string('val');
  const sure = args.flag('yes_i_really_mean_it');
  const option = poolOption(variable);
  const change = option
    ? optionChange(option, val)
    : settingChange(state, { id, pool, name }, { variable, val, sure });
  changePool(state, id, change);
  if (option?.type === 'string' && val === 'unset') return done(`unset pool ${id} ${variable}`);
  return done(`set pool ${id} ${variable} to ${val}`);
}

function settingChange(
  state: MonState,
  { pool, name }: { id: number; pool: PgPool; name: string },
  { variable, val, sure }: { variable: string; val: string; sure: boolean },
): Change {
  const flag = Object.hasOwn(FLAG_SETTINGS, variable) ? FLAG_SETTINGS[variable] : undefined;
  if (flag !== undefined) {
    const on = parseBool(val);
    if (variable === 'hashpspool' && !sure) {
      throw new CommandError(
        'EPERM',
        'are you SURE?  this will remap all placement groups in this pool, this triggers large ' +
          'data movement, pass --yes-i-really-mean-it if you really do.',
      );
    }
    return (edited) => {
      edited.flags = on ? edited.flags | flag : edited.flags & ~flag;
    };
  }
  switch (variable) {
    case 'size':
      return sizeChange(pool, parseNumber(val, 'integer'), { name, sure });
    case 'min_size':
      return minSizeChange(pool, parseNumber(val, 'integer'));
    case 'pg_num':
      return pgNumChange(pool, parseNumber(val, 'integer'), { name, sure });
    case 'pgp_num':
    case 'pgp_num_actual':
      return pgpNumChange(pool, parseNumber(val, 'integer'));
    case 'crush_rule': {
      const { crush } = state.osdMaps.map;
      const ruleId = [...crush.ruleNames].find(([, ruleName]) => ruleName === val)?.[0];
      if (ruleId === undefined) {
        throw new CommandError('ENOENT', `crush rule ${val} does not exist`);
      }
      return (edited) => {
        edited.crushRule = crush.rules[ruleId]?.ruleset ?? ruleId;
      };
    }
    case 'pg_autoscale_mode': {
      const mode = ['off', 'warn', 'on'].indexOf(val);
      if (mode < 0) throw new CommandError('EINVAL', `specified invalid mode ${val}`);
      return (edited) => {
        edited.pgAutoscaleMode = mode;
      };
    }
    case 'use_gmt_hitset': {
      const on = parseBool(val);
      return (edited) => {
        edited.useGmtHitset = Number(on);
      };
    }
    case 'fast_read':
      throw new CommandError('EINVAL', 'fast read is not supported in replication pool');
    default:
      checkApplies(pool, name, variable);
      throw new CommandError('EINVAL', `unrecognized variable '${variable}'`);
  }
}

function sizeChange(
  pool: PgPool,
  size: number,
  { name, sure }: { name: string; sure: boolean },
): Change {
  if (pool.flags & POOL_FLAG.NOSIZECHANGE) {
    throw new CommandError(
      'EPERM',
      'pool size change is disabled; you must unset nosizechange flag for the pool first',
    );
  }
  if (size < 1 || size > MAX_POOL_SIZE) {
    throw new CommandError('EINVAL', `pool size must be between 1 and ${MAX_POOL_SIZE}`);
  }
  if (size === 1 && !sure) {
    throw new CommandError(
      'EPERM',
      'WARNING: setting pool size 1 could lead to data loss without recovery. If you are ' +
        '*ABSOLUTELY CERTAIN* that is what you want, pass the flag --yes-i-really-mean-it.',
    );
  }
  if (pool.type !== POOL_TYPE.REPLICATED) {
    throw new CommandError('EPERM', `pool '${name}' is not a replicated pool`);
  }
  return (edited) => {
    edited.size = size;
    // A pool that grows asks for half of its copies, one that shrinks for no more than it has.
    edited.minSize = size - Math.floor(size / 2);
  };
}

function minSizeChange(pool: PgPool, minSize: number): Change {
  if (minSize < 1 || minSize > pool.size) {
    throw new CommandError(
      'EINVAL',
      `pool min_size must be between 1 and size, which is set to ${pool.size}`,
    );
  }
  return (edited) => {
    edited.minSize = minSize;
  };
}

function pgNumChange(
  pool: PgPool,
  pgNum: number,
  { name }: { name: string; sure: boolean },
): Change {
  if (pool.flags & POOL_FLAG.NOPGCHANGE) {
    throw new CommandError(
      'EPERM',
      'pool pg_num change is disabled; you must unset nopgchange flag for the pool first',
    );
  }
  if (pgNum < 1 || pgNum > MAX_PG_NUM) {
    throw new CommandError(
      'ERANGE',
      `'pg_num' must be greater than 0 and less than or equal to ${MAX_PG_NUM} ` +
        "(you may adjust 'mon max pool pg num' for higher values)",
    );
  }
  if (pgNum === pool.pgNum) return () => {};
  if (pgNum < pool.pgNum) {
    // In Ceph the OSDs merge PGs; ours only split them.
    throw new CommandError('EOPNOTSUPP', `pg_num of pool '${name}' cannot be made smaller here`);
  }
  // A manager would do it in steps, and change the target alone until then.
  return (edited) => {
    edited.pgNum = pgNum;
    edited.pgNumTarget = pgNum;
    edited.pgNumPending = pgNum;
  };
}

function pgpNumChange(pool: PgPool, pgpNum: number): Change {
  if (pgpNum < 1 || pgpNum > pool.pgNum) {
    throw new CommandError('EINVAL', `specified pgp_num ${pgpNum} > pg_num ${pool.pgNum}`);
  }
  return (edited) => {
    edited.pgpNum = pgpNum;
    edited.pgpNumTarget = pgpNum;
  };
}

function optionChange(option: PoolOptionType, val: string): Change {
  const { key, name, type } = option;
  if (type === 'string') {
    if (val === 'unset') return (pool) => pool.opts.options.delete(key);
    if (!option.values?.includes(val)) {
      throw new CommandError('EINVAL', `unrecognized ${name.replaceAll('_', ' ')} '${val}'`);
    }
    return (pool) => pool.opts.options.set(key, val);
  }
  const number = type === 'int' ? parseNumber(val, 'integer') : Number(val);
  if (!Number.isFinite(number) || val.trim() === '') {
    throw new CommandError('EINVAL', `error parsing float value '${val}'`);
  }
  // Zero takes a numeric option away: the cluster's default then holds.
  if (number === 0) return (pool) => pool.opts.options.delete(key);
  return (pool) => pool.opts.options.set(key, type === 'int' ? BigInt(number) : number);
}

const UNITS: Record<string, number> = { '': 0, B: 0, K: 10, M: 20, G: 30, T: 40, P: 50 };

/** `10M` → 10485760 for bytes; for objects, units are powers of ten. */
function parseQuota(field: string, val: string): bigint {
  const match = /^(\d+)([A-Z]?)(?:iB?|B)?$/.exec(val);
  const shift = match ? UNITS[match[2] ?? ''] : undefined;
  if (!match || shift === undefined) {
    const how = field === 'max_bytes' ? 'strict_iecstrtoll' : 'strict_si_cast';
    throw new CommandError(
      'EINVAL',
      `error parsing value '${val}': ${how}: unit prefix not recognized`,
    );
  }
  const number = BigInt(match[1] as string);
  const scale = field === 'max_bytes' ? 1n << BigInt(shift) : 10n ** BigInt((shift / 10) * 3);
  return BigInt.asUintN(64, number * scale);
}

const VARIABLES = [
  ...['size', 'min_size', 'pg_num', 'pgp_num', 'crush_rule'],
  ...Object.keys(FLAG_SETTINGS),
  ...['use_gmt_hitset', 'fast_read', 'pg_autoscale_mode'],
  ...POOL_OPTIONS.map((option) => option.name),
];

export const poolSettingCommands: readonly Command[] = [
  {
    prefix: 'osd pool get',
    args: [
      POOL_ARG,
      {
        name: 'var',
        type: 'CephChoices',
        strings: [...VARIABLES, 'all', ...TIER_SETTINGS, ...ERASURE_SETTINGS].join('|'),
      },
    ],
    help: 'get pool parameter <var>',
    module: 'osd',
    perm: 'r',
    run: get,
  },
  {
    prefix: 'osd pool set',
    args: [
      POOL_ARG,
      {
        name: 'var',
        type: 'CephChoices',
        strings: [...VARIABLES, 'pgp_num_actual'].join('|'),
      },
      { name: 'val', type: 'CephString' },
      { name: 'yes_i_really_mean_it', type: 'CephBool', optional: true },
    ],
    help: 'set pool parameter <var> to <val>',
    module: 'osd',
    perm: 'rw',
    run: set,
  },
  {
    prefix: 'osd pool set-quota',
    args: [
      POOL_ARG,
      { name: 'field', type: 'CephChoices', strings: 'max_objects|max_bytes' },
      { name: 'val', type: 'CephString' },
    ],
    help: 'set object or byte limit on pool',
    module: 'osd',
    perm: 'rw',
    run: ({ state, args }) => {
      const { id, name } = requiredPool(state, args.string('pool'));
      const field = args.string('field');
      if (field !== 'max_bytes' && field !== 'max_objects') {
        throw new CommandError(
          'EINVAL',
          "unrecognized field '" + field + "'; should be 'max_bytes' or 'max_objects'",
        );
      }
      const quota = parseQuota(field, args.string('val'));
      changePool(state, id, (pool) => {
        if (field === 'max_bytes') pool.quotaMaxBytes = quota;
        else pool.quotaMaxObjects = quota;
      });
      return done(`set-quota ${field} = ${quota} for pool ${name}`);
    },
  },
  {
    prefix: 'osd pool get-quota',
    args: [POOL_ARG],
    help: 'obtain object or byte limits for pool',
    module: 'osd',
    perm: 'r',
    run: ({ state, args }) => {
      const { name } = requiredPool(state, args.string('pool'));
      // The answer is made of a manager's statistics, and there is no manager.
      throw new CommandError('ENOENT', `no stats for pool '${name}'`);
    },
  },
];
