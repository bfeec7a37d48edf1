import { describe, expect, it } from 'vitest';
import { capsProblem, MonCaps } from '../../../src/cluster/mon/caps.js';
import { OsdCaps } from '../../../src/cluster/osd/osd-caps.js';

const attempt = (module: string, perm: string, prefix = 'some command', args = {}) => ({
  module,
  perm,
  prefix,
  args,
});

describe('monitor caps', () => {
  it('allow everything with a star', () => {
    const caps = MonCaps.parse('allow *');
    expect(caps.allowsCommand(attempt('auth', 'rwx'))).toBe(true);
  });

  it('add up over their grants', () => {
    const caps = MonCaps.parse('allow r, allow service osd w; allow service=mon x');
    expect(caps.allows('osd', 'rw')).toBe(true);
    expect(caps.allows('mon', 'rx')).toBe(true);
    expect(caps.allows('mon', 'w')).toBe(false);
  });

  it('allow a single command, with the arguments that they name', () => {
    const caps = MonCaps.parse(
      'allow command "osd pool rm" with pool=scratch, allow command "log" with who prefix "ab"',
    );
    const remove = (pool: string) =>
      caps.allowsCommand(attempt('osd', 'rw', 'osd pool rm', { pool }));
    expect(remove('scratch')).toBe(true);
    expect(remove('rbd')).toBe(false);
    expect(caps.allowsCommand(attempt('mon', 'rw', 'log', { who: 'abc' }))).toBe(true);
    expect(caps.allowsCommand(attempt('mon', 'rw', 'log'))).toBe(false);
  });

  it('that do not parse are refused where they are set, and grant nothing where they are met', () => {
    for (const text of [
      'bogus cap',
      'allow',
      'allow q',
      'allow service osd',
      'allow "r',
      'allow command x with y regex "("',
    ]) {
      expect(capsProblem('mon', text), text).toContain('mon capability parse failed');
      expect(MonCaps.of(text, '127.0.0.1').allows('mon', 'r'), text).toBe(false);
    }
    expect(capsProblem('mon', 'allow r')).toBeUndefined();
    expect(capsProblem('osd', 'allow rwx pool=rbd, profile rbd pool=vms')).toBeUndefined();
    expect(capsProblem('zzz', 'allow *')).toBe("unknown cap type 'zzz'");
  });

  it('of no text allow nothing', () => {
    expect(MonCaps.parse('').allows('mon', 'r')).toBe(false);
  });
});

describe('OSD caps', () => {
  it('tell who may write to a pool, and so make its snapshots', () => {
    const cases: [caps: string, pool: string, writes: boolean][] = [
      ['allow *', 'rbd', true],
      ['allow rwx', 'rbd', true],
      ['allow r', 'rbd', false],
      ['profile rbd', 'rbd', true],
      ['profile rbd-read-only', 'rbd', false],
      ['profile rbd pool=vms', 'rbd', false],
      ['profile rbd pool=vms, profile rbd-read-only pool=rbd', 'vms', true],
      ['profile rbd pool=vms, profile rbd-read-only pool=rbd', 'rbd', false],
      ['allow rw pool=vm*', 'vms', false],
      ['allow rwx namespace=a', 'vms', false],
      ['allow rwx tag rbd *=*', 'vms', false],
      ['allow class-read object_prefix rbd_children, allow rwx pool=rbd', 'rbd', true],
      ['', 'rbd', false],
    ];
    for (const [caps, pool, writes] of cases) {
      expect(OsdCaps.parse(caps).allowsSnapshots(pool), `${caps} on ${pool}`).toBe(writes);
    }
  });
});
