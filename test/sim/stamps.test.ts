import { describe, expect, it } from 'vitest';
import {
  identify,
  identifyAll,
  SECTOR_BYTES,
  stamp,
  stamps,
} from '../../src/sim/checkers/stamps.js';

describe('a stamped sector', () => {
  it('tells which write it is of, wherever its bytes lie', () => {
    for (const at of [0, 1, 4, 6]) {
      const bytes = new Uint8Array(SECTOR_BYTES + at).subarray(at);
      expect(identify(bytes, 7)).toBe(0);
      bytes.set(stamp(7, 2 ** 32 - 1));
      expect(identify(bytes, 7)).toBe(2 ** 32 - 1);
    }
  });

  it('is one of its neighbours', () => {
    const bytes = Buffer.concat([stamps(3, 2, 11), Buffer.alloc(SECTOR_BYTES), stamp(6, 12)]);
    expect([...identifyAll(bytes, 3)]).toEqual([11, 11, 0, 12]);
    expect(stamps(3, 2, 11)).toEqual(Buffer.concat([stamp(3, 11), stamp(4, 11)]));
  });

  it('that any byte was changed of is none', () => {
    for (let at = 0; at < SECTOR_BYTES; at++) {
      for (const whole of [stamp(5, 9), Buffer.alloc(SECTOR_BYTES)]) {
        whole[at] = (whole[at] as number) ^ 0x10;
        expect(() => identify(whole, 5), `byte ${at}`).toThrow(/^sector 5 (is torn|holds)/);
      }
    }
  });

  it('is of one place and of one write', () => {
    expect(() => identify(stamp(5, 9), 6)).toThrow('sector 6 holds what belongs to 5');
    const torn = Buffer.concat([stamp(5, 9).subarray(0, 256), stamp(5, 10).subarray(256)]);
    expect(() => identify(torn, 5)).toThrow('sector 5 is torn: it begins as write 9');
    const garbage = Buffer.alloc(SECTOR_BYTES, 1);
    expect(() => identify(garbage, 5)).toThrow('sector 5 holds bytes that were never written');
  });
});
