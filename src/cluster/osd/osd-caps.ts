/**
 * What a client may do at an OSD: the parts of `osd/OSDCap.cc` that clients of block devices meet.
 *
 *     allow *
 *     allow rwx pool=rbd namespace=a object_prefix rbd_data.
 *     allow rw tag rbd key=value, allow class lock, allow r network 10.0.0.0/8
 *     allow class-read, profile rbd pool=rbd, profile rbd-read-only
 *
 * A request needs one grant that allows all its reading and writing; the class methods that it calls may be allowed by
 * others. What does not parse grants nothing.
 */

import { inNetwork } from '../network.js';

const READ = 1;
const WRITE = 2;
const CLASS_READ = 4;
const CLASS_WRITE = 8;
const EXECUTE = CLASS_READ | CLASS_WRITE;
const ALL = READ | WRITE | EXECUTE;

export const NEEDS = { READ, WRITE, CLASS_READ, CLASS_WRITE } as const;

interface Grant extends Scope {
  permissions: number;
  /** These methods, whatever they do: of a class all, or one. */
  allowedClass?: { name: string; method: string | undefined } | undefined;
}

/** A method that a request calls, and what it was registered for. */
export interface ClassCall {
  className: string;
  method: string;
  /** Of NEEDS.CLASS_READ and NEEDS.CLASS_WRITE. */
  needs: number;
}

export interface CapsTarget {
  poolName: string;
  nspace: string;
  oid: string;
  /** Of the pool: by application, key and value. */
  applications: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** The client's. */
  host: string;
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

  /** `needs` is a combination of NEEDS.READ and NEEDS.WRITE, for what the request does beside its calls. */
  allows(target: CapsTarget, needs: number, calls: readonly ClassCall[]): boolean {
    let allowed: boolean[] | undefined;
    for (const grant of this.#grants) {
      if ((grant.permissions & needs) !== needs || !matches(grant, target)) continue;
      if (calls.length === 0) return true;
      allowed ??= calls.map(() => false);
      for (const [i, call] of calls.entries()) allowed[i] ||= allowsCall(grant, call);
      if (allowed.every(Boolean)) return true;
    }
    return false;
  }

  /**
   * Whether who has these caps may make and remove the pool's snapshots (`OSDMonitor::is_osd_writable`): whoever may write
   * to it by name, or to all pools without any restriction.
   */
  allowsSnapshots(poolName: string): boolean {
    return this.#grants.some(({ permissions, pool, namespace, objectPrefix, tag }) => {
      if ((permissions & WRITE) === 0) return false;
      if (pool !== undefined && pool !== '') return pool === poolName;
      return namespace === undefined && !objectPrefix && tag === undefined;
    });
  }
}

function allowsCall({ permissions, allowedClass }: Grant, call: ClassCall): boolean {
  if (allowedClass !== undefined) {
    const { name, method } = allowedClass;
    return name === call.className && (method === undefined || method === call.method);
  }
  return (permissions & call.needs) === call.needs;
}

function matches(grant: Grant, target: CapsTarget): boolean {
  const { pool, namespace, objectPrefix, tag, network } = grant;
  if (pool && pool !== target.poolName) return false;
  if (namespace !== undefined && !matchesNamespace(namespace, target.nspace)) return false;
  if (objectPrefix !== undefined && !target.oid.startsWith(objectPrefix)) return false;
  if (tag !== undefined && !matchesTag(tag, target.applications)) return false;
  return network === undefined || inNetwork(target.host, network);
}

/** A trailing `*` stands for anything. */
function matchesNamespace(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function matchesTag({ application, key, value }: Tag, found: CapsTarget['applications']): boolean {
  const metadata = found.get(application);
  if (!metadata) return false;
  if (key === '*') return value === '*' || [...metadata.values()].includes(value);
  const has = metadata.get(key);
  return has !== undefined && (value === '*' || value === has);
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
  const allowedClass = classOf(words);
  if (allowedClass) return [{ permissions: 0, allowedClass, ...scopeOf(words) }];
  let permissions = 0;
  for (const word of words) permissions |= permissionsOf(word);
  return permissions === 0 ? [] : [{ permissions, ...scopeOf(words) }];
}

/** `allow class NAME [METHOD] ...`. */
function classOf(words: readonly string[]): Grant['allowedClass'] {
  const [first, name, method] = words;
  if (first !== 'class' || !name) return undefined;
  return { name, method: method && !SCOPES.has(method) ? method : undefined };
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

/** Pools whose application has this key with this value; `*` for any. */
interface Tag {
  application: string;
  key: string;
  value: string;
}

interface Scope {
  pool?: string | undefined;
  namespace?: string | undefined;
  objectPrefix?: string | undefined;
  tag?: Tag | undefined;
  network?: string | undefined;
}

const SCOPES: ReadonlySet<string> = new Set([
  'pool',
  'namespace',
  'object_prefix',
  'tag',
  'network',
]);

function scopeOf(words: readonly string[]): Scope {
  const after = (name: string) => {
    const at = words.indexOf(name);
    return at < 0 ? undefined : (words[at + 1] ?? '');
  };
  const tagAt = words.indexOf('tag');
  const [application = '', key = '', value = ''] = words.slice(tagAt + 1);
  return {
    pool: after('pool'),
    namespace: after('namespace'),
    objectPrefix: after('object_prefix'),
    tag: tagAt < 0 ? undefined : { application, key, value },
    network: after('network'),
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
