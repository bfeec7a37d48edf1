import { beforeEach, describe, expect, it } from 'vitest';
import type { ImageHeader, ImageSnapshot, Parent } from '../../src/rbd/header.js';
import { Layout } from '../../src/rbd/layout.js';
import { type ParentSource, Parents, readParent } from '../../src/rbd/parent.js';
import { formatImageSpec, type ImageSpec } from '../../src/rbd/spec.js';
import { fakeContext, FakeObjects } from '../support/fake-objects.js';

const PARENT: Parent = {
  ...{ poolId: 2, namespace: 'ns', imageId: '10aa', snapId: 3n },
  ...{ overlap: 100, ofHead: true },
};

interface Opened extends ParentSource {
  readonly spec: string;
  readonly depth: number;
  closed: boolean;
}

let opened: Opened[];
let onRead: () => Promise<unknown>;
beforeEach(() => {
  opened = [];
  onRead = () => Promise.resolve();
});

function parents(options: { depth?: number; snapshot?: Partial<ImageSnapshot> } = {}): Parents {
  return new Parents({
    context: fakeContext(new FakeObjects()),
    target: 'rbd/vm1',
    depth: options.depth ?? 0,
    snapshot: options.snapshot as ImageSnapshot | undefined,
    open: async (spec: ImageSpec, depth) => {
      const source: Opened = {
        spec: formatImageSpec(spec),
        depth,
        closed: false,
        read: async (offset, length, into) => {
          await onRead();
          expect(source.closed).toBe(false);
          return into.subarray(0, length).fill(offset);
        },
        close: async () => {
          source.closed = true;
        },
      };
      opened.push(source);
      return source;
    },
  });
}

const header = (parent: Partial<Parent> | undefined) =>
  ({ parent: parent && { ...PARENT, ...parent } }) as ImageHeader;

describe('the parent of an image', () => {
  it('is opened by its id at its snapshot, one image further up the chain', async () => {
    const bytes = await parents({ depth: 4 }).follow(header({}));
    expect(opened).toMatchObject([{ spec: 'data/ns/id 10aa@id 3', depth: 5 }]);
    expect(bytes?.overlap).toBe(100);
    const into = Buffer.alloc(5);
    expect(await bytes?.read(7, into, undefined)).toBe(5);
    expect(into).toEqual(Buffer.alloc(5, 7));
  });

  it('is not opened where nothing of it is seen', async () => {
    expect(await parents().follow(header(undefined))).toBeUndefined();
    expect(await parents().follow(header({ overlap: 0 }))).toBeUndefined();
    const snapshot = { parentOverlap: 0 };
    expect(await parents({ snapshot }).follow(header({}))).toBeUndefined();
    expect(opened).toEqual([]);
  });

  it('is seen at a snapshot as far as that sees it', async () => {
    const all = parents({ snapshot: { parentOverlap: 700 } });
    expect((await all.follow(header({ overlap: 0, ofHead: false })))?.overlap).toBe(700);
  });

  it('stays open while the header changes, and is the same while as much of it is seen', async () => {
    const all = parents();
    const bytes = await all.follow(header({}));
    expect(await all.follow(header({}))).toBe(bytes);
    const less = await all.follow(header({ overlap: 50 }));
    expect(less).not.toBe(bytes);
    expect(less?.overlap).toBe(50);
    expect(opened).toHaveLength(1);
  });

  it('is closed once the image is flattened, when the last read of it is done', async () => {
    const all = parents();
    const bytes = await all.follow(header({}));
    let goOn = () => {};
    onRead = () => new Promise<void>((resolve) => (goOn = resolve));
    const read = bytes?.read(1, Buffer.alloc(5), undefined);
    expect(await all.follow(header(undefined))).toBeUndefined();
    expect(opened[0]?.closed).toBe(false);
    goOn();
    expect(await read).toBe(5);
    await new Promise((resolve) => setImmediate(resolve));
    expect(opened[0]?.closed).toBe(true);
  });

  it('is closed with the image, and waits for its reads', async () => {
    const all = parents();
    const bytes = await all.follow(header({}));
    let goOn = () => {};
    onRead = () => new Promise<void>((resolve) => (goOn = resolve));
    const read = bytes?.read(1, Buffer.alloc(5), undefined);
    let closed = false;
    const closing = all.close().then(() => (closed = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(false);
    goOn();
    await read;
    await closing;
    expect(opened[0]?.closed).toBe(true);
    await all.close();
  });

  it('gives way to another one', async () => {
    const all = parents();
    await all.follow(header({}));
    await all.follow(header({ snapId: 9n }));
    expect(opened.map(({ spec, closed }) => [spec, closed])).toEqual([
      ['data/ns/id 10aa@id 3', true],
      ['data/ns/id 10aa@id 9', false],
    ]);
  });

  it('is followed one header after the other', async () => {
    const all = parents();
    const [first, second, third] = await Promise.all([
      all.follow(header({})),
      all.follow(header({})),
      all.follow(header(undefined)),
    ]);
    expect(first).toBe(second);
    expect(third).toBeUndefined();
    expect(opened).toHaveLength(1);
  });

  it('is refused behind 16 others', async () => {
    expect(await parents({ depth: 15 }).follow(header({}))).toBeDefined();
    await expect(parents({ depth: 16 }).follow(header({}))).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'rbd/vm1: it has more than 16 images behind it',
    });
  });

  it('is told of when its pool is gone', async () => {
    await expect(parents().follow(header({ poolId: 77 }))).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining("its parent's pool 77 does not exist"),
    });
  });
});

describe('readParent', () => {
  const layout = new Layout({ order: 12, stripeUnit: 512, stripeCount: 3 });

  it('puts the pieces of a striped object where they belong, some at a time', async () => {
    let reading = 0;
    let readingMax = 0;
    const parent = {
      overlap: 1 << 20,
      read: async (offset: number, into: Uint8Array) => {
        readingMax = Math.max(readingMax, ++reading);
        await new Promise((resolve) => setImmediate(resolve));
        reading--;
        into.fill(offset / 512);
        return into.length;
      },
    };
    const into = Buffer.alloc(4096);
    await readParent(parent, layout, 1, 0, into, undefined);
    for (let unit = 0; unit < 8; unit++) expect(into[unit * 512]).toBe(1 + 3 * unit);
    expect(readingMax).toBe(8);
  });

  it('sees zeros where the parent is shorter than its overlap', async () => {
    const parent = { overlap: 4096, read: async () => 10 };
    const into = Buffer.alloc(300, 0xff);
    await readParent(parent, layout, 0, 0, into, undefined);
    expect(into).toEqual(Buffer.concat([Buffer.alloc(10, 0xff), Buffer.alloc(290)]));
  });
});
