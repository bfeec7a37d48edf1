/** Pools come, go and are listed: `osd pool create|rm|rename|ls|mksnap|rmsnap`. */

import { type PgPool, POOL_FLAG } from '../../../osdmap/pool.js';
import type { MonState } from '../mon-state.js';
import {
  addPool,
  changePool,
  createPoolSnap,
  isValidPoolName,
  MAX_PG_NUM,
  MAX_POOL_SIZE,
  removePool,
  removePoolSnap,
} from '../pools.js';
import { COMMAND_FLAG, type Command, type CommandCall, CommandError, done } from './command.js';
import { poolJson, poolsText } from './osd-dump.js';

export const POOL_ARG = { name: 'pool', type: 'CephPoolname' } as const;

/** The pool that an argument names; it must exist. */
export function requiredPool(
  state: MonState,
  name: string,
): { id: number; pool: PgPool; name: string } {
  const found = state.osdMaps.map.poolByName(name);
  if (!found) throw new CommandError('ENOENT', `unrecognized pool '${name}'`);
  return { ...found, name };
}

function optionalNumber(name: string) {
  return { name, type: 'CephInt', optional: true, range: '0' } as const;
}

function create({ state, args }: CommandCall) {
  const name = args.string('pool');
  const pgNum = args.int('pg_num') ?? 0;
  const pgpNum = args.int('pgp_num') ?? 0;
  const size = args.int('size') ?? 0;
  const rule = args.string('rule');
  if (!isValidPoolName(name)) throw new CommandError('EINVAL', '(22) Invalid argument');
  const map = state.osdMaps.map;
  if (map.poolIdByName(name) !== undefined) return done(`pool '${name}' already exists`);
  checkType(args.string('pool_type'));
  if (pgNum < 0 || pgNum > MAX_PG_NUM) {
    throw new CommandError(
      'ERANGE',
      `'pg_num' must be greater than 0 and less than or equal to ${MAX_PG_NUM} ` +
        "(you may adjust 'mon max pool pg num' for higher values)",
    );
  }
  const pgs = pgNum || state.poolDefaults.pgNum;
  if (pgpNum < 0 || pgpNum > pgs) {
    throw new CommandError(
      'ERANGE',
      `'pgp_num' must be greater than 0 and lower or equal than 'pg_num', which in this case is ${pgs}`,
    );
  }
  if (size < 0 || size > MAX_POOL_SIZE) {
    throw new CommandError('EINVAL', `pool size must be between 1 and ${MAX_POOL_SIZE}`);
  }
  const crushRule = rule === '' ? 0 : ruleByName(state, rule);
  const { id } = addPool(state, { name, pgNum: pgs, pgpNum, size, crushRule });
  const mode = args.string('autoscale_mode');
  if (mode !== '' && mode !== 'off') {
    changePool(state, id, (pool) => {
      pool.pgAutoscaleMode = mode === 'on' ? 2 : 1;
    });
  }
  return done(`pool '${name}' created`);
}

function checkType(type: string): void {
  if (type === '' || type === 'replicated') return;
  if (type === 'erasure') {
    throw new CommandError('EOPNOTSUPP', 'erasure-coded pools are not supported here');
  }
  throw new CommandError('EINVAL', `unknown pool type '${type}'`);
}

function ruleByName(state: MonState, name: string): number {
  const { crush } = state.osdMaps.map;
  const id = [...crush.ruleNames].find(([, ruleName]) => ruleName === name)?.[0];
  const rule = id === undefined ? undefined : crush.rules[id];
  if (!rule) throw new CommandError('ENOENT', `specified rule ${name} doesn't exist`);
  return rule.ruleset;
}

function remove({ state, args }: CommandCall) {
  const name = args.string('pool');
  const found = state.osdMaps.map.poolByName(name);
  if (!found) return done(`pool '${name}' does not exist`);
  const sure =
    args.flag('yes_i_really_really_mean_it') || args.flag('yes_i_really_really_mean_it_not_faking');
  if (args.string('pool2') !== name || !sure) {
    throw new CommandError(
      'EPERM',
      `WARNING: this will *PERMANENTLY DESTROY* all data stored in pool ${name}.  ` +
        'If you are *ABSOLUTELY CERTAIN* that is what you want, pass the pool name *twice*, ' +
        'followed by --yes-i-really-really-mean-it.',
    );
  }
  if (found.pool.flags & POOL_FLAG.NODELETE) {
    throw new CommandError(
      'EPERM',
      'pool deletion is disabled; you must unset nodelete flag for the pool first',
    );
  }
  removePool(state, found.id);
  return done(`pool '${name}' removed`);
}

function rename({ state, args }: CommandCall) {
  const from = args.string('srcpool');
  const to = args.string('destpool');
  const map = state.osdMaps.map;
  const id = map.poolIdByName(from);
  const taken = map.poolIdByName(to) !== undefined;
  if (id === undefined) {
    // A client that asks again after losing the answer must not see an error.
    if (taken) {
      return done(`pool '${from}' does not exist; pool '${to}' does -- assuming successful rename`);
    }
    throw new CommandError('ENOENT', `unrecognized pool '${from}'`);
  }
  if (taken) throw new CommandError('EEXIST', `pool '${to}' already exists`);
  if (!isValidPoolName(to)) throw new CommandError('EINVAL', '(22) Invalid argument');
  changePool(state, id, (_, incremental) => incremental.newPoolNames.set(id, to));
  return done(`pool '${from}' renamed to '${to}'`);
}

function snapshot({ state, args }: CommandCall, make: boolean) {
  const { id, name } = requiredPool(state, args.string('pool'));
  const snap = args.string('snap');
  const { code, changed } = (make ? createPoolSnap : removePoolSnap)(state, id, snap);
  if (code < 0) throw new CommandError('EINVAL', `pool ${name} is in unmanaged snaps mode`);
  if (make) {
    return done(
      changed ? `created pool ${name} snap ${snap}` : `pool ${name} snap ${snap} already exists`,
    );
  }
  return done(
    changed ? `removed pool ${name} snap ${snap}` : `pool ${name} snap ${snap} does not exist`,
  );
}

const REMOVE_ARGS = [
  POOL_ARG,
  { name: 'pool2', type: 'CephPoolname', optional: true },
  { name: 'yes_i_really_really_mean_it', type: 'CephBool', optional: true },
  { name: 'yes_i_really_really_mean_it_not_faking', type: 'CephBool', optional: true },
] as const;

const SNAP_ARGS = [POOL_ARG, { name: 'snap', type: 'CephString' }] as const;

export const poolCommands: readonly Command[] = [
  {
    prefix: 'osd pool create',
    args: [
      POOL_ARG,
      optionalNumber('pg_num'),
      optionalNumber('pgp_num'),
      {
        name: 'pool_type',
        type: 'CephChoices',
        optional: true,
        strings: 'replicated|erasure',
      },
      {
        name: 'erasure_code_profile',
        type: 'CephString',
        optional: true,
        goodchars: '[A-Za-z0-9-_.]',
      },
      { name: 'rule', type: 'CephString', optional: true },
      optionalNumber('expected_num_objects'),
      optionalNumber('size'),
      optionalNumber('pg_num_min'),
      optionalNumber('pg_num_max'),
      { name: 'autoscale_mode', type: 'CephChoices', optional: true, strings: 'on|off|warn' },
      { name: 'bulk', type: 'CephBool', optional: true },
      optionalNumber('target_size_bytes'),
      { name: 'target_size_ratio', type: 'CephFloat', optional: true, range: '0.0' },
    ],
    help: 'create pool',
    module: 'osd',
    perm: 'rw',
    run: create,
  },
  {
    prefix: 'osd pool rm',
    args: REMOVE_ARGS,
    help: 'remove pool',
    module: 'osd',
    perm: 'rw',
    run: remove,
  },
  {
    prefix: 'osd pool delete',
    args: REMOVE_ARGS,
    help: 'delete pool',
    module: 'osd',
    perm: 'rw',
    flags: COMMAND_FLAG.DEPRECATED,
    run: remove,
  },
  {
    prefix: 'osd pool rename',
    args: [
      { name: 'srcpool', type: 'CephPoolname' },
      { name: 'destpool', type: 'CephPoolname' },
    ],
    help: 'rename <srcpool> to <destpool>',
    module: 'osd',
    perm: 'rw',
    run: rename,
  },
  {
    prefix: 'osd pool ls',
    args: [{ name: 'detail', type: 'CephChoices', optional: true, strings: 'detail' }],
    help: 'list pools',
    module: 'osd',
    perm: 'r',
    run: ({ state, args, output }) => {
      const map = state.osdMaps.map;
      if (args.string('detail') === 'detail') {
        return output({
          plain: () => `${poolsText(map)}\n`,
          json: () => [...map.pools.keys()].map((id) => poolJson(map, id, 'pool_id')),
        });
      }
      const names = [...map.poolName.values()];
      return output({ plain: () => names.map((name) => `${name}\n`).join(''), json: () => names });
    },
  },
  {
    prefix: 'osd pool mksnap',
    args: SNAP_ARGS,
    help: 'make snapshot <snap> in <pool>',
    module: 'osd',
    perm: 'rw',
    run: (call) => snapshot(call, true),
  },
  {
    prefix: 'osd pool rmsnap',
    args: SNAP_ARGS,
    help: 'remove snapshot <snap> from <pool>',
    module: 'osd',
    perm: 'rw',
    run: (call) => snapshot(call, false),
  },
];
