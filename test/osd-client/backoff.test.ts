// Goal: what an OSD asks to hold back is held back, and nothing else; it goes out again, in order, when the OSD lifts the
// backoff or the connection is lost.

import { afterEach, describe, expect, it } from 'vitest';

import { type Hobject, NO_SHARD, NOSNAP, type SpgId } from '../../src/encoding/types.js';
import { BACKOFF_OP } from '../../src/messages/osd-messages.js';
import { appendOp, readOp } from '../../src/messages/osd-op.js';
import { type Backoff, BackoffSet, inRange } from '../../src/osd-client/backoff.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { type Arrival, FakeCluster, POOL } from '../support/fake-cluster.js';

const PG: SpgId = { pg: { pool: POOL, seed: 3 }, shard: NO_SHARD };

function hobject(oid: string, hash: number, more: Partial<Hobject> = {}): Hobject {
  return { key: '', oid, snap: NOSNAP, hash, max: 0, nspace: '', pool: BigInt(POOL), ...more };
}

function backoff(id: bigint, begin: Hobject, end: Hobject, pg = PG): Backoff {
  return { pg, id, begin, end };
}

describe('a set of backoffs', () => {
  it('covers a half-open range in the order of reversed hashes', () => {
    // Reversed, 3 is 0xc0000000 and 1 is 0x80000000: 1 < 5 (0xa...) < 3.
    const range = backoff(1n, hobject('', 1, { snap: 0n }), hobject('', 3, { snap: 0n }));
    expect(inRange(hobject('x', 1), range)).toBe(true);
    expect(inRange(hobject('x', 5), range)).toBe(true);
    expect(inRange(hobject('x', 3), range)).toBe(false);
    expect(inRange(hobject('x', 2), range)).toBe(false);
    expect(inRange(hobject('', 1, { snap: 0n }), range)).toBe(true);
    expect(inRange(hobject('', 3, { snap: 0n }), range)).toBe(false);
  });

  it('takes an empty range for the one object', () => {
    const one = backoff(1n, hobject('x', 3), hobject('x', 3));
    expect(inRange(hobject('x', 3), one)).toBe(true);
    expect(inRange(hobject('y', 3), one)).toBe(false);
    expect(inRange(hobject('x', 3, { nspace: 'n' }), one)).toBe(false);
  });

  it('goes by PG, removes by id, and forgets', () => {
    const set = new BackoffSet();
    const everything = [hobject('', 0, { snap: 0n }), hobject('', 0, { max: 1 })] as const;
    set.add(backoff(1n, ...everything));
    set.add(backoff(2n, ...everything));
    expect(set.covers(PG, hobject('x', 3))).toBe(true);
    expect(set.covers({ ...PG, pg: { pool: POOL, seed: 4 } }, hobject('x', 3))).toBe(false);
    expect(set.covers({ ...PG, shard: 1 }, hobject('x', 3))).toBe(false);
    expect(set.remove(PG, 7n)).toBeUndefined();
    expect(set.remove(PG, 1n)?.id).toBe(1n);
    expect(set.covers(PG, hobject('x', 3))).toBe(true);
    set.remove(PG, 2n);
    expect(set.covers(PG, hobject('x', 3))).toBe(false);
    set.add(backoff(3n, ...everything));
    set.clear();
    expect([set.size, set.covers(PG, hobject('x', 3))]).toEqual([0, false]);
  });

  it('has room for 65,536', () => {
    const set = new BackoffSet();
    for (let i = 0; i < 65_536; i++)
      expect(set.add(backoff(BigInt(i), hobject('x', i), hobject('x', i)))).toBe(true);
    expect(set.add(backoff(65_536n, hobject('x', 0), hobject('x', 0)))).toBe(false);
  });
});

const clients: RadosClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function setUp() {
  const cluster = await FakeCluster.start({ osds: 1 });
  const client = await cluster.connect();
  clients.push(client);
  const osd = cluster.osd(0);
  const write = (oid: string, text: string, timeoutMs = 0) =>
    client.operate({ pool: POOL, nspace: '', oid }, [appendOp(new TextEncoder().encode(text))], {
      timeoutMs,
    });
  const texts = (oid: string) =>
    osd.arrivals
      .filter(({ request }) => request.oid === oid)
      .map(({ request }) => Buffer.from(request.ops[0]?.indata ?? []).toString());
  const pgOf = ({ request: { pg, shard } }: Arrival): SpgId => ({ pg, shard });
  const positionOf = ({ request }: Arrival) => hobject(request.oid, request.hash);
  return { cluster, world: cluster.world, client, osd, write, texts, pgOf, positionOf };
}

const hold = () => {};

describe('an OSD that asks to wait', () => {
  it('for one object is obeyed for that object alone, acknowledged, and resumed in order', async () => {
    const { world, osd, write, texts, pgOf, positionOf, cluster } = await setUp();
    osd.onRequest = hold;
    const blocked = [write('x', '1'), write('x', '2')];
    await world.until(() => osd.arrivals.length === 2);
    const [first] = osd.arrivals as [Arrival];
    const range = { pg: pgOf(first), id: 5n, begin: positionOf(first), end: positionOf(first) };
    osd.backoff(first.connection, range, 'BLOCK');
    await world.until(() => osd.backoffAcks.length === 1);
    expect(osd.backoffAcks[0]).toMatchObject({
      ...range,
      op: BACKOFF_OP.ACK_BLOCK,
      epoch: cluster.epoch,
    });
    osd.onRequest = ({ reply }) => reply();
    blocked.push(write('x', '3'));
    await world.until(write('y', 'free'));
    await world.advance(10_000);
    expect(texts('x')).toEqual(['1', '2']);
    osd.backoff(first.connection, range, 'UNBLOCK');
    await world.until(Promise.all(blocked));
    expect(texts('x')).toEqual(['1', '2', '1', '2', '3']);
    const again = osd.arrivals.filter(({ request }) => request.oid === 'x').slice(2);
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1, 0]);
  });

  it('for one object is obeyed whatever snapshot of it is asked for', async () => {
    const { world, osd, client, pgOf, positionOf } = await setUp();
    osd.onRequest = hold;
    const target = { pool: POOL, nspace: '', oid: 'x' };
    const read = client.operate(target, [readOp(0, 1)], { snapid: 4n, timeoutMs: 0 });
    await world.until(() => osd.arrivals.length === 1);
    const [first] = osd.arrivals as [Arrival];
    const range = { pg: pgOf(first), id: 5n, begin: positionOf(first), end: positionOf(first) };
    osd.backoff(first.connection, range, 'BLOCK');
    await world.until(() => osd.backoffAcks.length === 1);
    osd.onRequest = ({ reply }) => reply();
    osd.backoff(first.connection, range, 'UNBLOCK');
    await world.until(read);
    expect(osd.arrivals.map(({ attempt }) => attempt)).toEqual([0, 1]);
  });

  it('for a whole PG is obeyed for its objects', async () => {
    const { world, osd, write, pgOf } = await setUp();
    osd.onRequest = hold;
    const oids = Array.from({ length: 30 }, (_, i) => `object${i}`);
    const all = oids.map((oid) => write(oid, '1'));
    await world.until(() => osd.arrivals.length === 30);
    const [first] = osd.arrivals as [Arrival];
    const range = {
      pg: pgOf(first),
      id: 1n,
      begin: hobject('', first.request.pg.seed, { snap: 0n }),
      end: hobject('', 0, { max: 1, snap: 0n }),
    };
    osd.backoff(first.connection, range, 'BLOCK');
    await world.until(() => osd.backoffAcks.length === 1);
    osd.onRequest = ({ reply }) => reply();
    const inPg = osd.arrivals.filter(({ request }) => request.pg.seed === first.request.pg.seed);
    for (const { reply, request } of osd.arrivals.slice()) {
      if (request.pg.seed !== first.request.pg.seed) reply();
    }
    osd.arrivals.length = 0;
    osd.backoff(first.connection, range, 'UNBLOCK');
    await world.until(Promise.all(all));
    expect(osd.oids).toEqual(inPg.map(({ request }) => request.oid));
  });

  it('twice is obeyed until both are lifted', async () => {
    const { world, osd, write, texts, pgOf, positionOf } = await setUp();
    osd.onRequest = hold;
    const pending = write('x', '1');
    await world.until(() => osd.arrivals.length === 1);
    const [first] = osd.arrivals as [Arrival];
    const range = { pg: pgOf(first), begin: positionOf(first), end: positionOf(first) };
    osd.backoff(first.connection, { ...range, id: 1n }, 'BLOCK');
    osd.backoff(first.connection, { ...range, id: 2n }, 'BLOCK');
    await world.until(() => osd.backoffAcks.length === 2);
    osd.onRequest = ({ reply }) => reply();
    osd.backoff(first.connection, { ...range, id: 1n }, 'UNBLOCK');
    await world.advance(1000);
    expect(texts('x')).toEqual(['1']);
    osd.backoff(first.connection, { ...range, id: 99n }, 'UNBLOCK');
    osd.backoff(first.connection, { ...range, id: 2n }, 'UNBLOCK');
    await world.until(pending);
  });

  it('is forgotten with its connection', async () => {
    const { world, osd, write, pgOf, positionOf } = await setUp();
    osd.onRequest = hold;
    const pending = write('x', '1');
    await world.until(() => osd.arrivals.length === 1);
    const [first] = osd.arrivals as [Arrival];
    osd.backoff(
      first.connection,
      { pg: pgOf(first), id: 1n, begin: positionOf(first), end: positionOf(first) },
      'BLOCK',
    );
    await world.until(() => osd.backoffAcks.length === 1);
    osd.onRequest = ({ reply }) => reply();
    osd.dropConnections();
    await world.until(pending);
  });

  it('may answer nothing else: the deadline says that it asked to wait', async () => {
    const { world, osd, client, write, pgOf, positionOf } = await setUp();
    osd.onRequest = hold;
    const pending = write('x', '1', 3000);
    await world.until(() => osd.arrivals.length === 1);
    const [first] = osd.arrivals as [Arrival];
    osd.backoff(
      first.connection,
      { pg: pgOf(first), id: 1n, begin: positionOf(first), end: positionOf(first) },
      'BLOCK',
    );
    await expect(world.until(pending)).rejects.toThrow(/osd\.0 at .* asked to wait in 3\.0 s/);
    expect(client.pending).toBe(0);
  });

  it('does not hold back what moved to another OSD', async () => {
    const cluster = await FakeCluster.start({ osds: 2 });
    const client = await cluster.connect();
    clients.push(client);
    const { world } = cluster;
    const oid = cluster.oidOn(0);
    cluster.osd(0).onRequest = hold;
    const pending = client.operate({ pool: POOL, nspace: '', oid }, [readOp(0, 1)]);
    await world.until(() => cluster.osd(0).arrivals.length === 1);
    const arrival = cluster.osd(0).arrivals[0] as Arrival;
    const position = hobject(oid, arrival.request.hash);
    const pg: SpgId = { pg: arrival.request.pg, shard: NO_SHARD };
    cluster
      .osd(0)
      .backoff(arrival.connection, { pg, id: 1n, begin: position, end: position }, 'BLOCK');
    await world.until(() => cluster.osd(0).backoffAcks.length === 1);
    cluster.change(({ newPgTemp }) => newPgTemp.set(`${pg.pg.pool}.${pg.pg.seed}`, [1]));
    arrival.connection.send(cluster.mapMessage(11));
    await world.until(pending);
    expect(cluster.osd(1).arrivals).toHaveLength(1);
  });
});
