// Class lock, by one client. Addresses and global ids are the same towards both OSDs.

import { entityName } from '../../../../src/encoding/entity.js';
import { encodeWith } from '../../../../src/encoding/codec.js';
import type { Encoder } from '../../../../src/encoding/encoder.js';
import { callOp, createOp, getXattrsOp, statOp } from '../../../../src/messages/osd-op.js';
import { bytes, encoded, type Step, step } from './step.js';

const v1 = (body: (e: Encoder) => unknown) =>
  encoded((e) => e.struct(1, 1, (inner) => void body(inner)));

interface LockArgs {
  name?: string;
  type?: number;
  cookie?: string;
  tag?: string;
  description?: string;
  durationS?: number;
  flags?: number;
}

const lock = ({
  name = 'l',
  type = 1,
  cookie = 'c',
  tag = '',
  description = '',
  durationS = 0,
  flags = 0,
}: LockArgs) =>
  callOp(
    'lock',
    'lock',
    v1((e) =>
      e
        .string(name)
        .u8(type)
        .string(cookie)
        .string(tag)
        .string(description)
        .u32(durationS)
        .u32(0)
        .u8(flags),
    ),
  );
const unlock = (cookie: string, name = 'l') =>
  callOp(
    'lock',
    'unlock',
    v1((e) => e.string(name).string(cookie)),
  );
const info = (name = 'l') =>
  callOp(
    'lock',
    'get_info',
    v1((e) => e.string(name)),
  );
const assertLocked = (type: number, cookie: string, tag: string, name = 'l') =>
  callOp(
    'lock',
    'assert_locked',
    v1((e) => e.string(name).u8(type).string(cookie).string(tag)),
  );
const setCookie = (cookie: string, newCookie: string, { type = 1, tag = '', name = 'l' } = {}) =>
  callOp(
    'lock',
    'set_cookie',
    v1((e) => e.string(name).u8(type).string(cookie).string(tag).string(newCookie)),
  );
const breakLock = (gid: bigint, cookie: string, name = 'l') =>
  callOp(
    'lock',
    'break_lock',
    v1((e) =>
      e
        .string(name)
        .raw(encodeWith(entityName, { type: 8, num: gid }))
        .string(cookie),
    ),
  );
const listLocks = () => callOp('lock', 'list_locks');

export const OWN_GLOBAL_ID = 987654n;
const write = { write: true };

export const lockSteps: Step[] = [
  step('l0', 'get_info on a missing object', info()),
  step('l0', 'list_locks on a missing object', listLocks()),
  step('l0', 'unlock on a missing object', unlock('c'), write),
  step('l0', 'assert_locked on a missing object', assertLocked(1, 'c', ''), write),
  step('l0', 'set_cookie on a missing object', setCookie('c', 'd'), write),
  step('l0', 'break_lock on a missing object', breakLock(OWN_GLOBAL_ID, 'c'), write),
  step('l0', 'an unknown method on a missing object', callOp('lock', 'frobnicate')),
  step('l0', 'an unknown class on a missing object', callOp('nonsense', 'frobnicate')),
  step(
    'l0',
    'undecodable arguments on a missing object',
    callOp('lock', 'lock', bytes('abc')),
    write,
  ),
  step(
    'l0',
    'undecodable arguments of a read method on a missing object',
    callOp('lock', 'get_info', bytes('abc')),
  ),
  step('l0', 'nothing was created', statOp()),
  step('l1', 'lock creates the object', lock({ description: 'desc' }), write),
  step('l1', 'stat', statOp()),
  step('l1', 'get_info', info()),
  step('l1', 'the xattr', getXattrsOp()),
  step('l1', 'lock again', lock({}), write),
  step('l1', 'renew', lock({ flags: 1, description: 'renewed' }), write),
  step('l1', 'must renew', lock({ flags: 2 }), write),
  step('l1', 'both renewals', lock({ flags: 3 }), write),
  step('l1', 'flag 4', lock({ flags: 4 }), write),
  step('l1', 'flag 5', lock({ flags: 5 }), write),
  step('l1', 'another cookie', lock({ cookie: 'other' }), write),
  step('l1', 'another tag', lock({ tag: 't' }), write),
  step('l1', 'another cookie, must renew', lock({ cookie: 'other', flags: 2 }), write),
  step('l1', 'shared while exclusive', lock({ cookie: 'other', type: 2 }), write),
  step('l1', 'type 0', lock({ type: 0 }), write),
  step('l1', 'type 4', lock({ type: 4 }), write),
  step('l1', 'no name', lock({ name: '' }), write),
  step('l1', 'assert_locked', assertLocked(1, 'c', ''), write),
  step('l1', 'assert_locked with a wrong type', assertLocked(2, 'c', ''), write),
  step('l1', 'assert_locked with type 0', assertLocked(0, 'c', ''), write),
  step('l1', 'assert_locked with a wrong cookie', assertLocked(1, 'x', ''), write),
  step('l1', 'assert_locked with a wrong tag', assertLocked(1, 'c', 'x'), write),
  step('l1', 'assert_locked of another lock', assertLocked(1, 'c', '', 'other'), write),
  step('l1', 'assert_locked without a name', assertLocked(1, 'c', '', ''), write),
  step('l1', 'set_cookie', setCookie('c', 'd'), write),
  step('l1', 'get_info', info()),
  step('l1', 'set_cookie to the same', setCookie('d', 'd'), write),
  step('l1', 'set_cookie of a cookie that is not there', setCookie('c', 'e'), write),
  step('l1', 'set_cookie with a wrong tag', setCookie('d', 'e', { tag: 'x' }), write),
  step('l1', 'set_cookie with a wrong type', setCookie('d', 'e', { type: 2 }), write),
  step('l1', 'set_cookie with type 0', setCookie('d', 'e', { type: 0 }), write),
  step('l1', 'set_cookie of another lock', setCookie('d', 'e', { name: 'other' }), write),
  step('l1', 'unlock with a wrong cookie', unlock('c'), write),
  step('l1', 'unlock and lock in one vector', [unlock('d'), lock({ cookie: 'n' })], write),
  step('l1', 'unlock', unlock('d'), write),
  step('l1', 'unlock again', unlock('d'), write),
  step('l1', 'get_info of an unlocked lock', info()),
  step('l1', 'get_info of a lock that never was', info('never')),
  step('l1', 'list_locks', listLocks()),
  step('l2', 'create and lock in one vector', [createOp(true), lock({ tag: 'internal' })], write),
  step('l2', 'get_info', info()),
  step('l2', 'unlock', unlock('c'), write),
  step('l2', 'type and tag stay', info()),
  step('l2', 'shared', lock({ type: 2, cookie: 'a', tag: 't1' }), write),
  step('l2', 'shared too', lock({ type: 2, cookie: 'b', tag: 't1' }), write),
  step('l2', 'shared with another tag', lock({ type: 2, cookie: 'b', tag: 't2' }), write),
  step('l2', 'exclusive while shared', lock({ type: 1, cookie: 'z', tag: 't1' }), write),
  step(
    'l2',
    'shared with the cookie of another',
    setCookie('a', 'b', { type: 2, tag: 't1' }),
    write,
  ),
  step('l2', 'get_info of two lockers', info()),
  step('l2', 'break_lock of a stranger', breakLock(1n, 'a'), write),
  step('l2', 'break_lock with a wrong cookie', breakLock(OWN_GLOBAL_ID, 'q'), write),
  step('l2', 'break_lock', breakLock(OWN_GLOBAL_ID, 'a'), write),
  step('l2', 'get_info', info()),
  step('l2', 'upgrade by renewal', lock({ type: 1, cookie: 'b', tag: 't1', flags: 1 }), write),
  step('l2', 'get_info', info()),
  step('l2', 'another lock on the object', lock({ name: 'second' }), write),
  step('l2', 'list_locks', listLocks()),
  step('l3', 'ephemeral', lock({ type: 3 }), write),
  step('l3', 'get_info', info()),
  step('l3', 'ephemeral again, another cookie', lock({ type: 3, cookie: 'd' }), write),
  step('l3', 'unlock removes the object', unlock('c'), write),
  step('l3', 'stat', statOp()),
  step('l4', 'a duration', lock({ durationS: 3600 }), write),
  step('l4', 'assert_locked', assertLocked(1, 'c', ''), write),
  step(
    'l4',
    'trailing bytes are ignored',
    callOp('lock', 'get_info', Buffer.concat([v1((e) => e.string('l')), bytes('junk')])),
    {
      // The expiration, after the map's count, the locker's id and two headers.
      mask: (outdata) =>
        Buffer.from(outdata)
          .toString('hex')
          .replace(/[0-9a-f]{16}(?=0101011c)/, 'EXPIRATION'),
    },
  ),
  step('l4', 'undecodable arguments', callOp('lock', 'get_info', bytes('ab'))),
  step(
    'l4',
    'a newer struct that we can read',
    callOp(
      'lock',
      'get_info',
      encoded((e) => e.struct(9, 1, () => e.string('zz').u32(7))),
    ),
  ),
  step(
    'l4',
    'a newer struct that we cannot read',
    callOp(
      'lock',
      'get_info',
      encoded((e) => e.struct(9, 9, () => e.string('zz'))),
    ),
  ),
];
