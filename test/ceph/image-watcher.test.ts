// Goal: real clients of an image and our watcher of it understand each other: rbd and librbd (its Python binding) ask us
// for maintenance and for the lock while we own it, we ask them while they do, and header updates reach both sides. The
// lock is taken with plain class calls and maintenance is done by hand: this is about what is said, not about them.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ERRNO, RadosError } from '../../src/base/errors.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { encode } from '../../src/encoding/encoder.js';
import { executeOne, mutate } from '../../src/rados/class-call.js';
import { LOCK_TYPE, lock, unlock } from '../../src/rados/cls-lock.js';
import { getId, setSize } from '../../src/rados/cls-rbd.js';
import type { IoContext } from '../../src/rados/io-context.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { ImageWatcher, type ImageWatchHandler } from '../../src/rbd/image-watcher.js';
import {
  type AsyncRequestId,
  type ClientId,
  encodeNotifyPayload,
  type MaintenancePayload,
} from '../../src/rbd/notify-payloads.js';
import type { MaintenanceJob } from '../../src/rbd/notify-requests.js';
import { describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server } from './support/servers.js';

const MIB = 2 ** 20;

/** Reads commands from its standard input and answers each with a line: a value, or the errno that it failed with. */
const LIBRBD = `
import json, sys, threading
import rados, rbd
cluster = rados.Rados(conffile=sys.argv[1], rados_id='admin')
cluster.connect()
io = cluster.open_ioctx('rbd')
image = None

def open_image(name):
    global image
    image = rbd.Image(io, name)

def close_image():
    image.close()

def notify(oid, payload, timeout_ms):
    done = threading.Event()
    result = []
    def on_complete(completion, code, acks, missed):
        result.append([[str(ack[0]), str(ack[1]), bytes(ack[2] or b'').hex()] for ack in acks])
        done.set()
    # It takes text only: bytes below 128 stay what they are.
    text = bytes.fromhex(payload).decode('ascii')
    completion = io.aio_notify(oid, on_complete, text, timeout_ms)
    done.wait(30)
    return result[0]

COMMANDS = {
    'open': open_image,
    'close': close_image,
    'size': lambda: image.size(),
    'write': lambda: image.write(b'x' * 4096, 0),
    'acquire': lambda: image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE),
    'snapshots': lambda: [snap['name'] for snap in image.list_snaps()],
    'create_snap': lambda name: image.create_snap(name),
    'metadata': lambda: dict(image.metadata_list()),
    'gid': lambda: str(cluster.get_instance_id()),
    'notify': notify,
}
for line in sys.stdin:
    name, *args = json.loads(line)
    try:
        answer = {'value': COMMANDS[name](*args)}
    except (rbd.Error, rados.Error, OSError) as error:
        answer = {'errno': getattr(error, 'errno', None) or -1, 'text': str(error)}
    print(json.dumps(answer), flush=True)
`;

/** A process with an image open in librbd. */
class Librbd {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor(confPath: string) {
    this.#child = spawn('/usr/bin/python3', ['-c', LIBRBD, confPath], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line));
    this.#child.on('exit', () => {
      for (const done of this.#waiting.splice(0)) done('{"errno": -1, "text": "it ended"}');
    });
  }

  async call<T>(...command: [name: string, ...args: unknown[]]): Promise<T> {
    const line = new Promise<string>((resolve) => this.#waiting.push(resolve));
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const answer = JSON.parse(await line) as { value: T } | { errno: number; text: string };
    if ('errno' in answer) throw Object.assign(new Error(answer.text), { errno: answer.errno });
    return answer.value;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** An image that owns the lock by hand and carries out nothing but what a test gives it to do. */
class HandledImage implements ImageWatchHandler {
  readonly heard: string[] = [];
  readonly requests: MaintenancePayload[] = [];
  owns = false;
  /** Of lock requests. */
  refusal: number | undefined;
  onRequested: () => void = () => {};
  job: (request: MaintenancePayload) => number | MaintenanceJob = () => -ERRNO.EOPNOTSUPP;
  onQuiesce?: (id: AsyncRequestId) => Promise<void>;

  onHeaderUpdate(): void {
    this.heard.push('header update');
  }
  onAcquiredLock(client: ClientId | undefined): void {
    this.heard.push(`acquired ${client?.gid}`);
  }
  onReleasedLock(client: ClientId | undefined): void {
    this.heard.push(`released ${client?.gid}`);
  }
  onRequestLock(): number | undefined {
    if (!this.owns) return undefined;
    if (this.refusal !== undefined) return this.refusal;
    this.onRequested();
    return 0;
  }
  acceptRequest(): number | undefined {
    return this.owns ? 0 : undefined;
  }
  onMaintenance(request: MaintenancePayload): number | MaintenanceJob {
    this.requests.push(request);
    return this.job(request);
  }
  onUnquiesce(): void {
    this.heard.push('unquiesce');
  }
  onStale(): void {}
  onLost(): void {}
  async onReregistered(): Promise<void> {}
  onFailed(): void {}
}

for (const server of SERVERS)
  describeCeph(`the watcher of an image among real clients on ${server.name}`, () => {
    let cluster: Server;
    let client: RadosClient;
    let ioctx: IoContext;
    let librbd: Librbd;
    let name: string;
    let oid: string;
    let image: HandledImage;
    let watcher: ImageWatcher;
    let images = 0;

    beforeAll(async () => {
      cluster = await server.start({ osds: 2, pools: [{ name: 'rbd' }] });
      client = await connectTo(cluster);
      ioctx = await client.ioctx('rbd');
    });
    afterAll(async () => {
      client?.close();
      await cluster?.stop();
    });
    beforeEach(async () => {
      name = `image${++images}`;
      await cluster.rbd(
        'create',
        '--size',
        '32M',
        '--image-feature',
        'layering,exclusive-lock',
        name,
      );
      oid = `rbd_header.${await executeOne(ioctx, `rbd_id.${name}`, getId())}`;
      image = new HandledImage();
      watcher = await ImageWatcher.open({
        context: ioctx,
        environment: nodeEnvironment(),
        oid,
        gid: client.globalId,
        handler: image,
      });
      librbd = new Librbd(cluster.confPath);
    });
    afterEach(async () => {
      librbd?.kill();
      await watcher?.close();
    });

    const takeLock = async () => {
      await mutate(ioctx, oid, [
        lock({
          name: 'rbd_lock',
          type: LOCK_TYPE.EXCLUSIVE,
          cookie: `auto ${watcher.clientId.handle}`,
          tag: 'internal',
        }),
      ]);
      image.owns = true;
      await watcher.announceAcquired();
    };
    const releaseLock = async () => {
      image.owns = false;
      await mutate(ioctx, oid, [unlock('rbd_lock', `auto ${watcher.clientId.handle}`)]);
      await watcher.announceReleased();
    };
    const resize = (size: number) => async () => {
      await mutate(ioctx, oid, [setSize(size)]);
      await watcher.headerUpdate();
    };
    const sizeOf = async (spec: string) =>
      (JSON.parse(await cluster.rbd('info', '--format', 'json', spec)) as { size: number }).size;
    const snapshotsOf = async (spec: string) =>
      (
        JSON.parse(await cluster.rbd('snap', 'ls', '--format', 'json', spec)) as { name: string }[]
      ).map((snap) => snap.name);

    // ---- header updates ----

    it('an image that is open in librbd has a new size once our header update returned', async () => {
      await librbd.call('open', name);
      expect(await librbd.call('size')).toBe(32 * MIB);
      await resize(48 * MIB)();
      expect(await librbd.call('size')).toBe(48 * MIB);
    });

    it('the header updates of rbd reach us', async () => {
      await cluster.rbd('image-meta', 'set', name, 'key', 'value');
      expect(image.heard).toContain('header update');
      expect(watcher.counters.undecodable).toBe(0);
    });

    // ---- we own the lock ----

    it('rbd shows the lock as ours', async () => {
      await takeLock();
      const locks = await cluster.rbd('lock', 'ls', name);
      expect(locks).toContain(`client.${client.globalId}`);
      expect(locks).toContain(`auto ${watcher.clientId.handle}`);
    });

    it('rbd resize is carried out by us, and rbd shows our progress', async () => {
      await takeLock();
      image.job = (request) => async (report) => {
        report(1, 4);
        await new Promise((resolve) => setTimeout(resolve, 600));
        report(3, 4);
        await new Promise((resolve) => setTimeout(resolve, 600));
        if (request.op === 'resize') await resize(request.size)();
      };
      const { stdout, stderr } = await cluster.runOrThrow('rbd', ['resize', '--size', '64M', name]);
      expect(image.requests).toMatchObject([{ op: 'resize', size: 64 * MIB, allowShrink: false }]);
      expect(`${stdout}${stderr}`).toContain('75% complete');
      expect(await sizeOf(name)).toBe(64 * MIB);
      // It never asked for the lock.
      expect(image.heard.filter((what) => what !== 'header update')).toEqual([]);
    });

    it('what fails here fails in rbd with the same error', async () => {
      await takeLock();
      image.job = () => async () => {
        throw new RadosError('EDQUOT', 'planted');
      };
      const { code, stderr } = await cluster.run('rbd', ['resize', '--size', '64M', name]);
      expect(code).toBe(ERRNO.EDQUOT);
      expect(stderr).toContain('(122) Disk quota exceeded');
    });

    it('what we refuse fails in rbd with the same error', async () => {
      await takeLock();
      image.job = () => -ERRNO.EBUSY;
      const { code } = await cluster.run('rbd', ['snap', 'create', `${name}@s`]);
      expect(code).toBe(ERRNO.EBUSY);
      expect(await snapshotsOf(name)).toEqual([]);
    });

    it.each([
      ['snap create', (spec: string) => ['snap', 'create', `${spec}@s`], 'snapCreate'],
      ['resize', (spec: string) => ['resize', '--size', '40M', spec], 'resize'],
      ['image-meta set', (spec: string) => ['image-meta', 'set', spec, 'k', 'v'], 'metadataUpdate'],
      ['sparsify', (spec: string) => ['sparsify', spec], 'sparsify'],
      [
        'feature disable',
        (s: string) => ['feature', 'disable', s, 'exclusive-lock'],
        'updateFeatures',
      ],
    ] as const)(
      'rbd %s asks for the lock and does itself what we do not support',
      async (_, args, op) => {
        await takeLock();
        image.onRequested = () => void releaseLock();
        await cluster.rbd(...args(name));
        expect(image.requests.map((request) => request.op)).toContain(op);
        expect(image.owns).toBe(false);
        const heard = () => image.heard.some((what) => what.startsWith('acquired'));
        await expect.poll(heard).toBe(true);
        if (op === 'snapCreate') expect(await snapshotsOf(name)).toEqual(['s']);
        if (op === 'resize') expect(await sizeOf(name)).toBe(40 * MIB);
      },
    );

    it('a writer in librbd gets the lock when it asks for it', async () => {
      await librbd.call('open', name);
      await takeLock();
      image.onRequested = () => void releaseLock();
      await librbd.call('write');
      const gid = await librbd.call<string>('gid');
      // It does not wait for anybody to have heard of it.
      await expect.poll(() => image.heard).toEqual([`acquired ${gid}`]);
      expect(watcher.announcedOwner?.gid).toBe(BigInt(gid));
      await librbd.call('close');
      await expect.poll(() => image.heard).toEqual([`acquired ${gid}`, `released ${gid}`]);
      expect(watcher.announcedOwner).toBeUndefined();
    });

    it('a writer in librbd is refused when we keep the lock', async () => {
      await librbd.call('open', name);
      await takeLock();
      image.refusal = -ERRNO.EROFS;
      await expect(librbd.call('write')).rejects.toMatchObject({ errno: ERRNO.EROFS });
    });

    // ---- somebody else owns it ----

    it('an owner in librbd carries out what we ask for, once', async () => {
      await librbd.call('open', name);
      await librbd.call('acquire');
      // What is asked for before that has to be asked for again (ERESTART).
      await expect.poll(() => watcher.announcedOwner).toBeDefined();
      const progress: [number, number][] = [];
      const ask = (request: MaintenancePayload & { id: AsyncRequestId }) =>
        watcher.requestMaintenance(request, {
          onProgress: (offset, total) => progress.push([offset, total]),
        });
      const id = () => watcher.newRequestId();
      const create = {
        op: 'snapCreate',
        name: 'ours',
        namespace: { type: 'user' },
        id: id(),
        flags: 0n,
      } as const;

      expect(await ask({ op: 'resize', size: 40 * MIB, allowShrink: true, id: id() })).toBe(0);
      expect(await librbd.call('size')).toBe(40 * MIB);
      expect(await ask(create)).toBe(0);
      expect(progress).toContainEqual([1, 10]);
      expect(await ask({ op: 'metadataUpdate', key: 'k', value: 'v', id: id() })).toBe(0);
      expect(await librbd.call('metadata')).toEqual({ k: 'v' });

      // The same request again is answered from memory; the same by another number is another one. librbd does not
      // complete again what succeeded.
      expect(await watcher.notifyLockOwner({ ...create, name: 'other' })).toBe(0);
      const taken = { ...create, id: id() };
      expect(await ask(taken)).toBe(-ERRNO.EEXIST);
      // It remembers once it knows that everybody has heard of the completion.
      const again = () => watcher.notifyLockOwner({ ...taken, name: 'other' });
      await expect.poll(again).toBe(-ERRNO.EEXIST);
      expect(await librbd.call('snapshots')).toEqual(['ours']);
    });

    it('an owner in librbd that was told to keep the lock refuses it', async () => {
      await librbd.call('open', name);
      await librbd.call('acquire');
      expect(await watcher.requestLock()).toBe(-ERRNO.EROFS);
    });

    it('an owner in librbd that just writes gives it up', async () => {
      await librbd.call('open', name);
      await librbd.call('write');
      const gid = await librbd.call<string>('gid');
      expect(await watcher.requestLock()).toBe(0);
      await expect.poll(() => image.heard).toContain(`released ${gid}`);
    });

    it('nobody who owns the lock answers when nobody does', async () => {
      await librbd.call('open', name);
      expect(await watcher.requestLock()).toBeUndefined();
      const id = watcher.newRequestId();
      expect(await watcher.requestMaintenance({ op: 'flatten', id })).toBe(-ERRNO.ETIMEDOUT);
    });

    it('a snapshot in librbd waits for us to hold still, and lets us go on', async () => {
      await librbd.call('open', name);
      image.onQuiesce = async () => {
        image.heard.push('quiesce');
        await new Promise((resolve) => setTimeout(resolve, 500));
        image.heard.push(`quiet: ${(await snapshotsOf(name)).length} snapshots`);
      };
      await librbd.call('create_snap', 's');
      expect(await librbd.call('snapshots')).toEqual(['s']);
      await expect.poll(() => image.heard).toContain('unquiesce');
      const told = image.heard.filter((what) => /^(un)?qui/.test(what));
      expect(told).toEqual(['quiesce', 'quiet: 0 snapshots', 'unquiesce']);
    });

    // ---- what no client sends yet ----

    it.each([
      [
        'an operation that nobody knows',
        encode((e) => e.struct(9, 1, () => e.u32(33))),
        '',
        'a1ffffff',
      ],
      ['something that is no notification', Buffer.from('garbage'), '', ''],
      ['an empty header update', Buffer.alloc(0), '00000000', '00000000'],
      [
        'a lock request of the kernel',
        encodeNotifyPayload(
          { op: 'requestLock', client: { gid: 1n, handle: 2n }, force: false },
          2,
        ),
        '',
        '00000000',
      ],
    ] as const)(
      '%s is acknowledged as it has to be, at once',
      async (_, payload, asPeer, asOwner) => {
        const answer = async () => {
          const began = performance.now();
          const acks = await librbd.call<[string, string, string][]>(
            'notify',
            oid,
            Buffer.from(payload).toString('hex'),
            20_000,
          );
          expect(performance.now() - began).toBeLessThan(15_000);
          expect(acks).toHaveLength(1);
          return acks[0]?.[2];
        };
        const response = (result: string) => (result === '' ? '' : `010104000000${result}`);
        expect(await answer()).toBe(response(asPeer));
        await takeLock();
        expect(await answer()).toBe(response(asOwner));
      },
    );
  });
