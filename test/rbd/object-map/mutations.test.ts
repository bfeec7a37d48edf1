// Goal: the oracles by which object maps are judged see the faults that they are there for. Method: the same accident happens
// to the client as it is, and to one with a fault in it, which is planted between the client and the OSDs: an update that
// counts as stored before it is, marks that come before the snapshot, a map that is not loaded again.

import { afterEach, beforeEach, expect, it } from 'vitest';
import type { OperateResult } from '../../../src/osd-client/request.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import { cloneImage } from '../../../src/rbd/clone.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { MapOracle } from '../../support/map-oracle.js';
import { TracedClient, type TracedRequest, WRITTEN } from '../../support/traced-client.js';

const OBJECT = 1 << 16;
const OBJECTS = 8;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };
const FEATURES = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;
const CASES = [
  ['is not there as it is', false],
  ['is seen when it is planted', true],
] as const;

let at: ClusterWorld;
let traced: TracedClient;
let ioctx: IoContext;
let image: Image;

beforeEach(async () => {
  at = await ClusterWorld.start();
  traced = await TracedClient.connect(at);
  const judge = await at.client();
  ioctx = await until(judge.rados.ioctx('rbd'));
  await traced.client.create('vm1', { size: OBJECTS * OBJECT, order: 16, features: FEATURES });
  image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
});

afterEach(() => at.stop());

const until = <T>(step: Promise<T>) => at.until(step);
const bytes = (fill: number, length = 4096) => Buffer.alloc(length, fill);
const violations = (name = 'vm1') => until(new MapOracle(ioctx, name).violations());
const isUpdate = ({ text }: TracedRequest) => text.endsWith('rbd.object_map_update');

/** Nobody waits for an update of the map: it goes a second later. */
function hurry(client: TracedClient): void {
  client.instead = (request, send) => {
    if (!isUpdate(request)) return send();
    at.world.after(1000, () => void send().catch(() => undefined));
    return WRITTEN;
  };
}

it.each(CASES)('O2 data that goes before its map %s', async (_, isPlanted) => {
  if (isPlanted) hurry(traced);
  const dead = traced.dieAt(({ text }) => text.endsWith('write'), 'after');
  void image.write(3 * OBJECT, bytes(1));
  await until(dead);
  await at.world.advance(5000);
  expect(await violations()).toEqual(isPlanted ? ['OM: head object 3 is 0'] : []);
});

it.each(CASES)('O14 a mark as clean that comes before the snapshot %s', async (_, isPlanted) => {
  await until(image.write(0, bytes(1, 2 * OBJECT)));
  await until(image.snapshots.create('s1'));
  await until(image.write(OBJECT, bytes(2)));
  let isDead = false;
  traced.onRequest = async ({ text }) => {
    if (!text.includes('rbd.snapshot_add')) return;
    if (isPlanted) await image.objectMap?.head.stored.snapshotAdded();
    traced.client.kill();
    isDead = true;
    await new Promise(() => {});
  };
  void image.snapshots.create('s2');
  await at.until(() => isDead);
  expect(await violations()).toEqual(isPlanted ? ['FD: head object 1 is 3'] : []);
});

it.each(CASES)('O16 a flatten that copies up before it tells the map %s', async (_, isPlanted) => {
  await until(image.write(0, bytes(1, 4 * OBJECT)));
  await until(image.snapshots.create('s'));
  const child = { ...SPEC, name: 'child' };
  const parent = { ...SPEC, snap: 's' };
  await until(cloneImage(traced.context, parent, child, { format: 2, features: FEATURES }));
  const clone = await until(Image.open(traced.context, child));
  await until(clone.acquireLock());
  if (isPlanted) hurry(traced);
  const dead = traced.dieAt(({ text }) => /copyup/.test(text), 'after');
  void clone.flatten();
  await until(dead);
  await at.world.advance(5000);
  const found = await violations('child');
  if (isPlanted) expect(found).toContain('OM: head object 0 is 0');
  else expect(found).toEqual([]);
});

it.each(CASES)('O18 a map that is not loaded again with the lock %s', async (_, isPlanted) => {
  const loads: OperateResult[] = [];
  traced.instead = async ({ text }, send) => {
    if (!text.includes('object_map_load')) return send();
    if (isPlanted && loads[0]) return loads[0];
    const result = await send();
    loads.push({
      ...result,
      ops: result.ops.map(({ rval, outdata }) => ({ rval, outdata: outdata.slice() })),
    });
    return result;
  };
  await until(image.close());
  image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
  await until(image.write(0, bytes(1)));
  const other = await at.client();
  const peer = await other.open('vm1');
  // The lock is asked for, and handed over under writes; and back.
  const writes = [1, 2, 3].map((objectNo) => image.write(objectNo * OBJECT, bytes(1)));
  await until(Promise.all([...writes, peer.write(5 * OBJECT, bytes(5))]));
  expect(peer.lock?.state).toBe('locked');
  const stored = (await until(new MapOracle(ioctx, 'vm1').head())).states;
  expect(states(peer)).toEqual(stored);
  await until(image.acquireLock());

  const read = Buffer.from(await until(image.read(5 * OBJECT, 4096)));
  if (isPlanted) {
    expect(states(image)).not.toEqual(stored);
    expect(read).toEqual(bytes(0));
  } else {
    expect(states(image)).toEqual(stored);
    expect(read).toEqual(bytes(5));
  }
});

const states = ({ objectMap }: Image) =>
  Array.from({ length: OBJECTS }, (_, objectNo) => objectMap?.head.stateOf(objectNo));
