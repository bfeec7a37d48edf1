import { describe, expect, it } from 'vitest';
import { listWatchersOp, WATCH_OP } from '../../../src/messages/osd-op.js';
import { ackOp, notifyOp, watchOp } from '../osd/support/watch-messages.js';
import { Bench, OID, pendsFor, POOL, sleep, type TestRaw, timed, until } from './support.js';

const HEADER = { pool: POOL, object: OID };

/** Two clients of the same OSD that both watch the object. */
async function watched(): Promise<{ bench: Bench; a: TestRaw; b: TestRaw; osd: number }> {
  const bench = await Bench.start();
  const { rados } = await bench.client();
  const osd = await bench.primary(rados);
  const a = await bench.raw(osd);
  const b = await bench.raw(osd);
  await a.create();
  expect(await a.result(watchOp(WATCH_OP.WATCH, 1n))).toBe(0);
  expect(await b.result(watchOp(WATCH_OP.WATCH, 2n))).toBe(0);
  return { bench, a, b, osd };
}

describe('a dropped watch', () => {
  it('is gone without a word, and its client finds out with the next ping', async () => {
    const { bench, a, b } = await watched();
    const fault = await bench.faults.dropWatch({ ...HEADER, client: a.gid });
    expect(await fault.fired()).toBe(1);
    expect(a.client.notifies).toEqual([]);
    expect(await a.result(watchOp(WATCH_OP.PING, 1n))).toBe(-107);
    expect(await a.result(watchOp(WATCH_OP.RECONNECT, 1n))).toBe(-107);
    expect(await b.result(watchOp(WATCH_OP.PING, 2n))).toBe(0);
    expect(await a.result(watchOp(WATCH_OP.WATCH, 3n))).toBe(0);
    expect(a.client.notifies).toEqual([]);
  });

  it('can be everybody’s, by the client’s address too', async () => {
    const { bench, a, b } = await watched();
    const [{ addr } = { addr: '' }] = await bench.faults.watches({ object: OID });
    await bench.faults.dropWatch({ ...HEADER, client: addr });
    expect(await a.result(watchOp(WATCH_OP.PING, 1n))).toBe(-107);
    await a.result(watchOp(WATCH_OP.WATCH, 3n));
    const both = await bench.faults.dropWatch(HEADER);
    expect(await both.fired()).toBe(2);
    expect(await bench.faults.watches()).toEqual([]);
    expect(await b.result(watchOp(WATCH_OP.PING, 2n))).toBe(-107);
    expect((await bench.faults.counters()).dropWatch).toBe(3);
  });

  it('completes a notify that waited for it', async () => {
    const { bench, a, b } = await watched();
    await b.result(notifyOp(9n, 20, 'news'));
    const [told] = await b.events(1);
    await b.result(ackOp(told?.notifyId ?? 0n, 2n, 'b'));
    await bench.faults.dropWatch({ ...HEADER, client: a.gid });
    const [complete] = await b.events(1);
    expect(complete).toMatchObject({ event: 'COMPLETE', result: 0 });
    expect(complete?.data).toContain(`acked by [${b.gid}/2 'b'], missed by []`);
  });

  it('must have been there', async () => {
    const { bench } = await watched();
    const drop = (options: object) => bench.faults.dropWatch({ ...HEADER, ...options });
    await expect(drop({ object: 'other' })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(drop({ client: 12345 })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(drop({ pool: 'none' })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(drop({ client: 'nobody' })).rejects.toThrow(TypeError);
    expect((await bench.faults.counters()).dropWatch).toBe(0);
  });
});

describe('the list of watches', () => {
  it('says who watches what, where, and when they were last heard of', async () => {
    const before = performance.now();
    const { bench, a, b, osd } = await watched();
    const watches = await bench.faults.watches({ pool: POOL });
    expect(watches).toMatchObject([
      {
        pool: 1,
        namespace: '',
        object: OID,
        osd,
        client: `client.${a.gid}`,
        addr: `127.0.0.1:0/${a.gid}`,
        cookie: 1n,
        timeoutS: 30,
        connected: true,
      },
      { client: `client.${b.gid}`, cookie: 2n, connected: true },
    ]);
    b.client.close();
    await sleep(100);
    await until(async () => (await bench.faults.watches())[1]?.connected === false);
    const [, gone] = await bench.faults.watches();
    expect(gone?.silentMs).toBeGreaterThanOrEqual(100);
    expect(gone?.silentMs).toBeLessThan(performance.now() - before);
  });

  it('counts from when a ping arrived, not from when the OSD came to it', async () => {
    const { bench, a } = await watched();
    a.target.epoch++;
    const pinging = a.result(watchOp(WATCH_OP.PING, 1n));
    expect(await pendsFor(pinging, 400)).toBe(true);
    await bench.faults.setFlags('noout');
    expect(await pinging).toBe(0);
    const [watch] = await bench.faults.watches();
    expect(watch?.silentMs).toBeGreaterThanOrEqual(390);
    await sleep(100);
    const before = performance.now();
    await a.result(watchOp(WATCH_OP.PING, 1n));
    const [again] = await bench.faults.watches();
    expect(again?.silentMs).toBeLessThan(performance.now() - before);
  });
});

describe('a notification', () => {
  it('that is dropped never comes, and its watcher has missed the notify', async () => {
    const { bench, a, b } = await watched();
    const fault = await bench.faults.dropNotify({ ...HEADER, client: a.gid, times: 1 });
    await b.result(notifyOp(9n, 1, 'lost'));
    const [told] = await b.events(1);
    await b.result(ackOp(told?.notifyId ?? 0n, 2n, ''));
    const [complete] = await b.events(1);
    expect(complete).toMatchObject({ event: 'COMPLETE', result: -110 });
    expect(complete?.data).toContain(`missed by [${a.gid}/1]`);
    expect(a.client.notifies).toEqual([]);
    expect(await fault.fired()).toBe(1);
    // It was to be once.
    await b.result(notifyOp(9n, 1, 'told'));
    expect(await a.events(1)).toMatchObject([{ event: 'NOTIFY', payload: 'told' }]);
    expect(await bench.faults.active()).toMatchObject([
      { kind: 'dropNotify', fired: 1, over: true },
    ]);
  });

  it('that is delayed comes later, or when the fault is stopped', async () => {
    const { bench, a, b } = await watched();
    const late = await bench.faults.delayNotify({ client: a.gid, ms: 300 });
    const took = await timed(async () => {
      await b.result(notifyOp(9n, 5, 'late'));
      await a.events(1);
    });
    expect(took).toBeGreaterThan(290);
    await b.events(1);
    expect(await late.fired()).toBe(1);
    await late.stop();
    const held = await bench.faults.delayNotify({ client: a.gid });
    await b.result(notifyOp(9n, 5, 'held'));
    await held.untilFired();
    await sleep(100);
    expect(a.client.notifies).toEqual([]);
    await held.stop();
    expect(await a.events(1)).toMatchObject([{ payload: 'held' }]);
  });

  it('that is doubled comes twice under one id, and counts once', async () => {
    const { bench, a, b } = await watched();
    await using fault = await bench.faults.duplicateNotify({
      prefix: 'rbd_header.',
      client: a.gid,
    });
    await b.result(notifyOp(9n, 5, 'twice'));
    const told = await a.events(2);
    expect(told.map(({ notifyId }) => notifyId)).toEqual([told[0]?.notifyId, told[0]?.notifyId]);
    for (const { notifyId } of told) await a.result(ackOp(notifyId, 1n, 'a'));
    await b.result(ackOp(told[0]?.notifyId ?? 0n, 2n, 'b'));
    const events = await b.events(2);
    expect(events[1]?.data).toContain(`acked by [${a.gid}/1 'a',${b.gid}/2 'b'], missed by []`);
    expect(await fault.fired()).toBe(1);
  });
});

describe('an acknowledgement', () => {
  it('that is dropped was sent for nothing', async () => {
    const { bench, a, b } = await watched();
    await using fault = await bench.faults.dropNotify({ message: 'ack', client: a.gid });
    await b.result(notifyOp(9n, 1, 'news'));
    const [[toA], [toB]] = [await a.events(1), await b.events(1)];
    expect(await a.result(ackOp(toA?.notifyId ?? 0n, 1n, 'a'))).toBe(0);
    await b.result(ackOp(toB?.notifyId ?? 0n, 2n, 'b'));
    const [complete] = await b.events(1);
    expect(complete?.result).toBe(-110);
    expect(complete?.data).toContain(`acked by [${b.gid}/2 'b'], missed by [${a.gid}/1]`);
    expect(await fault.fired()).toBe(1);
  });

  it('that is delayed holds the completion up, and one that is doubled changes nothing', async () => {
    const { bench, a, b } = await watched();
    await bench.faults.delayNotify({ message: 'ack', client: a.gid, ms: 300 });
    await bench.faults.duplicateNotify({ message: 'ack', client: b.gid });
    await b.result(notifyOp(9n, 5, 'news'));
    const [[toA], [toB]] = [await a.events(1), await b.events(1)];
    let complete: Awaited<ReturnType<typeof b.events>> = [];
    const took = await timed(async () => {
      await a.result(ackOp(toA?.notifyId ?? 0n, 1n, 'a'));
      await b.result(ackOp(toB?.notifyId ?? 0n, 2n, 'b'));
      complete = await b.events(1);
    });
    expect(took).toBeGreaterThan(290);
    expect(complete[0]?.data).toContain(`acked by [${a.gid}/1 'a',${b.gid}/2 'b'], missed by []`);
    expect(await bench.faults.counters()).toMatchObject({ delayNotify: 1, duplicateNotify: 1 });
  });
});

describe('a completion', () => {
  it('that is dropped leaves the notifier waiting', async () => {
    const { bench, a, b } = await watched();
    const fault = await bench.faults.dropNotify({ message: 'completion', client: b.gid });
    await b.result(notifyOp(9n, 1, 'news'));
    await b.events(1);
    await fault.untilFired(1, { timeoutMs: 5000 });
    await sleep(100);
    expect(b.client.notifies).toEqual([]);
    await a.result(notifyOp(9n, 1, 'mine'));
    expect(await a.events(3)).toMatchObject([
      { event: 'NOTIFY', payload: 'news' },
      { event: 'NOTIFY', payload: 'mine' },
      { event: 'COMPLETE' },
    ]);
  });
});

describe('a registration whose answer is held back', () => {
  it('is known to the OSD, and once more asked for is one watch still', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const osd = await bench.primary(rados);
    const a = await bench.raw(osd);
    await a.create();
    const fault = await bench.faults.delayReplies({ ...HEADER, ops: 'watch' });
    const first = a.ask([watchOp(WATCH_OP.WATCH, 1n)]);
    await fault.untilFired();
    expect(await pendsFor(first, 100)).toBe(true);
    expect(await bench.faults.watches()).toMatchObject([{ cookie: 1n, connected: true }]);
    // The client loses its connection, and with it the answer.
    a.client.close();
    await expect(first).rejects.toThrow();
    const again = await bench.raw(osd, a.gid);
    const second = again.ask([watchOp(WATCH_OP.WATCH, 1n)]);
    await fault.untilFired(2);
    await fault.stop();
    expect((await second).reply.result).toBe(0);
    expect(await bench.faults.watches()).toMatchObject([{ cookie: 1n, connected: true }]);
    expect((await again.ask([listWatchersOp()])).reply.ops[0]?.outdata.length).toBeGreaterThan(20);
    expect(await again.result(watchOp(WATCH_OP.PING, 1n))).toBe(0);
  });
});
