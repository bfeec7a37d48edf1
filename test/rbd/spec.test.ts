import { describe, expect, it } from 'vitest';
import {
  assertImageName,
  formatImageSpec,
  parseImageSpec,
  parsePoolSpec,
} from '../../src/rbd/spec.js';

describe('parseImageSpec', () => {
  it('reads every form that rbd has', () => {
    expect(parseImageSpec('vm1')).toEqual({ pool: 'rbd', namespace: '', name: 'vm1' });
    expect(parseImageSpec('vm1@s')).toMatchObject({ name: 'vm1', snap: 's' });
    expect(parseImageSpec('p/vm1')).toMatchObject({ pool: 'p', namespace: '', name: 'vm1' });
    expect(parseImageSpec('p/n/vm1@s')).toEqual({
      pool: 'p',
      namespace: 'n',
      name: 'vm1',
      snap: 's',
    });
    expect(parseImageSpec('p//vm1')).toMatchObject({ pool: 'p', namespace: '', name: 'vm1' });
  });

  it('takes the pool and the namespace from the defaults when the text has no pool', () => {
    const defaults = { pool: 'p', namespace: 'n' };
    expect(parseImageSpec('vm1', defaults)).toMatchObject({ pool: 'p', namespace: 'n' });
    expect(parseImageSpec('q/vm1', defaults)).toMatchObject({ pool: 'q', namespace: '' });
  });

  it('refuses the rest', () => {
    for (const text of ['', 'a/b/c/d', 'a@', '@s', 'a@s@t', 'p/', 'a/b@s/c', 'p/@s']) {
      expect(() => parseImageSpec(text)).toThrow(`invalid spec '${text}'`);
    }
  });

  it('is undone by formatImageSpec', () => {
    for (const text of ['p/vm1', 'p/n/vm1', 'p/n/vm1@s']) {
      expect(formatImageSpec(parseImageSpec(text))).toBe(text);
    }
    expect(formatImageSpec({ pool: 'p', id: '10ab', snapId: 4n })).toBe('p/id 10ab@id 4');
  });
});

describe('parsePoolSpec', () => {
  it('reads a pool and a namespace', () => {
    expect(parsePoolSpec(undefined)).toEqual({ pool: 'rbd', namespace: '' });
    expect(parsePoolSpec('p')).toEqual({ pool: 'p', namespace: '' });
    expect(parsePoolSpec('p/n')).toEqual({ pool: 'p', namespace: 'n' });
    expect(() => parsePoolSpec('p/n/i')).toThrow('invalid spec');
  });
});

describe('assertImageName', () => {
  it('refuses what a spec could not say', () => {
    for (const name of ['', 'a/b', 'a@b']) {
      expect(() => assertImageName(name)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    }
    assertImageName('vm-1.2_ü');
  });
});
