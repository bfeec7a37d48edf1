/**
 * Who holds the lock on a header, whether it is alive, and taking the lock from one that is not
 * (`librbd/managed_lock/GetLockerRequest.cc`, `BreakRequest.cc`).
 *
 * The owner of an exclusive lock is a client that watches the header: the lock's cookie is `auto <cookie of the watch>`.
 * So it is alive as long as the OSD lists a watcher with that cookie at the locker's address.
 */

import {
  ADDR_TYPE,
  ENTITY_TYPE,
  type EntityAddr,
  type EntityName,
  formatAddr,
  formatEntityName,
} from '../encoding/entity.js';
import { executeOne, mutate } from '../rados/class-call.js';
import { breakLock, getLockInfo, LOCK_TYPE, type LockIdentity } from '../rados/cls-lock.js';
import { listWatchers } from '../rados/watchers.js';
import { unless } from './errors.js';
import { lockError } from './lock-errors.js';
import type { LockHost } from './lock-host.js';
import { RBD_LOCK_NAME } from './names.js';

/** Tells the locks of live clients from those of `rbd lock add`, which are for people. */
const LOCK_TAG = 'internal';
const COOKIE_PREFIX = 'auto ';
const U64_MAX = 2n ** 64n - 1n;

export interface LockOwner {
  readonly name: EntityName;
  readonly addr: EntityAddr;
  /** As the lock has it: `auto 94201`. */
  readonly cookie: string;
  /** Of its watch. */
  readonly watchCookie: bigint;
}

export const lockCookie = (watchCookie: bigint) => `${COOKIE_PREFIX}${watchCookie}`;

/** The exclusive lock on a header, as the client with this watch holds it. */
export const exclusiveLock = (cookie: string): LockIdentity => ({
  name: RBD_LOCK_NAME,
  type: LOCK_TYPE.EXCLUSIVE,
  cookie,
  tag: LOCK_TAG,
});

/** An address without its type, which says nothing: lockers and watchers are stored as legacy whatever they speak. */
export const addrText = (addr: EntityAddr) => formatAddr({ ...addr, type: ADDR_TYPE.ANY });

export const describeOwner = (owner: LockOwner) =>
  `${formatEntityName(owner.name)} (${addrText(owner.addr)}, cookie '${owner.cookie}')`;

export function sameOwner(a: LockOwner | undefined, b: LockOwner | undefined): boolean {
  if (!a || !b) return a === b;
  return (
    a.name.type === b.name.type &&
    a.name.num === b.name.num &&
    a.cookie === b.cookie &&
    addrText(a.addr) === addrText(b.addr)
  );
}

/** A lock of this very client, of this image's handle or of another. It must never be fenced. */
export function isOwnClient(host: LockHost, owner: LockOwner): boolean {
  return (
    (owner.name.type === ENTITY_TYPE.CLIENT && owner.name.num === host.globalId) ||
    addrText(owner.addr) === host.clientAddr
  );
}

/**
 * Who holds the lock. ENOENT: the header is gone. EBUSY: the lock is held in a way that no client of the exclusive lock
 * holds it (by `rbd lock add`, most likely), and only a person can tell what for.
 */
export async function readOwner(
  host: LockHost,
  signal?: AbortSignal,
): Promise<LockOwner | undefined> {
  const info = await executeOne(
    host.ioctx,
    host.headerOid,
    getLockInfo(RBD_LOCK_NAME),
    signal ? { signal } : {},
  );
  const locker = info.lockers[0];
  if (!locker) return undefined;
  const busy = (why: string) => lockError(host.target, 'EBUSY', why);
  if (info.tag !== LOCK_TAG) throw busy(`locked by external mechanism, tag '${info.tag}'`);
  if (info.type !== LOCK_TYPE.EXCLUSIVE) throw busy('incompatible lock type: it is shared');
  const watchCookie = parseCookie(locker.cookie);
  if (watchCookie === undefined) {
    throw busy(`locked by external mechanism, cookie '${locker.cookie}'`);
  }
  if (locker.addr.host === '') throw busy('the owner has no address');
  return { name: locker.locker, addr: locker.addr, cookie: locker.cookie, watchCookie };
}

function parseCookie(text: string): bigint | undefined {
  const digits = text.startsWith(COOKIE_PREFIX) ? text.slice(COOKIE_PREFIX.length) : '';
  if (!/^\d{1,20}$/.test(digits)) return undefined;
  const cookie = BigInt(digits);
  return cookie <= U64_MAX ? cookie : undefined;
}

/** Whether the owner's watch is registered. One that died stays so until the OSD gives it up (30 s). */
export async function isAlive(
  host: LockHost,
  owner: LockOwner,
  signal?: AbortSignal,
): Promise<boolean> {
  const watchers = await listWatchers(host.ioctx, host.headerOid, signal ? { signal } : {});
  const addr = addrText(owner.addr);
  return watchers.some(
    (watcher) => watcher.cookie === owner.watchCookie && addrText(watcher.addr) === addr,
  );
}

/**
 * Takes the lock from a dead owner. Fenced first: it may be alive after all, cut off from the OSD of the header only, and
 * writing. The caller has asked twice whose lock it is, so that no living one is fenced who took it in between.
 */
export async function fenceAndBreak(
  host: LockHost,
  owner: LockOwner,
  expireSeconds: number | undefined,
): Promise<void> {
  if (isOwnClient(host, owner)) {
    throw lockError(host.target, 'EINVAL', 'a client does not fence itself');
  }
  host.env.log.rbd.warn(
    { image: host.target, owner: describeOwner(owner) },
    `breaking header lock owned by ${formatEntityName(owner.name)}`,
  );
  await host.blocklist(addrText(owner.addr), expireSeconds);
  const broken = breakLock(RBD_LOCK_NAME, owner.name, owner.cookie);
  // ENOENT: it is gone, by its owner or by another that was as impatient.
  await unless('ENOENT', mutate(host.ioctx, host.headerOid, [broken]));
}
