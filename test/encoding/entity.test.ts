import { describe, expect, it } from 'vitest';

import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { DecodeError } from '../../src/encoding/decoder.js';
import { encode } from '../../src/encoding/encoder.js';
import {
  ADDR_TYPE,
  entityAddr,
  entityAddrvec,
  formatAddr,
  formatAddrvec,
  formatEntityName,
  msgr2Addr,
  parseAuthEntity,
  sameAddr,
} from '../../src/encoding/entity.js';
import { formatUuid, parseUuid, utimeFromMs, utimeToMs } from '../../src/encoding/types.js';

const v2 = { type: ADDR_TYPE.MSGR2, nonce: 0, host: '127.0.0.1', port: 40000 };

describe('addresses', () => {
  it('have the bytes of a live daemon', () => {
    expect(Buffer.from(encodeWith(entityAddr, v2)).toString('hex')).toBe(
      '0101011c00000002000000000000001000000002009c407f0000010000000000000000',
    );
  });

  it('go through IPv6, written the short way of RFC 5952', () => {
    const texts = {
      '::1': '::1',
      '::': '::',
      'fe80::1:2:0:3': 'fe80::1:2:0:3',
      '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
      '1:2:3:4:5:6:7:8': '1:2:3:4:5:6:7:8',
      '1:0:0:0:2::': '1::2:0:0:0',
      '1:2:3:4:5:6:7::': '1:2:3:4:5:6:7:0',
    };
    for (const [written, read] of Object.entries(texts)) {
      const bytes = encodeWith(entityAddr, { ...v2, host: written });
      expect(bytes.length).toBe(47);
      const addr = decodeAll('a', entityAddr, bytes);
      expect(addr.host).toBe(read);
      expect(encodeWith(entityAddr, addr)).toEqual(bytes);
    }
  });

  it('decode in the form of old peers: zeros, nonce and a sockaddr_storage in network order', () => {
    const storage = Buffer.alloc(128);
    storage.writeUInt16BE(2, 0);
    storage.writeUInt16BE(6789, 2);
    storage.set([10, 0, 0, 7], 4);
    const bytes = encode((e) => e.u32(0).u32(77).raw(storage));
    expect(decodeAll('a', entityAddr, bytes)).toEqual({
      type: ADDR_TYPE.LEGACY,
      nonce: 77,
      host: '10.0.0.7',
      port: 6789,
    });
  });

  it('may be blank', () => {
    const blank = { type: ADDR_TYPE.NONE, nonce: 0, host: '', port: 0 };
    const bytes = encodeWith(entityAddr, blank);
    expect(decodeAll('a', entityAddr, bytes)).toEqual(blank);
    const short = encode((e) => e.u8(1).struct(1, 1, () => e.u32(0).u32(0).u32(0)));
    expect(decodeAll('a', entityAddr, short)).toEqual(blank);
  });

  it('of a family that nobody knows are blank, not an error', () => {
    const bytes = encode((e) => e.u8(1).struct(1, 1, () => e.u32(2).u32(0).u32(6).u16(99).u32(0)));
    expect(decodeAll('a', entityAddr, bytes).host).toBe('');
  });

  it('with an unknown marker are refused', () => {
    expect(() => decodeAll('a', entityAddr, Uint8Array.of(3, 0, 0))).toThrow(DecodeError);
  });

  it('in a vector, or alone where a vector is expected', () => {
    const v1 = { ...v2, type: ADDR_TYPE.LEGACY, port: 40001 };
    expect(decodeAll('v', entityAddrvec, encodeWith(entityAddrvec, [v2, v1]))).toEqual([v2, v1]);
    expect(decodeAll('v', entityAddrvec, encodeWith(entityAddr, v2))).toEqual([v2]);
    expect(() => decodeAll('v', entityAddrvec, new Uint8Array(0))).toThrow(DecodeError);
  });

  it('print as Ceph prints them', () => {
    const v1 = { ...v2, type: ADDR_TYPE.LEGACY, port: 40001 };
    expect(formatAddrvec([v2, v1])).toBe('[v2:127.0.0.1:40000/0,v1:127.0.0.1:40001/0]');
    expect(formatAddrvec([v2])).toBe('v2:127.0.0.1:40000/0');
    expect(formatAddr({ ...v2, type: ADDR_TYPE.ANY, nonce: 5 })).toBe('127.0.0.1:40000/5');
    expect(formatAddr({ ...v2, host: '::1' })).toBe('v2:[::1]:40000/0');
  });

  it('are dialled by their v2 entry and compared as a whole', () => {
    const v1 = { ...v2, type: ADDR_TYPE.LEGACY };
    expect(msgr2Addr([v1, v2])).toBe(v2);
    expect(msgr2Addr([v1])).toBeUndefined();
    expect(sameAddr(v2, { ...v2 })).toBe(true);
    expect(sameAddr(v2, { ...v2, nonce: 1 })).toBe(false);
  });
});

describe('names', () => {
  it('parse with their type, and keep dots in the id', () => {
    expect(parseAuthEntity('client.admin')).toEqual({ type: 8, id: 'admin' });
    expect(parseAuthEntity('client.a.b')).toEqual({ type: 8, id: 'a.b' });
    for (const bad of ['admin', 'client.', 'nobody.x', '']) {
      expect(() => parseAuthEntity(bad)).toThrow(TypeError);
    }
  });

  it('print with their number', () => {
    expect(formatEntityName({ type: 8, num: 4118n })).toBe('client.4118');
    expect(formatEntityName({ type: 4, num: -1n })).toBe('osd.?');
  });
});

describe('times and uuids', () => {
  it('keep milliseconds', () => {
    for (const ms of [0, 1, 999, 1_700_000_000_123]) {
      expect(Math.round(utimeToMs(utimeFromMs(ms)))).toBe(ms);
    }
  });

  it('keep a uuid, and refuse what is none', () => {
    const text = '5b1e1b7c-7b5d-4c0e-9b8a-0123456789ab';
    expect(formatUuid(parseUuid(text))).toBe(text);
    expect(() => parseUuid('5b1e1b7c')).toThrow(TypeError);
  });
});
