// What a replica takes of what its primary sends: everything, in order, or nothing.

import { describe, expect, it } from 'vitest';
import type { OsdMaps } from '../../../src/cluster/osd/osd-maps.js';
import type { ReplicatedChange } from '../../../src/cluster/osd/osd-peer.js';
import { PeerCalls } from '../../../src/cluster/osd/peer-calls.js';
import type { Pg } from '../../../src/cluster/osd/pg.js';
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
