/**
 * What a client may do at an OSD: the parts of `osd/OSDCap.cc` that clients of block devices meet.
 *
 *     allow *
 *     allow rwx pool=rbd namespace=a object_prefix rbd_data.
 *     allow class-read, profile rbd pool=rbd, profile rbd-read-only
 *
 * Grants add up. What does not parse grants nothing.
 */

const READ = 1;
const WRITE = 2;
const CLASS_READ = 4;
const CLASS_WRITE = 8;
const EXECUTE = CLASS_READ | CLASS_WRITE;
const ALL = READ | WRITE | EXECUTE;

export const NEEDS = { READ, WRITE, CLASS_READ, CLASS_WRITE } as const;

interface Grant {
  permissions: number;
  pool?: string | undefined;
  namespace?: string | undefined;
  objectPrefix?: string | undefined;
}

export interface CapsTarget {
  poolName: string;
  nspace: string;
  oid: string;
}

const cache = new Map<string, OsdCaps>();
const CACHE_MAX = 64;

export class OsdCaps {
  readonly #grants: readonly Grant[];

  private constructor(text: string) {
    this.#grants = text.split(/[;,]/).flatMap(parseGrant);
  }

  static parse(text: string): OsdCaps {
    let caps = cache.get(text);
    if (!caps) {
      if (cache.size >= CACHE_MAX) cache.clear();
      caps = new OsdCaps(text);
      cache.set(text, caps);
    }
    return caps;
  }

  /** `needs` is a combination of NEEDS; one grant may bring one part and another the rest. */
  allows(target: CapsTarget, needs: number): boolean {
    let granted = 0;
    for (const grant of this.#grants) if (matches(grant, target)) granted |= grant.permissions;
    return (granted & needs) === needs;
  }
}

function matches({ pool, namespace, objectPrefix }: Grant, target: CapsTarget): boolean {
  if (pool !== undefined && !matchesName(pool, target.poolName)) return false;
  if (namespace !== undefined && !matchesName(namespace, target.nspace)) return false;
  return objectPrefix === undefined || target.oid.startsWith(objectPrefix);
}

/** A trailing `*` stands for anything. */
function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function parseGrant(text: string): Grant[] {
  const words = text
    .replaceAll('=', ' ')
    .split(/\s+/)
    .map((word) => word.replaceAll(/["']/g, ''));
  if (words[0] === '') words.shift();
  const verb = words.shift();
  if (verb === 'profile') return profile(words.shift() ?? '', scopeOf(words));
  if (verb !== 'allow') return [];
  if (words[0] === 'profile') return profile(words[1] ?? '', scopeOf(words.slice(2)));
  let permissions = 0;
  for (const word of words) permissions |= permissionsOf(word);
  return permissions === 0 ? [] : [{ permissions, ...scopeOf(words) }];
}

function permissionsOf(word: string): number {
  if (word === '*' || word === 'all') return ALL;
  if (word === 'class-read') return CLASS_READ;
  if (word === 'class-write') return CLASS_WRITE;
  if (!/^[rwx]+$/.test(word)) return 0;
  return (
    (word.includes('r') ? READ : 0) |
    (word.includes('w') ? WRITE : 0) |
    (word.includes('x') ? EXECUTE : 0)
  );
}

type Scope = Pick<Grant, 'pool' | 'namespace' | 'objectPrefix'>;

function scopeOf(words: readonly string[]): Scope {
  const after = (name: string) => {
    const at = words.indexOf(name);
    return at < 0 ? undefined : (words[at + 1] ?? '');
  };
  return {
    pool: after('pool'),
    namespace: after('namespace'),
    objectPrefix: after('object_prefix'),
  };
}

function profile(name: string, scope: Scope): Grant[] {
  switch (name) {
    case 'rbd':
      return [
        { permissions: READ, objectPrefix: 'rbd_info' },
        { permissions: CLASS_READ, objectPrefix: 'rbd_children' },
        { permissions: CLASS_READ, objectPrefix: 'rbd_mirroring' },
        // Pool-level settings lie in the default namespace whatever namespace is granted.
        { permissions: CLASS_READ, pool: scope.pool, objectPrefix: 'rbd_info' },
        { ...scope, permissions: READ | WRITE | EXECUTE },
      ];
    case 'rbd-read-only':
      return [
        { permissions: CLASS_READ, pool: scope.pool, objectPrefix: 'rbd_info' },
        { ...scope, permissions: READ | CLASS_READ },
        // Clones of another pool register with their parent.
        { ...scope, permissions: CLASS_WRITE, objectPrefix: 'rbd_header.' },
      ];
    default:
      return [];
  }
}
