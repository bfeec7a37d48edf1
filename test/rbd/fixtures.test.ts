// Images as Ceph 16.2.15 left them, described as its own rbd describes them.

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { listImages } from '../../src/rbd/directory.js';
import { Image } from '../../src/rbd/image.js';
import { type ImageInfo, imageInfo } from '../../src/rbd/info.js';
import { listImageMetadata } from '../../src/rbd/metadata.js';
import { openHeader } from '../../src/rbd/open.js';
import { parseImageSpec } from '../../src/rbd/spec.js';
import { FakeObjects, fakeContext } from '../support/fake-objects.js';

const fixture = <T>(name: string) =>
  JSON.parse(
    readFileSync(new URL(`../fixtures/ceph-16.2.15/rbd/${name}`, import.meta.url), 'utf8'),
  ) as T;

interface StoredObject {
  namespace: string;
  name: string;
  data: string;
  xattrs: Record<string, string>;
  omap: [string, string][];
}

const bytes = (hex: string) => Buffer.from(hex, 'hex');
let objects: FakeObjects;
let answers: Record<string, unknown>;

beforeAll(() => {
  objects = new FakeObjects();
  answers = fixture('answers.json');
  for (const { namespace, name, data, xattrs, omap } of fixture<StoredObject[]>('objects.json')) {
    objects.objects.set(`1/${namespace}/${name}`, {
      data: bytes(data),
      xattrs: new Map(Object.entries(xattrs).map(([key, value]) => [key, bytes(value)])),
      omap: new Map(omap.map(([key, value]) => [bytes(key).toString('latin1'), bytes(value)])),
    });
  }
});

/** Those fields of rbd's answer that do not depend on the reader's time zone. */
function comparable(info: ImageInfo) {
  const { parent } = info;
  return {
    name: info.name,
    id: info.id,
    size: info.size,
    objects: info.objects,
    order: info.order,
    object_size: info.objectSize,
    snapshot_count: info.snapshotCount,
    block_name_prefix: info.blockNamePrefix,
    format: info.format,
    features: info.features,
    op_features: info.opFeatures,
    flags: info.flags,
    ...(info.group === undefined ? {} : { group: info.group }),
    ...(info.protected === undefined ? {} : { protected: String(info.protected) }),
    ...(parent && {
      parent: {
        pool: parent.pool,
        pool_namespace: parent.poolNamespace,
        image: parent.image,
        id: parent.id,
        snapshot: parent.snapshot,
        trash: parent.trash,
        overlap: parent.overlap,
      },
    }),
    ...(info.stripeUnit !== undefined && {
      stripe_unit: info.stripeUnit,
      stripe_count: info.stripeCount,
    }),
  };
}

describe('images that Ceph 16.2.15 left', () => {
  it('are described as rbd does', async () => {
    const described = Object.keys(answers).filter((question) => question.startsWith('info '));
    expect(described.length).toBeGreaterThan(4);
    for (const question of described) {
      const answer = { ...(answers[question] as Record<string, unknown>) };
      for (const key of Object.keys(answer)) if (key.endsWith('_timestamp')) delete answer[key];
      const info = await imageInfo(fakeContext(objects), parseImageSpec(question.slice(5)));
      expect(comparable(info)).toEqual(answer);
    }
  });

  it('have the times that are stored in them', async () => {
    const { createTimestamp } = await imageInfo(fakeContext(objects), parseImageSpec('plain'));
    const text = (answers['info plain'] as { create_timestamp: string }).create_timestamp;
    // Captured in UTC.
    expect(Math.floor(createTimestamp.getTime() / 1000)).toBe(Date.parse(`${text} UTC`) / 1000);
  });

  it('are listed as rbd does', async () => {
    const long = answers['ls --long'] as { image: string; id: string; snapshot?: string }[];
    const images = long.filter(({ snapshot }) => snapshot === undefined);
    const listed = await listImages(await fakeContext(objects).ioctx('rbd'));
    expect(listed).toEqual(images.map(({ image, id }) => ({ name: image, id })));
  });

  it('have the snapshots and the locks that rbd shows', async () => {
    const long = answers['ls --long'] as Record<string, unknown>[];
    const rows: Record<string, unknown>[] = [];
    for (const { name } of await listImages(await fakeContext(objects).ioctx('rbd'))) {
      const { header } = await openHeader(fakeContext(objects), { pool: 'rbd', name });
      const lock = ['', 'exclusive', 'shared'][header.lock.lockers.length && header.lock.type];
      rows.push({ image: name, size: header.size, ...(lock ? { lock_type: lock } : {}) });
      for (const snapshot of header.snapshots) {
        if (snapshot.namespace.type !== 'user') continue;
        rows.push({
          image: name,
          size: snapshot.imageSize,
          snapshot: snapshot.name,
          snapshot_id: Number(snapshot.id),
          protected: String(snapshot.isProtected),
        });
      }
    }
    expect(rows).toEqual(long.map(({ id: _, format: _f, parent: _p, ...row }) => row));
  });

  it('have the metadata that was set', async () => {
    const image = await openHeader(fakeContext(objects), parseImageSpec('plain'));
    expect(Object.fromEntries(await listImageMetadata(image))).toMatchObject({
      conf_rbd_cache: 'false',
    });
  });

  it('open for what their features allow', async () => {
    const open = (name: string, readOnly: boolean) =>
      Image.open(fakeContext(objects), parseImageSpec(name), { readOnly }).then(
        () => 'opened',
        (error: { code: string }) => error.code,
      );
    for (const [name, writing, reading] of [
      ['plain', 'opened', 'opened'],
      ['child-v1', 'opened', 'opened'],
      ['child-v2', 'opened', 'opened'],
      ['locked', 'opened', 'opened'],
      ['thrown-away', 'ENOENT', 'ENOENT'],
    ] as const) {
      expect([name, await open(name, false), await open(name, true)]).toEqual([
        name,
        writing,
        reading,
      ]);
    }
  });
});
