// Goal: an operation survives its owner. Whatever becomes of the client that is at it, the one who asked has it done once,
// by whoever owns the lock then, and the image is whole at every moment. Method: as in proxied.test.ts; owners are killed,
// asked for the lock, and lose their watches, in the middle of a shrink.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FEATURE } from '../../../src/rbd/features.js';
import type { Image } from '../../../src/rbd/image.js';
import {
  ClusterWorld,
  type HeaderObserver,
  type WorldClient,
} from '../../support/cluster-world.js';

const OBJECT = 1 << 20;
const OBJECTS = 100;
const SIZE = OBJECTS * OBJECT;

let at: ClusterWorld;
let owners: WorldClient;
let peers: WorldClient;
let owner: Image;
let peer: Image;
let bystander: HeaderObserver;
/** What the peer was told of the work, as shares of the whole. */
let told: number[];

beforeEach(async () => {
  at = await ClusterWorld.start();
  owners = await at.client();
  peers = await at.client();
  const features = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK;
  await owners.create('vm1', { size: SIZE, order: 20, features });
  owner = await owners.open('vm1');
  for (let no = 0; no < OBJECTS; no += 10) await at.until(owner.write(no * OBJECT, stamp(no)));
  peer = await peers.open('vm1');
  bystander = await (await at.client()).observe('vm1');
  // Ten objects every half a second.
  await at.until(at.faults.delayReplies({ prefix: 'rbd_data.', ops: 'write', ms: 500 }));
  told = [];
});

afterEach(() => at.stop());

const stamp = (no: number) => Buffer.from(`object ${no}`);
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString().replaceAll('\0', '');
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
const shrink = (image: Image, options: { signal?: AbortSignal } = {}) =>
  image.resize(OBJECT, {
    allowShrink: true,
    onProgress: (done, total) => told.push(done / total),
    ...options,
  });
const reached = (share: number) => at.until(() => (told.at(-1) ?? 0) >= share);
const updates = () => bystander.of('headerUpdate').length;

/** What the size covers is there, and nothing beyond, as the OSD has it. */
async function expectWhole(size: number): Promise<void> {
  const checker = await (await at.client()).open('vm1', { readOnly: true });
  expect(checker.size).toBe(size);
  for (let no = 0; no < OBJECTS; no += 10) {
    const covered = no * OBJECT < size;
    const object = checker.dataIoctx.read(`${checker.objectPrefix}.${hex(no)}`, 0, 16);
    const bytes = await at.until(failureOr(object));
    if (covered) expect(textOf(bytes as Uint8Array)).toBe(`object ${no}`);
    else expect(bytes, `object ${no}`).toMatchObject({ code: 'ENOENT' });
  }
}

const hex = (no: number) => no.toString(16).padStart(16, '0');

describe('a shrink whose owner is killed', () => {
  it.each([0, 0.5, 0.9])('M6 at %f of it is done by whoever owns the lock next', async (share) => {
    const asked = shrink(peer);
    if (share > 0) await reached(share);
    else await at.until(() => bystander.of('resize').length > 0);
    owners.kill();
    await at.until(asked);
    expect(peer.lock?.state).toBe('locked');
    expect(peer.lock?.status().counters.broken).toBe(1);
    await expectWhole(OBJECT);
  });

  it('M6 is done by a third client, when that is the next owner', async () => {
    const other = await (await at.client()).open('vm1');
    const asked = shrink(peer);
    await reached(0.5);
    owners.kill();
    await at.until(other.write(0, stamp(0)));
    expect(other.lock?.state).toBe('locked');
    await at.until(asked);
    expect(peer.lock?.state).toBe('unlocked');
    expect([other.size, peer.size]).toEqual([OBJECT, OBJECT]);
    await expectWhole(OBJECT);
  });

  it('M7 after it had changed the header is known to be done', async () => {
    const asked = shrink(peer);
    const before = updates();
    await at.until(() => updates() > before);
    owners.kill();
    await at.until(asked);
    expect(peer.size).toBe(OBJECT);
    await at.world.advance(60_000);
    expect(updates() - before).toBe(1);
    await expectWhole(OBJECT);
  });
});

describe('a sparsify whose owner is asked for the lock', () => {
  it('M8 has nothing under way any more when another gets it', async () => {
    const other = await (await at.client()).open('vm1');
    await at.until(at.faults.delayReplies({ prefix: 'rbd_data.', ops: 'call', ms: 3000 }));
    const sparsified = owner.sparsify();
    await at.world.advance(500);
    const before = at.world.now;
    const written = other.write(0, stamp(0));
    await at.until(() => other.lock?.state === 'locked');
    expect(at.world.now - before).toBeGreaterThan(2000);
    await at.until(written);
    await at.until(sparsified);
    expect(other.lock?.state).toBe('locked');
    await expectWhole(SIZE);
  });
});

describe('a shrink whose owner is asked for the lock', () => {
  it('M8 is interrupted, and goes on at the new owner', async () => {
    const other = await (await at.client()).open('vm1');
    const asked = shrink(peer);
    await reached(0.3);
    const before = at.world.now;
    const written = other.write(0, stamp(0));
    await at.until(() => other.lock?.state === 'locked');
    // What was in flight took half a second.
    expect(at.world.now - before).toBeLessThan(2000);
    expect(bystander.of('asyncComplete').map(({ result }) => result)).toEqual([-85]);
    await at.until(written);
    await at.until(asked);
    expect(peer.lock?.state).toBe('unlocked');
    expect([owner.size, other.size, peer.size]).toEqual([OBJECT, OBJECT, OBJECT]);
    await expectWhole(OBJECT);
  });

  it('M8 is interrupted, and asked of the new owner, when it is the own', async () => {
    const other = await (await at.client()).open('vm1');
    const shrunk = shrink(owner);
    await reached(0.3);
    await at.until(other.write(0, stamp(0)));
    await at.until(shrunk);
    expect(other.lock?.state).toBe('locked');
    expect(owner.lock?.state).toBe('unlocked');
    expect([owner.size, other.size]).toEqual([OBJECT, OBJECT]);
    await expectWhole(OBJECT);
  });

  it('M9 goes from owner to owner, and is done once', async () => {
    const [b, c] = [await (await at.client()).open('vm1'), await (await at.client()).open('vm1')];
    const asked = shrink(peer);
    const before = updates();
    await reached(0.2);
    await at.until(b.write(0, stamp(0)));
    await at.until(() => bystander.of('asyncProgress').length > 2);
    await at.until(c.write(0, stamp(0)));
    await at.until(asked);
    expect(peer.lock?.status().counters.acquired).toBe(0);
    expect(updates() - before).toBe(1);
    await expectWhole(OBJECT);
  });

  it('M26 is interrupted by a hand-over, and done where the lock went', async () => {
    const next = await (await at.client()).open('vm1');
    const asked = shrink(peer);
    await reached(0.3);
    const released = owner.lock?.release();
    const acquired = next.acquireLock();
    await at.until(Promise.all([released, acquired]));
    await at.until(asked);
    expect([next.size, peer.size]).toEqual([OBJECT, OBJECT]);
    await expectWhole(OBJECT);
  });
});

describe('a shrink that is given up', () => {
  it('M18 stops at the owner, leaves the image whole, and can be asked for again', async () => {
    const control = new AbortController();
    const asked = failure(shrink(peer, { signal: control.signal }));
    await reached(0.3);
    control.abort();
    expect(await at.until(asked)).toMatchObject({ code: 'ECANCELED' });
    await at.until(() => bystander.of('asyncComplete').length > 0);
    expect(bystander.of('asyncComplete')[0]).toMatchObject({ result: -125 });
    expect([owner.size, peer.size]).toEqual([SIZE, SIZE]);
    const rest = textOf(await at.until(peer.read(90 * OBJECT, 16)));
    expect(['object 90', '']).toContain(rest);
    await at.until(owner.write(OBJECT, stamp(1)));
    await at.until(shrink(peer));
    await expectWhole(OBJECT);
  });

  it('M18 stops here when it is done here', async () => {
    const control = new AbortController();
    const shrunk = failure(shrink(owner, { signal: control.signal }));
    await reached(0.3);
    control.abort();
    expect(await at.until(shrunk)).toMatchObject({ code: 'ECANCELED', target: 'rbd/vm1' });
    expect(owner.size).toBe(SIZE);
    await at.until(shrink(owner));
    await expectWhole(OBJECT);
  });

  it('M19 goes on at an owner that cannot be told, and the header shows it', async () => {
    const control = new AbortController();
    const asked = failure(shrink(peer, { signal: control.signal }));
    await reached(0.3);
    const deaf = await at.until(at.faults.dropNotify({ client: owners.name, times: 1 }));
    control.abort();
    expect(await at.until(asked)).toMatchObject({ code: 'ECANCELED' });
    await at.until(() => owner.size === OBJECT);
    expect(await at.until(deaf.fired())).toBe(1);
    await at.until(() => peer.size === OBJECT);
    await expectWhole(OBJECT);
  });
});

describe('a shrink whose client closes the image', () => {
  it.each([
    ['when it asked the owner', () => peer],
    ['when it is the owner', () => owner],
  ])('says that it may have happened, %s', async (_, closes) => {
    const asked = failure(shrink(closes()));
    await reached(0.3);
    await at.until(closes().close());
    expect(await at.until(asked)).toMatchObject({ code: 'EBADF', outcome: 'unknown' });
  });

  it('before anything was sent says that it has not', async () => {
    const closing = peer.close();
    expect(await at.until(failure(shrink(peer)))).toMatchObject({ outcome: 'not-applied' });
    await at.until(closing);
  });
});

describe('a shrink that fails half-way', () => {
  it('says that it may have happened, though what failed did not', async () => {
    const prefix = `${owner.objectPrefix}.${hex(50)}`;
    await at.until(at.faults.failOps({ prefix, ops: 'write', errno: 'EIO' }));
    expect(await at.until(failure(shrink(owner)))).toMatchObject({
      ...{ code: 'EIO', outcome: 'unknown' },
    });
    expect(owner.size).toBe(SIZE);
  });

  it('or a growth, says that it has not when its first step is refused', async () => {
    const prefix = owner.objectPrefix.replace('rbd_data', 'rbd_header');
    await at.until(at.faults.failOps({ prefix, ops: 'call', errno: 'EIO' }));
    expect(await at.until(failure(owner.resize(2 * SIZE)))).toMatchObject({
      ...{ code: 'EIO', outcome: 'not-applied' },
    });
  });
});

describe('a shrink during which a watch is lost', () => {
  it("M22 goes on when it is the owner's, under another cookie, and is found by its id", async () => {
    const asked = shrink(peer);
    await reached(0.3);
    const before = updates();
    const object = bystander.oid;
    const dropped = await at.until(
      at.faults.dropWatch({ pool: 'rbd', object, client: owners.name }),
    );
    await at.until(() => owner.lock?.status().counters.reacquired === 1);
    await at.until(asked);
    expect(await at.until(dropped.fired())).toBe(1);
    expect(bystander.of('resize').length).toBeGreaterThan(1);
    expect(updates() - before).toBe(1);
    expect(owner.lock?.status().counters.acquired).toBe(1);
    await expectWhole(OBJECT);
  });

  it("M23 is found by its id when it is the requester's", async () => {
    const asked = shrink(peer);
    await reached(0.3);
    const before = updates();
    const object = bystander.oid;
    await at.until(at.faults.dropWatch({ pool: 'rbd', object, client: peers.name }));
    await at.until(asked);
    const ids = bystander.of('resize').map(({ id }) => id);
    expect(ids.length).toBeGreaterThan(1);
    expect(new Set(ids.map((id) => `${id?.client.handle}/${id?.requestId}`)).size).toBe(1);
    expect(updates() - before).toBe(1);
    await expectWhole(OBJECT);
  });
});

describe('a shrink while a peer reads what is beyond', () => {
  it('M24 yields its data or zeros, and an error once the peer has heard of the new size', async () => {
    const beyond = 90 * OBJECT;
    const shrunk = shrink(owner);
    const seen = new Set<string>();
    let done = false;
    const reading = (async () => {
      for (;;) {
        const known = done;
        const bytes = await failureOr(peer.read(beyond, 16));
        if (bytes instanceof Uint8Array) seen.add(textOf(bytes));
        if (known) return bytes;
        await new Promise<void>((resolve) => at.world.after(20, resolve));
      }
    })();
    await at.until(shrunk);
    done = true;
    expect(await at.until(reading)).toMatchObject({ code: 'EINVAL' });
    for (const text of seen) expect(['', stamp(90).toString()]).toContain(text);
    expect(seen.size).toBeGreaterThan(0);
  });
});

const failureOr = <T>(promise: Promise<T>) => promise.catch((error: unknown) => error);
