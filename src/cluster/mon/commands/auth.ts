/** Entities, keys and caps: `auth get|get-or-create|get-key|ls|add|caps|rm|export|import`. */

import type { CryptoKey } from '../../../auth/crypto-key.js';
import { Keyring, type KeyringEntry } from '../../../auth/keyring.js';
import { capsProblem } from '../caps.js';
import { type AuthRecord, formatKeyring } from '../auth-database.js';
import { formatAuthEntity } from '../../../auth/method.js';
import { parseAuthEntity } from '../../../encoding/entity.js';
import type { Json } from '../formatter.js';
import { COMMAND_FLAG, type Command, type CommandCall, CommandError, done } from './command.js';

const ENTITY_ARG = { name: 'entity', type: 'CephString' } as const;
const CAPS_ARG = { name: 'caps', type: 'CephString', many: true } as const;
const OPTIONAL_CAPS_ARG = { ...CAPS_ARG, optional: true } as const;

function entityName({ args }: CommandCall, problem: (name: string) => string): string {
  const name = args.string('entity');
  try {
    parseAuthEntity(name);
  } catch {
    throw new CommandError('EINVAL', problem(name));
  }
  return name;
}

const badEntity = () => 'bad entity name';

/** `['mon', 'allow r', 'osd', 'allow *']` → by service. */
function parseCaps({ args }: CommandCall): Record<string, string> {
  const words = args.strings('caps');
  if (words.length % 2 !== 0) {
    throw new CommandError('EINVAL', 'bad capabilities request; odd number of arguments');
  }
  const caps: Record<string, string> = {};
  for (let i = 0; i < words.length; i += 2) {
    const service = words[i] as string;
    const text = words[i + 1] as string;
    const problem = capsProblem(service, text);
    if (problem) throw new CommandError('EINVAL', problem);
    caps[service] = text;
  }
  return caps;
}

function required({ state }: CommandCall, name: string, problem: string): AuthRecord {
  const record = state.auth.get(name);
  if (!record) throw new CommandError('ENOENT', problem);
  return record;
}

function recordJson(record: AuthRecord): Json {
  return {
    entity: formatAuthEntity(record.entity),
    key: record.key.toBase64(),
    caps: record.caps,
  };
}

/** The first service for which what is asked differs from what is there. */
function differingCap(record: AuthRecord, caps: Record<string, string>): string | undefined {
  return Object.entries(caps).find(([service, text]) => record.caps.get(service) !== text)?.[0];
}

function getOrCreate(call: CommandCall): { record: AuthRecord; created: boolean } {
  const name = entityName(call, badEntity);
  const caps = parseCaps(call);
  const known = call.state.auth.get(name);
  if (!known) return { record: call.state.auth.set(name, caps), created: true };
  const differs = differingCap(known, caps);
  if (differs !== undefined) {
    throw new CommandError('EINVAL', `key for ${name} exists but cap ${differs} does not match`);
  }
  return { record: known, created: false };
}

function get(call: CommandCall) {
  const name = entityName(call, (text) => `invalid entity_auth ${text}`);
  const record = required(call, name, `failed to find ${name} in keyring`);
  return call.output({
    rs: `exported keyring for ${name}`,
    plain: () => formatKeyring(record, { caps: true }),
    json: () => [recordJson(record)],
  });
}

function printKey(call: CommandCall) {
  const name = entityName(call, badEntity);
  const record = required(call, name, `don't have ${name}`);
  return call.output({
    plain: () => record.key.toBase64(),
    json: () => ({ key: record.key.toBase64() }),
  });
}

function list({ state, output }: CommandCall) {
  const records = state.auth.list();
  // The words before the list are on stderr in plain form only.
  const answer = output({
    rs: 'installed auth entries:\n',
    plain: () =>
      records
        .map((record) => {
          const caps = [...record.caps].map(([service, text]) => `\tcaps: [${service}] ${text}\n`);
          const name = formatAuthEntity(record.entity);
          return `${name}\n\tkey: ${record.key.toBase64()}\n${caps.join('')}`;
        })
        .join(''),
    json: () => ({ auth_dump: records.map(recordJson) }),
  });
  return String(answer.out).startsWith('{') ? { ...answer, rs: '' } : answer;
}

function add(call: CommandCall) {
  const { state, input } = call;
  const name = entityName(call, badEntity);
  const caps = parseCaps(call);
  const given = input.length > 0 ? keyOf(input, name) : undefined;
  const known = state.auth.get(name);
  if (known) {
    const same =
      known.caps.size === Object.keys(caps).length && differingCap(known, caps) === undefined;
    if (!same) throw new CommandError('EINVAL', `entity ${name} exists but caps do not match`);
    if (given && !given.equals(known.key)) {
      throw new CommandError('EINVAL', `entity ${name} exists but key does not match`);
    }
    return done('');
  }
  state.auth.set(name, caps, given);
  return done(`added key for ${name}`);
}

/** The key that a keyring (`-i FILE`) has for the entity. */
function keyOf(input: Uint8Array, name: string): CryptoKey {
  let keyring: Keyring;
  try {
    keyring = Keyring.parse(input, 'input');
  } catch {
    throw new CommandError('EINVAL', 'error decoding keyring');
  }
  const entry = keyring.get(name);
  if (!entry) throw new CommandError('EINVAL', `key for ${name} not found in provided keyring`);
  return entry.key;
}

/** `rs` of a real monitor names the key: for whoever may read it anyway. */
function exportKeys(call: CommandCall) {
  const { state, args, output } = call;
  if (!args.has('entity')) {
    const records = state.auth.list();
    return output({
      rs: 'exported master keyring',
      plain: () => records.map((record) => formatKeyring(record, { caps: true })).join(''),
      json: () => records.map(recordJson),
    });
  }
  const name = entityName(call, (text) => `invalid entity_auth ${text}`);
  const record = required(call, name, `no key for auth(key=${NO_KEY})`);
  return output({
    rs: `export auth(key=${record.key.toBase64()})`,
    plain: () => formatKeyring(record, { caps: true }),
    json: () => [recordJson(record)],
  });
}

/** What a key looks like that is none. */
const NO_KEY = 'AAAAAAAAAAAAAAAA';

/** All of a keyring or nothing. */
function importKeys({ state, input }: CommandCall) {
  if (input.length === 0) throw new CommandError('EINVAL', 'auth import: no data supplied');
  let entries: KeyringEntry[];
  try {
    entries = Keyring.parse(input, 'input').entries();
  } catch {
    throw new CommandError('EINVAL', 'error decoding keyring cannot parse buffer: Malformed input');
  }
  if (entries.some(({ caps }) => Object.keys(caps).length === 0)) {
    throw new CommandError('EINVAL', 'auth import: no caps supplied');
  }
  for (const { entity, key, caps } of entries) {
    state.auth.set(formatAuthEntity(entity), caps, key);
  }
  return done('imported keyring');
}

function changeCaps(call: CommandCall) {
  const name = entityName(call, badEntity);
  const caps = parseCaps(call);
  const record = required(call, name, `couldn't find entry ${name}`);
  call.state.auth.set(name, caps, record.key);
  return done(`updated caps for ${name}`);
}

function remove(call: CommandCall) {
  const name = entityName(call, badEntity);
  return done(call.state.auth.remove(name) ? 'updated' : `entity ${name} does not exist`);
}

const reading = { module: 'auth', perm: 'rx' } as const;
const writing = { module: 'auth', perm: 'rwx' } as const;

export const authCommands: readonly Command[] = [
  {
    ...reading,
    prefix: 'auth get',
    args: [ENTITY_ARG],
    help: 'write keyring file with requested key',
    run: get,
  },
  ...['get-key', 'print-key', 'print_key'].map(
    (word): Command => ({
      ...reading,
      prefix: `auth ${word}`,
      args: [ENTITY_ARG],
      help: 'display requested key',
      run: printKey,
    }),
  ),
  { ...reading, prefix: 'auth ls', help: 'list authentication state', run: list },
  {
    ...reading,
    prefix: 'auth list',
    help: 'list authentication state',
    flags: COMMAND_FLAG.DEPRECATED,
    run: list,
  },
  {
    ...writing,
    prefix: 'auth get-or-create',
    args: [ENTITY_ARG, OPTIONAL_CAPS_ARG],
    help: 'add auth info for <entity> from input file, or random key if no input given, and/or any caps specified in the command',
    run: (call) => {
      const { record } = getOrCreate(call);
      return call.output({
        plain: () => formatKeyring(record, { caps: false }),
        json: () => [recordJson(record)],
      });
    },
  },
  {
    ...writing,
    prefix: 'auth get-or-create-key',
    args: [ENTITY_ARG, OPTIONAL_CAPS_ARG],
    help: 'get, or add, key for <name> from system/caps pairs specified in the command.  If key already exists, any given caps must match the existing caps for that key.',
    run: (call) => {
      const { record } = getOrCreate(call);
      return call.output({
        plain: () => `${record.key.toBase64()}\n`,
        json: () => ({ key: record.key.toBase64() }),
      });
    },
  },
  {
    ...writing,
    prefix: 'auth add',
    args: [ENTITY_ARG, OPTIONAL_CAPS_ARG],
    help: 'add auth info for <entity> from input file, or random key if no input is given, and/or any caps specified in the command',
    run: add,
  },
  {
    ...reading,
    prefix: 'auth export',
    args: [{ ...ENTITY_ARG, optional: true }],
    help: 'write keyring for requested entity, or master keyring if none given',
    run: exportKeys,
  },
  {
    ...writing,
    prefix: 'auth import',
    help: 'auth import: read keyring file from -i <file>',
    run: importKeys,
  },
  {
    ...writing,
    prefix: 'auth caps',
    args: [ENTITY_ARG, CAPS_ARG],
    help: 'update caps for <name> from caps specified in the command',
    run: changeCaps,
  },
  {
    ...writing,
    prefix: 'auth rm',
    args: [ENTITY_ARG],
    help: 'remove all caps for <name>',
    run: remove,
  },
  {
    ...writing,
    prefix: 'auth del',
    args: [ENTITY_ARG],
    help: 'delete all caps for <name>',
    flags: COMMAND_FLAG.DEPRECATED,
    run: remove,
  },
];
