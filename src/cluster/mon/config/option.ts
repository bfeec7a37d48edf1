/** What an option is: its type, its default, and where its values may lie (`common/options.h`). */

import {
  CLIENT_OPTIONS,
  COMMON_OPTIONS,
  DEBUG_LEVELS,
  MON_OPTIONS,
  OSD_OPTIONS,
} from './option-table.js';
import { RBD_OPTIONS } from './rbd-option-table.js';

/** `debug`: a level of the log and one of what is kept for a crash, which counts as a text. */
export type OptionType =
  | 'bool'
  | 'debug'
  | 'float'
  | 'int'
  | 'millisecs'
  | 'secs'
  | 'size'
  | 'str'
  | 'uint'
  | 'uuid';

export type OptionFlag = 'cluster_create' | 'create' | 'no_mon_update' | 'runtime' | 'startup';

export interface Option {
  readonly name: string;
  readonly type: OptionType;
  readonly level: string;
  readonly default: string;
  /** Of daemons, where theirs is another. */
  readonly daemonDefault: string | undefined;
  readonly min: string | undefined;
  readonly max: string | undefined;
  readonly enumValues: readonly string[];
  readonly flags: readonly OptionFlag[];
  readonly services: readonly string[];
}

/** Takes effect without a restart. */
export function canUpdateAtRuntime({ type, flags }: Option): boolean {
  if (flags.includes('runtime')) return true;
  if (type === 'str' || type === 'uuid') return false;
  return !flags.some(
    (flag) => flag === 'startup' || flag === 'create' || flag === 'cluster_create',
  );
}

/** A monitor cannot store it: who needs it needs it to find the monitor. */
export function isSpecial({ flags }: Option): boolean {
  return flags.includes('no_mon_update');
}

const OPTIONS = new Map<string, Option>();

export function findOption(name: string): Option | undefined {
  if (OPTIONS.size === 0) readTables();
  return OPTIONS.get(name);
}

export function optionNames(): string[] {
  if (OPTIONS.size === 0) readTables();
  return [...OPTIONS.keys()];
}

function readTables(): void {
  for (const table of [COMMON_OPTIONS, MON_OPTIONS, OSD_OPTIONS, CLIENT_OPTIONS]) {
    for (const line of table.trim().split('\n')) add(parseLine(line, []));
  }
  for (const line of RBD_OPTIONS.trim().split('\n')) add(parseLine(line, ['rbd']));
  for (const entry of DEBUG_LEVELS.trim().split(/,\s*|\n/)) {
    const [subsystem = '', levels = ''] = entry.split(' ');
    add(parseLine(`debug_${subsystem} debug advanced ${levels} runtime`, []));
  }
}

function add(option: Option): void {
  OPTIONS.set(option.name, option);
}

function parseLine(line: string, services: readonly string[]): Option {
  const [name = '', type, level = '', fallback = '', ...rest] = line.split(' ');
  const settings = new Map<string, string>();
  const flags: OptionFlag[] = [];
  for (const word of rest) {
    const at = word.indexOf('=');
    if (at < 0) flags.push(word as OptionFlag);
    else settings.set(word.slice(0, at), word.slice(at + 1));
  }
  return {
    name,
    type: type as OptionType,
    level,
    default: fallback === '-' ? '' : fallback.replaceAll('%20', ' '),
    daemonDefault: settings.get('daemon'),
    min: settings.get('min'),
    max: settings.get('max'),
    enumValues: settings.get('enum')?.split('|') ?? [],
    flags,
    services: settings.get('for')?.split('|') ?? services,
  };
}
