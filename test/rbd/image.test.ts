import { beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { HeldBackError } from '../../src/osd-client/request.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image, type OpenOptions } from '../../src/rbd/image.js';
import { imageInfo } from '../../src/rbd/info.js';
import { FakeImage } from '../support/fake-image.js';
import { FakeObjects, fakeContext } from '../support/fake-objects.js';

let objects: FakeObjects;
let fake: FakeImage;

beforeEach(() => {
  objects = new FakeObjects();
  fake = new FakeImage(objects);
});

const SPEC = { pool: 'rbd', name: 'vm1' };
const open = (spec: object = {}, options: OpenOptions = {}) =>
  Image.open(fakeContext(objects), { ...SPEC, ...spec }, options);
const dataObjects = () => [...objects.objects.keys()].filter((key) => key.includes('rbd_data'));
const SNAPSHOTS = [
  { id: 4n, name: 's1', size: 1000 },
  { id: 7n, name: 's2', size: 2000, overlap: 0 },
];

describe('Image.open', () => {
  it('reads the header in three requests and one for the name', async () => {
    fake.features = FEATURE.LAYERING | FEATURE.STRIPINGV2;
    fake.stripeCount = 2;
    fake.stripeUnit = 4096;
    fake.snapshots = SNAPSHOTS;
    fake.snapSeq = 7n;
    const image = await open();
    expect(objects.requests.map(({ oid }) => oid)).toEqual([
      'rbd_id.vm1',
      ...new Array<string>(4).fill('rbd_header.1016abc'),
    ]);
    expect(image).toMatchObject({
      id: '1016abc',
      name: 'vm1',
      target: 'rbd/vm1',
      size: 10 << 20,
      objectSize: 65_536,
      stripeUnit: 4096,
      stripeCount: 2,
      features: 3n,
      readOnly: false,
      snapshot: undefined,
    });
    expect(image.header.snapContext).toEqual({ seq: 7n, snaps: [7n, 4n] });
    expect(image.header.snapshots.map(({ name }) => name)).toEqual(['s1', 's2']);
  });

  it('says which image it did not find', async () => {
    await expect(open({ name: 'vm2' })).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining('open rbd/vm2'),
    });
    await expect(open({ pool: 'nopool' })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(open({ snap: 's9' })).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining('no such snapshot'),
    });
  });

  it('recognises an image of format 1 and refuses it', async () => {
    objects.put('1//old.rbd', '<<< Rados Block Device Image >>>');
    await expect(open({ name: 'old' })).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
  });

  it('starts over when a snapshot vanishes while the header is read', async () => {
    fake.snapshots = SNAPSHOTS.slice();
    let reads = 0;
    objects.onRequest = ({ text }) => {
      if (text.includes('snapshot_get') && ++reads === 1) fake.snapshots.pop();
    };
    const image = await open();
    expect(reads).toBe(2);
    expect(image.header.snapContext.snaps).toEqual([4n]);
  });

  it('gives up when snapshots keep vanishing', async () => {
    fake.snapshots = SNAPSHOTS.slice();
    objects.onRequest = ({ text }) => {
      if (text.includes('snapshot_get')) throw RadosError.fromErrno(-2, {});
    };
    await expect(open()).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('refuses a header that cannot be', async () => {
    fake.order = 77;
    await expect(open()).rejects.toMatchObject({ code: 'EINVAL' });
    objects.methods.set('rbd.get_size', () => new Uint8Array(3));
    await expect(open()).rejects.toMatchObject({ code: 'EPROTO' });
  });

  it('refuses to write an image with a feature that is lacking, by its name, and reads it', async () => {
    fake.features = 65n;
    await expect(open()).rejects.toMatchObject({
      code: 'ENOSYS',
      message: expect.stringContaining(
        "image rbd/vm1 has feature 'journaling', which this version cannot write",
      ),
    });
    const image = await open({}, { readOnly: true });
    expect(await image.read(0, 10)).toEqual(new Uint8Array(10));
    await expect(image.write(0, Buffer.from('x'))).rejects.toMatchObject({ code: 'EROFS' });
    await expect(image.resize(1)).rejects.toMatchObject({ code: 'EROFS' });
    await expect(image.setMetadata('key', 'value')).rejects.toMatchObject({ code: 'EROFS' });
    expect(dataObjects()).toEqual([]);
  });

  it('tells of a parent that is needed and gone, and does without one that is not needed', async () => {
    fake.parent = { pool: 2, nspace: 'ns', id: '10aa', snap: 3n, overlap: 4096 };
    await expect(open({}, { readOnly: true })).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining('data/ns/id 10aa@id 3'),
    });
    fake.parent.overlap = 0;
    await (await open()).write(0, Buffer.from('x'));
  });

  it('needs the parent of a snapshot although the head does not', async () => {
    fake.parent = { pool: 2, nspace: '', id: '10aa', snap: 3n, overlap: 0 };
    fake.snapshots = [{ id: 4n, name: 's1', size: 1000, overlap: 1000 }];
    await expect(open({ snap: 's1' })).rejects.toMatchObject({ code: 'ENOENT' });
    await open();
  });
});

describe('an image at a snapshot', () => {
  beforeEach(() => {
    fake.snapshots = SNAPSHOTS;
    fake.snapSeq = 9n;
  });

  it('has the snapshot’s size, reads at its id and is not written', async () => {
    const image = await open({ snap: 's1' });
    expect([image.size, image.readOnly, image.target]).toEqual([1000, true, 'rbd/vm1@s1']);
    expect(await image.read(900, 500)).toHaveLength(100);
    expect(objects.requests.at(-1)?.options.snapid).toBe(4n);
    await expect(image.discard(0, 1)).rejects.toMatchObject({ code: 'EROFS' });
    expect((await open({ snapId: 7n })).size).toBe(2000);
  });

  it('is not found by the generated name of a snapshot in the trash', async () => {
    fake.snapshots = [{ id: 4n, name: 'uuid', size: 1000, namespace: 1 }];
    await expect(open({ snap: 'uuid' })).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await open({ snapId: 4n })).snapshot?.name).toBe('uuid');
  });
});

describe('the bounds of an image', () => {
  it('clip what crosses the end and refuse what starts beyond it', async () => {
    fake.size = 1000;
    const image = await open();
    expect(await image.write(990, Buffer.alloc(20, 1))).toBe(10);
    expect(dataObjects()).toHaveLength(1);
    expect(Buffer.from(await image.read(980, 100))).toEqual(
      Buffer.concat([Buffer.alloc(10), Buffer.alloc(10, 1)]),
    );
    expect(await image.read(1000, 5)).toHaveLength(0);
    for (const request of [
      () => image.read(1001, 1),
      () => image.write(1000, Buffer.alloc(1)),
      () => image.discard(1000, 1),
      () => image.writeZeroes(2000, 1),
      () => image.compareAndWrite(995, Buffer.alloc(9), Buffer.alloc(9)),
    ]) {
      await expect(request()).rejects.toMatchObject({ code: 'EINVAL', target: 'rbd/vm1' });
    }
    expect(await image.write(5000, new Uint8Array(0))).toBe(0);
    await expect(image.read(-1, 1)).rejects.toThrow(RangeError);
    await expect(image.read(0, 0.5)).rejects.toThrow(RangeError);
  });

  it('fill the part of a larger buffer', async () => {
    const image = await open();
    await image.write(0, Buffer.from('abcdef'));
    const into = Buffer.alloc(10, 0xee);
    const read = await image.read(1, 3, into);
    expect([read.length, into.toString('latin1', 0, 4)]).toEqual([3, 'bcd\xee']);
    await expect(image.read(0, 11, into)).rejects.toThrow(RangeError);
  });
});

describe('a write', () => {
  it('carries the snapshots that it must preserve', async () => {
    fake.snapshots = SNAPSHOTS;
    fake.snapSeq = 9n;
    const image = await open();
    await image.write(0, Buffer.from('x'));
    expect(objects.requests.at(-1)?.options.snapContext).toEqual({ seq: 9n, snaps: [7n, 4n] });
    fake.snapSeq = 11n;
    fake.snapshots = [...SNAPSHOTS, { id: 11n, name: 's3', size: 1 }];
    await image.refresh();
    await image.discard(0, 65_536);
    expect(objects.requests.at(-1)?.options.snapContext?.snaps).toEqual([11n, 7n, 4n]);
  });

  it('goes to the data pool, in the image’s namespace', async () => {
    fake.dataPool = 2;
    const image = await open({ namespace: 'ns' });
    await image.write(0, Buffer.from('x'));
    expect(dataObjects()).toEqual(['2/ns/rbd_data.1016abc.0000000000000000']);
  });

  it('that fails names the image and keeps the errno and the outcome', async () => {
    const image = await open();
    objects.onRequest = () => {
      throw RadosError.fromErrno(-28, { op: 'write', target: 'rbd/obj', outcome: 'not-applied' });
    };
    await expect(image.write(0, Buffer.from('x'))).rejects.toMatchObject({
      code: 'ENOSPC',
      op: 'write',
      target: 'rbd/vm1',
      outcome: 'not-applied',
      message: 'write rbd/vm1: write rbd/obj: (28) No space left on device',
    });
  });

  it('is refused when another client has added a feature meanwhile', async () => {
    const image = await open();
    fake.features |= FEATURE.JOURNALING;
    await image.refresh();
    await expect(image.write(0, Buffer.from('x'))).rejects.toMatchObject({ code: 'ENOSYS' });
  });

  it('of a pattern must be a multiple of it', async () => {
    const image = await open();
    for (const pattern of [Buffer.alloc(0), Buffer.alloc(3)]) {
      await expect(image.writeSame(0, 10, pattern)).rejects.toMatchObject({ code: 'EINVAL' });
    }
  });
});

describe('Image.refresh', () => {
  it('keeps the newest header of refreshes that overlap', async () => {
    const image = await open();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let first = true;
    fake.snapshots = [{ id: 4n, name: 's1', size: 1 }];
    objects.onRequest = ({ text }) => {
      if (!text.includes('snapshot_get') || !first) return undefined;
      first = false;
      return held;
    };
    const slow = image.refresh();
    await expect.poll(() => first).toBe(false);
    fake.size = 123;
    await image.refresh();
    release();
    await slow;
    expect(image.size).toBe(123);
  });
});

describe('Image.flush and close', () => {
  it('wait for the writes in flight', async () => {
    const image = await open();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    objects.onRequest = () => held;
    const order: string[] = [];
    const write = image.write(0, Buffer.from('x')).then(() => order.push('write'));
    const flush = image.flush().then(() => order.push('flush'));
    const close = image.close().then(() => order.push('close'));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual([]);
    release();
    await Promise.all([write, flush, close]);
    expect(order[0]).toBe('write');
    await expect(image.read(0, 1)).rejects.toMatchObject({ code: 'EBADF' });
    await expect(image.flush()).rejects.toMatchObject({ code: 'EBADF' });
    await image.close();
  });
});

describe('Image.resize', () => {
  const steps = () =>
    objects
      .log()
      .filter((line) => !line.includes('get_'))
      .map((line) =>
        line
          .replace('rbd_data.1016abc.000000000000000', '')
          .replace('rbd_header.1016abc', 'header'),
      );

  it('grows by the header alone, and tells other clients', async () => {
    const image = await open();
    await image.resize(20 << 20);
    expect(steps()).toEqual(['header: rbd.set_size', 'header: notify']);
    expect(image.size).toBe(20 << 20);
  });

  it('removes the data first when it shrinks', async () => {
    fake.size = 5 * 65_536 + 1;
    const image = await open();
    await image.write(0, Buffer.alloc(fake.size, 1));
    objects.requests.length = 0;
    const progress: number[][] = [];
    await image.resize(2 * 65_536 + 100, {
      allowShrink: true,
      onProgress: (done, total) => progress.push([done, total]),
    });
    expect(steps().slice(0, 4).sort()).toEqual([
      '2: truncate',
      '3: delete',
      '4: delete',
      '5: delete',
    ]);
    expect(steps().slice(4)).toEqual(['header: rbd.set_size', 'header: notify']);
    expect(progress).toEqual([1, 2, 3, 4].map((done) => [done, 4]));
    expect(image.size).toBe(2 * 65_536 + 100);
  });

  it('cuts every object of the set that the new size falls into when striped', async () => {
    fake.features = 3n;
    fake.stripeUnit = 16_384;
    fake.stripeCount = 3;
    fake.size = 6 * 65_536;
    const image = await open();
    await image.write(0, Buffer.alloc(fake.size, 1));
    const size = 50_000;
    await image.resize(size, { allowShrink: true });
    await image.resize(fake.size, {});
    fake.size = 6 * 65_536;
    await image.refresh();
    const rest = await image.read(0, fake.size);
    expect(rest.findIndex((byte) => byte !== 1)).toBe(size);
    expect(rest.subarray(size).some((byte) => byte !== 0)).toBe(false);
    // Objects of the second set, and in the first nothing but what lies below the size.
    expect(dataObjects().sort()).toEqual(
      [0, 1, 2].map((no) => `1//rbd_data.1016abc.${`${no}`.padStart(16, '0')}`),
    );
  });

  it('shrinks only when that is allowed', async () => {
    const image = await open();
    await expect(image.resize(1)).rejects.toMatchObject({ code: 'EINVAL' });
    expect(image.size).toBe(10 << 20);
  });

  it('lets writes in flight finish, and no write pass beyond the new size', async () => {
    const image = await open();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    objects.onRequest = ({ text }) => (text.includes('write') ? held : undefined);
    const write = image.write(70_000, Buffer.alloc(10, 1));
    const resize = image.resize(65_536, { allowShrink: true });
    await expect.poll(() => image.writableSize).toBe(65_536);
    await expect(image.write(70_000, Buffer.alloc(10, 2))).rejects.toMatchObject({
      code: 'EINVAL',
    });
    expect(objects.log().some((line) => line.includes('delete'))).toBe(false);
    release();
    await Promise.all([write, resize]);
    expect(dataObjects()).toEqual([]);
    expect(image.size).toBe(65_536);
  });

  it('waits for another that runs', async () => {
    const image = await open();
    const sizes: number[] = [];
    objects.onRequest = ({ text }) => {
      if (text === 'rbd.set_size') sizes.push(image.size);
    };
    await Promise.all([
      image.resize(65_536, { allowShrink: true }),
      image.resize(20 << 20),
      image.resize(15 << 20, { allowShrink: true }),
    ]);
    expect(sizes).toEqual([10 << 20, 65_536, 20 << 20]);
    expect(image.size).toBe(15 << 20);
  });

  it('keeps the size when it fails or is aborted on the way', async () => {
    const image = await open();
    await image.write(0, Buffer.alloc(image.size, 1));
    const abort = new AbortController();
    const onProgress = (done: number) => {
      if (done === 5) abort.abort();
    };
    await expect(
      image.resize(0, { allowShrink: true, onProgress, signal: abort.signal }),
    ).rejects.toMatchObject({ code: 'ECANCELED', target: 'rbd/vm1' });
    expect([image.size, fake.size]).toEqual([10 << 20, 10 << 20]);
    expect(await image.write(image.size - 1, Buffer.from('x'))).toBe(1);
  });

  it('knows the new size when only the answer to the change is lost', async () => {
    const image = await open();
    objects.onRequest = ({ text }) => {
      if (text !== 'rbd.set_size') return;
      fake.size = 20 << 20;
      throw new RadosError('ETIMEDOUT', 'no answer', { outcome: 'unknown' });
    };
    await expect(image.resize(20 << 20)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(image.size).toBe(20 << 20);
  });

  it('succeeds when nobody can be told', async () => {
    const image = await open();
    objects.onRequest = ({ text }) => {
      if (text === 'notify') throw RadosError.fromErrno(-110, {});
    };
    await image.resize(0, { allowShrink: true });
    expect(image.size).toBe(0);
  });
});

describe('imageInfo', () => {
  it('shows an image of any features', async () => {
    fake.features = 0x3dn;
    fake.flags = 1n;
    fake.snapshots = SNAPSHOTS;
    objects.methods.set('rbd.snapshot_get_limit', () => new Uint8Array(8).fill(0xff));
    expect(await imageInfo(fakeContext(objects), SPEC)).toMatchObject({
      name: 'vm1',
      objects: 160,
      snapshotCount: 2,
      features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'],
      flags: ['object map invalid'],
      snapshotLimit: undefined,
      stripeUnit: undefined,
      createTimestamp: new Date(1000),
    });
  });
});

describe('a write whose snapshot context an OSD finds too old', () => {
  const OLD = -85;
  const isData = (text: string) => text.includes('write');

  it('goes again with the header that is read then, and never with the old one', async () => {
    const image = await open();
    objects.requests.length = 0;
    let refusals = 0;
    objects.onRequest = ({ text }) => {
      if (!isData(text) || refusals > 0) return;
      refusals++;
      fake.snapshots = SNAPSHOTS;
      fake.snapSeq = 7n;
      throw RadosError.fromErrno(OLD, {});
    };
    await image.write(0, Buffer.from('new'));
    const writes = objects.requests.filter(({ text }) => isData(text));
    expect(writes.map(({ options }) => options.snapContext?.seq)).toEqual([0n, 7n]);
    expect((await image.read(0, 3)).toString()).toBe('new');
  });

  it('fails when the header never catches up', async () => {
    const image = await open();
    let refusals = 0;
    objects.onRequest = ({ text }) => {
      if (!isData(text)) return;
      refusals++;
      throw RadosError.fromErrno(OLD, {});
    };
    await expect(image.write(0, Buffer.from('new'))).rejects.toMatchObject({ code: 'ERESTART' });
    expect(refusals).toBe(10);
  });

  it('plans the rest of a large write anew when the image shrank meanwhile', async () => {
    const image = await open();
    let first = true;
    objects.onRequest = ({ text }) => {
      if (!isData(text) || !first) return;
      first = false;
      fake.size = 4096;
      throw RadosError.fromErrno(OLD, {});
    };
    await expect(image.write(0, Buffer.alloc(8192))).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('shrank to 4096'),
    });
    expect(image.size).toBe(4096);
  });
});

describe('a request of which an operation is held back as it is sent', () => {
  it('begins anew, by the header of then', async () => {
    await using image = await open();
    await image.write(0, Buffer.alloc(3 * 65_536, 1));
    let held = 0;
    objects.onRequest = ({ oid }) => {
      if (oid.endsWith('0001') && held++ < 2) throw new HeldBackError({ op: 'x', target: oid });
    };
    objects.requests.length = 0;
    expect(await image.write(0, Buffer.alloc(3 * 65_536, 2))).toBe(3 * 65_536);
    expect(held).toBe(3);
    // What it was done to stays as others have made it since: nobody sees it happen twice.
    const writes = objects.requests.filter(({ oid }) => oid.startsWith('rbd_data.'));
    expect(writes.map(({ oid }) => oid.slice(-1)).sort()).toEqual(['0', '1', '1', '1', '2']);
    held = 0;
    expect(Buffer.from(await image.read(65_536, 4))).toEqual(Buffer.alloc(4, 2));
    expect(held).toBe(3);
    // As long as the header that it goes by allows it.
    objects.onRequest = async ({ oid }) => {
      if (!oid.endsWith('0002')) return;
      objects.onRequest = () => {};
      fake.size = 65_536;
      await image.refresh();
      throw new HeldBackError({ op: 'x', target: oid });
    };
    await expect(image.write(2 * 65_536, Buffer.alloc(4))).rejects.toMatchObject({
      code: 'EINVAL',
      outcome: 'not-applied',
    });
  });

  it('does not begin anew when another part of it may have happened, and failed', async () => {
    await using image = await open();
    objects.onRequest = async ({ oid }) => {
      if (oid.endsWith('0000')) throw new HeldBackError({ op: 'x', target: oid });
      if (!oid.endsWith('0001')) return;
      await Promise.resolve();
      throw RadosError.fromErrno(-110, { outcome: 'unknown', target: oid });
    };
    objects.requests.length = 0;
    await expect(image.write(0, Buffer.alloc(2 * 65_536))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'unknown',
    });
    expect(objects.requests.filter(({ oid }) => oid.startsWith('rbd_data.'))).toHaveLength(2);
  });

  it('is of unknown outcome when a part of it was done, and the rest fails as it begins anew', async () => {
    await using image = await open();
    let held = 0;
    objects.onRequest = ({ oid }) => {
      if (!oid.endsWith('0001')) return;
      if (held++ === 0) throw new HeldBackError({ op: 'x', target: oid });
      throw RadosError.fromErrno(-108, { outcome: 'not-applied', target: oid });
    };
    await expect(image.write(0, Buffer.alloc(2 * 65_536))).rejects.toMatchObject({
      code: 'EBLOCKLISTED',
      outcome: 'unknown',
    });
  });
});
