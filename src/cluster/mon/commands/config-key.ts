/** Names and values of anybody's choice: `config-key get|set|put|rm|del|exists|ls|list|dump`. */

import type { Json } from '../formatter.js';
import { COMMAND_FLAG, type Command, type CommandCall, CommandError, done } from './command.js';

const KEY_ARG = { name: 'key', type: 'CephString' } as const;
const OPTIONAL_KEY_ARG = { ...KEY_ARG, optional: true } as const;
const VALUE_ARG = { name: 'val', type: 'CephString', optional: true } as const;

function set({ state, args, input }: CommandCall) {
  if (!args.has('key')) throw new CommandError('EINVAL', 'must specify a key');
  const key = args.string('key');
  const value = args.has('val') ? Buffer.from(args.string('val')) : input.slice();
  if (value.length > MAX_VALUE_BYTES) {
    throw new CommandError('EFBIG', `error: entry size limited to ${MAX_VALUE_BYTES} bytes`);
  }
  state.configKeys.change({ set: [[key, value]] });
  return done(`set ${key}`);
}

function get({ state, args }: CommandCall) {
  const value = state.configKeys.get(args.string('key'));
  if (!value) throw new CommandError('ENOENT', '');
  return { r: 0, rs: '', out: value };
}

function remove({ state, args }: CommandCall) {
  if (!args.has('key')) throw new CommandError('EINVAL', 'must specify a key');
  state.configKeys.change({ remove: [args.string('key')] });
  return done('key deleted');
}

function exists({ state, args }: CommandCall) {
  const key = args.string('key');
  if (state.configKeys.get(key)) return done(`key '${key}' exists`);
  throw new CommandError('ENOENT', `key '${key}' doesn't exist`);
}

function list({ state, output }: CommandCall) {
  return output({ json: () => state.configKeys.names(), newline: 'ensured' });
}

function dump({ state, args, output }: CommandCall) {
  const names = state.configKeys.names(args.string('key'));
  return output({
    json: () => new Map(names.map((name) => [name, shown(state.configKeys.get(name))])),
    newline: 'ensured',
  });
}

function shown(value: Uint8Array = new Uint8Array()): Json {
  const printable = value.every(
    (byte) => (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10,
  );
  return printable
    ? Buffer.from(value).toString()
    : `<<< binary blob of length ${value.length} >>>`;
}

/** `mon_config_key_max_entry_size` */
const MAX_VALUE_BYTES = 65_536;

const reading = { module: 'config-key', perm: 'r' } as const;
const writing = { module: 'config-key', perm: 'rw' } as const;
const old = { flags: COMMAND_FLAG.DEPRECATED } as const;

export const configKeyCommands: readonly Command[] = [
  { ...reading, prefix: 'config-key get', args: [KEY_ARG], help: 'get <key>', run: get },
  {
    ...writing,
    prefix: 'config-key set',
    args: [KEY_ARG, VALUE_ARG],
    help: 'set <key> to value <val>',
    run: set,
  },
  {
    ...writing,
    ...old,
    prefix: 'config-key put',
    args: [KEY_ARG, VALUE_ARG],
    help: 'put <key>, value <val>',
    run: set,
  },
  {
    ...writing,
    ...old,
    prefix: 'config-key del',
    args: [KEY_ARG],
    help: 'delete <key>',
    run: remove,
  },
  { ...writing, prefix: 'config-key rm', args: [KEY_ARG], help: 'rm <key>', run: remove },
  {
    ...reading,
    prefix: 'config-key exists',
    args: [KEY_ARG],
    help: "check for <key>'s existence",
    run: exists,
  },
  { ...reading, ...old, prefix: 'config-key list', help: 'list keys', run: list },
  { ...reading, prefix: 'config-key ls', help: 'list keys', run: list },
  {
    ...reading,
    prefix: 'config-key dump',
    args: [OPTIONAL_KEY_ARG],
    help: 'dump keys and values (with optional prefix)',
    run: dump,
  },
];
