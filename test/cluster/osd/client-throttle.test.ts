// What an OSD takes from its clients before it is done with what it has.

import { afterEach, expect, it, vi } from 'vitest';
import { ClientThrottle, type Throttled } from '../../../src/cluster/osd/client-throttle.js';
import { OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import { type EntityAddr, msgr2Addr } from '../../../src/encoding/entity.js';
import { appendOp, readOp } from '../../../src/messages/osd-op.js';
import { Blocker } from '../../../src/cluster/osd/pipeline/blocker.js';
import { OsdFaultRules } from '../../../src/cluster/faults/osd-faults.js';
import { FakeMon } from './support/fake-mon.js';
import './support/pipeline-rules.js';
import { RawClient, testMessenger } from './support/raw-client.js';

/** More than a few do not come by one read. */
const BYTES = 32 * 1024;
const PATIENCE = { timeout: 10_000, interval: 5 };

class Connection implements Throttled {
  readonly calls: string[] = [];
  pause(): void {
    this.calls.push('pause');
  }
  resume(): void {
    this.calls.push('resume');
  }
}

it('stops who brings it to its limit, once, and lets all go on when half is done', () => {
  const throttle = new ClientThrottle({ messages: 4, bytes: 100 });
  const [a, b, c] = [new Connection(), new Connection(), new Connection()];
  for (const from of [a, a, a, b, b, c]) throttle.take(from, 1);
  expect([a.calls, b.calls, c.calls]).toEqual([[], ['pause'], ['pause']]);
  throttle.forget(c);
  for (let left = 5; left > 2; left--) throttle.give(1);
  expect(b.calls).toEqual(['pause']);
  throttle.give(1);
  expect([b.calls, c.calls]).toEqual([['pause', 'resume'], ['pause']]);
  throttle.take(a, 98);
  expect(a.calls).toEqual(['pause']);
  expect([throttle.messages, throttle.bytes]).toEqual([3, 100]);
});

let osd: OsdDaemon | undefined;
afterEach(() => osd?.stop());

it('an OSD reads no more than it may of all its clients, and then everything, in order', async () => {
  const mon = new FakeMon({
    crc32c: testMessenger().crc32c,
    osds: 1,
    pools: [{ id: 1, name: 'p', pgNum: 1 }],
  });
  const faults = new OsdFaultRules(testMessenger().env);
  osd = await OsdDaemon.start({
    ...{ ...testMessenger(), id: 0, host: '127.0.0.1', mon, faults },
    peers: { osd: () => undefined },
    objectStore: new MemoryStore(),
    limits: { clients: { messages: 10, bytes: 1 << 24 } },
  });
  const gate = new Blocker('fault');
  let shut = true;
  // Everything is held at the door of the PG.
  faults.points.intercept = (_, event, phase) =>
    shut && event === 'entered' && phase === 'G1.wait_pg_ready' ? gate : undefined;
  const addr = msgr2Addr(osd.addrs) as EntityAddr;
  const target = { addr, pool: 1, pgNum: 1, epoch: mon.map.epoch };
  const clients = [];
  for (const nonce of [1, 2, 3]) {
    clients.push(await RawClient.connect(target, { globalId: BigInt(nonce), nonce }));
  }
  const replies = clients.flatMap((client, c) =>
    Array.from(
      { length: 30 },
      () => client.send({ oid: `o${c}`, ops: [appendOp(Buffer.alloc(BYTES, c))] }).reply,
    ),
  );
  const { throttle } = osd;
  await vi.waitFor(() => expect(throttle.messages).toBeGreaterThanOrEqual(10), PATIENCE);
  await new Promise((resolve) => setTimeout(resolve, 50));
  // Each connection may have read a batch of its socket before it was stopped.
  expect(throttle.messages).toBeLessThan(60);
  shut = false;
  gate.lift();
  for (const { reply } of await Promise.all(replies)) expect(reply.result).toBe(0);
  for (const [c, client] of clients.entries()) {
    const { data } = await client.operate({ oid: `o${c}`, ops: [readOp(0, 0)] });
    expect(Buffer.from(data).equals(Buffer.alloc(30 * BYTES, c))).toBe(true);
    client.close();
  }
  expect([osd.throttle.messages, osd.throttle.bytes]).toEqual([0, 0]);
});
