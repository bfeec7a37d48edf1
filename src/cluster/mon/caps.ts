/**
 * What a client may do at the monitor, and with which pools' snapshots: the parts of `mon/MonCap.cc` and
 * `osd/OSDCap.cc` that clients of block devices meet.
 *
 *     allow *                          everything
 *     allow rw, allow service osd r    reading, writing and executing, of all services or one
 *     allow profile rbd, profile rbd   a named set of grants
 *     allow command "osd blocklist" with blocklistop=add addr regex "^[^/]+/[0-9]+$"
 *
 * Grants are separated by commas or semicolons and add up. Text that does not parse is refused when it is set.
 */

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

  /** Caps of which every part that does not parse grants nothing. */
  static lenient(text: string): MonCaps {
    try {
      return MonCaps.parse(text);
    } catch {
      return new MonCaps([]);
    }
  }

  /** `permissions` is a combination of `r`, `w` and `x`. */
  allows(service: string, permissions: string): boolean {
    const needed = permissionBits(permissions);
    let granted = 0;
    for (const grant of this.#grants) {
      if (!grant.command && (grant.service === undefined || grant.service === service)) {
        granted |= grant.permissions;
      }
    }
    return (granted & needed) === needed;
  }

  allowsCommand(attempt: CommandAttempt): boolean {
    if (this.allows(attempt.module, attempt.perm)) return true;
    return this.#grants.some(({ command }) => command && matchesCommand(command, attempt));
  }
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

function monGrants(words: readonly string[], all: string): Grant[] {
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
      // A network may follow (`allow r network 10.0.0.0/8`); only loopback meets this monitor.
      if (!isPermissions(second) || (rest.length > 0 && rest[0] !== 'network')) throw fail();
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
      return [...readOnly, blocklistGrant('blocklist'), blocklistGrant('blacklist')];
    case 'rbd-read-only':
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

/**
 * Whether OSD caps allow writing to a pool: who may write may make and remove its snapshots
 * (`OSDMonitor::enforce_pool_op_caps`).
 */
export function osdCapsAllowWrite(text: string, pool: string): boolean {
  let grants: ParsedGrant[];
  try {
    grants = parseGrants(text);
  } catch {
    return false;
  }
  return grants.some(({ words }) => {
    const writes = words[0] === 'profile' ? words[1] === 'rbd' : grantsWrite(words);
    return writes && poolMatches(words, pool);
  });
}

function grantsWrite(words: readonly string[]): boolean {
  if (words[0] !== 'allow') return false;
  if (words[1] === 'profile') return words[2] === 'rbd';
  return words.some((word) => word === '*' || (/^[rwx]+$/.test(word) && word.includes('w')));
}

function poolMatches(words: readonly string[], pool: string): boolean {
  const at = words.indexOf('pool');
  if (at < 0) return true;
  const value = words[at + 1] === '=' ? words[at + 2] : words[at + 1];
  if (value?.endsWith('*')) return pool.startsWith(value.slice(0, -1));
  return value === pool;
}

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
      const well = text
        .split(/[;,]/)
        .every((grant) => grant.trim() === '' || /^\s*(allow|profile)\s+\S/.test(grant));
      return well ? undefined : `${service} capability parse failed, ${stoppedAt(text, text)}`;
    }
    default:
      return `unknown cap type '${service}'`;
  }
}
