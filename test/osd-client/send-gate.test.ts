// Goal: what is no longer right when its turn to be sent comes is not sent, however long it waited; what was sent once is
// seen through. Method: as resend.test.ts.

import { afterEach, describe, expect, it } from 'vitest';
import { appendOp } from '../../src/messages/osd-op.js';
import { HeldBackError, type SendGate } from '../../src/osd-client/request.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { FakeCluster, POOL } from '../support/fake-cluster.js';
import { rejection } from '../support/rejection.js';

const clients: RadosClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

class Gate implements SendGate {
  seq = 1;
  sent = 0;

  admits(madeAt: number): boolean {
    return madeAt === this.seq;
  }

  onSent(): void {
    this.sent++;
  }
}

async function setUp() {
  const cluster = await FakeCluster.start();
  const client = await cluster.connect();
  clients.push(client);
  const gate = new Gate();
  const target = { pool: POOL, nspace: '', oid: cluster.oidOn(0) };
  const append = (text: string) =>
    client.operate(target, [appendOp(Buffer.from(text))], { gate, madeAt: gate.seq });
  return { cluster, world: cluster.world, client, gate, append, osd: cluster.osd(0) };
}

describe('an operation with a gate', () => {
  it('is sent while its gate admits it, and said to be', async () => {
    const { world, gate, append, osd } = await setUp();
    await world.until(append('x'));
    expect([gate.sent, osd.arrivals.length]).toEqual([1, 1]);
  });

  it('is not sent when its gate has shut while it waited for its OSD; those without one are', async () => {
    const { world, client, gate, append, osd, cluster } = await setUp();
    cluster.world.network.port(osd.addr.port).onConnect = 'refuse';
    osd.dropConnections();
    const held = rejection(append('held'));
    const other = client.operate({ pool: POOL, nspace: '', oid: cluster.oidOn(0) }, [
      appendOp(Buffer.from('other')),
    ]);
    await world.advance(1000);
    gate.seq++;
    cluster.world.network.port(osd.addr.port).onConnect = 'accept';
    const error = await world.until(held);
    expect(error).toBeInstanceOf(HeldBackError);
    expect(error).toMatchObject({ code: 'EAGAIN', outcome: 'not-applied' });
    await world.until(other);
    const data = osd.arrivals.map(({ request }) => Buffer.from(request.ops[0]?.indata ?? []));
    expect(data.map(String)).toEqual(['other']);
    expect(gate.sent).toBe(0);
    expect(client.pending).toBe(0);
  });

  it('is sent again as it was when it was sent before the gate shut', async () => {
    const { world, gate, append, osd } = await setUp();
    osd.onRequest = () => {};
    const appending = append('x');
    await world.until(() => osd.arrivals.length === 1);
    gate.seq++;
    osd.onRequest = ({ reply }) => reply();
    osd.dropConnections();
    await world.until(appending);
    expect([gate.sent, osd.arrivals.length]).toEqual([1, 2]);
  });
});
