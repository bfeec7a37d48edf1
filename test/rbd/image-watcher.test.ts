// Goal: every row of the table of acknowledgements, and what this client tells the others. The header object is fake and
// so is time; what real clients make of the answers is in test/ceph/image-watcher.test.ts.

import { describe, expect, it } from 'vitest';
import { ERRNO, RadosError } from '../../src/base/errors.js';
import { decodeAll } from '../../src/encoding/codec.js';
import { encode } from '../../src/encoding/encoder.js';
import type { NotifyReply } from '../../src/osd-client/watch-types.js';
import { ImageWatcher, type ImageWatchHandler } from '../../src/rbd/image-watcher.js';
import {
  type AsyncRequestId,
  type ClientId,
  encodeNotifyPayload,
  type KnownPayload,
  MAINTENANCE_OPS,
  type MaintenancePayload,
  responseMessage,
} from '../../src/rbd/notify-payloads.js';
import { FakeHeader } from '../support/fake-header.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

const OURS = 4100n;
const PEER: ClientId = { gid: 4200n, handle: 7n };
const ID: AsyncRequestId = { client: PEER, requestId: 1n };
const HEADER = 'rbd_header.10ab';

/** One request of every kind. */
const MAINTENANCE: Record<MaintenancePayload['op'], MaintenancePayload> = {
  flatten: { op: 'flatten', id: ID },
  resize: { op: 'resize', size: 1024, id: ID, allowShrink: true },
  snapCreate: { op: 'snapCreate', name: 's', namespace: { type: 'user' }, id: ID, flags: 0n },
  snapRemove: { op: 'snapRemove', name: 's', namespace: { type: 'user' }, id: ID },
  rebuildObjectMap: { op: 'rebuildObjectMap', id: ID },
  snapRename: { op: 'snapRename', snapId: 4n, name: 's', namespace: { type: 'user' }, id: ID },
  snapProtect: { op: 'snapProtect', name: 's', namespace: { type: 'user' }, id: ID },
  snapUnprotect: { op: 'snapUnprotect', name: 's', namespace: { type: 'user' }, id: ID },
  rename: { op: 'rename', name: 'n', id: ID },
  updateFeatures: { op: 'updateFeatures', features: 1n, enabled: true, id: ID },
  migrate: { op: 'migrate', id: ID },
  sparsify: { op: 'sparsify', id: ID, sparseSize: 4096 },
  metadataUpdate: { op: 'metadataUpdate', key: 'k', value: undefined, id: ID },
};

/** An image that does as it is told, and keeps what it hears. */
class FakeImage implements ImageWatchHandler {
  readonly heard: string[] = [];
  /** What `acceptRequest` answers: undefined for who does not own the lock. */
  accepts: number | undefined;
  requestLockResult: number | undefined | Promise<number | undefined>;
  deferral: Promise<void> | undefined;
  onMaintenance?: NonNullable<ImageWatchHandler['onMaintenance']>;
  onQuiesce?: NonNullable<ImageWatchHandler['onQuiesce']>;

  onHeaderUpdate(): void {
    this.heard.push('header update');
  }
  onAcquiredLock(client: ClientId | undefined): void | Promise<void> {
    this.heard.push(`acquired by ${client?.gid}`);
    return this.deferral;
  }
  onReleasedLock(client: ClientId | undefined): void | Promise<void> {
    this.heard.push(`released by ${client?.gid}`);
    return this.deferral;
  }
  onRequestLock(
    client: ClientId | undefined,
    force: boolean,
  ): number | undefined | Promise<number | undefined> {
    this.heard.push(`requested by ${client?.gid}${force ? ', with force' : ''}`);
    return this.requestLockResult;
  }
  acceptRequest(): number | undefined {
    return this.accepts;
  }
  onUnquiesce(id: AsyncRequestId): void {
    this.heard.push(`unquiesce ${id.requestId}`);
  }
  onStale(cause: string): void {
    this.heard.push(`stale: ${cause}`);
  }
  onLost(): void {
    this.heard.push('lost');
  }
  async onReregistered(oldCookie: bigint, newCookie: bigint): Promise<void> {
    this.heard.push(`reregistered ${oldCookie} ${newCookie}`);
  }
  onFailed(error: RadosError): void {
    this.heard.push(`failed: ${error.code}`);
  }
  onState(state: string, previous: string): void {
    this.heard.push(`${previous} -> ${state}`);
  }
}

async function setUp() {
  const world = new VirtualWorld();
  const header = new FakeHeader(world);
  const image = new FakeImage();
  const watcher = await ImageWatcher.open({
    context: header.context(OURS),
    environment: world.env,
    oid: HEADER,
    gid: OURS,
    handler: image,
  });
  /** What we answer to a peer: the result, or that the acknowledgement is empty, or that it is still to come. */
  const answerTo = async (payload: KnownPayload | Uint8Array, version?: number) => {
    const bytes = payload instanceof Uint8Array ? payload : encodeNotifyPayload(payload, version);
    let answer: number | 'empty' | 'not yet' = 'not yet';
    const read = (reply: NotifyReply) => {
      answer =
        reply === undefined || reply.length === 0
          ? 'empty'
          : decodeAll('ResponseMessage', responseMessage, reply).result;
    };
    const reply = header.deliver(OURS, bytes);
    if (reply instanceof Promise) void reply.then(read);
    else read(reply);
    await world.flush();
    return answer;
  };
  return { world, header, image, watcher, answerTo };
}

describe('the lock changes hands', () => {
  it('another client acquired it: the handler hears of it, the acknowledgement is empty', async () => {
    const { image, watcher, answerTo } = await setUp();
    expect(await answerTo({ op: 'acquiredLock', client: PEER })).toBe('empty');
    expect(image.heard).toEqual(['acquired by 4200']);
    expect(watcher.announcedOwner).toEqual(PEER);
  });

  it('another client released it: the acknowledgement is empty', async () => {
    const { image, watcher, answerTo } = await setUp();
    await answerTo({ op: 'acquiredLock', client: PEER });
    expect(await answerTo({ op: 'releasedLock', client: PEER })).toBe('empty');
    expect(image.heard).toEqual(['acquired by 4200', 'released by 4200']);
    expect(watcher.announcedOwner).toBeUndefined();
  });

  it('a client of version 1 does not say which it is', async () => {
    const { image, answerTo } = await setUp();
    expect(await answerTo({ op: 'acquiredLock', client: undefined }, 1)).toBe('empty');
    expect(await answerTo({ op: 'releasedLock', client: undefined }, 1)).toBe('empty');
    expect(image.heard).toEqual(['acquired by undefined', 'released by undefined']);
  });

  it('the handler may defer the acknowledgement of a release, to be first at the lock', async () => {
    const { world, header, image } = await setUp();
    let acquire = () => {};
    image.deferral = new Promise((resolve) => (acquire = resolve));
    let done = false;
    const payload = encodeNotifyPayload({ op: 'releasedLock', client: PEER });
    void header.notify(PEER.gid, payload, { timeoutSeconds: 5 }).then(() => (done = true));
    await world.advance(2000);
    expect(image.heard).toEqual(['released by 4200']);
    expect(done).toBe(false);
    acquire();
    await world.flush();
    expect(done).toBe(true);
  });

  it('a handler that takes too long is acknowledged for before the notifier gives up', async () => {
    const { world, header, image, watcher } = await setUp();
    image.deferral = new Promise(() => {});
    const payload = encodeNotifyPayload({ op: 'releasedLock', client: PEER });
    const result = await world.until(header.notify(PEER.gid, payload, { timeoutSeconds: 5 }));
    expect(result.missed).toEqual([]);
    expect(world.now).toBeLessThan(5000);
    expect(watcher.counters.late).toBe(1);
  });

  it('a handler that fails is acknowledged for with nothing', async () => {
    const { image, watcher, answerTo } = await setUp();
    image.deferral = Promise.reject(new RadosError('EIO', 'planted'));
    expect(await answerTo({ op: 'acquiredLock', client: PEER })).toBe('empty');
    expect(watcher.counters.late).toBe(1);
  });

  it('our own announcements come back to us, and mean nothing', async () => {
    const { world, image, watcher, header } = await setUp();
    await world.until(watcher.announceAcquired());
    expect(watcher.announcedOwner).toEqual(watcher.clientId);
    await world.until(watcher.announceReleased());
    expect(watcher.announcedOwner).toBeUndefined();
    expect(image.heard).toEqual([]);
    expect(header.sent.map(({ payload }) => payload)).toEqual([
      { op: 'acquiredLock', client: { gid: OURS, handle: 101n } },
      { op: 'releasedLock', client: { gid: OURS, handle: 101n } },
    ]);
  });

  it('announcements of another image of the same client are not our own', async () => {
    const { image, answerTo } = await setUp();
    await answerTo({ op: 'acquiredLock', client: { gid: OURS, handle: 999n } });
    expect(image.heard).toEqual([`acquired by ${OURS}`]);
  });
});

describe('the lock is asked for', () => {
  const request = { op: 'requestLock', client: PEER, force: false } as const;

  it('who does not own it acknowledges with nothing', async () => {
    const { image, answerTo } = await setUp();
    image.requestLockResult = undefined;
    expect(await answerTo(request)).toBe('empty');
    expect(image.heard).toEqual(['requested by 4200']);
  });

  it('the owner answers 0 and will release it', async () => {
    const { image, answerTo } = await setUp();
    image.requestLockResult = 0;
    expect(await answerTo(request)).toBe(0);
  });

  it('the owner that keeps it answers EROFS', async () => {
    const { image, answerTo } = await setUp();
    image.requestLockResult = Promise.resolve(-ERRNO.EROFS);
    expect(await answerTo(request)).toBe(-ERRNO.EROFS);
  });

  it('by force, by the kernel and by who does not say who it is: the handler hears how', async () => {
    const { image, answerTo } = await setUp();
    await answerTo({ ...request, force: true });
    await answerTo({ ...request, force: true }, 2);
    await answerTo(request, 1);
    expect(image.heard).toEqual([
      'requested by 4200, with force',
      'requested by 4200',
      'requested by undefined',
    ]);
  });

  it('by ourselves: an empty acknowledgement, and the handler is not asked', async () => {
    const { image, watcher, answerTo } = await setUp();
    image.requestLockResult = 0;
    expect(await answerTo({ ...request, client: watcher.clientId })).toBe('empty');
    expect(image.heard).toEqual([]);
  });
});

describe('the header changed', () => {
  it('what was read is stale before anything is acknowledged, and the answer is 0', async () => {
    const { image, header } = await setUp();
    // Not even a promise lies between.
    const reply = header.deliver(OURS, encodeNotifyPayload({ op: 'headerUpdate' }));
    expect(image.heard).toEqual(['header update']);
    expect(reply).toBeInstanceOf(Uint8Array);
    expect(Buffer.from(reply as Uint8Array).toString('hex')).toBe('01010400000000000000');
  });

  it('an empty payload says so too', async () => {
    const { image, watcher, answerTo } = await setUp();
    expect(await answerTo(new Uint8Array(0))).toBe(0);
    expect(image.heard).toEqual(['header update']);
    expect(watcher.counters).toMatchObject({ headerUpdates: 1, undecodable: 0 });
  });

  it('W2: what cannot be read may have said so: acknowledged with nothing, counted, and stale', async () => {
    const { image, watcher, answerTo } = await setUp();
    expect(await answerTo(Buffer.from('no notification'))).toBe('empty');
    expect(await answerTo(encodeNotifyPayload(MAINTENANCE.rename).slice(0, -1))).toBe('empty');
    expect(image.heard).toEqual(['header update', 'header update']);
    expect(watcher.counters).toMatchObject({
      notifications: 2,
      headerUpdates: 2,
      undecodable: 2,
    });
  });

  it('we hear our own, as everybody does', async () => {
    const { world, image, watcher } = await setUp();
    await world.until(watcher.headerUpdate());
    expect(image.heard).toEqual(['header update']);
  });
});

describe('maintenance is asked for', () => {
  it.each(MAINTENANCE_OPS)(
    '%s: who does not own the lock acknowledges with nothing',
    async (op) => {
      const { image, answerTo } = await setUp();
      image.accepts = undefined;
      image.onMaintenance = () => {
        throw new Error('must not be asked');
      };
      expect(await answerTo(MAINTENANCE[op])).toBe('empty');
    },
  );

  it.each(MAINTENANCE_OPS)(
    '%s: an owner that does nothing for others answers EOPNOTSUPP',
    async (op) => {
      const { image, answerTo } = await setUp();
      image.accepts = 0;
      expect(await answerTo(MAINTENANCE[op])).toBe(-ERRNO.EOPNOTSUPP);
    },
  );

  it.each(MAINTENANCE_OPS)('%s: an owner answers 0 and begins', async (op) => {
    const { image, answerTo } = await setUp();
    image.accepts = 0;
    const begun: MaintenancePayload[] = [];
    image.onMaintenance = (request) => async () => void begun.push(request);
    expect(await answerTo(MAINTENANCE[op])).toBe(0);
    expect(begun).toEqual([MAINTENANCE[op]]);
  });

  it('an owner that does not know this kind refuses it, and is asked again the next time', async () => {
    const { image, answerTo } = await setUp();
    image.accepts = 0;
    let asked = 0;
    image.onMaintenance = () => {
      asked++;
      return -ERRNO.EOPNOTSUPP;
    };
    expect(await answerTo(MAINTENANCE.flatten)).toBe(-ERRNO.EOPNOTSUPP);
    expect(await answerTo(MAINTENANCE.flatten)).toBe(-ERRNO.EOPNOTSUPP);
    expect(asked).toBe(2);
  });

  it('an owner that is blocked answers its error', async () => {
    const { image, answerTo } = await setUp();
    image.accepts = -ERRNO.EROFS;
    image.onMaintenance = () => {
      throw new Error('must not be asked');
    };
    expect(await answerTo(MAINTENANCE.resize)).toBe(-ERRNO.EROFS);
  });

  it('by ourselves, who own the lock by now: ERESTART', async () => {
    const { image, watcher, answerTo } = await setUp();
    image.accepts = 0;
    const id = watcher.newRequestId();
    expect(await answerTo({ op: 'flatten', id })).toBe(-ERRNO.ERESTART);
  });

  it('by ourselves before the watch had its present cookie: ERESTART as well', async () => {
    const { image, watcher, header, answerTo } = await setUp();
    image.accepts = 0;
    const id = watcher.newRequestId();
    await header.reregister(OURS);
    expect(watcher.clientId.handle).not.toBe(id.client.handle);
    expect(await answerTo({ op: 'flatten', id })).toBe(-ERRNO.ERESTART);
  });

  it('without an id: the acknowledgement comes when it is done, and is its result', async () => {
    const { world, header, image, answerTo } = await setUp();
    image.accepts = 0;
    let finish = () => {};
    image.onMaintenance = () => () => new Promise((resolve) => (finish = resolve));
    let done: NotifyReply | 'not yet' = 'not yet';
    const payload = encodeNotifyPayload(MAINTENANCE.snapCreate, 6);
    void (header.deliver(OURS, payload) as Promise<NotifyReply>).then((reply) => (done = reply));
    await world.advance(20_000);
    expect(done).toBe('not yet');
    finish();
    await world.flush();
    expect(Buffer.from(done as unknown as Uint8Array).toString('hex')).toBe('01010400000000000000');

    image.onMaintenance = () => async () => {
      throw new RadosError('EEXIST', 'planted');
    };
    expect(await answerTo(MAINTENANCE.snapCreate, 6)).toBe(-ERRNO.EEXIST);
    image.onMaintenance = () => -ERRNO.EOPNOTSUPP;
    expect(await answerTo(MAINTENANCE.snapCreate, 6)).toBe(-ERRNO.EOPNOTSUPP);
    expect(header.sentOf('asyncComplete')).toEqual([]);
  });

  it('progress and completions of others are acknowledged with nothing', async () => {
    const { answerTo } = await setUp();
    expect(await answerTo({ op: 'asyncProgress', id: ID, offset: 1, total: 2 })).toBe('empty');
    expect(await answerTo({ op: 'asyncComplete', id: ID, result: 0 })).toBe('empty');
  });
});

describe('operations that we do not know', () => {
  const future = encode((e) => e.struct(9, 1, () => e.u32(21).u64(1n)));

  it('are not supported by the owner of the lock', async () => {
    const { image, watcher, answerTo } = await setUp();
    image.accepts = 0;
    expect(await answerTo(future)).toBe(-ERRNO.EOPNOTSUPP);
    image.accepts = -ERRNO.EROFS;
    expect(await answerTo(future)).toBe(-ERRNO.EOPNOTSUPP);
    expect(watcher.counters.unknown).toBe(2);
  });

  it('are acknowledged with nothing by everybody else', async () => {
    const { image, answerTo } = await setUp();
    image.accepts = undefined;
    expect(await answerTo(future)).toBe('empty');
    expect(image.heard).toEqual([]);
  });
});

describe('a snapshot wants us to hold still', () => {
  it('nothing has to: 0, owner or not', async () => {
    const { answerTo } = await setUp();
    expect(await answerTo({ op: 'quiesce', id: ID })).toBe(0);
    expect(await answerTo({ op: 'unquiesce', id: ID })).toBe('empty');
  });

  it('the answer comes when we do, also to who asks again meanwhile', async () => {
    const { world, image, answerTo } = await setUp();
    let quiet = () => {};
    let asked = 0;
    image.onQuiesce = () => {
      asked++;
      return new Promise((resolve) => (quiet = resolve));
    };
    expect(await answerTo({ op: 'quiesce', id: ID })).toBe('not yet');
    await world.advance(5000);
    const again = answerTo({ op: 'quiesce', id: ID });
    quiet();
    expect(await again).toBe(0);
    expect(asked).toBe(1);
    expect(image.heard).toEqual([]);
    expect(await answerTo({ op: 'unquiesce', id: ID })).toBe('empty');
    expect(image.heard).toEqual(['unquiesce 1']);
    await world.advance(20_000);
    expect(image.heard).toEqual(['unquiesce 1']);
  });

  it('failing to is the answer', async () => {
    const { image, answerTo } = await setUp();
    image.onQuiesce = () => Promise.reject(new RadosError('EBUSY', 'planted'));
    expect(await answerTo({ op: 'quiesce', id: ID })).toBe(-ERRNO.EBUSY);
  });

  it('we go on by ourselves when nobody tells us to, and later when we are asked again', async () => {
    const { world, image, answerTo } = await setUp();
    image.onQuiesce = async () => undefined;
    expect(await answerTo({ op: 'quiesce', id: ID })).toBe(0);
    await world.advance(9000);
    expect(await answerTo({ op: 'quiesce', id: ID })).toBe(0);
    await world.advance(9000);
    expect(image.heard).toEqual([]);
    await world.advance(1000);
    expect(image.heard).toEqual(['unquiesce 1']);
  });

  it('told to go on before we held still, we go on at once then', async () => {
    const { world, image, answerTo } = await setUp();
    let quiet = () => {};
    image.onQuiesce = () => new Promise((resolve) => (quiet = resolve));
    await answerTo({ op: 'quiesce', id: ID });
    await answerTo({ op: 'unquiesce', id: ID });
    expect(image.heard).toEqual([]);
    quiet();
    await world.flush();
    expect(image.heard).toEqual(['unquiesce 1']);
  });
});

describe('while blocked', () => {
  it('everything is acknowledged with nothing, and a header update is not forgotten', async () => {
    const { image, watcher, answerTo } = await setUp();
    image.accepts = 0;
    image.requestLockResult = 0;
    watcher.block();
    expect(await answerTo({ op: 'requestLock', client: PEER, force: false })).toBe('empty');
    for (const op of MAINTENANCE_OPS) expect(await answerTo(MAINTENANCE[op])).toBe('empty');
    expect(await answerTo({ op: 'quiesce', id: ID })).toBe('empty');
    expect(image.heard).toEqual([]);
    expect(await answerTo({ op: 'headerUpdate' })).toBe('empty');
    expect(image.heard).toEqual(['header update']);
    expect(watcher.counters.blocked).toBe(3 + MAINTENANCE_OPS.length);
    watcher.unblock();
    expect(await answerTo({ op: 'requestLock', client: PEER, force: false })).toBe(0);
  });

  it('closing blocks, unwatches, and may be done twice', async () => {
    const { header, image, watcher, world } = await setUp();
    const { onNotify } = { onNotify: watcher.onNotify.bind(watcher) };
    await watcher.close();
    await watcher.close();
    expect(header.watchers).toEqual([]);
    image.requestLockResult = 0;
    const late = onNotify({
      notifyId: 1n,
      cookie: 101n,
      notifierGid: PEER.gid,
      payload: encodeNotifyPayload({ op: 'requestLock', client: PEER, force: false }),
    });
    expect(late).toBeUndefined();
    expect(world.pendingEvents).toBe(0);
  });
});

describe('the watch', () => {
  it('tells the image what happens to it', async () => {
    const { image, header, watcher } = await setUp();
    watcher.onStale('reconnected');
    watcher.onState('reconnecting', 'connected', 'reset');
    await header.reregister(OURS);
    watcher.onFailed(new RadosError('ENOENT', 'gone'));
    expect(image.heard).toEqual([
      'stale: reconnected',
      'connected -> reconnecting',
      'lost',
      'reregistered 101 102',
      'failed: ENOENT',
    ]);
  });

  it('has another cookie after it was lost, and so have we', async () => {
    const { watcher, header } = await setUp();
    expect(watcher.clientId).toEqual({ gid: OURS, handle: 101n });
    await header.reregister(OURS);
    expect(watcher.clientId).toEqual({ gid: OURS, handle: 102n });
  });

  it('that was lost may have missed who owns the lock', async () => {
    const { watcher, header, answerTo } = await setUp();
    await answerTo({ op: 'acquiredLock', client: PEER });
    await header.reregister(OURS);
    expect(watcher.announcedOwner).toBeUndefined();
  });

  it('may bring notifications before its registration is known', async () => {
    const world = new VirtualWorld();
    const header = new FakeHeader(world);
    const image = new FakeImage();
    const context = header.context(OURS);
    const opened = ImageWatcher.open({
      context: {
        ...context,
        watch: async (oid, handler, options) => {
          const watch = await context.watch(oid, handler, options);
          void header.deliver(OURS, encodeNotifyPayload({ op: 'headerUpdate' }));
          return watch;
        },
      },
      environment: world.env,
      oid: HEADER,
      gid: OURS,
      handler: image,
    });
    expect((await opened).clientId.handle).toBe(101n);
    expect(image.heard).toEqual(['header update']);
  });
});

describe('asking the owner of the lock', () => {
  const reply = (result: number) => encode((e) => e.struct(1, 1, () => e.s32(result)));
  const peers = async (...answers: (Uint8Array | undefined | 'missing')[]) => {
    const all = await setUp();
    for (const [i, answer] of answers.entries()) {
      const gid = 5000n + BigInt(i);
      await all.header.context(gid).watch(HEADER, {
        onNotify: () => (answer === 'missing' ? new Promise(() => {}) : answer),
        onStale: () => undefined,
        onLost: () => undefined,
        onReregistered: async () => undefined,
        onFailed: () => undefined,
      });
    }
    return all;
  };
  const ask = async (...answers: (Uint8Array | undefined | 'missing')[]) => {
    const { world, watcher } = await peers(...answers);
    return world.until(watcher.requestLock());
  };

  it('its answer is the result', async () => {
    expect(await ask(undefined, reply(0), undefined)).toBe(0);
    expect(await ask(reply(-ERRNO.EROFS))).toBe(-ERRNO.EROFS);
  });

  it('no answer: ETIMEDOUT', async () => {
    const { world, watcher } = await peers(undefined, undefined);
    const request = { op: 'requestLock', client: watcher.clientId, force: false } as const;
    expect(await world.until(watcher.notifyLockOwner(request))).toBe(-ERRNO.ETIMEDOUT);
  });

  it('no answer to a lock request although everybody acknowledged it: there is no owner', async () => {
    expect(await ask(undefined, undefined)).toBeUndefined();
    expect(await ask()).toBeUndefined();
  });

  it('two answers: EIO', async () => {
    expect(await ask(reply(0), undefined, reply(0))).toBe(-ERRNO.EIO);
  });

  it('its answer counts although another client did not acknowledge in time', async () => {
    expect(await ask('missing', reply(0))).toBe(0);
    expect(await ask('missing')).toBe(-ERRNO.ETIMEDOUT);
  });

  it('an answer that cannot be read: EINVAL', async () => {
    expect(await ask(Buffer.from('?'))).toBe(-ERRNO.EINVAL);
  });

  it('says who asks, waits five seconds, and fails when the notification does', async () => {
    const { world, watcher, header } = await peers('missing');
    await world.until(watcher.requestLock({ force: true }));
    expect(world.now).toBeCloseTo(5000, 0);
    expect(header.sent.at(-1)?.payload).toEqual({
      op: 'requestLock',
      client: { gid: OURS, handle: 101n },
      force: true,
    });
    header.failures.push(new RadosError('EBLOCKLISTED', 'planted'));
    await expect(watcher.requestLock()).rejects.toMatchObject({ code: 'EBLOCKLISTED' });
  });

  it('announcements that fail are only logged', async () => {
    const { world, watcher, header } = await setUp();
    for (const announce of ['announceAcquired', 'announceReleased', 'headerUpdate'] as const) {
      header.failures.push(new RadosError('ENOENT', 'planted'));
      await world.until(watcher[announce]());
    }
    expect(header.sent).toHaveLength(3);
  });
});
