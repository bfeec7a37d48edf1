// Goal: maintenance at the lock's owner, between two image watchers over a fake header in virtual time: run once, with
// progress, with one result for who asked, whatever is lost on the way.

import { describe, expect, it } from 'vitest';
import { ERRNO, RadosError } from '../../src/base/errors.js';
import { AsyncRequests, increasing, type ProgressReport } from '../../src/rbd/async-requests.js';
import { ImageWatcher, type ImageWatchHandler } from '../../src/rbd/image-watcher.js';
import type { AsyncRequestId, MaintenancePayload } from '../../src/rbd/notify-payloads.js';
import { type MaintenanceJob, RemoteRequests } from '../../src/rbd/notify-requests.js';
import { FakeHeader } from '../support/fake-header.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

const OWNER = 4100n;
const REQUESTER = 4200n;
const EMPTY_RESULT = { notifyId: 1n, replies: [], missed: [] };

class FakeImage implements ImageWatchHandler {
  accepts: number | undefined;
  onMaintenance?: NonNullable<ImageWatchHandler['onMaintenance']>;
  onHeaderUpdate(): void {}
  onAcquiredLock(): void {}
  onReleasedLock(): void {}
  onRequestLock(): undefined {}
  acceptRequest(): number | undefined {
    return this.accepts;
  }
  onStale(): void {}
  onLost(): void {}
  async onReregistered(): Promise<void> {}
  onFailed(): void {}
}

/** A job that does as it is told. */
class Job {
  runs = 0;
  report: ProgressReport = () => {};
  finish: () => void = () => {};
  fail: (error: Error) => void = () => {};

  readonly start = (): MaintenanceJob => (report) => {
    this.runs++;
    this.report = report;
    return new Promise((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
    });
  };
}

async function setUp() {
  const world = new VirtualWorld();
  const header = new FakeHeader(world);
  const open = async (gid: bigint) => {
    const image = new FakeImage();
    const watcher = await ImageWatcher.open({
      context: header.context(gid),
      environment: world.env,
      oid: 'rbd_header.10ab',
      gid,
      handler: image,
    });
    return { image, watcher };
  };
  const owner = await open(OWNER);
  const requester = await open(REQUESTER);
  const job = new Job();
  owner.image.accepts = 0;
  owner.image.onMaintenance = job.start;
  await world.until(owner.watcher.announceAcquired());
  const flatten = (id: AsyncRequestId) => ({ op: 'flatten', id }) as const;
  /** Asks, and keeps what came of it. */
  const ask = (
    request: MaintenancePayload & { id: AsyncRequestId },
    options: Parameters<ImageWatcher['requestMaintenance']>[1] = {},
  ) => {
    const asked: { result: number | RadosError | undefined } = { result: undefined };
    requester.watcher.requestMaintenance(request, options).then(
      (result) => (asked.result = result),
      (error: RadosError) => (asked.result = error),
    );
    return asked;
  };
  return { world, header, owner, requester, job, flatten, ask, open };
}

describe('maintenance at the owner', () => {
  it('runs there, with progress here, and its result comes here (M1)', async () => {
    const { world, requester, job, flatten, ask, header } = await setUp();
    const seen: [number, number][] = [];
    const asked = ask(flatten(requester.watcher.newRequestId()), {
      onProgress: (offset, total) => seen.push([offset, total]),
    });
    await world.advance(10);
    expect(job.runs).toBe(1);
    expect(asked.result).toBeUndefined();
    job.report(1, 10);
    await world.advance(1000);
    job.report(7, 10);
    await world.advance(1000);
    job.finish();
    await world.advance(10);
    expect(asked.result).toBe(0);
    expect(seen).toEqual([
      [1, 10],
      [7, 10],
    ]);
    expect(header.sentOf('asyncComplete')).toHaveLength(1);
  });

  it('that fails there fails here with the same error', async () => {
    const { world, requester, job, flatten, ask } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    job.fail(new RadosError('EINVAL', 'not a clone'));
    await world.advance(10);
    expect(asked.result).toBe(-ERRNO.EINVAL);
  });

  it('that fails with a bug there fails here with EIO', async () => {
    const { world, requester, job, flatten, ask } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    job.fail(new TypeError('planted'));
    await world.advance(10);
    expect(asked.result).toBe(-ERRNO.EIO);
  });

  it('that is refused is not waited for (M11)', async () => {
    const { world, owner, requester, flatten, ask } = await setUp();
    owner.image.onMaintenance = () => -ERRNO.EOPNOTSUPP;
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    expect(asked.result).toBe(-ERRNO.EOPNOTSUPP);
  });

  it('finds nobody while the lock is on its way: ETIMEDOUT, never an error of the operation (M12)', async () => {
    const { world, owner, requester, flatten, ask } = await setUp();
    owner.image.accepts = undefined;
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    expect(asked.result).toBe(-ERRNO.ETIMEDOUT);
  });

  it('asked for again while it runs does not run twice (M2)', async () => {
    const { world, requester, job, flatten, ask } = await setUp();
    const id = requester.watcher.newRequestId();
    const first = ask(flatten(id));
    await world.advance(29_000);
    expect(first.result).toBeUndefined();
    await world.advance(2000);
    expect(first.result).toBe(-ERRNO.ETIMEDOUT);
    const second = ask(flatten(id));
    await world.advance(10);
    expect(second.result).toBeUndefined();
    job.finish();
    await world.advance(10);
    expect(second.result).toBe(0);
    expect(job.runs).toBe(1);
  });

  it('asked for again when it is done has the same result, whatever is asked for now (M4)', async () => {
    const { world, requester, job, flatten, ask, header } = await setUp();
    const id = requester.watcher.newRequestId();
    const failed = requester.watcher.newRequestId();
    ask(flatten(id));
    await world.advance(10);
    job.finish();
    await world.advance(10);
    ask(flatten(failed));
    await world.advance(10);
    job.fail(new RadosError('EINVAL', 'planted'));
    await world.advance(10);

    const again = ask(flatten(id));
    const failedAgain = ask({ op: 'rename', name: 'x', id: failed });
    await world.advance(10);
    expect(again.result).toBe(0);
    expect(failedAgain.result).toBe(-ERRNO.EINVAL);
    expect(job.runs).toBe(2);
    // A success is announced once more: who asks again waits for that.
    expect(header.sentOf('asyncComplete').map(({ result }) => result)).toEqual([0, -22, 0]);
  });

  it.each(['ETIMEDOUT', 'ERESTART'] as const)(
    'that ended undecided (%s) runs anew when it is asked for again',
    async (code) => {
      const { world, requester, job, flatten, ask } = await setUp();
      const id = requester.watcher.newRequestId();
      const first = ask(flatten(id));
      await world.advance(10);
      job.fail(new RadosError(code, 'planted'));
      await world.advance(10);
      expect(first.result).toBe(-ERRNO[code]);

      const again = ask(flatten(id));
      await world.advance(10);
      expect(again.result).toBeUndefined();
      expect(job.runs).toBe(2);
      job.finish();
      await world.advance(10);
      expect(again.result).toBe(0);
    },
  );

  it('is not done again by the next owner, which heard of the result, when the question comes late', async () => {
    const { world, owner, requester, job, flatten, ask, open } = await setUp();
    const next = await open(4300n);
    const request = flatten(requester.watcher.newRequestId());
    const asked = ask(request);
    await world.advance(10);
    job.finish();
    await world.advance(10);
    expect(asked.result).toBe(0);
    owner.image.accepts = undefined;
    next.image.accepts = 0;
    const again = new Job();
    next.image.onMaintenance = again.start;
    await world.until(next.watcher.announceAcquired());
    const late = ask(request);
    await world.advance(10);
    expect([late.result, again.runs]).toEqual([0, 0]);
  });

  it('has its last result told, although an earlier one is still on its way', async () => {
    const { world, requester, job, flatten, ask, header, open } = await setUp();
    // It keeps every notification under way for as long as it may be.
    await open(4300n);
    header.setDeaf(4300n, true);
    const id = requester.watcher.newRequestId();
    ask(flatten(id));
    await world.advance(10);
    job.fail(new RadosError('ERESTART', 'planted'));
    await world.advance(10);
    const again = ask(flatten(id));
    await world.advance(10);
    job.finish();
    await world.advance(12_000);
    expect(again.result).toBe(0);
  });

  it('is completed again and again for a requester that does not hear it (M4)', async () => {
    const { world, requester, job, flatten, ask, header } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    header.setDeaf(REQUESTER, true);
    job.finish();
    await world.advance(12_000);
    expect(asked.result).toBeUndefined();
    expect(header.sentOf('asyncComplete')).toHaveLength(3);
    header.setDeaf(REQUESTER, false);
    await world.advance(5000);
    expect(asked.result).toBe(0);
    await world.advance(60_000);
    expect(header.sentOf('asyncComplete')).toHaveLength(4);
  });

  it('is not completed again because a third client does not hear it', async () => {
    const { world, requester, job, flatten, ask, header, open } = await setUp();
    await open(4300n);
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    header.setDeaf(4300n, true);
    job.finish();
    await world.advance(60_000);
    expect(asked.result).toBe(0);
    expect(header.sentOf('asyncComplete')).toHaveLength(1);
  });

  it('is not completed again for a requester that is gone (M5)', async () => {
    const { world, requester, job, flatten, ask, header } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    await requester.watcher.close();
    expect(asked.result).toBe(-ERRNO.ERESTART);
    job.finish();
    await world.advance(60_000);
    expect(header.sentOf('asyncComplete')).toHaveLength(1);
  });

  it('is completed although the first notification of it fails', async () => {
    const { world, requester, job, flatten, ask, header } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    header.failures.push(new RadosError('EIO', 'planted'));
    job.finish();
    await world.advance(1100);
    expect(asked.result).toBe(0);
  });

  it('ends for the requester when another client acquires the lock (M9)', async () => {
    const { world, requester, flatten, ask, open } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    const next = await open(4300n);
    await world.until(next.watcher.announceAcquired());
    expect(asked.result).toBe(-ERRNO.ERESTART);
  });

  it('ends for the requester when the owner releases the lock (M8)', async () => {
    const { world, owner, requester, flatten, ask } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    await world.until(owner.watcher.announceReleased());
    expect(asked.result).toBe(-ERRNO.ERESTART);
  });

  it('goes on when its owner announces itself again', async () => {
    const { world, owner, requester, job, flatten, ask } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    await world.until(owner.watcher.announceAcquired());
    expect(asked.result).toBeUndefined();
    job.finish();
    await world.advance(10);
    expect(asked.result).toBe(0);
  });

  it('is asked for again when its owner has another cookie, and goes on there (M22)', async () => {
    const { world, header, owner, requester, job, flatten, ask } = await setUp();
    const id = requester.watcher.newRequestId();
    const first = ask(flatten(id));
    await world.advance(10);
    await header.reregister(OWNER);
    await world.until(owner.watcher.announceAcquired());
    expect(first.result).toBe(-ERRNO.ERESTART);
    const second = ask(flatten(id));
    await world.advance(10);
    job.finish();
    await world.advance(10);
    expect(second.result).toBe(0);
    expect(job.runs).toBe(1);
  });

  it('goes on when a former owner says late that it released the lock', async () => {
    const { world, requester, flatten, ask, open } = await setUp();
    const former = await open(4300n);
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    await world.until(former.watcher.announceReleased());
    expect(asked.result).toBeUndefined();
  });

  it('is asked for again with the same id after the watch was lost, and runs once (M23)', async () => {
    const { world, header, requester, job, flatten, ask } = await setUp();
    const id = requester.watcher.newRequestId();
    const first = ask(flatten(id));
    await world.advance(10);
    await header.reregister(REQUESTER);
    await world.flush();
    expect(first.result).toBe(-ERRNO.ERESTART);
    const second = ask(flatten(id));
    await world.advance(10);
    job.finish();
    await world.advance(10);
    expect(second.result).toBe(0);
    expect(job.runs).toBe(1);
  });

  it('ends with the error of the watch when that ends for good', async () => {
    const { world, requester, flatten, ask } = await setUp();
    const asked = ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    requester.watcher.onFailed(new RadosError('EBLOCKLISTED', 'planted'));
    await world.flush();
    expect(asked.result).toBe(-ERRNO.EBLOCKLISTED);
  });

  it('reports at most four times a second, forwards only, and what came last (M21)', async () => {
    const { world, requester, job, flatten, ask, header } = await setUp();
    const seen: number[] = [];
    ask(flatten(requester.watcher.newRequestId()), { onProgress: (offset) => seen.push(offset) });
    await world.advance(10);
    for (let i = 0; i <= 1000; i++) {
      job.report(i, 1000);
      job.report(Math.floor(i / 2), 1000);
      await world.advance(10);
    }
    await world.advance(500);
    const reports = header.sentOf('asyncProgress').map(({ offset }) => offset);
    expect(reports.length).toBeGreaterThan(35);
    expect(reports.length).toBeLessThanOrEqual(42);
    expect(reports).toEqual([...reports].sort((a, b) => a - b));
    expect(reports.at(-1)).toBe(1000);
    expect(seen).toEqual(reports);
  });

  it('100 requests of 20 clients have one result each (M20)', async () => {
    const { world, owner, open, flatten } = await setUp();
    let runs = 0;
    owner.image.onMaintenance = (request) => async () => {
      runs++;
      await new Promise<void>((resolve) => {
        world.after(Number(request.id?.requestId ?? 0n) * 300, resolve);
      });
    };
    const results: number[] = [];
    for (let gid = 6000n; gid < 6020n; gid++) {
      const { watcher } = await open(gid);
      for (let i = 0; i < 5; i++) {
        const request = flatten(watcher.newRequestId());
        void watcher.requestMaintenance(request).then((result) => results.push(result));
      }
    }
    await world.advance(60_000);
    expect(runs).toBe(100);
    expect(results).toEqual(Array.from({ length: 100 }, () => 0));
  });

  it('leaves no timers behind', async () => {
    const { world, owner, requester, job, flatten, ask } = await setUp();
    ask(flatten(requester.watcher.newRequestId()));
    await world.advance(10);
    job.report(1, 2);
    job.finish();
    await world.advance(1000);
    await owner.watcher.close();
    await requester.watcher.close();
    expect(world.pendingEvents).toBe(0);
  });
});

describe('the owner remembers', () => {
  const ids = (from: number, count: number): AsyncRequestId[] =>
    Array.from({ length: count }, (_, i) => ({
      client: { gid: REQUESTER, handle: 9n },
      requestId: BigInt(from + i),
    }));
  const setUpRequests = () => {
    const world = new VirtualWorld();
    const announced: string[] = [];
    const requests = new RemoteRequests(world.env, async (payload) => {
      announced.push(payload.op);
      return EMPTY_RESULT;
    });
    return { world, requests, announced };
  };
  const refuse = () => {
    throw new Error('must not start');
  };

  it('a result for ten minutes after it was last asked for', async () => {
    const { world, requests } = setUpRequests();
    const [id] = ids(1, 1) as [AsyncRequestId];
    expect(requests.accept(id, () => () => Promise.reject(new RadosError('EEXIST', 'x')))).toBe(0);
    await world.advance(599_000);
    expect(requests.accept(id, refuse)).toBe(-ERRNO.EEXIST);
    await world.advance(599_000);
    expect(requests.accept(id, refuse)).toBe(-ERRNO.EEXIST);
    await world.advance(601_000);
    expect(requests.accept(id, () => -ERRNO.EOPNOTSUPP)).toBe(-ERRNO.EOPNOTSUPP);
    expect(requests.sizes).toEqual({ running: 0, remembered: 0 });
  });

  it('no more than 1024 results', async () => {
    const { world, requests } = setUpRequests();
    const all = ids(1, 1100);
    for (const id of all) {
      requests.accept(id, () => async () => undefined);
      await world.flush();
    }
    expect(requests.sizes).toEqual({ running: 0, remembered: 1024 });
    expect(requests.accept(all[0] as AsyncRequestId, () => -ERRNO.EBUSY)).toBe(-ERRNO.EBUSY);
    expect(requests.accept(all.at(-1) as AsyncRequestId, refuse)).toBe(0);
  });

  it('no more than 256 running requests: the next one is to try again', async () => {
    const { world, requests } = setUpRequests();
    const finish: (() => void)[] = [];
    const start = () => () => new Promise<void>((resolve) => finish.push(resolve));
    for (const id of ids(1, 256)) expect(requests.accept(id, start)).toBe(0);
    const [next] = ids(1000, 1) as [AsyncRequestId];
    expect(requests.accept(next, refuse)).toBe(-ERRNO.EAGAIN);
    finish[0]?.();
    await world.flush();
    expect(requests.accept(next, start)).toBe(0);
  });

  it('nothing is announced after it stopped', async () => {
    const { world, requests, announced } = setUpRequests();
    const [id] = ids(1, 1) as [AsyncRequestId];
    let finish = () => {};
    let report: ProgressReport = () => {};
    requests.accept(id, () => (r) => {
      report = r;
      return new Promise((resolve) => (finish = resolve));
    });
    requests.stop();
    report(1, 2);
    finish();
    await world.advance(10_000);
    expect(announced).toEqual([]);
  });
});

describe('a request at another client', () => {
  const CLIENT = { gid: REQUESTER, handle: 9n };
  const setUpRequests = () => {
    const world = new VirtualWorld();
    return { world, requests: new AsyncRequests(world.env) };
  };
  const accepted = async () => 0;

  it('has a number of its own', () => {
    const { requests } = setUpRequests();
    expect(requests.newId(CLIENT)).toEqual({ client: CLIENT, requestId: 1n });
    expect(requests.newId(CLIENT)).toEqual({ client: CLIENT, requestId: 2n });
  });

  it('may be completed before it is answered (M3)', async () => {
    const { world, requests } = setUpRequests();
    const id = requests.newId(CLIENT);
    const result = requests.run(id, () => new Promise(() => {}));
    requests.complete(id, -ERRNO.EEXIST);
    expect(await world.until(result)).toBe(-ERRNO.EEXIST);
    expect(world.pendingEvents).toBe(0);
  });

  it('is taken back when its answer is not waited for any more', async () => {
    const { world, requests } = setUpRequests();
    let over: AbortSignal | undefined;
    const result = requests.run(requests.newId(CLIENT), (signal) => {
      over = signal;
      return new Promise(() => {});
    });
    expect(over?.aborted).toBe(false);
    requests.cancel();
    expect(await world.until(result)).toBe(-ERRNO.ERESTART);
    expect(over?.aborted).toBe(true);
  });

  it('is waited for as long as there is progress, and 30 seconds more', async () => {
    const { world, requests } = setUpRequests();
    const id = requests.newId(CLIENT);
    const result = requests.run(id, accepted);
    for (let i = 0; i < 10; i++) {
      await world.advance(29_000);
      // It need not get any further.
      requests.progress(id, 1, 10);
    }
    expect(await world.until(result)).toBe(-ERRNO.ETIMEDOUT);
    expect(world.now).toBe(320_000);
  });

  it('fails when it cannot be sent', async () => {
    const { requests } = setUpRequests();
    const failed = requests.run(requests.newId(CLIENT), () =>
      Promise.reject(new RadosError('EBLOCKLISTED', 'planted')),
    );
    await expect(failed).rejects.toMatchObject({ code: 'EBLOCKLISTED' });
    expect(requests.size).toBe(0);
  });

  it('is given up when its caller does not want it any more (M18)', async () => {
    const { world, requests } = setUpRequests();
    const { signal, abort } = (() => {
      const controller = new AbortController();
      return { signal: controller.signal, abort: () => controller.abort() };
    })();
    const running = requests.run(requests.newId(CLIENT), accepted, { signal });
    abort();
    await expect(running).rejects.toMatchObject({ code: 'ECANCELED' });
    const neverSent = requests.run(
      requests.newId(CLIENT),
      () => {
        throw new Error('must not be sent');
      },
      { signal },
    );
    await expect(neverSent).rejects.toMatchObject({ code: 'ECANCELED' });
    expect(world.pendingEvents).toBe(0);
  });

  it('of which nothing is known is not disturbed by what others hear', () => {
    const { requests } = setUpRequests();
    const id = { client: { gid: 1n, handle: 2n }, requestId: 3n };
    requests.progress(id, 1, 2);
    requests.complete(id, 0);
    expect(requests.size).toBe(0);
  });

  it('runs once at a time, and 1024 at once are too many', async () => {
    const { world, requests } = setUpRequests();
    const id = requests.newId(CLIENT);
    const all = [requests.run(id, accepted)];
    await expect(requests.run(id, accepted)).rejects.toBeInstanceOf(TypeError);
    for (let i = 1; i < 1024; i++) all.push(requests.run(requests.newId(CLIENT), accepted));
    const tooMany = requests.run(requests.newId(CLIENT), accepted);
    await expect(tooMany).rejects.toMatchObject({ code: 'EBUSY' });
    requests.cancel();
    const results = await world.until(Promise.all(all));
    expect(new Set(results)).toEqual(new Set([-ERRNO.ERESTART]));
    expect(requests.size).toBe(0);
    expect(world.pendingEvents).toBe(0);
  });

  it('never goes back, also when a new owner begins anew (M6)', () => {
    const seen: [number, number][] = [];
    const report = increasing((offset, total) => seen.push([offset, total]));
    for (const [offset, total] of [
      [0, 0],
      [1, 4],
      [1, 4],
      [0, 8],
      [3, 8],
      [8, 8],
    ] as const) {
      report(offset, total);
    }
    expect(seen).toEqual([
      [0, 0],
      [1, 4],
      [3, 8],
      [8, 8],
    ]);
  });
});
