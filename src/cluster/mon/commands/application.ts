/** What pools are used for: `osd pool application enable|disable|set|rm|get`. */

import type { Json } from '../formatter.js';
import { changePool } from '../pools.js';
import { type Command, type CommandCall, CommandError, done } from './command.js';
import { POOL_ARG, requiredPool } from './pool.js';

/** `MAX_POOL_APPLICATIONS`, `MAX_POOL_APPLICATION_KEYS`, `MAX_POOL_APPLICATION_LENGTH`. */
const MAX_APPLICATIONS = 4;
const MAX_KEYS = 64;
const MAX_LENGTH = 128;

const APP_ARG = { name: 'app', type: 'CephString', goodchars: '[A-Za-z0-9-_.]' } as const;
const KEY_ARG = { name: 'key', type: 'CephString', goodchars: '[A-Za-z0-9-_.]' } as const;
const SURE_ARG = { name: 'yes_i_really_mean_it', type: 'CephBool', optional: true } as const;

function checkLength(what: string, text: string): void {
  if (text.length > MAX_LENGTH) {
    throw new CommandError('EINVAL', `${what} '${text}' too long; max length ${MAX_LENGTH}`);
  }
}

function enable({ state, args }: CommandCall) {
  const { id, pool, name } = requiredPool(state, args.string('pool'));
  const app = args.string('app');
  if (app === '') throw new CommandError('EINVAL', 'application name must be non-empty');
  checkLength('application name', app);
  const sure = args.flag('yes_i_really_mean_it');
  const { applicationMetadata } = pool;
  if (!applicationMetadata.has(app)) {
    if (applicationMetadata.size > 0 && !sure) {
      throw new CommandError(
        'EPERM',
        `Are you SURE? Pool '${name}' already has an enabled application; ` +
          'pass --yes-i-really-mean-it to proceed anyway',
      );
    }
    if (applicationMetadata.size >= MAX_APPLICATIONS) {
      throw new CommandError('EINVAL', `too many enabled applications on pool '${name}'; max 4`);
    }
    changePool(state, id, (edited) => edited.applicationMetadata.set(app, new Map()));
  }
  return done(`enabled application '${app}' on pool '${name}'`);
}

function disable({ state, args }: CommandCall) {
  const { id, pool, name } = requiredPool(state, args.string('pool'));
  const app = args.string('app');
  if (!args.flag('yes_i_really_mean_it')) {
    throw new CommandError(
      'EPERM',
      'Are you SURE? Disabling an application within a pool might result in loss of ' +
        'application functionality; pass --yes-i-really-mean-it to proceed anyway',
    );
  }
  if (!pool.applicationMetadata.has(app)) {
    return done(`application '${app}' is not enabled on pool '${name}'`);
  }
  changePool(state, id, (edited) => edited.applicationMetadata.delete(app));
  return done(`disable application '${app}' on pool '${name}'`);
}

function setKey({ state, args }: CommandCall) {
  const { id, pool, name } = requiredPool(state, args.string('pool'));
  const app = args.string('app');
  const key = args.string('key');
  const value = args.string('value');
  const keys = pool.applicationMetadata.get(app);
  if (!keys) {
    throw new CommandError('ENOENT', `application '${app}' is not enabled on pool '${name}'`);
  }
  if (key === '') throw new CommandError('EINVAL', 'key must be non-empty');
  checkLength('key', key);
  checkLength('value', value);
  if (!keys.has(key) && keys.size >= MAX_KEYS) {
    throw new CommandError(
      'EINVAL',
      `too many keys set for application '${app}' on pool '${name}'`,
    );
  }
  changePool(state, id, (edited) => edited.applicationMetadata.get(app)?.set(key, value));
  return done(`set application '${app}' key '${key}' to '${value}' on pool '${name}'`);
}

function removeKey({ state, args }: CommandCall) {
  const { id, pool, name } = requiredPool(state, args.string('pool'));
  const app = args.string('app');
  const key = args.string('key');
  const keys = pool.applicationMetadata.get(app);
  if (!keys) {
    throw new CommandError('ENOENT', `application '${app}' is not enabled on pool '${name}'`);
  }
  if (!keys.has(key)) {
    return done(`application '${app}' on pool '${name}' does not have key '${key}'`);
  }
  changePool(state, id, (edited) => edited.applicationMetadata.get(app)?.delete(key));
  return done(`removed application '${app}' key '${key}' on pool '${name}'`);
}

/** Of all pools, one pool, one application, or one key. */
function get({ state, args, output }: CommandCall) {
  const map = state.osdMaps.map;
  const poolName = args.string('pool');
  if (poolName === '') {
    const byPool = (): Json =>
      new Map(
        [...map.pools].map(([id, pool]) => [map.poolName.get(id) ?? '', pool.applicationMetadata]),
      );
    return output({ json: byPool });
  }
  const { pool, name } = requiredPool(state, poolName);
  const app = args.string('app');
  if (app === '') return output({ json: () => pool.applicationMetadata });
  const keys = pool.applicationMetadata.get(app);
  if (!keys) throw new CommandError('ENOENT', `pool '${name}' has no application '${app}'`);
  const key = args.string('key');
  if (key === '') return output({ json: () => keys });
  const value = keys.get(key);
  if (value === undefined) {
    throw new CommandError(
      'ENOENT',
      `application '${app}' on pool '${name}' does not have key '${key}'`,
    );
  }
  // The bare value, in every format.
  return { r: 0, rs: '', out: `${value}\n` };
}

export const applicationCommands: readonly Command[] = [
  {
    prefix: 'osd pool application enable',
    args: [POOL_ARG, APP_ARG, SURE_ARG],
    help: 'enable use of an application <app> [cephfs,rbd,rgw] on pool <poolname>',
    module: 'osd',
    perm: 'rw',
    run: enable,
  },
  {
    prefix: 'osd pool application disable',
    args: [POOL_ARG, { name: 'app', type: 'CephString' }, SURE_ARG],
    help: 'disables use of an application <app> on pool <poolname>',
    module: 'osd',
    perm: 'rw',
    run: disable,
  },
  {
    prefix: 'osd pool application set',
    args: [
      POOL_ARG,
      { name: 'app', type: 'CephString' },
      KEY_ARG,
      { name: 'value', type: 'CephString', goodchars: '[A-Za-z0-9-_.=]' },
    ],
    help: 'sets application <app> metadata key <key> to <value> on pool <poolname>',
    module: 'osd',
    perm: 'rw',
    run: setKey,
  },
  {
    prefix: 'osd pool application rm',
    args: [POOL_ARG, { name: 'app', type: 'CephString' }, { name: 'key', type: 'CephString' }],
    help: 'removes application <app> metadata key <key> on pool <poolname>',
    module: 'osd',
    perm: 'rw',
    run: removeKey,
  },
  {
    prefix: 'osd pool application get',
    args: [
      { ...POOL_ARG, optional: true },
      { name: 'app', type: 'CephString', optional: true },
      { name: 'key', type: 'CephString', optional: true },
    ],
    help: 'get value of key <key> of application <app> on pool <poolname>',
    module: 'osd',
    perm: 'r',
    run: get,
  },
];
