/**
 * What monitors and OSDs say to a client that is wrong. A session that does it ends and is made anew, or the message counts for
 * nothing; the client goes on, and what it was asked for comes to an end.
 */

import { encodeWith } from '../../src/encoding/codec.js';
import { NO_SHARD } from '../../src/encoding/types.js';
import { monMap, monMapMessage, osdMapMessage } from '../../src/messages/mon-messages.js';
import { encodeOsdReply, osdBackoff, type OsdReply } from '../../src/messages/osd-messages.js';
import { readOp } from '../../src/messages/osd-op.js';
import { MSG, type OutgoingMessage, outgoing } from '../../src/messages/types.js';
import { WATCH_EVENT, watchNotify } from '../../src/messages/watch-notify.js';
import {
  type Arrival,
  FakeCluster,
  type FakeMon,
  osdReplyOf,
  POOL,
} from '../support/fake-cluster.js';
import { describeError, type HostileCase } from './case.js';

const ONES = new Uint8Array(64).fill(255);
const NO_BYTES = new Uint8Array(0);
const TARGET = { pool: POOL, nspace: '', oid: 'x' };
/** For what comes of a message to come of it. */
const SETTLE_MS = 2000;

/** An OSD answers a read like that, once; the read's end, and how often the OSD was connected to. */
function answered(name: string, expect: string, answer: (arrival: Arrival) => void): HostileCase {
  return {
    name: `OSD's answer: ${name}`,
    expect,
    act: async () => {
      const cluster = await FakeCluster.start({ osds: 1 });
      const { world } = cluster;
      const client = await cluster.connect();
      const osd = cluster.osd(0);
      let isFirst = true;
      osd.onRequest = (arrival) => {
        if (!isFirst) return arrival.reply({ outputs: [Buffer.from('right')] });
        isFirst = false;
        answer(arrival);
        return undefined;
      };
      const read = client.operate(TARGET, [readOp(0, 5)], { timeoutMs: 60_000 });
      try {
        const { ops } = await world.until(read);
        return `read ${Buffer.from(ops[0]?.outdata ?? []).toString()} at attempt ${osd.arrivals.length}`;
      } catch (error) {
        return describeError(error);
      } finally {
        client.close();
      }
    },
  };
}

const replyWith =
  (change: Partial<OsdReply>, message: Partial<OutgoingMessage> = {}) =>
  (arrival: Arrival) =>
    arrival.connection.send(
      outgoing(MSG.OSD_OPREPLY, encodeOsdReply(osdReplyOf(arrival.request, change)), {
        ...{ version: 8, compat: 2, tid: arrival.tid },
        ...message,
      }),
    );
const front =
  (bytes: Uint8Array, version = 8) =>
  (arrival: Arrival) =>
    arrival.connection.send(
      outgoing(MSG.OSD_OPREPLY, bytes, { version, compat: 2, tid: arrival.tid }),
    );
const thenRight = (send: (arrival: Arrival) => void) => (arrival: Arrival) => {
  send(arrival);
  arrival.reply({ outputs: [Buffer.from('right')] });
};
/** The right answer, with some of its bytes changed. */
const patched = (patch: (bytes: Buffer) => Buffer) => (arrival: Arrival) =>
  front(patch(Buffer.from(encodeOsdReply(osdReplyOf(arrival.request)))))(arrival);
const op = (arrival: Arrival, outdata: Uint8Array) => ({
  op: arrival.request.ops[0] as (typeof arrival.request.ops)[number],
  rval: 0,
  outdata,
});

const ANSWERS: readonly HostileCase[] = [
  answered('of no operation', 'EPROTO: ', replyWith({ ops: [] })),
  answered('of two operations', 'EPROTO: ', (arrival) =>
    replyWith({ ops: [op(arrival, NO_BYTES), op(arrival, NO_BYTES)] })(arrival),
  ),
  answered('of 16 operations', 'EPROTO: ', (arrival) =>
    replyWith({ ops: Array.from({ length: 16 }, () => op(arrival, NO_BYTES)) })(arrival),
  ),
  answered('with output that is not there', 'EPROTO: ', (arrival) =>
    replyWith({ ops: [op(arrival, Buffer.alloc(5))] }, { data: [] })(arrival),
  ),
  answered('with an empty front', 'EPROTO: ', front(NO_BYTES)),
  answered('with a front of ones', 'EPROTO: ', front(ONES)),
  answered('with a front of one byte', 'EPROTO: ', front(Buffer.of(1))),
  answered(
    'cut in half',
    'EPROTO: ',
    patched((bytes) => bytes.subarray(0, bytes.length / 2)),
  ),
  answered(
    'a byte short',
    'read  at attempt 1',
    patched((bytes) => bytes.subarray(0, -1)),
  ),
  answered('of version 0', 'EPROTO: ', front(Buffer.alloc(200), 0)),
  answered('of version 3', 'EPROTO: ', front(Buffer.alloc(200), 3)),
  answered(
    'with an object name of 4 GiB',
    'EPROTO: ',
    patched((bytes) => (bytes.writeUInt32LE(2 ** 32 - 1), bytes)),
  ),
  answered(
    'with an object name that takes all of it',
    'EPROTO: ',
    patched((bytes) => (bytes.writeUInt32LE(bytes.length - 4), bytes)),
  ),
  answered(
    'that redirects to a pool that is not there',
    'ENOENT: ',
    replyWith({
      redirect: { locator: { pool: 99, key: '', nspace: '', hash: -1 }, objectName: '' },
    } as never),
  ),
  answered(
    'of an errno that nobody knows',
    'E4000: read pool/x at osd.0',
    replyWith({ result: -4000 }),
  ),
  answered(
    'of the smallest errno',
    'E2147483648: read pool/x at osd.0',
    replyWith({ result: -(2 ** 31) }),
  ),
  answered(
    'to a tid that was not asked',
    'read right at attempt 1',
    thenRight(replyWith({}, { tid: 99_999 })),
  ),
  answered('to tid 0', 'read right at attempt 1', thenRight(replyWith({}, { tid: 0 }))),
  answered(
    'to a tid above 2^53',
    'read right at attempt 1',
    thenRight(replyWith({}, { tid: 2 ** 60 })),
  ),
  answered(
    'to an attempt that was not made',
    'read right at attempt 1',
    thenRight(replyWith({ retryAttempt: 7 })),
  ),
  ...[1, 42, 0x7fff, 0xffff].map((type) =>
    answered(
      `and a message of type ${type} before it`,
      'read right at attempt 1',
      thenRight(({ connection }) => connection.send(outgoing(type, ONES))),
    ),
  ),
  ...[MSG.OSD_MAP, MSG.OSD_BACKOFF, MSG.WATCH_NOTIFY].map((type) =>
    answered(
      `and a message of type ${type} of ones before it`,
      'read right at attempt 2',
      thenRight(({ connection }) => connection.send(outgoing(type, ONES, { version: 4 }))),
    ),
  ),
  ...[MSG.OSD_MAP, MSG.OSD_BACKOFF, MSG.WATCH_NOTIFY].map((type) =>
    answered(
      `and an empty message of type ${type} before it`,
      'read right at attempt 2',
      thenRight(({ connection }) => connection.send(outgoing(type, NO_BYTES, { version: 4 }))),
    ),
  ),
  answered(
    'and a notification for a watch that nobody has',
    'read right at attempt 1',
    thenRight(({ connection }) =>
      connection.send(
        outgoing(
          MSG.WATCH_NOTIFY,
          encodeWith(watchNotify, {
            ...{
              protocolVersion: 1,
              cookie: 0xdead_beefn,
              version: 0n,
              notifyId: 1n,
              payload: ONES,
            },
            ...{ event: WATCH_EVENT.NOTIFY, returnCode: 0, notifierGid: 5n },
          } as never),
          { version: 3 },
        ),
      ),
    ),
  ),
  answered(
    'and the end of a backoff that there is not',
    'read right at attempt 1',
    thenRight(({ connection }) => connection.send(backoff(2))),
  ),
  answered(
    'and a backoff with an unknown wish',
    'read right at attempt 1',
    thenRight(({ connection }) => connection.send(backoff(77))),
  ),
];

function backoff(wish: number): OutgoingMessage {
  const place = { key: '', oid: '', snap: 0n, hash: 0, max: 0, nspace: '', pool: BigInt(POOL) };
  return outgoing(
    MSG.OSD_BACKOFF,
    encodeWith(osdBackoff, {
      ...{ pg: { pg: { pool: POOL, seed: 0 }, shard: NO_SHARD }, epoch: 10, op: wish, id: 5n },
      ...{ begin: place, end: place },
    }),
  );
}

/** A monitor says that, unasked; whether it is still the same session, and the client's epoch. */
function told(
  name: string,
  expect: string,
  tell: (cluster: FakeCluster) => OutgoingMessage,
): HostileCase {
  return {
    name: `monitor: ${name}`,
    expect,
    act: async () => {
      const cluster = await FakeCluster.start({ osds: 1 });
      const { world } = cluster;
      const client = await cluster.connect();
      const mon = cluster.mons[0] as FakeMon;
      const [session] = mon.sessions;
      session?.connection.send(tell(cluster));
      await world.advance(SETTLE_MS);
      const isSame = session !== undefined && mon.sessions.has(session);
      const { result } = await world.until(
        client.operate(TARGET, [readOp(0, 5)], { timeoutMs: 60_000 }),
      );
      client.close();
      return `${isSame ? 'the session goes on' : 'another session'}, read ${result}, epoch ${client.osdMapEpoch}`;
    },
  };
}

const GOES_ON = 'the session goes on, read 0, epoch 10';
const ENDS = 'another session, read 0, epoch 10';
const maps = (change: object) => (cluster: FakeCluster) =>
  outgoing(
    MSG.OSD_MAP,
    encodeWith(osdMapMessage, {
      ...{ fsid: cluster.monMap.fsid, incrementalMaps: new Map(), maps: new Map() },
      ...{ oldestMap: 1, newestMap: 10, gapRemovedSnaps: new Map() },
      ...change,
    } as never),
    { version: 4, compat: 3 },
  );

const MONITOR: readonly HostileCase[] = [
  told(
    'an osdmap of another cluster',
    ENDS,
    maps({ fsid: '11111111-2222-4333-8444-555555555555' }),
  ),
  told('an osdmap of ones as epoch 11', ENDS, maps({ maps: new Map([[11, ONES]]), newestMap: 11 })),
  told(
    'an empty osdmap as epoch 11',
    ENDS,
    maps({ maps: new Map([[11, NO_BYTES]]), newestMap: 11 }),
  ),
  told(
    'an incremental of ones as epoch 11',
    ENDS,
    maps({ incrementalMaps: new Map([[11, ONES]]), newestMap: 11 }),
  ),
  told(
    'an empty incremental as epoch 11',
    ENDS,
    maps({ incrementalMaps: new Map([[11, NO_BYTES]]), newestMap: 11 }),
  ),
  told(
    'an incremental of epoch 3 of ones',
    GOES_ON,
    maps({ incrementalMaps: new Map([[3, ONES]]) }),
  ),
  told('maps that go back', GOES_ON, maps({ newestMap: 2, oldestMap: 2 })),
  told('no maps at all', GOES_ON, maps({})),
  ...[
    MSG.OSD_MAP,
    MSG.MON_MAP,
    MSG.AUTH_REPLY,
    MSG.MON_COMMAND_ACK,
    MSG.MON_GET_VERSION_REPLY,
  ].flatMap((type) => [
    told(`a message of type ${type} of ones, unasked`, 'read 0, epoch 10', () =>
      outgoing(type, ONES, { version: 4 }),
    ),
    told(`an empty message of type ${type}, unasked`, 'read 0, epoch 10', () =>
      outgoing(type, NO_BYTES, { version: 4 }),
    ),
  ]),
  ...[2, 0x7fff, 0xffff].map((type) =>
    told(`a message of type ${type}`, GOES_ON, () => outgoing(type, ONES)),
  ),
  told('a monmap of another cluster', ENDS, (cluster) => {
    const other = { ...cluster.monMap, fsid: '11111111-2222-4333-8444-555555555555', epoch: 9 };
    return outgoing(MSG.MON_MAP, encodeWith(monMapMessage, { monmap: encodeWith(monMap, other) }));
  }),
  told('a monmap of ones', ENDS, () =>
    outgoing(MSG.MON_MAP, encodeWith(monMapMessage, { monmap: ONES })),
  ),
  told('an empty monmap', ENDS, () =>
    outgoing(MSG.MON_MAP, encodeWith(monMapMessage, { monmap: NO_BYTES })),
  ),
];

export const REPLY_CASES: readonly HostileCase[] = [...ANSWERS, ...MONITOR];
