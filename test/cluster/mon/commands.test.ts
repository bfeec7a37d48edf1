// Every command of the script against the answers of a real monitor, kept in a fixture: `LINGER_CAPTURE=1` on
// test/ceph/mon-commands.test.ts makes it anew.

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageFile } from '../../../src/base/paths.js';
import { COMMANDS, commandDescriptions } from '../../../src/cluster/mon/commands/table.js';
import type { Monitor } from '../../../src/cluster/mon/monitor.js';
import { decodeAll } from '../../../src/encoding/codec.js';
import { monMap } from '../../../src/messages/mon-messages.js';
import { decodeOsdMap } from '../../../src/osdmap/osdmap.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import {
  comparable,
  firstDifference,
  type MonAnswer,
  type MonCommand,
} from '../../support/mon-command-list.js';
import { crc32c, run, startCluster, text } from './support.js';

const FIXTURE = 'test/fixtures/ceph-16.2.15/mon-commands.json.gz';

const captured = JSON.parse(gunzipSync(readFileSync(packageFile(FIXTURE))).toString()) as {
  /** The name of the machine, which is in the CRUSH map. */
  host: string;
  answers: { command: MonCommand; answer: MonAnswer }[];
};

describe('monitor commands', () => {
  it('are answered as a real monitor answered them, to the byte', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world, { env: { ...world.env, hostname: captured.host } });
    expect(captured.answers.length).toBeGreaterThan(300);
    const differences = captured.answers.flatMap(({ command, answer: real }) => {
      const answer = run(monitor, command);
      const difference = firstDifference(
        comparable({ ...answer, out: text(answer) }),
        comparable(real),
      );
      return difference ? [`${JSON.stringify(command)} ${difference}`] : [];
    });
    expect(differences).toEqual([]);
  });

  it('are all described, once each, in the form that the ceph tool parses', () => {
    const described = Object.values(
      JSON.parse(commandDescriptions()) as Record<
        string,
        { sig: (string | { name: string; type: string })[]; perm: string; flags: number }
      >,
    );
    const prefixes = described.map(({ sig }) =>
      sig.filter((word) => typeof word === 'string').join(' '),
    );
    expect(new Set(prefixes).size).toBe(COMMANDS.length);
    expect(prefixes).toContain('osd pool create');
    // A command of the manager would make the tool wait for one.
    expect(described.filter(({ flags }) => flags & 8)).toEqual([]);
  });
});

describe('a monitor command', () => {
  let monitor: Monitor;

  beforeAll(async () => {
    monitor = await startCluster(new VirtualWorld());
    run(monitor, { prefix: 'osd pool create', pool: 'rbd' });
  });

  it('that is not JSON, or no object, is refused', () => {
    expect(run(monitor, [] as never)).toEqual({ r: -22, rs: 'command parsing failed', out: '' });
  });

  it('in a format that is not there is refused instead of answered in another', () => {
    expect(run(monitor, { prefix: 'osd dump', format: 'xml' }).r).toBe(-22);
  });

  it('with an argument of the wrong type is refused by the argument’s name', () => {
    const rs = "bad or missing field 'pool'";
    expect(run(monitor, { prefix: 'osd pool get', pool: 7, var: 'size' })).toEqual({
      r: -22,
      rs,
      out: '',
    });
    expect(run(monitor, { prefix: 'osd reweight', id: 0 }).rs).toBe(
      "bad or missing field 'weight'",
    );
  });

  it('hands out the map of any epoch that is kept, and the monitor map', () => {
    const newest = run(monitor, { prefix: 'osd getmap' });
    const first = run(monitor, { prefix: 'osd getmap', epoch: 1 });
    const decoded = decodeOsdMap(newest.out as Uint8Array, crc32c);
    expect(decoded.epoch).toBe(monitor.state.osdMaps.epoch);
    expect(decoded.poolIdByName('rbd')).toBe(1);
    expect(decodeOsdMap(first.out as Uint8Array, crc32c).pools.size).toBe(0);
    const mons = run(monitor, { prefix: 'mon getmap' });
    expect(decodeAll('MonMap', monMap, mons.out as Uint8Array).ranks).toEqual(['a']);
  });

  it('takes back the CRUSH map that it handed out, and no other bytes', async () => {
    const { runCommand } = await import('../../../src/cluster/mon/commands/table.js');
    const { MonCaps } = await import('../../../src/cluster/mon/caps.js');
    const set = (input: Uint8Array) =>
      runCommand(monitor.state, {
        cmd: ['{"prefix":"osd setcrushmap"}'],
        input,
        caller: { name: 'client.admin' },
        caps: MonCaps.parse('allow *'),
      });
    const crush = run(monitor, { prefix: 'osd getcrushmap' }).out as Uint8Array;
    const before = monitor.state.osdMaps.map.crushVersion;
    expect(set(crush)).toEqual({ r: 0, rs: String(before + 1), out: '' });
    expect(set(crush.subarray(0, 20)).r).toBe(-22);
    expect(set(new Uint8Array()).r).toBe(-22);
    expect(monitor.state.osdMaps.map.crushVersion).toBe(before + 1);
  });

  it('splits a pool, and does not shrink it, whose OSDs could not follow', () => {
    const set = (val: string) =>
      run(monitor, { prefix: 'osd pool set', pool: 'rbd', var: 'pg_num', val });
    expect(set('16').r).toBe(-95);
    expect(set('40')).toEqual({ r: 0, rs: 'set pool 1 pg_num to 40', out: '' });
    const pool = monitor.state.osdMaps.map.pool(1);
    expect([pool?.pgNum, pool?.pgpNum, pool?.pgNumTarget]).toEqual([40, 32, 40]);
  });

  it('that fails within is answered too, so that nobody asks for ever', async () => {
    const broken = await startCluster(new VirtualWorld());
    broken.state.osdMaps.commit = () => {
      throw new RangeError('no room');
    };
    expect(run(broken, { prefix: 'osd set', key: 'noout' })).toEqual({
      r: -5,
      rs: 'internal error: no room',
      out: '',
    });
  });

  it('that reads needs `r`, one that writes `w`, at its service', () => {
    const create = { prefix: 'osd pool create', pool: 'denied' };
    expect(run(monitor, { prefix: 'osd dump' }, 'allow r').r).toBe(0);
    expect(run(monitor, create, 'allow r')).toEqual({ r: -13, rs: 'access denied', out: '' });
    expect(run(monitor, create, 'allow service osd rw').r).toBe(0);
    expect(run(monitor, { prefix: 'auth ls' }, 'allow service osd rw').r).toBe(-13);
    expect(run(monitor, { prefix: 'auth ls' }, 'allow r').r).toBe(-13);
  });

  it('of a client with profile rbd may fence one client instance, and not a host', () => {
    const fence = (addr: string, prefix = 'osd blocklist', op = 'blocklistop') =>
      run(monitor, { prefix, [op]: 'add', addr }, 'profile rbd').r;
    expect(fence('10.0.0.7:0/123')).toBe(0);
    expect(fence('10.0.0.7:0/124', 'osd blacklist', 'blacklistop')).toBe(0);
    expect(fence('10.0.0.7')).toBe(-13);
    expect(
      run(
        monitor,
        { prefix: 'osd blocklist', blocklistop: 'rm', addr: '10.0.0.7:0/123' },
        'profile rbd',
      ).r,
    ).toBe(-13);
    expect(run(monitor, { prefix: 'osd blocklist clear' }, 'profile rbd').r).toBe(-13);
    expect(run(monitor, { prefix: 'osd pool ls' }, 'profile rbd-read-only').r).toBe(0);
  });
});
