/** The methods of object class `lock` (`cls/lock/cls_lock_ops.h`): advisory locks in an object's xattrs. */

import {
  type Codec,
  decodeFirst,
  encodeWith,
  type Infer,
  list,
  map,
  mapped,
  string,
  struct,
  u8,
} from '../encoding/codec.js';
import { type EntityName, entityAddr, entityName } from '../encoding/entity.js';
import { type Utime, utime, ZERO_TIME } from '../encoding/types.js';
import { type ClassCall, classCall } from './class-call.js';

export const LOCK_TYPE = { NONE: 0, EXCLUSIVE: 1, SHARED: 2, EXCLUSIVE_EPHEMERAL: 3 } as const;
/** What to do when the caller already holds the lock: extend it if it does, or only if it does. */
export const LOCK_FLAG = { MAY_RENEW: 1, MUST_RENEW: 2 } as const;

const V1 = { version: 1, compat: 1 } as const;

export const lockerId = struct('locker_id_t', V1, { locker: entityName, cookie: string });
export const lockerInfo = struct('locker_info_t', V1, {
  expiration: utime,
  addr: entityAddr,
  description: string,
});
export type Locker = Infer<typeof lockerId> & Infer<typeof lockerInfo>;

/** `map<locker_id_t, locker_info_t>` as a list: its keys are structures. */
const lockers: Codec<Locker[]> = mapped(
  map(lockerId, lockerInfo),
  (entries) => [...entries].map(([id, info]) => ({ ...id, ...info })),
  (all) =>
    new Map(
      all.map(({ locker, cookie, expiration, addr, description }) => [
        { locker, cookie },
        { expiration, addr, description },
      ]),
    ),
);

/** Who holds a lock. After an unlock `lockers` is empty while type and tag stay what they were. */
export const lockInfo = struct('cls_lock_get_info_reply', V1, {
  lockers,
  type: u8,
  tag: string,
});
export type LockInfo = Infer<typeof lockInfo>;

export const lockOp = struct('cls_lock_lock_op', V1, {
  name: string,
  type: u8,
  cookie: string,
  tag: string,
  description: string,
  duration: utime,
  flags: u8,
});
export const unlockOp = struct('cls_lock_unlock_op', V1, { name: string, cookie: string });
export const breakOp = struct('cls_lock_break_op', V1, {
  name: string,
  locker: entityName,
  cookie: string,
});
export const getInfoOp = struct('cls_lock_get_info_op', V1, { name: string });
export const listLocksReply = struct('cls_lock_list_locks_reply', V1, { locks: list(string) });
export const assertOp = struct('cls_lock_assert_op', V1, {
  name: string,
  type: u8,
  cookie: string,
  tag: string,
});
export const setCookieOp = struct('cls_lock_set_cookie_op', V1, {
  name: string,
  type: u8,
  cookie: string,
  tag: string,
  newCookie: string,
});

export interface LockIdentity {
  name: string;
  type: number;
  cookie?: string;
  tag?: string;
}

const nothing = () => undefined;

function call<T>(method: string, codec: Codec<T>, value: T): ClassCall<void> {
  return classCall('lock', method, encodeWith(codec, value), nothing);
}

/** Takes a lock. EBUSY: others hold it; EEXIST: this very client and cookie do. Creates the object. */
export function lock(
  identity: LockIdentity,
  options: { description?: string; duration?: Utime; flags?: number } = {},
): ClassCall<void> {
  return call('lock', lockOp, {
    ...full(identity),
    description: options.description ?? '',
    duration: options.duration ?? ZERO_TIME,
    flags: options.flags ?? 0,
  });
}

/** ENOENT when the caller does not hold it under this cookie. */
export const unlock = (name: string, cookie = '') => call('unlock', unlockOp, { name, cookie });

/** Takes a lock away from its holder. Fence the holder first: its writes in flight are not stopped by this. */
export const breakLock = (name: string, locker: EntityName, cookie: string) =>
  call('break_lock', breakOp, { name, locker, cookie });

/** A lock that nobody ever took has no lockers and type 0. */
export const getLockInfo = (name: string) =>
  classCall('lock', 'get_info', encodeWith(getInfoOp, { name }), (out) =>
    decodeFirst(lockInfo, out),
  );

/** Names of all locks that the object has seen, those without holders included. */
export const listLocks = () =>
  classCall('lock', 'list_locks', undefined, (out) => decodeFirst(listLocksReply, out).locks);

/** Fails the whole request with EBUSY unless the caller holds exactly this lock. */
export const assertLocked = (identity: LockIdentity) =>
  call('assert_locked', assertOp, full(identity));

/** Renames the caller's hold. EBUSY when it has none, or when the new cookie is in use (also by itself). */
export const setLockCookie = (identity: LockIdentity, newCookie: string) =>
  call('set_cookie', setCookieOp, { ...full(identity), newCookie });

function full(identity: LockIdentity): Required<LockIdentity> {
  return { cookie: '', tag: '', ...identity };
}
