// Creating, cloning, renaming and removing images with a failure at each request: nothing is half done for good.

import { beforeEach, describe, expect, it } from 'vitest';
import { type Outcome, RadosError } from '../../src/base/errors.js';
import { callOp } from '../../src/messages/osd-op.js';
import { mutate } from '../../src/rados/class-call.js';
import { attachParent } from '../../src/rados/cls-rbd.js';
import { listChildren } from '../../src/rbd/children.js';
import { cloneImage } from '../../src/rbd/clone.js';
import type { RbdContext } from '../../src/rbd/context.js';
import { type CreateOptions, createImage, newImageId } from '../../src/rbd/create.js';
import { listImages, renameImage } from '../../src/rbd/directory.js';
import { Image } from '../../src/rbd/image.js';
import { headerObject } from '../../src/rbd/names.js';
import { createNamespace, listNamespaces, removeNamespace } from '../../src/rbd/namespaces.js';
import { removeImage } from '../../src/rbd/remove.js';
import { parseImageSpec } from '../../src/rbd/spec.js';
import { FakeObjects, fakeContext } from '../support/fake-objects.js';

let objects: FakeObjects;
let context: RbdContext;

const spec = parseImageSpec;
const create = (text: string, options: Partial<CreateOptions> = {}) =>
  createImage(context, spec(text), { size: 1 << 20, order: 16, ...options });
const names = async (nspace = '') =>
  (await listImages(await context.ioctx('rbd', nspace))).map(({ name }) => name);

/** Fails the n-th request from now on, the first being 1; with `all` those after it, too. */
function failRequest(n: number, all = false): void {
  const first = objects.requests.length;
  objects.onRequest = ({ oid, text }) => {
    const nth = objects.requests.length - first;
    if (all ? nth >= n : nth === n) {
      throw RadosError.fromErrno(-5, { op: text, target: oid, outcome: 'not-applied' });
    }
  };
}

/**
 * Runs `action` with a failure at its first request, at its second, and so on until it gets through. With `all`
 * nothing gets through from there on, as when it dies.
 */
async function failingEverywhere(
  setUp: () => Promise<void>,
  action: () => Promise<unknown>,
  check: (succeeded: boolean, outcome: Outcome | undefined) => Promise<void>,
  { all = false } = {},
): Promise<number> {
  for (let n = 1; ; n++) {
    objects = new FakeObjects();
    context = fakeContext(objects);
    await setUp();
    failRequest(n, all);
    const before = objects.requests.length;
    let outcome: Outcome | undefined;
    const succeeded = await action().then(
      () => true,
      (error: RadosError) => {
        expect(error.code).toBe('EIO');
        outcome = error.outcome;
        return false;
      },
    );
    const requests = objects.requests.length - before;
    objects.onRequest = () => {};
    await check(succeeded, outcome);
    if (requests < n) return n - 1;
  }
}

beforeEach(() => {
  objects = new FakeObjects();
  context = fakeContext(objects);
});

describe('createImage', () => {
  it.each<[string, string, Partial<CreateOptions>]>([
    ['a plain image', 'rbd/vm1', {}],
    [
      'an image with everything',
      'rbd/ns/vm1',
      { stripeUnit: 4096, stripeCount: 2, dataPool: 'data' },
    ],
  ])('leaves no trace of %s when it fails, wherever it does', async (_, text, options) => {
    let clean: unknown;
    const steps = await failingEverywhere(
      async () => {
        await createNamespace(await context.ioctx('rbd'), 'ns');
        await create(text.replace('vm1', 'another'), options);
        clean = objects.dump();
      },
      () => create(text, options),
      async (succeeded) => {
        if (!succeeded) expect(objects.dump()).toEqual(clean);
        else expect(await names(spec(text).namespace)).toEqual(['another', 'vm1']);
      },
    );
    expect(steps).toBeGreaterThanOrEqual(6);
  });

  it('reports the first failure when undoing fails as well', async () => {
    let failing = false;
    objects.onRequest = ({ text }) => {
      failing ||= text.includes('rbd.create');
      if (failing) throw RadosError.fromErrno(text.includes('rbd.create') ? -28 : -5, {});
    };
    await expect(create('rbd/vm1')).rejects.toMatchObject({ code: 'ENOSPC' });
  });

  it('validates a pool once', async () => {
    await create('rbd/vm1');
    expect(objects.objects.get('1//rbd_info')?.data.toString()).toBe('overwrite validated');
    expect(objects.snapsAllocated).toBe(1);
    await create('rbd/vm2');
    expect(objects.snapsAllocated).toBe(1);
  });

  it('validates the pool that the data goes to', async () => {
    await create('rbd/vm1', { dataPool: 'data' });
    expect([...objects.objects.keys()].filter((key) => key.endsWith('rbd_info'))).toEqual([
      '2//rbd_info',
    ]);
  });

  it('refuses a data pool that takes no overwrites', async () => {
    objects.onRequest = ({ text, oid }) => {
      if (oid === 'rbd_info' && text === 'write') throw RadosError.fromErrno(-95, {});
    };
    await expect(create('rbd/vm1', { dataPool: 'data' })).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('pool data cannot hold images: it takes no overwrites'),
    });
  });

  it('gives ids that classes accept, of the creator’s id and a random number', () => {
    const id = (globalId: bigint, u32: number) =>
      newImageId({
        globalId,
        environment: {
          ...context.environment,
          random: { ...context.environment.random, u32: () => u32 },
        },
      });
    expect(id(0x10e3n, 0x697ace75)).toBe('10e3697ace75');
    expect(id(0x10e3n, 0x5)).toBe('10e35');
    expect(id(0x123456789abn, 0xdeadbeef)).toBe('6789abdeadbeef');
  });
});

describe('cloneImage', () => {
  const SIZE = 8192;
  const parent = spec('rbd/base@s');
  const child = spec('rbd/clone');
  const read = async () => {
    await using image = await Image.open(context, child, { readOnly: true });
    return { parent: image.header.parent, bytes: await image.read(0, image.size) };
  };
  const setUp = async () => {
    const features = ['layering', 'exclusive-lock', 'object-map'];
    await create('rbd/base', { size: SIZE, order: 12, features });
    await using image = await Image.open(context, spec('rbd/base'));
    await image.setMetadata('color', 'blue');
    await image.write(0, Buffer.alloc(SIZE, 1));
    await image.snapshots.create('s');
    await image.snapshots.protect('s');
  };

  for (const format of [1, 2] as const) {
    it(`of format ${format} leaves no trace when it fails, wherever it does`, async () => {
      let clean: unknown;
      const steps = await failingEverywhere(
        async () => {
          await setUp();
          // Lists that had something in them stay, empty.
          await cloneImage(context, parent, child, { format });
          await removeImage(context, child);
          clean = objects.dump();
        },
        () => cloneImage(context, parent, child, { format }),
        async (succeeded) => {
          if (!succeeded) expect(objects.dump()).toEqual(clean);
          else expect((await read()).bytes).toEqual(Buffer.alloc(SIZE, 1));
        },
      );
      expect(steps).toBeGreaterThanOrEqual(10);
    });

    it(`of format ${format} that dies leaves the clone or a name to remove, never an image of zeros`, async () => {
      const seen = new Set<string>();
      const steps = await failingEverywhere(
        setUp,
        () => cloneImage(context, parent, child, { format }),
        async () => {
          const error = await read().then(
            (found) => {
              expect(found.parent).toMatchObject({ overlap: SIZE });
              expect(found.bytes).toEqual(Buffer.alloc(SIZE, 1));
            },
            (cause: unknown) => cause,
          );
          if (error) expect(error).toMatchObject({ code: 'ENOENT' });
          const isListed = (await names()).includes('clone');
          seen.add(`${isListed ? 'listed' : 'absent'}, ${error ? 'shut' : 'open'}`);
          if (isListed) await removeImage(context, child);
          const left = [...objects.objects.keys()].filter((key) => /rbd_(header|id)/.test(key));
          expect(left.length).toBe(2);
          expect(await listChildren(context, parent)).toEqual([]);
          await using image = await Image.open(context, spec('rbd/base'));
          await image.snapshots.unprotect('s');
        },
        { all: true },
      );
      expect(steps).toBeGreaterThanOrEqual(10);
      expect([...seen].sort()).toEqual(['absent, shut', 'listed, open', 'listed, shut']);
    });
  }
});

describe('removeImage', () => {
  const setUp = async (text: string, options: Partial<CreateOptions>) => {
    await createNamespace(await context.ioctx('rbd'), 'ns');
    await create(text, options);
    await using image = await Image.open(context, spec(text));
    await image.write(0, Buffer.alloc(1 << 20, 1));
  };

  it.each<[string, Partial<CreateOptions>]>([
    ['rbd/vm1', {}],
    ['rbd/ns/vm1', { stripeUnit: 16_384, stripeCount: 3, dataPool: 'data' }],
  ])('of %s can be repeated after a failure, wherever it was', async (text, options) => {
    const { namespace } = spec(text);
    const steps = await failingEverywhere(
      () => setUp(text, options),
      () => removeImage(context, spec(text)),
      async (succeeded) => {
        if (!succeeded && objects.objects.has(`1/${namespace}/rbd_trash`)) {
          // What is left of it can be seen, unless nothing is.
          const left = [...objects.objects.keys()].some((key) => /rbd_(data|header)/.test(key));
          if (left) expect(await names(namespace)).toEqual(['vm1']);
        }
        if (!succeeded) {
          await removeImage(context, spec(text)).catch((error: { code: string }) =>
            expect(error.code).toBe('ENOENT'),
          );
        }
        expect(await names(namespace)).toEqual([]);
        const left = [...objects.objects.keys()].filter((key) => /rbd_(data|header|id)/.test(key));
        expect(left).toEqual([]);
      },
    );
    expect(steps).toBeGreaterThan(25);
  });

  it('removes a clone that was half made when its snapshot was removed, and cannot be opened', async () => {
    const imageId = await create('rbd/vm1');
    const id = await create('rbd/clone');
    const ioctx = await context.ioctx('rbd');
    const parent = { poolId: ioctx.pool.id, poolNamespace: '', imageId, snapId: 99n };
    await mutate(ioctx, headerObject(id), [attachParent(parent, 1 << 20)]);
    await expect(Image.open(context, spec('rbd/clone'))).rejects.toMatchObject({ code: 'ENOENT' });
    await removeImage(context, spec('rbd/clone'));
    expect(await names()).toEqual(['vm1']);
    expect([...objects.objects.keys()].filter((key) => key.includes(id))).toEqual([]);
  });

  it('says of snapshots before it says of features that it cannot write, as rbd does', async () => {
    const id = await create('rbd/vm1');
    const header = objects.objects.get(`1//rbd_header.${id}`);
    header?.omap.set('features', Uint8Array.of(0x7d, 0, 0, 0, 0, 0, 0, 0));
    await expect(removeImage(context, spec('rbd/vm1'))).rejects.toMatchObject({ code: 'ENOSYS' });
    // A name, an id and the namespace of snapshots that users make.
    const snapshot = Buffer.from(
      '020000007331' + '0900000000000000' + '01010400000000000000',
      'hex',
    );
    const ioctx = await context.ioctx('rbd');
    await ioctx.operate(`rbd_header.${id}`, [callOp('rbd', 'snapshot_add', snapshot)], {
      write: true,
    });
    await expect(removeImage(context, spec('rbd/vm1'))).rejects.toMatchObject({
      code: 'ENOTEMPTY',
    });
  });

  it('refuses an image that another client watches, before and after it lost its name', async () => {
    const id = await create('rbd/vm1');
    const watcher = {
      name: { type: 8, num: 4242n },
      cookie: 1n,
      timeoutSeconds: 30,
      addr: { type: 3, nonce: 5, host: '127.0.0.1', port: 0 },
    };
    objects.watchers.set(`rbd_header.${id}`, [watcher]);
    const before = objects.dump();
    await expect(removeImage(context, spec('rbd/vm1'))).rejects.toMatchObject({ code: 'EBUSY' });
    expect(objects.dump()).toEqual(before);

    // Somebody opened it between the check and the moment at which the name was gone.
    objects.watchers.clear();
    objects.onRequest = ({ oid, text }) => {
      if (oid === 'rbd_id.vm1' && text === 'delete') {
        objects.watchers.set(`rbd_header.${id}`, [watcher]);
      }
    };
    await expect(removeImage(context, spec('rbd/vm1'))).rejects.toMatchObject({ code: 'EBUSY' });
    objects.onRequest = () => {};
    // It has its name back, and not only in the eyes of who finishes removals.
    await (await Image.open(context, { pool: 'rbd', name: 'vm1' })).close();
    objects.watchers.clear();
    await removeImage(context, spec('rbd/vm1'));
    expect(await names()).toEqual([]);
  });
});

describe('renameImage', () => {
  it('leaves one name or the other when it fails, wherever it does, and says when it may be the other', async () => {
    const steps = await failingEverywhere(
      async () => void (await create('rbd/old')),
      async () => renameImage(await context.ioctx('rbd'), 'old', 'new'),
      async (succeeded, outcome) => {
        const [name, ...more] = await names();
        expect(more).toEqual([]);
        expect(['old', 'new']).toContain(name);
        if (!succeeded) expect(outcome).toBe(name === 'old' ? 'not-applied' : 'unknown');
        await using image = await Image.open(context, { pool: 'rbd', name: name as string });
        await image.write(0, Buffer.from('x'));
        // And it can still be renamed or removed.
        await removeImage(context, spec(`rbd/${name}`));
      },
    );
    expect(steps).toBeGreaterThanOrEqual(8);
  });

  it('is refused for an image with a journal, by that name', async () => {
    const id = await create('rbd/old');
    objects.objects
      .get(`1//rbd_header.${id}`)
      ?.omap.set('features', Uint8Array.of(0x45, 0, 0, 0, 0, 0, 0, 0));
    await expect(renameImage(await context.ioctx('rbd'), 'old', 'new')).rejects.toMatchObject({
      code: 'ENOSYS',
      message: expect.stringContaining("'journaling'"),
    });
  });
});

describe('namespaces', () => {
  it('are listed or not after a failure, and can then be created or removed', async () => {
    await failingEverywhere(
      async () => {},
      async () => createNamespace(await context.ioctx('rbd'), 'ns'),
      async (succeeded) => {
        const pool = await context.ioctx('rbd');
        if (!succeeded) await createNamespace(pool, 'ns');
        await create('rbd/ns/vm1');
        await expect(removeNamespace(pool, 'ns')).rejects.toMatchObject({ code: 'EBUSY' });
      },
    );
    await failingEverywhere(
      async () => createNamespace(await context.ioctx('rbd'), 'ns'),
      async () => removeNamespace(await context.ioctx('rbd'), 'ns'),
      async (succeeded) => {
        const pool = await context.ioctx('rbd');
        if (!succeeded) await removeNamespace(pool, 'ns');
        expect(await listNamespaces(pool)).toEqual([]);
        expect([...objects.objects.keys()].filter((key) => key.startsWith('1/ns/'))).toEqual([]);
      },
    );
  });
});
