// Goal: what one client of an image asks of the owner of its lock happens once, there, and is told whoever asked, whatever
// gets lost between them. Method: several clients and the embedded cluster in virtual time, with a bystander that hears all
// that they say; a header update is an effect.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ERRNO } from '../../../src/base/errors.js';
import { FEATURE } from '../../../src/rbd/features.js';
import type { Image } from '../../../src/rbd/image.js';
import { listImageMetadata } from '../../../src/rbd/metadata.js';
import { encodeNotifyPayload, type KnownPayload } from '../../../src/rbd/notify-payloads.js';
import { LockHolder } from '../../ceph/support/lock-clients.js';
import {
  ClusterWorld,
  type HeaderObserver,
  type WorldClient,
} from '../../support/cluster-world.js';

const OBJECT = 1 << 20;
const OBJECTS = 40;
const SIZE = OBJECTS * OBJECT;

let at: ClusterWorld;
let owners: WorldClient;
let peers: WorldClient;
let owner: Image;
let peer: Image;
let bystander: HeaderObserver;

beforeEach(async () => {
  at = await ClusterWorld.start();
  owners = await at.client();
  peers = await at.client();
  const features = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK;
  await owners.create('vm1', { size: SIZE, order: 20, features });
  owner = await owners.open('vm1');
  await at.until(owner.acquireLock());
  peer = await peers.open('vm1');
  bystander = await (await at.client()).observe('vm1');
});

afterEach(() => at.stop());

/** A shrink that takes its time: ten objects every half a second. */
const slowTrim = () => at.faults.delayReplies({ prefix: 'rbd_data.', ops: 'write', ms: 500 });
const shrink = { allowShrink: true };
const resizes = () => bystander.of('headerUpdate').length;
/** The promise's error, not yet looked at. */
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('an operation asked for by a peer', () => {
  it('M1 runs at the owner, with progress and a result, and both see the new header', async () => {
    await at.until(slowTrim());
    const seen: number[] = [];
    const onProgress = (done: number, total: number) => seen.push(done / total);
    await at.until(peer.resize(OBJECT, { ...shrink, onProgress }));
    expect([owner.size, peer.size]).toEqual([OBJECT, OBJECT]);
    expect(seen.length).toBeGreaterThan(3);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(owner.lock?.state).toBe('locked');
    expect(owner.lock?.status().counters.handedOver).toBe(0);
    expect(bystander.of('asyncComplete').map(({ result }) => result)).toEqual([0]);
  });

  it('fails with what it failed with there', async () => {
    const key = peer.removeMetadata('nothing');
    expect(await at.until(failure(key))).toMatchObject({ code: 'ENOENT', target: 'rbd/vm1' });
    const [result] = await at.until(
      bystander.say({ op: 'resize', size: 1, allowShrink: false, id: idOf(peers, 99n) }),
    );
    expect(result).toBe(0);
    await at.until(() => bystander.of('asyncComplete').length > 0);
    expect(bystander.of('asyncComplete')[0]).toMatchObject({ result: -ERRNO.EINVAL });
  });

  it('M2 is not run again when it is asked for again, while it runs and afterwards', async () => {
    await at.until(slowTrim());
    const request: KnownPayload = {
      ...{ op: 'resize', size: OBJECT, allowShrink: true, id: idOf(peers, 7n) },
    };
    expect(await at.until(bystander.say(request))).toEqual([0]);
    await at.until(() => bystander.of('asyncProgress').length > 0);
    expect(await at.until(bystander.say(request))).toEqual([0]);
    await at.until(() => bystander.of('asyncComplete').length > 0);
    await at.world.advance(100);
    expect(await at.until(bystander.say(request))).toEqual([0]);
    await at.until(() => bystander.of('asyncComplete').length > 1);
    expect(bystander.of('asyncComplete').map(({ result }) => result)).toEqual([0, 0]);
    expect(resizes()).toBe(1);
  });

  it('M3 is done when its completion is heard, though the acceptance was not', async () => {
    const lost = await at.until(
      at.faults.dropNotify({ message: 'completion', client: peers.name, times: 1 }),
    );
    await at.until(peer.resize(2 * SIZE));
    expect(await at.until(lost.fired())).toBe(1);
    expect(peer.size).toBe(2 * SIZE);
    expect(resizes()).toBe(1);
  });

  it('M4 is told a requester that did not react for a while', async () => {
    const resized = peer.resize(2 * SIZE);
    await at.until(() => bystander.of('resize').length > 0);
    peers.process.stop();
    await at.until(() => bystander.of('asyncComplete').length > 1);
    peers.process.continue();
    await at.until(resized);
    expect(peer.size).toBe(2 * SIZE);
    expect(resizes()).toBe(1);
  });

  it('M4 is known by its effect to a requester that slept until its watch was gone', async () => {
    const resized = peer.resize(2 * SIZE);
    await at.until(() => bystander.of('resize').length > 0);
    peers.process.stop();
    await at.world.advance(60_000);
    const told = bystander.of('asyncComplete').length;
    await at.world.advance(30_000);
    expect(bystander.of('asyncComplete').length).toBe(told);
    peers.process.continue();
    await at.until(resized);
    expect(peer.size).toBe(2 * SIZE);
    expect(resizes()).toBe(1);
  });

  it('M5 runs to its end when the requester dies, which is told until it is forgotten', async () => {
    await at.until(slowTrim());
    peer.resize(OBJECT, shrink).catch(() => undefined);
    await at.until(() => bystander.of('asyncProgress').length > 0);
    peers.kill();
    await at.until(() => owner.size === OBJECT);
    await at.world.advance(60_000);
    const told = bystander.of('asyncComplete').length;
    expect(told).toBeGreaterThan(1);
    await at.world.advance(60_000);
    expect(bystander.of('asyncComplete').length).toBe(told);
  });

  it('M10 is done by the peer when there is no owner', async () => {
    await at.until(owner.close());
    await at.until(peer.resize(2 * SIZE));
    expect(peer.size).toBe(2 * SIZE);
    expect(peer.lock?.state).toBe('locked');
    expect(bystander.of('resize')).toEqual([]);
  });

  it('M11 is done by the peer, with the lock, when the owner does nothing for others', async () => {
    await at.until(owner.close());
    const holders = await at.client();
    const holder = await at.until(LockHolder.open(holders.rados, 'vm1'));
    // As krbd's does: it is the owner, and says so, and no more.
    holder.acceptRequest = () => 0 as never;
    await at.until(holder.lock.acquire());
    await at.until(peer.resize(2 * SIZE));
    expect(peer.lock?.state).toBe('locked');
    expect(holder.events).toContain('lost: requested');
    expect(resizes()).toBe(1);
  });

  it('M12 waits for an owner that gives the lock away', async () => {
    const other = await (await at.client()).open('vm1');
    const slow = { prefix: 'rbd_data.', client: owners.name, ms: 4000 };
    await at.until(at.faults.delayReplies(slow));
    const written = owner.write(0, Buffer.from('x'));
    await at.world.advance(10);
    const taken = other.write(0, Buffer.from('y'));
    await at.until(() => owner.lock?.state === 'pre-releasing');
    const asked = peer.resize(2 * SIZE);
    await at.until(() => bystander.of('resize').length > 2);
    expect(owner.lock?.state).toBe('pre-releasing');
    await at.until(Promise.all([written, taken, asked]));
    expect(peer.size).toBe(2 * SIZE);
    expect(resizes()).toBe(1);
  });

  it('M12 waits for an owner that has the lock, but has not yet read the header', async () => {
    await at.until(owner.close());
    const others = await at.client();
    const other = await others.open('vm1');
    const slow = { object: bystander.oid, client: others.name, ops: 'call', ms: 3000 } as const;
    await at.until(at.faults.delayReplies(slow));
    const taken = other.write(0, Buffer.from('y'));
    await at.world.advance(5000);
    await at.until(bystander.say({ op: 'headerUpdate' }));
    const updates = resizes();
    await at.until(() => other.lock?.state === 'post-acquiring');
    const asked = peer.resize(2 * SIZE);
    await at.until(() => bystander.of('resize').length > 1);
    expect(other.lock?.state).toBe('post-acquiring');
    await at.until(Promise.all([taken, asked]));
    expect([other.size, peer.size]).toEqual([2 * SIZE, 2 * SIZE]);
    expect(resizes() - updates).toBe(1);
  });

  it('M13 is done once when a client that was fenced still thinks to be the owner', async () => {
    owners.process.stop();
    const others = await at.client();
    const other = await others.open('vm1');
    await at.until(other.write(0, Buffer.from('y')));
    owners.process.continue();
    await at.until(peer.resize(2 * SIZE));
    expect(other.size).toBe(2 * SIZE);
    expect(resizes()).toBe(1);
    await at.until(() => owner.lock?.state === 'shutdown');
  });

  it('M13 is an alarm when two answer as owners, and again when they are asked once more', async () => {
    const second = await (await at.client()).observe('vm1');
    await at.until(slowTrim());
    let answers = 1;
    second.answer = ({ op }) => (op === 'resize' && answers-- > 0 ? 0 : undefined);
    await at.until(peer.resize(SIZE / 2, shrink));
    expect(bystander.of('resize').length).toBe(2);
    expect(resizes()).toBe(1);
    answers = 2;
    const error = await at.until(failure(peer.resize(OBJECT, shrink)));
    expect(error).toMatchObject({ code: 'EIO', message: expect.stringContaining('two clients') });
    expect(bystander.of('resize').length).toBe(4);
  });

  it('M20 is one of a hundred of twenty peers, each with one result', async () => {
    const images = [peer];
    while (images.length < 20) images.push(await (await at.client()).open('vm1'));
    const set = images.flatMap((image, i) =>
      Array.from({ length: 5 }, (_, j) => image.setMetadata(`key-${i}-${j}`, `${i * j}`)),
    );
    await at.until(Promise.all(set));
    expect((await at.until(listImageMetadata(owner))).size).toBe(100);
    const ids = bystander.of('asyncComplete').map(({ id, result }) => {
      expect(result).toBe(0);
      return `${id.client.gid}/${id.requestId}`;
    });
    expect(new Set(ids).size).toBe(100);
    expect(resizes()).toBe(100);
  });

  it('M25 is done by an owner that does not give the lock away', async () => {
    await at.until(owner.close());
    const keeper = await owners.open('vm1', { lock: { transitions: 'manual' } });
    await at.until(keeper.acquireLock());
    expect(await at.until(failure(peer.write(0, Buffer.from('x'))))).toMatchObject({
      code: 'EROFS',
    });
    await at.until(peer.resize(2 * SIZE));
    expect([keeper.size, peer.size]).toEqual([2 * SIZE, 2 * SIZE]);
    expect(keeper.lock?.state).toBe('locked');
  });

  it('M27 is understood from clients that are newer, and what is not known is said to be so', async () => {
    const newer = (payload: KnownPayload, more: number) => {
      const bytes = Buffer.concat([encodeNotifyPayload(payload), Buffer.alloc(more, 0xee)]);
      bytes[0] = 9;
      bytes.writeUInt32LE(bytes.readUInt32LE(2) + more, 2);
      return bytes;
    };
    const resize: KnownPayload = {
      ...{ op: 'resize', size: 2 * SIZE, allowShrink: false, id: idOf(peers, 1n) },
    };
    expect(await at.until(bystander.say(newer(resize, 13)))).toEqual([0]);
    await at.until(() => owner.size === 2 * SIZE);
    const unknown = newer({ op: 'headerUpdate' }, 5);
    unknown.writeUInt32LE(77, 6);
    expect(await at.until(bystander.say(unknown))).toEqual([-ERRNO.EOPNOTSUPP]);
  });
});

function idOf(client: WorldClient, requestId: bigint) {
  return { client: { gid: client.rados.globalId, handle: 1n }, requestId };
}
