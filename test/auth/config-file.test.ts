// The expectations are what ceph-conf 16.2.15 answers: test/ceph/ceph-conf.test.ts asks it again where it is installed.

import { describe, expect, it } from 'vitest';
import { parseCephConf } from '../../src/auth/ceph-conf.js';
import { ConfigFile, normalizeKey } from '../../src/auth/config-file.js';
import { parseAuthEntity } from '../../src/encoding/entity.js';
import { ACCEPTED_FILES, REFUSED_FILES } from './conf-cases.js';
import { seededRandom } from './support.js';

const admin = parseAuthEntity('client.admin');

describe('ceph.conf', () => {
  it.each(ACCEPTED_FILES)('reads %j', (text, key, expected) => {
    expect(parseCephConf(text).lookup(admin, key)).toBe(expected);
    expect(parseCephConf(Buffer.from(text)).lookup(admin, key)).toBe(expected);
  });

  it.each(REFUSED_FILES)('refuses %j', (text) => {
    expect(() => parseCephConf(text, 'the.conf')).toThrow(
      expect.objectContaining({ code: 'EINVAL', errno: -22, target: 'the.conf' }),
    );
  });

  it('says where a file is wrong, and not what it says there', () => {
    const text = '[global]\nkeyring = /k\nkey = "AQsecret" AQsecret\n';
    let message = '';
    try {
      parseCephConf(text, '/etc/ceph/ceph.conf');
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toBe(
      '/etc/ceph/ceph.conf: parse error: expected the end of the line in line 3 at position 18',
    );
    expect(() => parseCephConf('[global]\r\na = b\r\nc')).toThrow(/in line 3 at position 1$/);
  });

  it('refuses what is not UTF-8, or has a byte order mark', () => {
    for (const bytes of [
      [0x5b, 0x61, 0x5d, 0x0a, 0xc3, 0x0a],
      [0xef, 0xbb, 0xbf, 0x5b, 0x61, 0x5d, 0x0a],
    ]) {
      expect(() => parseCephConf(new Uint8Array(bytes))).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    }
    expect(parseCephConf('[global]\nlabel = é\n').lookup(admin, 'label')).toBe('é');
  });

  it('looks into the sections of an entity from the narrowest to the widest', () => {
    const conf = parseCephConf(
      '[global]\na=1\nb=1\nc=1\n[client.admin]\nc=3\n[client]\nb=2\nc=2\n[client.*]\na=9\n[ client ]\na=9\n[client.admin2]\na=9\n',
    );
    expect(['a', 'b', 'c', 'd'].map((key) => conf.lookup(admin, key))).toEqual([
      '1',
      '2',
      '3',
      undefined,
    ]);
    expect(conf.sectionNames).toEqual([
      'global',
      'client.admin',
      'client',
      'client.*',
      ' client ',
      'client.admin2',
    ]);
  });

  it('survives any text: it parses or says EINVAL, in time that grows with the length', () => {
    const random = seededRandom(11);
    const alphabet = [
      '[',
      ']',
      '=',
      '#',
      ';',
      '\\',
      '"',
      "'",
      ' ',
      '\t',
      '\n',
      '\r',
      'a',
      '$',
      '_',
    ];
    for (let round = 0; round < 20_000; round++) {
      const text = Array.from(
        { length: random.u32() % 30 },
        () => alphabet[random.u32() % alphabet.length],
      ).join('');
      try {
        ConfigFile.parse(text, 'x');
      } catch (error) {
        expect(error).toMatchObject({ code: 'EINVAL' });
      }
    }
    for (const part of [' ', '#', '\\\n', '\n', '[a]\n', 'a = b\n', '"', 'a ', '\t\\']) {
      try {
        ConfigFile.parse(`[x]\nk = v\n${part.repeat(200_000)}`, 'x');
      } catch (error) {
        expect(error).toMatchObject({ code: 'EINVAL' });
      }
    }
    expect(() => ConfigFile.parse(' '.repeat(17 * 1024 * 1024), 'x')).toThrow(
      expect.objectContaining({ code: 'EFBIG' }),
    );
  });
});

describe('keys', () => {
  it.each([
    ['rbd default order', 'rbd_default_order'],
    ['  rbd \t default__order ', 'rbd_default__order'],
    ['rbd-default', 'rbd-default'],
    ['_a', '_a'],
  ])('%j become %j', (key, normalized) => {
    expect(normalizeKey(key)).toBe(normalized);
  });
});
