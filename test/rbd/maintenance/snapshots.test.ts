// Goal: snapshots and clones, when several clients are at them: each request has one effect, whoever has it done and whoever
// dies over it, and what must not overlap does not. Method: as in proxied.test.ts.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cloneImage } from '../../../src/rbd/clone.js';
import { FEATURE } from '../../../src/rbd/features.js';
import type { Image } from '../../../src/rbd/image.js';
import {
  ClusterWorld,
  type HeaderObserver,
  type WorldClient,
} from '../../support/cluster-world.js';

const OBJECT = 1 << 16;
const OBJECTS = 40;
const SIZE = OBJECTS * OBJECT;
const FEATURES =
  FEATURE.LAYERING |
  FEATURE.EXCLUSIVE_LOCK |
  FEATURE.OBJECT_MAP |
  FEATURE.FAST_DIFF |
  FEATURE.DEEP_FLATTEN;

let at: ClusterWorld;
let owners: WorldClient;
let peers: WorldClient;
let owner: Image;
let peer: Image;
let bystander: HeaderObserver;

/** A clone, all of which its parent shows through; its lock is the owner's. */
beforeEach(async () => {
  at = await ClusterWorld.start();
  owners = await at.client();
  peers = await at.client();
  await owners.create('parent', { size: SIZE, order: 16, features: FEATURES });
  const parent = await owners.open('parent');
  await at.until(parent.write(0, Buffer.concat(objects().map(block))));
  await at.until(parent.snapshots.create('s'));
  await at.until(parent.close());
  const spec = { pool: 'rbd', namespace: '' };
  const clone = { features: FEATURES, format: 2 } as const;
  await at.until(
    cloneImage(
      owners.rados,
      { ...spec, name: 'parent', snap: 's' },
      { ...spec, name: 'vm1' },
      clone,
    ),
  );
  owner = await owners.open('vm1');
  await at.until(owner.acquireLock());
  peer = await peers.open('vm1');
  bystander = await (await at.client()).observe('vm1');
});

afterEach(() => at.stop());

const objects = () => Array.from({ length: OBJECTS }, (_, no) => no);
const block = (no: number) => Buffer.alloc(OBJECT, no + 1);
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: unknown) => (error as { code: string }).code,
  );
const names = (image: Image) => image.header.snapshots.map(({ name }) => name);

/** Ten objects every half a second. */
const slow = () => at.faults.delayReplies({ prefix: 'rbd_data.', ops: 'write', ms: 500 });

/** What every client that opens the image now sees. */
async function seen(): Promise<Image> {
  return (await at.client()).open('vm1', { readOnly: true });
}

async function expectContents(size = SIZE): Promise<void> {
  const bytes = await at.until((await seen()).read(0, SIZE));
  const expected = Buffer.concat(objects().map(block)).subarray(0, size);
  expect(Buffer.compare(Buffer.from(bytes), expected)).toBe(0);
}

describe('a snapshot that is asked for', () => {
  it('M1 is created at the owner, and both see it', async () => {
    await at.until(peer.snapshots.create('a'));
    expect([names(owner), names(peer)]).toEqual([['a'], ['a']]);
    expect(bystander.of('quiesce').length).toBe(1);
    expect(bystander.of('unquiesce').length).toBe(1);
    expect(bystander.of('asyncComplete').map(({ result }) => result)).toEqual([0]);
    expect(owner.lock?.status().counters.handedOver).toBe(0);
  });

  it('M14 by two peers under one name is created once, and the other is told so', async () => {
    const other = await (await at.client()).open('vm1');
    const create = [peer, other].map((image) => outcome(image.snapshots.create('a')));
    expect((await at.until(Promise.all(create))).sort()).toEqual(['EEXIST', 'done']);
    expect(names(await seen())).toEqual(['a']);
  });

  it('M15 is there once when the owner died before it could tell', async () => {
    const created = peer.snapshots.create('a');
    await at.until(() => bystander.of('quiesce').length > 0);
    const slow = { object: bystander.oid, client: owners.name, ops: 'call', ms: 60_000 } as const;
    await at.until(at.faults.delayReplies(slow));
    const watching = await seen();
    const stored = async () => {
      while (names(watching).length === 0) await watching.refresh();
    };
    await at.until(stored());
    owners.kill();
    expect(await at.until(outcome(created))).toBe('done');
    expect(names(await seen())).toEqual(['a']);
  });

  it('M15 is there once when a third client owns the lock next', async () => {
    const other = await (await at.client()).open('vm1');
    const created = peer.snapshots.create('a');
    await at.until(() => bystander.of('headerUpdate').length > 0);
    owners.kill();
    await at.until(other.write(0, block(0)));
    expect(await at.until(outcome(created))).toBe('done');
    expect(names(await seen())).toEqual(['a']);
  });

  it('M16 under a name that is taken is refused, here, at the owner, and when asked again', async () => {
    await at.until(owner.snapshots.create('a'));
    expect(await at.until(outcome(peer.snapshots.create('a')))).toBe('EEXIST');
    expect(await at.until(outcome(owner.snapshots.create('a')))).toBe('EEXIST');
    // The peer does not know of it yet when it asks, and hears nothing of the answer at first.
    const lost = await at.until(
      at.faults.dropNotify({ message: 'notification', client: peers.name, times: 2 }),
    );
    const create = [owner.snapshots.create('b'), peer.snapshots.create('b')].map(outcome);
    expect((await at.until(Promise.all(create))).sort()).toEqual(['EEXIST', 'done']);
    expect(await at.until(lost.fired())).toBeGreaterThan(0);
    expect(names(await seen())).toEqual(['a', 'b']);
  });

  it('is removed, renamed, protected and unprotected for a peer', async () => {
    await at.until(peer.snapshots.create('a'));
    await at.until(peer.snapshots.protect('a'));
    expect(await at.until(outcome(peer.snapshots.remove('a')))).toBe('EBUSY');
    await at.until(peer.snapshots.unprotect('a'));
    await at.until(peer.snapshots.rename('a', 'b'));
    await at.until(owner.refresh());
    expect([names(owner), names(peer)]).toEqual([['b'], ['b']]);
    await at.until(peer.snapshots.remove('b'));
    expect([names(owner), names(peer)]).toEqual([[], []]);
    expect(await at.until(outcome(peer.snapshots.remove('b')))).toBe('ENOENT');
    expect(owner.lock?.status().counters.handedOver).toBe(0);
  });
});

describe('a flatten that is asked for', () => {
  it('M1 is done at the owner, with progress, and both see it', async () => {
    await at.until(slow());
    const told: number[] = [];
    await at.until(peer.flatten({ onProgress: (done, total) => told.push(done / total) }));
    expect([owner.header.parent, peer.header.parent]).toEqual([undefined, undefined]);
    expect(told.filter((share) => share > 0 && share < 1).length).toBeGreaterThan(1);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(await at.until(outcome(peer.flatten()))).toBe('EINVAL');
    await expectContents();
  });

  it.each([0, 0.5, 0.75])(
    'M6 is done by the next owner when this one dies at %f',
    async (share) => {
      await at.until(slow());
      const told: number[] = [];
      const flattened = peer.flatten({ onProgress: (done, total) => told.push(done / total) });
      await at.until(() =>
        share === 0 ? bystander.of('flatten').length > 0 : (told.at(-1) ?? 0) >= share,
      );
      owners.kill();
      await at.until(flattened);
      expect((await seen()).header.parent).toBeUndefined();
      await expectContents();
    },
  );

  it('M7 is known to be done when the owner died after it had changed the header', async () => {
    const flattened = peer.flatten();
    await at.until(() => bystander.of('headerUpdate').length > 0);
    owners.kill();
    await at.until(flattened);
    expect((await seen()).header.parent).toBeUndefined();
    await expectContents();
  });

  it('M17 with a snapshot and a resize by others is done one after the other', async () => {
    await at.until(slow());
    const [second, third] = [
      await (await at.client()).open('vm1'),
      await (await at.client()).open('vm1'),
    ];
    const outcomes = await at.until(
      Promise.all([
        outcome(peer.flatten()),
        outcome(second.snapshots.create('a')),
        outcome(third.resize(SIZE / 2, { allowShrink: true })),
        outcome(owner.write(0, block(0))),
      ]),
    );
    expect(outcomes).toEqual(['done', 'done', 'done', 'done']);
    const now = await seen();
    expect([now.size, names(now), now.header.parent]).toEqual([SIZE / 2, ['a'], undefined]);
    await expectContents(SIZE / 2);
    const before = await (await at.client()).open('vm1@a');
    expect(before.size).toBe(SIZE);
    const bytes = Buffer.from(await at.until(before.read(0, SIZE)));
    expect(Buffer.compare(bytes, Buffer.concat(objects().map(block)))).toBe(0);
    expect(owner.lock?.status().counters.handedOver).toBe(0);
  });
});

describe('a shrink of a clone', () => {
  const OVERWRITTEN = 30;
  const WRITTEN = Buffer.alloc(16, 0xee);
  const ZEROS = Buffer.alloc(16);

  it('M24 shows a peer its own data or zeros, never again what the parent has there', async () => {
    await at.until(owner.write(OVERWRITTEN * OBJECT, WRITTEN));
    const seen: Buffer[] = [];
    let done = false;
    const reading = (async () => {
      while (!done) {
        const read = peer.read(OVERWRITTEN * OBJECT, 16);
        await read.then(
          (bytes) => seen.push(Buffer.from(bytes)),
          () => undefined,
        );
        await new Promise<void>((resolve) => at.world.after(20, resolve));
      }
    })();
    await at.until(slow());
    await at.until(owner.resize(OBJECT, { allowShrink: true }));
    done = true;
    await at.until(reading);
    expect(seen.some((bytes) => bytes.equals(ZEROS))).toBe(true);
    for (const bytes of seen) expect([WRITTEN, ZEROS]).toContainEqual(bytes);
    await expectContents(OBJECT);
  });

  it('leaves its snapshots all that they see, where the new size ends as well', async () => {
    await at.until(owner.snapshots.create('a'));
    await at.until(owner.resize(10 * OBJECT + 512, { allowShrink: true }));
    const before = await (await at.client()).open('vm1@a');
    const bytes = Buffer.from(await at.until(before.read(0, SIZE)));
    expect(Buffer.compare(bytes, Buffer.concat(objects().map(block)))).toBe(0);
    await expectContents(10 * OBJECT + 512);
  });

  it('that ends half-way leaves zeros there, not what the parent has', async () => {
    const overwritten = objects().slice(OBJECTS / 2);
    for (const no of overwritten) await at.until(owner.write(no * OBJECT, WRITTEN));
    await at.until(slow());
    let told = 0;
    const onProgress = (steps: number, total: number) => (told = steps / total);
    owner.resize(OBJECT, { allowShrink: true, onProgress }).catch(() => undefined);
    await at.until(() => told >= 0.3);
    owners.kill();
    const left = await seen();
    expect(left.size).toBe(SIZE);
    const bytes = await Promise.all(
      overwritten.map((no) => at.until(left.read(no * OBJECT, 16)).then(Buffer.from)),
    );
    expect(bytes.some((each) => each.equals(ZEROS))).toBe(true);
    for (const each of bytes) expect([WRITTEN, ZEROS]).toContainEqual(each);
  });
});
