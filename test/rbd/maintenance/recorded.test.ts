// Goal: librbd's clients and ours are at home with each other. Method: the dialogue that two of librbd's had was recorded
// (test/fixtures/ceph-16.2.15/notify.json); here one side of it is played from the record, byte for byte, and what ours says on
// the other side has to be what librbd's said there, but for who is who.

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageFile } from '../../../src/base/paths.js';
import { cloneImage } from '../../../src/rbd/clone.js';
import { FEATURE } from '../../../src/rbd/features.js';
import type { Image } from '../../../src/rbd/image.js';
import { decodeNotifyPayload, type NotifyPayload } from '../../../src/rbd/notify-payloads.js';
import {
  ClusterWorld,
  type HeaderObserver,
  type WorldClient,
} from '../../support/cluster-world.js';

interface Recorded {
  step: string;
  by: 'owner' | 'requester' | 'rbd';
  payload: string;
}

const { notifications: RECORD } = JSON.parse(
  readFileSync(packageFile('test/fixtures/ceph-16.2.15/notify.json'), 'utf8'),
) as { notifications: Recorded[] };

const MIB = 1 << 20;
const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF, DEEP_FLATTEN } = FEATURE;
const FEATURES = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF | DEEP_FLATTEN;

/** What was asked there, step by step, and how ours is asked for the same. */
const STEPS: readonly (readonly [string, (image: Image) => Promise<unknown>])[] = [
  ['resize', (image) => image.resize(32 * MIB, { allowShrink: true })],
  ['resize, no shrinking', (image) => image.resize(34 * MIB)],
  ['snap create', ({ snapshots }) => snapshots.create('eins')],
  [
    'snap create, skipping quiesce',
    ({ snapshots }) => snapshots.create('zwei', { skipQuiesce: true }),
  ],
  [
    'snap create, whatever quiesce says',
    ({ snapshots }) => snapshots.create('vier', { ignoreQuiesceError: true }),
  ],
  ['snap rename', ({ snapshots }) => snapshots.rename('zwei', 'drei')],
  ['snap protect', ({ snapshots }) => snapshots.protect('drei')],
  ['snap unprotect', ({ snapshots }) => snapshots.unprotect('drei')],
  ['snap remove', ({ snapshots }) => snapshots.remove('drei')],
  ['metadata set', (image) => image.setMetadata('schlüssel', 'wert')],
  ['metadata remove', (image) => image.removeMetadata('schlüssel')],
  ['rebuild object map', (image) => image.rebuildObjectMap()],
  ['sparsify', (image) => image.sparsify()],
  ['flatten', (image) => image.flatten()],
  ['disable fast-diff', (image) => image.updateFeatures(FAST_DIFF, false)],
  ['enable fast-diff', (image) => image.updateFeatures(FAST_DIFF, true)],
];

/** What librbd asks of the owner only where there is a journal, as there was; else, as we, it does so itself and tells. */
const DONE_HERE = ['snap rename', 'snap protect', 'snap unprotect'];
const HEADER_UPDATE = '07010400000003000000';

let at: ClusterWorld;
let owners: WorldClient;
let owner: Image;
let bystander: HeaderObserver;

/** A clone, as it was there. */
beforeEach(async () => {
  at = await ClusterWorld.start();
  owners = await at.client();
  await owners.create('parent', { size: 8 * MIB, features: LAYERING });
  const parent = await owners.open('parent');
  await at.until(parent.write(0, Buffer.alloc(65_536, 'x')));
  await at.until(parent.snapshots.create('base'));
  await at.until(parent.close());
  const spec = { pool: 'rbd', namespace: '' };
  const from = { ...spec, name: 'parent', snap: 'base' };
  const clone = { features: FEATURES, format: 2 } as const;
  await at.until(cloneImage(owners.rados, from, { ...spec, name: 'vm1' }, clone));
  owner = await owners.open('vm1');
  await at.until(owner.write(0, Buffer.alloc(4096, 'y')));
  bystander = await (await at.client()).observe('vm1');
});

afterEach(() => at.stop());

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const recorded = (step: string, by: Recorded['by']) =>
  RECORD.filter((each) => each.step === step && each.by === by).map(({ payload }) => payload);
const decode = (payload: string) => decodeNotifyPayload(Buffer.from(payload, 'hex'));

/** A client's id and a request's are 24 bytes. */
function idOf(payload: NotifyPayload | undefined): string | undefined {
  if (!payload || !('id' in payload) || !payload.id) return undefined;
  const { client, requestId } = payload.id;
  const bytes = Buffer.alloc(24);
  [client.gid, client.handle, requestId].forEach((part, i) => bytes.writeBigUInt64LE(part, 8 * i));
  return hex(bytes);
}

/** Snapshots are numbered as their pool has it. */
function withOwnSnapId(payload: string): string {
  if (decode(payload).op !== 'snapRename') return payload;
  const id = owner.header.snapshots.find(({ name }) => name === 'zwei')?.id as bigint;
  const bytes = Buffer.from(payload, 'hex');
  bytes.writeBigUInt64LE(id, 10);
  return hex(bytes);
}

describe('M30 beside librbd', () => {
  it('an owner of ours does what its requests ask, and says what its owner says', async () => {
    for (const [step] of STEPS) {
      const [request] = recorded(step, 'requester');
      const payload = withOwnSnapId(request as string);
      bystander.heard.length = 0;
      expect(await at.until(bystander.say(Buffer.from(payload, 'hex'))), step).toEqual([0]);
      await at.until(() => bystander.of('asyncComplete').length > 0);
      await at.world.advance(1000);
      /** How often it tells of its progress is its own affair; what it asks of all by itself has an id of its own. */
      const shapes = (payloads: readonly string[]) =>
        payloads
          .filter((each) => decode(each).op !== 'asyncProgress')
          .map((each) => {
            const { op } = decode(each);
            return op === 'quiesce' || op === 'unquiesce' ? each.slice(0, 20) : each;
          })
          .sort();
      const said = bystander.heard
        .filter(({ from }) => from === owners.rados.globalId)
        .map(({ bytes }) => hex(bytes));
      expect(shapes(said), step).toEqual(shapes(recorded(step, 'owner')));
    }
    expect(owner.size).toBe(34 * MIB);
    expect(owner.header.parent).toBeUndefined();
    expect(owner.header.snapshots.map(({ name }) => name)).toEqual(['eins', 'vier']);
    expect(owner.features).toBe(FEATURES);
  });

  it('a requester of ours asks in its words, and is content with the answers', async () => {
    const peers = await at.client();
    const peer = await peers.open('vm1');
    for (const [step, ask] of STEPS) {
      bystander.heard.length = 0;
      const [request] = recorded(step, 'requester');
      await at.until(ask(peer));
      const said = bystander.heard.filter(({ from }) => from === peers.rados.globalId);
      const ours = said.map(({ bytes }) => hex(bytes));
      if (DONE_HERE.includes(step)) {
        expect(ours, step).toEqual([HEADER_UPDATE]);
        continue;
      }
      // librbd asks for the object map with it, which is there already.
      const theirs = (request as string).replace(
        '0701250000000f00000018',
        '0701250000000f00000010',
      );
      const [id, theirId] = [said[0]?.payload, decode(theirs)].map(idOf) as [string, string];
      expect(ours, step).toEqual([theirs.replace(theirId, id)]);
    }
    expect(owner.lock?.status().counters.handedOver).toBe(0);
  });
});
