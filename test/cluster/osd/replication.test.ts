// What a replica takes of what its primary sends: everything, in order, or nothing.

import { describe, expect, it } from 'vitest';
import { Interval } from '../../../src/cluster/osd/interval.js';
import type { IntervalStart } from '../../../src/cluster/osd/intervals.js';
import type { OsdMaps } from '../../../src/cluster/osd/osd-maps.js';
import type { ReplicatedChange } from '../../../src/cluster/osd/osd-peer.js';
import { PeerCalls } from '../../../src/cluster/osd/peer-calls.js';
import type { Pg } from '../../../src/cluster/osd/pg.js';
import type { PgHost } from '../../../src/cluster/osd/pg-host.js';
import { PgMember } from '../../../src/cluster/osd/pg-member.js';
import { PgStorage } from '../../../src/cluster/osd/pg-storage.js';
import { DaemonGate } from '../../../src/cluster/faults/daemon-gate.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';

const PG = { pool: 1, seed: 0 };

/** The change of a version, by which one it follows. */
function change(version: bigint, after = version - 1n): ReplicatedChange {
  const at = (which: bigint) => ({ version: which, epoch: which === 0n ? 0 : 3 });
  const entry = { version: at(version), objects: [], result: 0, userVersion: version };
  return { ops: [], entry, after: at(after) };
}

describe('a replica', () => {
  it('makes no change whose predecessor it lacks: its log has no holes', async () => {
    const store = new MemoryStore();
    const storage = new PgStorage(PG, { store, whoami: 1, faults: undefined });
    await storage.replicate(change(1n));
    const outOfOrder = { code: 'EINVAL', message: '1.0: a change without the one before it' };
    expect(() => storage.replicate(change(3n))).toThrow(expect.objectContaining(outOfOrder));
    expect(() => storage.replicate(change(1n))).toThrow(expect.objectContaining(outOfOrder));
    await storage.replicate(change(2n));
    // An object and its clone take a version each, in one change.
    await storage.replicate(change(4n, 2n));
    expect(storage.history().log.map(({ version }) => version.version)).toEqual([1n, 2n, 4n]);
  });

  it('that stood still takes what waited before what comes as it goes on', async () => {
    const gate = new DaemonGate();
    const taken: bigint[] = [];
    const member = {
      replicate: (_since: number, { entry }: ReplicatedChange) => {
        taken.push(entry.version.version);
        return Promise.resolve();
      },
    };
    const pg = { member } as unknown as Pg;
    const maps = { reached: () => Promise.resolve(), check: () => {} } as unknown as OsdMaps;
    const calls = new PeerCalls({
      ...{ whoami: 1, maps, pg: () => pg, removePg: () => Promise.resolve() },
      passage: () => gate.passage(),
      pingPassage: () => gate.pingPassage(),
    });
    const open = gate.shut(() => {}, { silent: false });
    const waiting = calls.replicate(PG, 3, change(1n));
    open();
    await Promise.all([waiting, calls.replicate(PG, 3, change(2n))]);
    expect(taken).toEqual([1n, 2n]);
  });
});

describe('a copy of somebody who is no member', () => {
  const entry = { version: { version: 1n, epoch: 3 }, objects: [], result: 0, userVersion: 1n };

  /** Of an OSD whose maps go back to epoch 500. */
  function member(start: IntervalStart): PgMember {
    const store = new MemoryStore();
    const storage = new PgStorage(PG, { store, whoami: 1, faults: undefined });
    storage.note({ mapEpoch: 400 });
    void storage.commit({ ops: [], entry });
    const interval = new Interval(start);
    const host = { store } as Partial<PgHost> as PgHost;
    return new PgMember({ pg: PG, host, storage, interval: () => interval });
  }

  const refused = expect.objectContaining({ code: 'ESTALE' });

  it('is told of to a primary whose interval began before all maps that are kept', () => {
    const copy = member({ epoch: 500, isKnown: false });
    expect(copy.query(10)?.info.lastUpdate).toEqual(entry.version);
    expect(copy.history(10).log).toEqual([entry]);
    expect(copy.listObjects(10, undefined, 9)).toEqual([]);
  });

  it('is changed by nobody who may be of an older interval', () => {
    const copy = member({ epoch: 500, isKnown: false });
    expect(() => copy.replicate(10, change(2n))).toThrow(refused);
    expect(() => copy.activate(10)).toThrow(refused);
    expect(() => copy.push(10, [])).toThrow(refused);
  });

  it('is not told of to one of an interval that is known to be over', () => {
    const copy = member({ epoch: 500, isKnown: true });
    expect(() => copy.query(10)).toThrow(refused);
    expect(copy.query(500)).toBeDefined();
  });
});
