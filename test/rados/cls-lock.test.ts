import { describe, expect, it } from 'vitest';
import { type Codec, decodeAll, encodeWith } from '../../src/encoding/codec.js';
import {
  assertLocked,
  breakLock,
  getLockInfo,
  LOCK_TYPE,
  listLocks,
  lock,
  lockInfo,
  lockOp,
  setLockCookie,
  unlock,
} from '../../src/rados/cls-lock.js';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** The argument of a call, without class and method name. */
function argument(call: { op: { indata: Uint8Array } }, method: string): string {
  const bytes = Buffer.from(call.op.indata);
  expect(bytes.toString('latin1', 0, 4 + method.length)).toBe(`lock${method}`);
  return bytes.subarray(4 + method.length).toString('hex');
}

const HEADER_LOCK = {
  name: 'rbd_lock',
  type: LOCK_TYPE.EXCLUSIVE,
  cookie: 'auto 5',
  tag: 'internal',
};

describe('class lock', () => {
  it('encodes the exclusive lock of an image as librbd does', () => {
    const captured = hex(`01013e000000 08000000 7262645f6c6f636b 01 14000000
      6175746f20313430333534363332333635303430 08000000 696e7465726e616c 00000000
      0000000000000000 00`);
    const identity = { ...HEADER_LOCK, cookie: 'auto 140354632365040' };
    expect(argument(lock(identity), 'lock')).toBe(captured.toString('hex'));
    expect(decodeAll('lock op', lockOp as Codec<unknown>, captured)).toMatchObject(identity);
  });

  it('encodes the other calls', () => {
    expect(argument(unlock('name', 'c'), 'unlock')).toBe(
      hex('01010d000000 04000000 6e616d65 01000000 63').toString('hex'),
    );
    expect(argument(breakLock('name', { type: 8, num: 1n }, 'c'), 'break_lock')).toBe(
      hex('010116000000 04000000 6e616d65 08 0100000000000000 01000000 63').toString('hex'),
    );
    expect(argument(getLockInfo('name'), 'get_info')).toBe(
      hex('010108000000 04000000 6e616d65').toString('hex'),
    );
    expect(argument(assertLocked({ name: 'rbd_lock', type: 1 }), 'assert_locked')).toBe(
      hex('010115000000 08000000 7262645f6c6f636b 01 00000000 00000000').toString('hex'),
    );
    expect(argument(setLockCookie({ name: 'n', type: 1, cookie: 'a' }, 'b'), 'set_cookie')).toBe(
      hex('010114000000 01000000 6e 01 01000000 61 00000000 01000000 62').toString('hex'),
    );
  });

  it('reads who holds a lock, and writes it back the same', () => {
    const captured = hex(`01016d000000 01000000 010121000000 08 7877000000000000 14000000
      6175746f20313430333533363932373834393434 01012f000000 0000000000000000
      01 01011c000000 01000000 f0474123 10000000 0200 0000 ac154001 0000000000000000 00000000
      01 08000000 696e7465726e616c`);
    const info = getLockInfo('rbd_lock').decode(captured);
    expect(info).toMatchObject({ type: LOCK_TYPE.EXCLUSIVE, tag: 'internal' });
    expect(info.lockers).toEqual([
      {
        locker: { type: 8, num: 30_584n },
        cookie: 'auto 140353692784944',
        expiration: { sec: 0, nsec: 0 },
        addr: { type: 1, nonce: 0x234147f0, host: '172.21.64.1', port: 0 },
        description: '',
      },
    ]);
    expect(Buffer.from(encodeWith(lockInfo, info))).toEqual(captured);
  });

  it('knows a lock that was released, and the names of locks', () => {
    const released = hex('010111000000 00000000 01 08000000 696e7465726e616c');
    expect(getLockInfo('rbd_lock').decode(released)).toEqual({
      lockers: [],
      type: 1,
      tag: 'internal',
    });
    const names = hex('01010d000000 01000000 05000000 6c6f636b31');
    expect(listLocks().decode(names)).toEqual(['lock1']);
  });

  it('says which call had an answer that it cannot read', () => {
    expect(() => getLockInfo('x').decode(hex('010109000000 ffffffff 00 00000000'))).toThrow(
      /count 4294967295 .* lock\.get_info/,
    );
  });
});
