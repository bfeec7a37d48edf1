// What every ObjectStore does, whatever it keeps its objects in.

import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import type { ObjectStore } from '../../../src/cluster/store/object-store.js';
import { compareObjects, type ObjectId, objectKey } from '../../../src/cluster/store/object-id.js';
import { LOG_ENTRIES_MAX, type LogEntry } from '../../../src/cluster/store/pg-record.js';
import { ReceivedData } from '../../../src/cluster/store/spare-buffers.js';
import { NOSNAP } from '../../../src/encoding/types.js';
import { compareHobject } from '../../../src/osdmap/hobject-order.js';
import { DurableWorld } from './support/durable-world.js';

const kinds: { kind: string; create: () => Promise<ObjectStore> }[] = [
  { kind: 'memory', create: async () => new MemoryStore() },
  // A life per store, with a disk that answers as soon as it is asked.
  { kind: 'durable', create: () => new DurableWorld().openLive() },
];

const PG = '1.0';
const id = (oid: string, more: Partial<ObjectId> = {}): ObjectId => ({
  pool: 1,
  nspace: '',
  oid,
  key: '',
  hash: 0,
  snap: NOSNAP,
  ...more,
});
const bytes = (text: string) => Buffer.from(text);

describe.each(kinds)('a $kind store', ({ create }) => {
  it('removes of two objects that the order holds for one the one that is meant', async () => {
    const store = await create();
    // A locator key that is the name, and a hash that is not that of the name: requests bring neither, older stores may.
    const twins = [id('a'), id('a', { key: 'a' }), id('b', { hash: 7 }), id('c')];
    for (const each of twins) {
      await store.apply({ collection: PG, ops: [{ op: 'touch', id: each }] });
    }
    for (const each of [id('a'), id('b', { hash: 9 })]) {
      await store.apply({ collection: PG, ops: [{ op: 'remove', id: each }] });
    }
    const left = store.list(PG, undefined, 10);
    expect(left.map(({ oid, key }) => `${oid}/${key}`).sort()).toEqual(['a/a', 'c/']);
    for (const each of left) expect(store.get(PG, each)).toBeDefined();
  });

  it('keeps data, xattrs and omap of an object', async () => {
    const store = await create();
    const object = id('a');
    await store.apply({
      collection: PG,
      ops: [
        { op: 'write', id: object, offset: 2, data: bytes('xyz') },
        { op: 'setXattr', id: object, name: 'n', value: bytes('v') },
        {
          op: 'omapSet',
          id: object,
          values: [
            ['b', bytes('2')],
            ['a', bytes('1')],
            ['c', bytes('3')],
          ],
        },
        { op: 'omapHeader', id: object, header: bytes('head') },
      ],
    });
    const stored = store.get(PG, object);
    expect(Buffer.from(stored?.read(0, 10) ?? []).toString('latin1')).toBe('\0\0xyz');
    expect(stored?.xattr('n')?.toString()).toBe('v');
    expect([...(stored?.omapFrom('b') ?? [])].map(([key]) => key)).toEqual(['b', 'c']);
    expect(stored?.omapHeader.toString()).toBe('head');
    await store.apply({
      collection: PG,
      ops: [
        { op: 'omapRemoveRange', id: object, begin: 'a', end: 'c' },
        { op: 'removeXattr', id: object, name: 'n' },
      ],
    });
    expect([...(stored?.omapFrom('') ?? [])].map(([key]) => key)).toEqual(['c']);
    expect(stored?.xattr('n')).toBeUndefined();
    expect(store.get('1.1', object)).toBeUndefined();
  });

  it('makes clones that neither side changes for the other', async () => {
    const store = await create();
    const head = id('a');
    const clone = id('a', { snap: 4n });
    await store.apply({
      collection: PG,
      ops: [
        { op: 'write', id: head, offset: 0, data: bytes('old') },
        { op: 'omapSet', id: head, values: [['k', bytes('1')]] },
        { op: 'clone', from: head, to: clone },
        { op: 'write', id: head, offset: 0, data: bytes('new') },
        { op: 'omapSet', id: head, values: [['k', bytes('2')]] },
      ],
    });
    expect(Buffer.from(store.get(PG, clone)?.read(0, 3) ?? []).toString()).toBe('old');
    expect(store.get(PG, clone)?.omapGet('k')?.toString()).toBe('1');
    expect(Buffer.from(store.get(PG, head)?.read(0, 3) ?? []).toString()).toBe('new');
  });

  it('gives an object to another store whole, and no change of either shows in the other', async () => {
    const from = await create();
    const to = await create();
    await from.apply({
      collection: PG,
      ops: [{ op: 'write', id: id('a'), offset: 0, data: bytes('1234') }],
    });
    const object = from.dump(PG, id('a'));
    if (!object) throw new Error('no dump');
    await to.apply({ collection: PG, ops: [{ op: 'install', object }] });
    await from.apply({
      collection: PG,
      ops: [{ op: 'write', id: id('a'), offset: 0, data: bytes('xx') }],
    });
    expect(Buffer.from(to.get(PG, id('a'))?.read(0, 4) ?? []).toString()).toBe('1234');
  });

  it('lists objects in the order of their PG, from any place', async () => {
    const store = await create();
    const ids = ['𐍈', 'ﬀ', 'a', 'b'].flatMap((oid) =>
      [1, 2, 0x80000000, 3].flatMap((hash) =>
        ['', 'ns'].flatMap((nspace) =>
          ['', 'k'].flatMap((key) =>
            [NOSNAP, 3n, 5n].map((snap) => id(oid + hash, { hash, nspace, key, snap })),
          ),
        ),
      ),
    );
    for (const each of ids) await store.apply({ collection: PG, ops: [{ op: 'touch', id: each }] });
    const listed = store.list(PG, undefined, 1000);
    const reference = [...ids].sort((a, b) =>
      compareHobject({ ...a, max: 0, pool: 1n }, { ...b, max: 0, pool: 1n }),
    );
    expect(listed.map(objectKey)).toEqual(reference.map(objectKey));
    expect([...ids].sort(compareObjects).map(objectKey)).toEqual(reference.map(objectKey));
    expect(store.list(PG, listed[10], 3)).toEqual(listed.slice(10, 13));
  });

  it('bounds the log', async () => {
    const store = await create();
    const entry = (version: number): LogEntry => ({
      version: { version: BigInt(version), epoch: 1 },
      objects: [],
      result: 0,
      userVersion: 0n,
    });
    for (let i = 1; i <= 3 * LOG_ENTRIES_MAX; i++) {
      await store.apply({ collection: PG, ops: [{ op: 'log', entry: entry(i) }] });
    }
    const log = store.log(PG);
    expect(log.length).toBeGreaterThanOrEqual(LOG_ENTRIES_MAX);
    expect(log.length).toBeLessThan(2 * LOG_ENTRIES_MAX);
    expect(log.at(-1)?.version.version).toBe(BigInt(3 * LOG_ENTRIES_MAX));
  });

  it('keeps what it has of a write over what a cut left behind, and nothing of what was cut', async () => {
    const store = await create();
    const object = id('a');
    await store.apply({
      collection: PG,
      ops: [
        { op: 'write', id: object, offset: 0, data: Buffer.alloc(10_000, 'x') },
        { op: 'truncate', id: object, size: 4100 },
        { op: 'truncate', id: object, size: 9000 },
        { op: 'write', id: object, offset: 8000, data: bytes('end') },
      ],
    });
    const stored = store.get(PG, object);
    const expected = Buffer.alloc(9000);
    expected.fill('x', 0, 4100);
    expected.write('end', 8000);
    expect(Buffer.from(stored?.read(0, 10_000) ?? [])).toEqual(expected);
    expect(stored?.extents(0, 10_000)).toEqual([
      [0, 4100],
      [8000, 3],
    ]);
  });

  it('receives into buffers of what was written over, and reads what was written last', async () => {
    const store = await create();
    const object = id('a');
    const length = 1024 * 1024;
    const buffers = new Set<ArrayBufferLike>();
    const clones: ObjectId[] = [];
    for (let i = 0; i < 12; i++) {
      const data = store.spare.take(length) ?? new Uint8Array(length);
      buffers.add(data.buffer);
      const received = ReceivedData.of(data, store.spare);
      received?.use();
      data.fill(i);
      const clone = id('a', { snap: BigInt(i) });
      await store.apply({
        collection: PG,
        ops: [
          ...(i % 4 === 0 ? [{ op: 'clone', from: object, to: clone } as const] : []),
          { op: 'write', id: object, offset: 0, data },
        ],
        received,
      });
      received?.drop();
      if (i % 4 === 0) clones.push(clone);
      expect(
        store
          .get(PG, object)
          ?.read(0, length)
          .every((byte) => byte === i),
      ).toBe(true);
    }
    expect(buffers.size).toBeLessThan(8);
    const firstBytes = clones.map((clone) => store.get(PG, clone)?.read(length - 1, 1)[0]);
    expect(firstBytes).toEqual([undefined, 3, 7]);
    await store.close();
  });

  it('gives no buffer back of a request that is done anew', async () => {
    const store = await create();
    const object = id('a');
    const length = 1024 * 1024;
    const data = new Uint8Array(length);
    for (const isAcknowledged of [false, true]) {
      const received = ReceivedData.of(data, store.spare);
      received?.use();
      await store.apply({
        collection: PG,
        ops: [{ op: 'write', id: object, offset: 0, data }],
        received,
      });
      if (isAcknowledged) received?.drop();
    }
    await store.apply({ collection: PG, ops: [{ op: 'remove', id: object }] });
    expect(store.spare.take(length)).toBeUndefined();
    await store.close();
  });

  it('gives no buffer back while somebody else has it', async () => {
    const store = await create();
    const other = await create();
    const object = id('a');
    const length = 1024 * 1024;
    const write = (to: ObjectStore, data: Uint8Array, received?: ReceivedData) =>
      to.apply({
        collection: PG,
        ops: [{ op: 'write', id: object, offset: 0, data }],
        received,
      });
    const data = new Uint8Array(length);
    const received = ReceivedData.of(data, store.spare) as ReceivedData;
    received.use();
    await write(store, data, received);
    await write(other, data, received);
    await write(store, new Uint8Array(length));
    await write(other, new Uint8Array(length));
    expect(store.spare.take(length)).toBeUndefined();
    received.drop();
    expect(store.spare.take(length)?.buffer).toBe(data.buffer);
    await store.close();
    await other.close();
  });

  it('forgets a collection with all that is in it', async () => {
    const store = await create();
    await store.apply({ collection: PG, ops: [{ op: 'touch', id: id('a') }] });
    await store.apply({ collection: '1.1', ops: [{ op: 'touch', id: id('b') }] });
    await store.removeCollection(PG);
    expect(store.collections()).toEqual(['1.1']);
    expect(store.get(PG, id('a'))).toBeUndefined();
    expect(store.list(PG, undefined, 10)).toEqual([]);
  });
});
