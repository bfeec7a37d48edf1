import { describe, expect, it } from 'vitest';
import { parseAddr } from '../../../src/cluster/mon/addresses.js';
import {
  compactJson,
  formatShort,
  formatTable,
  leftColumn,
  prettyJson,
  rightColumn,
} from '../../../src/cluster/mon/formatter.js';
import { formatAge, formatTime } from '../../../src/cluster/mon/times.js';

describe('output in JSON', () => {
  it('keeps the order of keys, whatever they look like', () => {
    expect(
      compactJson(
        new Map([
          ['b', 1],
          ['2', 2],
          ['1', 3],
        ]),
      ),
    ).toBe('{"b":1,"2":2,"1":3}');
  });

  it('shows floats with the digits of the double that they became', () => {
    expect(compactJson([Math.fround(0.95), 0.5, 1, 2 ** 32])).toBe(
      '[0.94999998807907104,0.5,1,4294967296]',
    );
  });

  it('escapes what would end a string, and control characters', () => {
    expect(compactJson('a"b\\c\nd\te\u0001/')).toBe('"a\\"b\\\\c\\nd\\te\\u0001/"');
  });

  it('is indented by four spaces, with empty collections on one line', () => {
    expect(prettyJson({ a: [1], b: [], c: {} })).toBe(
      '{\n    "a": [\n        1\n    ],\n    "b": [],\n    "c": {}\n}\n',
    );
  });
});

describe('numbers in text', () => {
  it('have six significant digits', () => {
    const cases: [number, string][] = [
      [0, '0'],
      [1, '1'],
      [0.95, '0.95'],
      [1e6, '1e+06'],
      [123456, '123456'],
      [0.0122596123, '0.0122596'],
      [1.5e-7, '1.5e-07'],
      [-5, '-5'],
      [3600.5, '3600.5'],
    ];
    for (const [number, text] of cases) expect(formatShort(number)).toBe(text);
  });
});

describe('a table', () => {
  it('has columns as wide as their widest cell, the last one padded too', () => {
    expect(
      formatTable(
        [rightColumn('ID'), leftColumn('NAME')],
        [
          ['1', 'a'],
          ['123', 'long name'],
        ],
      ),
    ).toBe('ID   NAME     \n  1  a        \n123  long name\n');
  });
});

describe('times', () => {
  it('have microseconds, or are bare seconds when nothing happened yet', () => {
    expect(formatTime({ sec: 1795197335, nsec: 645103999 })).toBe(
      '2026-11-20T17:55:35.645103+0000',
    );
    expect(formatTime({ sec: 0, nsec: 0 })).toBe('0.000000');
  });

  it('ago are told in one unit', () => {
    const ago = (seconds: number) => formatAge({ sec: 1000, nsec: 0 }, (1000 + seconds) * 1000);
    expect([0.5, 3, 119, 120, 7199, 7200, 86400 * 3, 86400 * 20, 86400 * 100].map(ago)).toEqual([
      '0.5s',
      '3s',
      '119s',
      '2m',
      '119m',
      '2h',
      '3d',
      '2w',
      '3M',
    ]);
  });
});

describe('addresses in commands', () => {
  it('may lack type, port and nonce', () => {
    const any = { type: 3, host: '1.2.3.4', port: 0, nonce: 0 };
    expect(parseAddr('1.2.3.4')).toEqual(any);
    expect(parseAddr('1.2.3.4:5/6')).toEqual({ ...any, port: 5, nonce: 6 });
    expect(parseAddr('v2:1.2.3.4:5/6')).toEqual({ ...any, type: 2, port: 5, nonce: 6 });
    expect(parseAddr('[fe80::1]:0/4294967295')).toEqual({
      type: 3,
      host: 'fe80::1',
      port: 0,
      nonce: 4294967295,
    });
  });

  it('that are none are not guessed at', () => {
    for (const text of [
      ...['', 'zz', '1.2.3', '1.2.3.256', '1.2.3.4:99999', '1.2.3.4/4294967296', '::1'],
      ...['[1.2.3.4]', '[:::1]', '[1::2::3]', '[12345::]', '1.2.3.4 ', 'v3:1.2.3.4'],
    ]) {
      expect(parseAddr(text), text).toBeUndefined();
    }
  });
});
