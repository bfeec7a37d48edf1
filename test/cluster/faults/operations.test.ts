import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { WATCH_OP } from '../../../src/messages/osd-op.js';
import { watchOp } from '../osd/support/watch-messages.js';
import { Bench, OID, pendsFor, POOL, read, timed, write } from './support.js';

describe('operations that fail', () => {
  it('are answered with the error and not carried out, as often as was said', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    await write(io, OID, 'before');
    const fault = await bench.faults.failOps({ object: OID, ops: 'write', errno: 'EIO', times: 2 });
    await expect(write(io, OID, 'first')).rejects.toMatchObject({ code: 'EIO', errno: -5 });
    expect(await read(io)).toBe('before');
    await write(io, 'another', 'data');
    await expect(write(io, OID, 'second')).rejects.toMatchObject({ code: 'EIO' });
    await write(io, OID, 'third!');
    expect(await read(io)).toBe('third!');
    expect(await fault.fired()).toBe(2);
  });

  it('are not those that were done before: who asks again is told so', async () => {
    const bench = await Bench.start();
    const { io, rados } = await bench.client();
    await write(io, OID, 'before');
    const unanswered = await bench.faults.dropReplies({ object: OID, ops: 'write', times: 1 });
    const written = write(io, OID, 'done!!');
    while ((await unanswered.fired()) === 0) await sleep(1);
    const fault = await bench.faults.failOps({ object: OID, ops: 'write', errno: 'EIO' });
    await bench.faults.resetConnections({ client: rados.globalId });
    await written;
    expect(await read(io)).toBe('done!!');
    expect(await fault.fired()).toBe(0);
    await expect(write(io, OID, 'next')).rejects.toMatchObject({ code: 'EIO' });
  });

  it('are those of a client, a pool, a prefix and a kind', async () => {
    const bench = await Bench.start({ pools: [POOL, 'other'] });
    const [one, two] = [await bench.client(), await bench.client()];
    await write(one.io, 'rbd_data.1', 'data');
    await using fault = await bench.faults.failOps({
      pool: POOL,
      prefix: 'rbd_data.',
      ops: ['read', 'ping'],
      client: one.rados.globalId,
      errno: 'EIO',
    });
    await expect(read(one.io, 'rbd_data.1')).rejects.toMatchObject({ code: 'EIO' });
    expect(await read(two.io, 'rbd_data.1')).toBe('data');
    await write(one.io, 'rbd_data.1', 'more');
    await write(one.io, 'rbd_header.1', 'data');
    expect(await read(one.io, 'rbd_header.1')).toBe('data');
    const other = await one.rados.ioctx('other');
    await write(other, 'rbd_data.1', 'other');
    expect(await read(other, 'rbd_data.1')).toBe('other');
    expect(await fault.fired()).toBe(1);
  });

  it('can be pings of watches, which lose nothing by it', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const raw = await bench.raw(await bench.primary(rados));
    await raw.create();
    await raw.result(watchOp(WATCH_OP.WATCH, 1n));
    const fault = await bench.faults.failOps({ ops: 'ping', errno: 'ENOTCONN', times: 1 });
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(-107);
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(0);
    expect(await fault.fired()).toBe(1);
  });

  it('must be described in words that make sense', async () => {
    const bench = await Bench.start();
    const fail = (options: object) => bench.faults.failOps({ errno: 'EIO', ...options });
    await expect(fail({ errno: 'ENONSENSE' })).rejects.toThrow(TypeError);
    await expect(fail({ times: 0 })).rejects.toThrow(RangeError);
    await expect(fail({ pool: 'none' })).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await bench.faults.active()).toEqual([]);
  });
});

describe('answers', () => {
  it('that are delayed come later, for work that was done at once', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    const fault = await bench.faults.delayReplies({ client: one.rados.globalId, ms: 300 });
    const writing = write(one.io, OID, 'done');
    await fault.untilFired();
    expect(await read(two.io)).toBe('done');
    expect(await pendsFor(writing, 100)).toBe(true);
    await writing;
    expect(await timed(() => read(one.io))).toBeGreaterThan(250);
    expect(await fault.fired()).toBe(2);
  });

  it('that are held come when the fault is stopped', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const fault = await bench.faults.delayReplies({ ops: 'write' });
    const writes = [write(io, 'a'), write(io, 'b')];
    await fault.untilFired(2);
    expect(await pendsFor(Promise.race(writes), 100)).toBe(true);
    await fault.stop();
    await Promise.all(writes);
  });

  it('that are dropped are lost; the client gets another when it asks again, and the write happens once', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const fault = await bench.faults.dropReplies({ ops: 'write', times: 1 });
    const writing = write(io, OID, 'once');
    await fault.untilFired();
    expect(await pendsFor(writing, 200)).toBe(true);
    await bench.faults.resetConnections();
    await writing;
    expect(await read(io)).toBe('once');
    expect(await bench.faults.counters()).toMatchObject({ dropReplies: 1 });
  });
});
