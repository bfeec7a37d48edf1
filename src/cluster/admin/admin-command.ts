/**
 * Commands of a daemon itself, as Ceph's daemons take them over their admin sockets (`common/admin_socket.cc`): words that
 * name the command, then arguments by name.
 */

import { RadosError } from '../../base/errors.js';
import { compactJson, type Json, prettyJson } from '../mon/formatter.js';

export interface AdminArg {
  readonly name: string;
  /** By which the `ceph` tool checks it (`ceph_argparse.py`). */
  readonly type: 'CephString' | 'CephInt';
  readonly optional?: boolean;
}

export type AdminArgs = Readonly<Record<string, unknown>>;

export interface AdminCommand<Target> {
  readonly prefix: string;
  readonly args?: readonly AdminArg[];
  readonly help: string;
  run(target: Target, args: AdminArgs): Json | Promise<Json>;
  /** A second document, which follows the first without a word between them. */
  also?(target: Target): Json;
}

/** The commands of one kind of daemon. */
export class AdminCommands<Target> {
  readonly #commands: ReadonlyMap<string, AdminCommand<Target>>;

  constructor(commands: readonly AdminCommand<Target>[]) {
    const own: AdminCommand<Target>[] = [
      {
        prefix: 'help',
        help: 'list available commands',
        run: () => Object.fromEntries(this.#sorted().map(({ prefix, help }) => [prefix, help])),
      },
      {
        prefix: 'get_command_descriptions',
        help: 'list available commands',
        run: () => this.#describe(),
      },
    ];
    this.#commands = new Map([...own, ...commands].map((command) => [command.prefix, command]));
  }

  /** The first document. EINVAL: there is no such command, or an argument is missing. */
  async run(target: Target, prefix: string, args: AdminArgs = {}): Promise<Json> {
    return await this.#find(prefix, args).run(target, args);
  }

  /** All of it, as it goes over the socket: pretty JSON, or compact where `format` is `json`. */
  async print(target: Target, prefix: string, args: AdminArgs): Promise<string> {
    const command = this.#find(prefix, args);
    const print = args['format'] === 'json' ? compactJson : prettyJson;
    const first = print(await command.run(target, args));
    return command.also ? first + print(command.also(target)) : first;
  }

  /** `config get osd_max_write_size` as a request: the longest prefix, then its arguments in their order. */
  parse(words: readonly string[]): { prefix: string; args: Record<string, string> } {
    for (let length = words.length; length > 0; length--) {
      const prefix = words.slice(0, length).join(' ');
      const command = this.#commands.get(prefix);
      const rest = words.slice(length);
      if (!command || rest.length > (command.args?.length ?? 0)) continue;
      const args = rest.map((word, i) => [command.args?.[i]?.name ?? '', word]);
      return { prefix, args: Object.fromEntries(args) as Record<string, string> };
    }
    throw unknown(words.join(' '));
  }

  #find(prefix: string, args: AdminArgs): AdminCommand<Target> {
    const command = this.#commands.get(prefix);
    if (!command) throw unknown(prefix);
    for (const { name, optional } of command.args ?? []) {
      if (!optional && args[name] === undefined) {
        throw new RadosError('EINVAL', `'${prefix}' needs ${name}`, { op: 'daemon' });
      }
    }
    return command;
  }

  #sorted(): AdminCommand<Target>[] {
    return [...this.#commands.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
  }

  #describe(): Json {
    const described = this.#sorted().map(({ prefix, args = [], help }, i): [string, Json] => [
      `cmd${String(i).padStart(3, '0')}`,
      { sig: [...prefix.split(' '), ...args.map(describeArg)], help },
    ]);
    return Object.fromEntries(described);
  }
}

function describeArg({ name, type, optional }: AdminArg): Json {
  return { name, ...(optional ? { req: 'false' } : {}), type };
}

function unknown(prefix: string): RadosError {
  return new RadosError('EINVAL', `unknown command prefix ${prefix}`, { op: 'daemon' });
}

/** A whole number among the arguments: the `ceph` tool sends numbers, people write texts. */
export function intArg(args: AdminArgs, name: string): number {
  const value = Number(args[name]);
  if (Number.isSafeInteger(value)) return value;
  throw new RadosError('EINVAL', `${name} is a whole number`, { op: 'daemon' });
}
