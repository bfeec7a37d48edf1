/**
 * What a client may do at the monitor: the parts of `mon/MonCap.cc` that clients of block devices meet.
 *
 *     allow *                          everything
 *     allow rw, allow service osd r    reading, writing and executing, of all services or one
 *     allow profile rbd, profile rbd   a named set of grants
 *     allow r network 10.0.0.0/8       the same, for clients there
 *     allow command "osd blocklist" with blocklistop=add addr regex "^[^/]+/[0-9]+$"
 *
 * Grants are separated by commas or semicolons and add up. Text that does not parse is refused when it is set.
 */

import { inNetwork } from '../network.js';

const READ = 1;
const WRITE = 2;
const EXECUTE = 4;
const ALL = READ | WRITE | EXECUTE;

interface ArgumentMatch {
  kind: 'equals' | 'prefix' | 'regex';
  value: string;
}

interface Grant {
  /** Undefined: all services. */
  service?: string;
  permissions: number;
  /** Only for clients in it: `10.0.0.0/8`. */
  network?: string;
  /** Only this command, with these arguments. */
  command?: { prefix: string; args: ReadonlyMap<string, ArgumentMatch> };
}

export interface CommandAttempt {
  module: string;
  /** `r`, `rw`, `rx`, `rwx`. */
  perm: string;
  prefix: string;
  args: Readonly<Record<string, unknown>>;
}

export class CapsError extends Error {}

export class MonCaps {
  readonly #grants: readonly Grant[];

  private constructor(grants: readonly Grant[]) {
    this.#grants = grants;
  }

  /** Throws `CapsError` with what stopped the parser. */
  static parse(text: string): MonCaps {
    return new MonCaps(parseGrants(text).flatMap(({ words, all }) => monGrants(words, all)));
  }

  /** What a client at this address may do; caps that do not parse grant nothing. */
  static of(text: string, host: string): MonCaps {
    try {
      const grants = MonCaps.parse(text).#grants;
      return new MonCaps(
        grants.filter(({ network }) => network === undefined || inNetwork(host, network)),
      );
    } catch {
      return new MonCaps([]);
    }
  }

  /** `permissions` is a combination of `r`, `w` and `x`. */
  allows(service: string, permissions: string): boolean {
    const needed = permissionBits(permissions);
    let granted = 0;
    for (const grant of this.#grants) {
      if (!grant.command && covers(grant, service)) granted |= grant.permissions;
    }
    return (granted & needed) === needed;
  }

  allowsCommand(attempt: CommandAttempt): boolean {
    if (this.allows(attempt.module, attempt.perm)) return true;
    return this.#grants.some(({ command }) => command && matchesCommand(command, attempt));
  }
}

/** The keys of `config-key` hold secrets: a grant for all services covers them only if it grants everything. */
function covers({ service, permissions }: Grant, wanted: string): boolean {
  if (service !== undefined) return service === wanted;
  return wanted !== 'config-key' || permissions === ALL;
}

function permissionBits(text: string): number {
  let bits = 0;
  for (const letter of text) bits |= letter === 'r' ? READ : letter === 'w' ? WRITE : EXECUTE;
  return bits;
}

function matchesCommand(command: NonNullable<Grant['command']>, attempt: CommandAttempt): boolean {
  if (command.prefix !== attempt.prefix) return false;
  return [...command.args].every(([name, match]) => {
    const value = attempt.args[name];
    const text = value === undefined ? '' : String(value);
    switch (match.kind) {
      case 'equals':
        return text === match.value;
      case 'prefix':
        return text.startsWith(match.value);
      case 'regex':
        return new RegExp(match.value).test(text);
    }
  });
}

interface ParsedGrant {
  words: string[];
  /** The grant as written, for messages. */
  all: string;
}

/** Splits into grants and words; quotes keep a word together. */
function parseGrants(text: string): ParsedGrant[] {
  const grants: ParsedGrant[] = [];
  const token = /\s*(?:("[^"]*"|'[^']*')|([;,])|(=)|([^\s;,="']+))/gy;
  let words: string[] = [];
  let start = 0;
  const finish = (end: number) => {
    if (words.length > 0) grants.push({ words, all: text.slice(start).trim() });
    words = [];
    start = end;
  };
  while (token.lastIndex < text.trimEnd().length) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (!match) throw new CapsError(stoppedAt(text.slice(at), text));
    if (match[2]) finish(token.lastIndex);
    else words.push(match[1] ? match[1].slice(1, -1) : (match[3] ?? (match[4] as string)));
  }
  finish(text.length);
  return grants;
}

function stoppedAt(rest: string, text: string): string {
  return `stopped at '${rest}' of '${text}'`;
}

function monGrants(grantWords: readonly string[], all: string): Grant[] {
  const { words, network } = splitNetwork(grantWords, all);
  const grants = grantsOf(words, all);
  return network === undefined ? grants : grants.map((grant) => ({ ...grant, network }));
}

/** `... network 10.0.0.0/8` at the end of a grant. An address without a length is taken, and nobody is in it. */
function splitNetwork(words: readonly string[], all: string) {
  const at = words.lastIndexOf('network');
  const isArgument = words[at + 1] === '=' && words.includes('with');
  if (at < 2 || isArgument) return { words, network: undefined };
  const [network = '=', ...rest] = words.slice(at + 1);
  if (network === '=' || rest.length > 0) {
    throw new CapsError(stoppedAt(all.slice(all.lastIndexOf('network')), all));
  }
  const bad = network.search(/[^\da-fA-F:./]/);
  if (bad >= 0) throw new CapsError(stoppedAt(all.slice(all.lastIndexOf(network) + bad), all));
  return { words: words.slice(0, at), network };
}

function grantsOf(words: readonly string[], all: string): Grant[] {
  const fail = () => new CapsError(stoppedAt(all, all));
  const [first, second = '', ...rest] = words;
  if (first === 'profile') return profileGrants(second);
  if (first !== 'allow') throw fail();
  switch (second) {
    case 'profile':
      return profileGrants(rest[0] ?? '');
    case 'service': {
      const [service, permissions] = rest[0] === '=' ? rest.slice(1) : rest;
      if (!service || !isPermissions(permissions)) throw fail();
      return [{ service, permissions: permissionsOf(permissions) }];
    }
    case 'command': {
      const words = rest[0] === '=' ? rest.slice(1) : rest;
      const at = words.indexOf('with');
      const prefix = (at < 0 ? words : words.slice(0, at)).join(' ');
      if (prefix === '') throw fail();
      const args = at < 0 ? new Map<string, ArgumentMatch>() : parseArgs(words.slice(at + 1), fail);
      return [{ permissions: 0, command: { prefix, args } }];
    }
    default:
      if (!isPermissions(second) || rest.length > 0) throw fail();
      return [{ permissions: permissionsOf(second) }];
  }
}

function parseArgs(words: readonly string[], fail: () => Error): Map<string, ArgumentMatch> {
  const args = new Map<string, ArgumentMatch>();
  const kinds: Record<string, ArgumentMatch['kind']> = {
    '=': 'equals',
    prefix: 'prefix',
    regex: 'regex',
  };
  for (let i = 0; i < words.length; i += 3) {
    const [name = '', how = '', value] = words.slice(i, i + 3);
    const kind = kinds[how];
    if (!kind || value === undefined) throw fail();
    if (kind === 'regex' && !isRegex(value)) throw fail();
    args.set(name, { kind, value });
  }
  return args;
}

function isRegex(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

function isPermissions(text: string | undefined): text is string {
  return text === '*' || text === 'all' || /^[rwx]{1,3}$/.test(text ?? '');
}

function permissionsOf(text: string): number {
  return text === '*' || text === 'all' ? ALL : permissionBits(text);
}

const READ_SERVICES = ['mon', 'osd', 'pg'];

function profileGrants(profile: string): Grant[] {
  const readOnly = READ_SERVICES.map((service) => ({ service, permissions: READ }));
  switch (profile) {
    case 'rbd':
    case 'rbd-mirror':
    case 'rbd-mirror-peer':
    case 'rbd-read-only':
      // All of rbd's: who may only read meets dead lock holders as well.
      return [...readOnly, blocklistGrant('blocklist'), blocklistGrant('blacklist')];
    case 'read-only':
    case 'simple-rados-client':
      return readOnly;
    case 'simple-rados-client-with-blocklist':
      return [...readOnly, blocklistGrant('blocklist'), blocklistGrant('blacklist')];
    case 'mon':
    case 'osd':
    case 'mds':
    case 'mgr':
    case 'bootstrap-osd':
    case 'bootstrap-mds':
    case 'bootstrap-mgr':
    case 'bootstrap-rgw':
    case 'bootstrap-rbd':
    case 'bootstrap-rbd-mirror':
    case 'role-definer':
    case 'crash':
      // Real daemons' profiles: they parse, and nobody here needs what they grant.
      return readOnly;
    default:
      return [];
  }
}

/** Fencing a dead lock holder: one client instance (address and nonce), not a whole host. */
function blocklistGrant(spelling: 'blocklist' | 'blacklist'): Grant {
  const args = new Map<string, ArgumentMatch>([
    [`${spelling}op`, { kind: 'equals', value: 'add' }],
    ['addr', { kind: 'regex', value: '^[^/]+/[0-9]+$' }],
  ]);
  return { permissions: 0, command: { prefix: `osd ${spelling}`, args } };
}

/** A namespace may end in `*`, a pool is one. */
const POOL_PATTERN = /\bpool[=\s]+[\w./-]*\*/;

/** What `auth caps` accepts, by service. Undefined when the text is fine. */
export function capsProblem(service: string, text: string): string | undefined {
  switch (service) {
    case 'mon':
      try {
        MonCaps.parse(text);
        return undefined;
      } catch (error) {
        return `mon capability parse failed, ${(error as Error).message}`;
      }
    case 'osd':
    case 'mds':
    case 'mgr': {
      const grammar =
        service === 'osd' ? /^\s*(allow\s+(?!profile\b)|profile\s+)\S/ : /^\s*(allow|profile)\s+\S/;
      const well = text
        .split(/[;,]/)
        .every(
          (grant) => grant.trim() === '' || (grammar.test(grant) && !POOL_PATTERN.test(grant)),
        );
      const stopped = well ? badNetwork(text) : stoppedAt(text, text);
      return stopped && `${service} capability parse failed, ${stopped}`;
    }
    default:
      return `unknown cap type '${service}'`;
  }
}

/** A grant may end in `network ADDRESS/LENGTH`; methods of classes are allowed everywhere. */
function badNetwork(text: string): string | undefined {
  const match = /\s(network(?![\w.-])\s*=?\s*)([^\s;,]*)/.exec(text);
  if (!match) return undefined;
  const [, word = '', network = ''] = match;
  const at = match.index + 1;
  if (word.includes('=') || network === '') return stoppedAt(text.slice(at), text);
  if (/^\s*allow\s+class\s/.test(text)) return stoppedAt(text.slice(at + word.length), text);
  const bad = network.search(/[^\da-fA-F:./]/);
  return bad < 0 ? undefined : stoppedAt(text.slice(at + word.length + bad), text);
}
