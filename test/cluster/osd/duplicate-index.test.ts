import { describe, expect, it } from 'vitest';
import { requestIdKey } from '../../../src/cluster/osd/client-request.js';
import { DuplicateIndex } from '../../../src/cluster/osd/pg-log.js';
import { LOG_ENTRIES_MAX, type LogEntry } from '../../../src/cluster/store/pg-record.js';

function entry(tid: number): LogEntry {
  const version = { version: BigInt(tid), epoch: 1 };
  const reqid = { name: { type: 8, num: 4100n }, inc: 0, tid };
  return { version, objects: [], reqid, result: 0, userVersion: BigInt(tid) };
}

const keyOf = (tid: number) => requestIdKey(entry(tid).reqid as NonNullable<LogEntry['reqid']>);

describe('the index of duplicates', () => {
  it('keeps the newest entries, and forgets the oldest of them one by one', () => {
    const index = new DuplicateIndex();
    const last = 2 * LOG_ENTRIES_MAX + 7;
    for (let tid = 1; tid <= last; tid++) {
      index.add(entry(tid));
      expect(index.find(keyOf(tid))?.version.version).toBe(BigInt(tid));
      const oldest = tid - LOG_ENTRIES_MAX + 1;
      if (oldest > 0) expect(index.find(keyOf(oldest))).toBeDefined();
      if (oldest > 1) expect(index.find(keyOf(oldest - 1))).toBeUndefined();
    }
  });

  it('has an entry that comes again in its first place, with its newest content', () => {
    const index = new DuplicateIndex();
    for (let tid = 1; tid <= LOG_ENTRIES_MAX; tid++) index.add(entry(tid));
    index.add({ ...entry(1), result: -5 });
    expect(index.find(keyOf(1))?.result).toBe(-5);
    index.add(entry(LOG_ENTRIES_MAX + 1));
    expect(index.find(keyOf(1))).toBeUndefined();
    expect(index.find(keyOf(2))).toBeDefined();
  });

  it('begins anew with a log', () => {
    const index = new DuplicateIndex();
    for (let tid = 1; tid <= LOG_ENTRIES_MAX + 5; tid++) index.add(entry(tid));
    index.load([entry(1), entry(2)]);
    expect(index.find(keyOf(1))).toBeDefined();
    expect(index.find(keyOf(7))).toBeUndefined();
  });

  it('tells ids beyond 2^53 apart', () => {
    const key = (num: bigint) => requestIdKey({ name: { type: 8, num }, inc: 0, tid: 1 });
    expect(key(2n ** 53n)).not.toBe(key(2n ** 53n + 1n));
    expect(key(7n)).toBe('8.7:0:1');
  });
});
