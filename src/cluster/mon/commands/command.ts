/**
 * A monitor command: how it is described to the `ceph` tool, and what it does.
 *
 * The tool fetches the descriptions first and checks and types what the user wrote by them; a command that is not
 * described cannot be called. The monitor itself only checks the types of the arguments that it reads.
 */

import { ERRNO, type ErrnoCode } from '../../../base/errors.js';
import { compactJson, type Json, prettyJson } from '../formatter.js';
import type { MonState } from '../mon-state.js';

/** Argument types of the tool (`ceph_argparse.py`). */
export type ArgType =
  | 'CephBool'
  | 'CephChoices'
  | 'CephEntityAddr'
  | 'CephFloat'
  | 'CephInt'
  | 'CephName'
  | 'CephObjectname'
  | 'CephOsdName'
  | 'CephPgid'
  | 'CephPoolname'
  | 'CephString';

export interface Arg {
  name: string;
  type: ArgType;
  optional?: boolean;
  /** Any number of them. */
  many?: boolean;
  /** For CephChoices: `a|b|c`. */
  strings?: string;
  /** For numbers: `0` or `0.0|1.0`. */
  range?: string;
  goodchars?: string;
}

export type Module = 'mon' | 'osd' | 'auth' | 'pg' | 'config' | 'config-key' | 'mgr';

/** `MonCommand::FLAG_*`. */
export const COMMAND_FLAG = { NONE: 0, DEPRECATED: 4 } as const;

export interface Command {
  prefix: string;
  args?: readonly Arg[];
  help: string;
  module: Module;
  perm: 'r' | 'rw' | 'rx' | 'rwx';
  flags?: number;
  run(call: CommandCall): CommandAnswer;
}

/** `r`: 0 or a negative errno; `rs`: for a person, on stderr; `out`: the result, on stdout. */
export interface CommandAnswer {
  r: number;
  rs: string;
  out: string | Uint8Array;
}

/** Who asks. */
export interface Caller {
  /** `client.admin`. */
  name: string;
}

export interface CommandCall {
  state: MonState;
  args: CommandArgs;
  caller: Caller;
  /** What came with the command (`-i FILE`). */
  input: Uint8Array;
  /** Answers with data in the format that was asked for. */
  output(output: Output): CommandAnswer;
}

export interface Output {
  json: () => Json;
  /** Without it, pretty JSON serves. */
  plain?: () => string;
  /**
   * Commands differ in the newline that ends JSON, and scripts may depend on it: none by default (pretty JSON has its
   * own), `ensured` adds one where there is none, `added` always.
   */
  newline?: 'ensured' | 'added';
  rs?: string;
}

/** A refusal with its text. */
export class CommandError extends Error {
  readonly r: number;

  constructor(code: ErrnoCode, text: string) {
    super(text);
    this.r = -ERRNO[code];
  }
}

/** Success without data. */
export function done(rs: string): CommandAnswer {
  return { r: 0, rs, out: '' };
}

export type OutputFormat = 'plain' | 'json' | 'json-pretty';

export function formatOutput(format: OutputFormat, output: Output): CommandAnswer {
  const rs = output.rs ?? '';
  if (format === 'plain' && output.plain) return { r: 0, rs, out: output.plain() };
  let out = format === 'json' ? compactJson(output.json()) : prettyJson(output.json());
  if (output.newline === 'added' || (output.newline === 'ensured' && !out.endsWith('\n'))) {
    out += '\n';
  }
  return { r: 0, rs, out };
}

/** The arguments of one call, typed as they are read (`cmd_getval`). */
export class CommandArgs {
  readonly raw: Readonly<Record<string, unknown>>;

  constructor(raw: Readonly<Record<string, unknown>>) {
    this.raw = raw;
  }

  has(name: string): boolean {
    return this.raw[name] !== undefined;
  }

  string(name: string): string;
  string(name: string, fallback: undefined): string | undefined;
  string(name: string, fallback?: string): string | undefined {
    const value = this.raw[name];
    if (value === undefined) return arguments.length > 1 ? fallback : '';
    if (typeof value !== 'string') throw this.#bad(name);
    return value;
  }

  /** An integer, or undefined when it is not given. */
  int(name: string): number | undefined {
    const value = this.raw[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw this.#bad(name);
    return value;
  }

  requiredInt(name: string): number {
    const value = this.int(name);
    if (value === undefined) throw this.#bad(name);
    return value;
  }

  float(name: string): number | undefined {
    const value = this.raw[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.#bad(name);
    return value;
  }

  requiredFloat(name: string): number {
    const value = this.float(name);
    if (value === undefined) throw this.#bad(name);
    return value;
  }

  /** A flag: `true`, or in the spelling of clients before Mimic its own name (`--yes-i-really-mean-it`). */
  flag(name: string): boolean {
    const value = this.raw[name];
    if (value === undefined || typeof value === 'boolean') return value === true;
    if (value === `--${name.replaceAll('_', '-')}`) return true;
    throw this.#bad(name);
  }

  strings(name: string): string[] {
    const value = this.raw[name] ?? [];
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
      throw this.#bad(name);
    }
    return value as string[];
  }

  ints(name: string): number[] {
    const value = this.raw[name] ?? [];
    if (!Array.isArray(value) || value.some((item) => !Number.isSafeInteger(item))) {
      throw this.#bad(name);
    }
    return value as number[];
  }

  #bad(name: string): CommandError {
    return new CommandError('EINVAL', `bad or missing field '${name}'`);
  }
}
