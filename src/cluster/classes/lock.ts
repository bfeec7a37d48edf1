/** Class `lock`: advisory locks kept in an xattr of the object (`cls/lock/cls_lock.cc`). */

import {
  type Codec,
  decodeAll,
  encodeWith,
  type Infer,
  list,
  map,
  struct,
  u8,
} from '../../encoding/codec.js';
import { DecodeError } from '../../encoding/decoder.js';
import {
  ADDR_TYPE,
  type EntityAddr,
  type EntityName,
  entityAddr,
  entityName,
} from '../../encoding/entity.js';
import { type Utime, utime, ZERO_TIME } from '../../encoding/types.js';
import { byBytes, byteString } from '../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from './class-registry.js';

const V1 = { version: 1, compat: 1 } as const;

export const LOCK_TYPE = { NONE: 0, EXCLUSIVE: 1, SHARED: 2, EXCLUSIVE_EPHEMERAL: 3 } as const;
const LOCK_FLAG = { MAY_RENEW: 1, MUST_RENEW: 2 } as const;

const XATTR_PREFIX = 'lock.';

const lockerId = struct('locker_id_t', V1, { locker: entityName, cookie: byteString });
const lockerInfo = struct('locker_info_t', V1, {
  expiration: utime,
  addr: entityAddr,
  description: byteString,
});
type LockerId = Infer<typeof lockerId>;
type LockerInfo = Infer<typeof lockerInfo>;

/** Also the reply of `get_info`. */
const lockState = struct('lock_info_t', V1, {
  lockers: map(lockerId, lockerInfo),
  type: u8,
  tag: byteString,
});

const lockOp = struct('cls_lock_lock_op', V1, {
  name: byteString,
  type: u8,
  cookie: byteString,
  tag: byteString,
  description: byteString,
  duration: utime,
  flags: u8,
});
const unlockOp = struct('cls_lock_unlock_op', V1, { name: byteString, cookie: byteString });
const breakOp = struct('cls_lock_break_op', V1, {
  name: byteString,
  locker: entityName,
  cookie: byteString,
});
const getInfoOp = struct('cls_lock_get_info_op', V1, { name: byteString });
const assertOp = struct('cls_lock_assert_op', V1, {
  name: byteString,
  type: u8,
  cookie: byteString,
  tag: byteString,
});
const setCookieOp = struct('cls_lock_set_cookie_op', V1, {
  name: byteString,
  type: u8,
  cookie: byteString,
  tag: byteString,
  newCookie: byteString,
});
const lockNames: Codec<{ locks: string[] }> = struct('cls_lock_list_locks_reply', V1, {
  locks: list(byteString),
});

interface Locker {
  id: LockerId;
  info: LockerInfo;
}

interface LockState {
  lockers: Locker[];
  type: number;
  tag: string;
}

const UNLOCKED: LockState = { lockers: [], type: LOCK_TYPE.NONE, tag: '' };

const isExclusive = (type: number) =>
  type === LOCK_TYPE.EXCLUSIVE || type === LOCK_TYPE.EXCLUSIVE_EPHEMERAL;
const isValidType = (type: number) => isExclusive(type) || type === LOCK_TYPE.SHARED;

function isLocker(id: LockerId, entity: EntityName, cookie: string): boolean {
  return id.locker.type === entity.type && id.locker.num === entity.num && id.cookie === cookie;
}

function compareIds(a: LockerId, b: LockerId): number {
  if (a.locker.type !== b.locker.type) return a.locker.type - b.locker.type;
  if (a.locker.num !== b.locker.num) return a.locker.num < b.locker.num ? -1 : 1;
  return byBytes(a.cookie, b.cookie);
}

function hasExpired({ expiration }: LockerInfo, now: Utime): boolean {
  if (expiration.sec === 0 && expiration.nsec === 0) return false;
  return expiration.sec < now.sec || (expiration.sec === now.sec && expiration.nsec < now.nsec);
}

/** Throws ENOENT when the object does not exist; a lock that was never taken is empty. */
function readLock(object: ClassObject, name: string): LockState {
  const bytes = object.xattr(XATTR_PREFIX + name);
  if (bytes === undefined || bytes.length === 0) return UNLOCKED;
  const stored = decodeLock(bytes);
  const now = object.now();
  const lockers = [...stored.lockers]
    .map(([id, info]) => ({ id, info }))
    .filter(({ info }) => !hasExpired(info, now));
  return { lockers, type: stored.type, tag: stored.tag };
}

function decodeLock(bytes: Uint8Array): Infer<typeof lockState> {
  try {
    return decodeAll('lock_info_t', lockState, bytes);
  } catch (error) {
    if (error instanceof DecodeError) throw new ClassError('EIO', error.message);
    throw error;
  }
}

function encodeLock({ lockers, type, tag }: LockState): Uint8Array {
  const sorted = [...lockers].sort((a, b) => compareIds(a.id, b.id));
  return encodeWith(lockState, {
    lockers: new Map(sorted.map(({ id, info }) => [id, info])),
    type,
    tag,
  });
}

function writeLock(object: ClassObject, name: string, lock: LockState): void {
  object.setXattr(XATTR_PREFIX + name, encodeLock(lock));
}

/** Clients show one address whatever protocol they spoke to a daemon: all are stored as legacy. */
function storedAddr(addr: EntityAddr): EntityAddr {
  return { ...addr, type: ADDR_TYPE.LEGACY };
}

function expirationAfter(now: Utime, duration: Utime): Utime {
  if (duration.sec === 0 && duration.nsec === 0) return ZERO_TIME;
  const nsec = now.nsec + duration.nsec;
  const carry = nsec >= 1_000_000_000 ? 1 : 0;
  return { sec: now.sec + duration.sec + carry, nsec: nsec - carry * 1_000_000_000 };
}

function lock(object: ClassObject, op: Infer<typeof lockOp>): void {
  const mayRenew = (op.flags & LOCK_FLAG.MAY_RENEW) !== 0;
  const mustRenew = (op.flags & LOCK_FLAG.MUST_RENEW) !== 0;
  if (!isValidType(op.type) || op.name === '' || (mayRenew && mustRenew)) {
    throw new ClassError('EINVAL');
  }
  const held = readLockOrNone(object, op.name);
  if (held.lockers.length > 0 && held.tag !== op.tag) throw new ClassError('EBUSY');
  const { name: entity, addr } = object.origin;
  const others = held.lockers.filter(({ id }) => !isLocker(id, entity, op.cookie));
  const mine = others.length < held.lockers.length;
  if (mine && !mayRenew && !mustRenew) throw new ClassError('EEXIST');
  if (!mine && mustRenew) throw new ClassError('ENOENT');
  if (others.length > 0 && (isExclusive(op.type) || held.type !== op.type)) {
    throw new ClassError('EBUSY');
  }
  const info: LockerInfo = {
    expiration: expirationAfter(object.now(), op.duration),
    addr: storedAddr(addr),
    description: op.description,
  };
  const id: LockerId = { locker: entity, cookie: op.cookie };
  writeLock(object, op.name, { lockers: [...others, { id, info }], type: op.type, tag: op.tag });
}

/** Locking creates the object, so that a missing one is simply unlocked. */
function readLockOrNone(object: ClassObject, name: string): LockState {
  try {
    return readLock(object, name);
  } catch (error) {
    if (error instanceof ClassError && error.code === 'ENOENT') return UNLOCKED;
    throw error;
  }
}

function removeLocker(
  object: ClassObject,
  { name, locker, cookie }: { name: string; locker: EntityName; cookie: string },
): void {
  const held = readLock(object, name);
  const lockers = held.lockers.filter(({ id }) => !isLocker(id, locker, cookie));
  if (lockers.length === held.lockers.length) throw new ClassError('ENOENT');
  if (held.type === LOCK_TYPE.EXCLUSIVE_EPHEMERAL) object.remove();
  else writeLock(object, name, { ...held, lockers });
}

/** The lock as the caller holds it; anything else is EBUSY. */
function requireHeld(object: ClassObject, op: Infer<typeof assertOp>): LockState {
  if (!isValidType(op.type) || op.name === '') throw new ClassError('EINVAL');
  const held = readLock(object, op.name);
  const caller = object.origin.name;
  const matches =
    held.lockers.length > 0 &&
    held.type === op.type &&
    held.tag === op.tag &&
    held.lockers.some(({ id }) => isLocker(id, caller, op.cookie));
  if (!matches) throw new ClassError('EBUSY');
  return held;
}

function setCookie(object: ClassObject, op: Infer<typeof setCookieOp>): void {
  const held = requireHeld(object, op);
  const caller = object.origin.name;
  if (held.lockers.some(({ id }) => isLocker(id, caller, op.newCookie))) {
    throw new ClassError('EBUSY');
  }
  const lockers = held.lockers.map((locker) =>
    isLocker(locker.id, caller, op.cookie)
      ? { ...locker, id: { ...locker.id, cookie: op.newCookie } }
      : locker,
  );
  writeLock(object, op.name, { ...held, lockers });
}

export const lockClass = {
  lock: writeMethod((object, input) => lock(object, lockOp.decode(input))),
  unlock: writeMethod((object, input) => {
    const { name, cookie } = unlockOp.decode(input);
    removeLocker(object, { name, cookie, locker: object.origin.name });
  }),
  break_lock: writeMethod((object, input) => removeLocker(object, breakOp.decode(input))),
  get_info: readMethod((object, input) =>
    encodeLock(readLock(object, getInfoOp.decode(input).name)),
  ),
  list_locks: readMethod((object) =>
    encodeWith(lockNames, {
      locks: object
        .xattrNames()
        .filter((name) => name.startsWith(XATTR_PREFIX))
        .map((name) => name.slice(XATTR_PREFIX.length)),
    }),
  ),
  assert_locked: readMethod((object, input) => void requireHeld(object, assertOp.decode(input))),
  set_cookie: writeMethod((object, input) => setCookie(object, setCookieOp.decode(input))),
};
