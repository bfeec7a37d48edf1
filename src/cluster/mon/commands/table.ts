/** All commands of the monitor: lookup, description and dispatch. */

import { ERRNO } from '../../../base/errors.js';
import { compactJson, type Json } from '../formatter.js';
import type { MonCaps } from '../caps.js';
import type { MonState } from '../mon-state.js';
import { applicationCommands } from './application.js';
import { authCommands } from './auth.js';
import { blocklistCommands } from './blocklist.js';
import {
  type Arg,
  type Caller,
  type Command,
  type CommandAnswer,
  CommandArgs,
  CommandError,
  formatOutput,
  type OutputFormat,
} from './command.js';
import { configCommands } from './config.js';
import { configKeyCommands } from './config-key.js';
import { crushCommands } from './crush.js';
import { mapCommands } from './map.js';
import { monCommands } from './mon.js';
import { osdCommands } from './osd.js';
import { osdStateCommands } from './osd-state.js';
import { osdTreeCommands } from './osd-tree.js';
import { poolCommands } from './pool.js';
import { poolSettingCommands } from './pool-settings.js';
import { scrubCommands } from './scrub.js';
import { statusCommands } from './status.js';
import { upmapCommands } from './upmap.js';

export const COMMANDS: readonly Command[] = [
  ...statusCommands,
  ...monCommands,
  ...osdCommands,
  ...osdTreeCommands,
  ...mapCommands,
  ...crushCommands,
  ...osdStateCommands,
  ...upmapCommands,
  ...scrubCommands,
  ...blocklistCommands,
  ...poolCommands,
  ...poolSettingCommands,
  ...applicationCommands,
  ...authCommands,
  ...configCommands,
  ...configKeyCommands,
];

const BY_PREFIX = new Map(COMMANDS.map((command) => [command.prefix, command]));
const FIRST_WORDS = new Set(COMMANDS.map(({ prefix }) => prefix.split(' ')[0]));

const DESCRIPTIONS_PREFIX = 'get_command_descriptions';

let descriptions: string | undefined;

/** What the `ceph` tool parses its command line by. */
export function commandDescriptions(): string {
  descriptions ??= compactJson(
    Object.fromEntries(
      COMMANDS.map((command, i) => [`cmd${String(i).padStart(3, '0')}`, describe(command)]),
    ),
  );
  return descriptions;
}

function describe(command: Command): Json {
  return {
    sig: [...command.prefix.split(' '), ...(command.args ?? []).map(describeArg)],
    help: command.help,
    module: command.module,
    perm: command.perm,
    flags: command.flags ?? 0,
  };
}

function describeArg(arg: Arg): Json {
  return {
    ...(arg.goodchars === undefined ? {} : { goodchars: arg.goodchars }),
    ...(arg.many ? { n: 'N' } : {}),
    name: arg.name,
    ...(arg.range === undefined ? {} : { range: arg.range }),
    ...(arg.optional ? { req: 'false' } : {}),
    ...(arg.strings === undefined ? {} : { strings: arg.strings }),
    type: arg.type,
  };
}

export interface CommandRequest {
  /** MON_COMMAND's strings: one JSON object, in one or more pieces. */
  cmd: readonly string[];
  input: Uint8Array;
  caller: Caller;
  caps: MonCaps;
}

/** Runs one MON_COMMAND. Never throws for what a client sent. */
export function runCommand(state: MonState, request: CommandRequest): CommandAnswer {
  const raw = parseCommand(request.cmd);
  if (raw === undefined) return failure('EINVAL', 'command parsing failed');
  const prefix = raw['prefix'];
  if (typeof prefix !== 'string') return failure('EINVAL', 'command prefix not found');
  if (prefix === '') return failure('EINVAL', 'command prefix must not be empty');
  if (prefix === DESCRIPTIONS_PREFIX) return { r: 0, rs: '', out: commandDescriptions() };
  const command = BY_PREFIX.get(prefix);
  if (!command) {
    // A known family without this member is refused by its service, which has no text for it.
    const known = FIRST_WORDS.has(prefix.split(' ')[0]);
    return failure('EINVAL', known ? '(22) Invalid argument' : 'command not known');
  }
  if (!request.caps.allowsCommand({ ...command, args: raw })) {
    return failure('EACCES', 'access denied');
  }
  const format = outputFormat(raw['format']);
  if (format === undefined) {
    return failure('EINVAL', `output format '${String(raw['format'])}' is not supported`);
  }
  try {
    return command.run({
      state,
      args: new CommandArgs(raw),
      caller: request.caller,
      input: request.input,
      output: (output) => formatOutput(format, output),
    });
  } catch (error) {
    if (error instanceof CommandError) return { r: error.r, rs: error.message, out: '' };
    // An answer all the same: a client whose session just ends would ask again, for ever.
    state.env.log.mon.error({ err: error, prefix }, 'command failed');
    return failure('EIO', `internal error: ${(error as Error).message}`);
  }
}

function failure(code: 'EINVAL' | 'EACCES' | 'EIO', rs: string): CommandAnswer {
  return { r: -ERRNO[code], rs, out: '' };
}

function parseCommand(cmd: readonly string[]): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(cmd.join(''));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Unknown formats mean plain, as in Ceph; the ones that Ceph has and we do not are refused. */
function outputFormat(value: unknown): OutputFormat | undefined {
  if (value === 'json' || value === 'json-pretty') return value;
  const theirs = ['xml', 'xml-pretty', 'table', 'table-kv', 'html', 'html-pretty'];
  return typeof value === 'string' && theirs.includes(value) ? undefined : 'plain';
}
