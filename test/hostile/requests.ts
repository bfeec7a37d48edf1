/**
 * What a client could say to an OSD that is wrong. A session that does it ends, or the message counts for
 * nothing; others are served meanwhile, and so is whoever comes back.
 */

import { OsdDaemon } from '../../src/cluster/osd-daemon.js';
import { MemoryStore } from '../../src/cluster/store/memory-store.js';
import { type EntityAddr, msgr2Addr } from '../../src/encoding/entity.js';
import { NOSNAP } from '../../src/encoding/types.js';
import { encodeOsdRequest, OSD_FLAG } from '../../src/messages/osd-messages.js';
import { readOp, statOp, writeOp } from '../../src/messages/osd-op.js';
import { MSG, type OutgoingMessage, outgoing } from '../../src/messages/types.js';
import { objectHash } from '../../src/osdmap/object-hash.js';
import { OBJECT_HASH } from '../../src/osdmap/pool.js';
import { FakeMon } from '../cluster/osd/support/fake-mon.js';
import { RawClient, type RawTarget, testMessenger } from '../cluster/osd/support/raw-client.js';
import type { HostileCase } from './case.js';

const POOL = 1;
const ONES = new Uint8Array(64).fill(255);
const NO_BYTES = new Uint8Array(0);
const OID = 'x';
const HASH = objectHash(OBJECT_HASH.RJENKINS, { oid: OID, key: '', nspace: '' });
/** Of an MOSDOp's front, up to the name: PG, hash, epoch, flags, reqid, trace, incarnation, time, locator of an unnamed key. */
const FRONT = {
  POOL: 7,
  SEED: 15,
  HASH: 24,
  EPOCH: 28,
  REQID_VERSION: 36,
  REQID_LENGTH: 38,
} as const;

function front(change: object = {}): Buffer {
  return Buffer.from(
    encodeOsdRequest({
      ...{ pg: { pool: POOL, seed: 0 }, shard: -1, hash: HASH, epoch: 2, oid: OID },
      ...{ flags: OSD_FLAG.ONDISK | OSD_FLAG.READ, mtime: { sec: 0, nsec: 0 }, ops: [statOp()] },
      ...{ locator: { pool: POOL, key: '', nspace: '', hash: -1 }, snapid: NOSNAP },
      ...{ snapContext: { seq: 0n, snaps: [] }, retryAttempt: 0, features: 0n },
      ...change,
    }),
  );
}

const request = (bytes: Uint8Array, more: Partial<OutgoingMessage> = {}): OutgoingMessage =>
  outgoing(MSG.OSD_OP, bytes, { version: 8, compat: 3, tid: 77, ...more });
const patched = (patch: (bytes: Buffer) => unknown) => {
  const bytes = front();
  patch(bytes);
  return request(bytes);
};

/** One client says that; what becomes of its session, and whether the OSD serves it and others afterwards. */
function said(name: string, expect: string, say: () => OutgoingMessage): HostileCase {
  return {
    name: `OSD's client: ${name}`,
    expect,
    act: async () => {
      const mon = new FakeMon({
        crc32c: testMessenger().crc32c,
        osds: 1,
        pools: [{ id: POOL, name: 'p', pgNum: 1 }],
      });
      const osd = await OsdDaemon.start({
        ...{ ...testMessenger(), id: 0, host: '127.0.0.1', mon },
        objectStore: new MemoryStore(),
        peers: { osd: () => undefined },
      });
      const addr = msgr2Addr(osd.addrs) as EntityAddr;
      const target: RawTarget = { addr, pool: POOL, pgNum: 1, epoch: mon.map.epoch };
      const [hostile, other] = [
        await RawClient.connect(target, { globalId: 1n, nonce: 1 }),
        await RawClient.connect(target, { globalId: 2n, nonce: 2 }),
      ];
      try {
        await other.operate({ oid: OID, ops: [writeOp(0, Buffer.from('right'))] });
        hostile.sendMessage(say());
        // Behind what it has said, on its own session, or on the next one.
        const read = { oid: OID, ops: [readOp(0, 0)] };
        const text = (data: Uint8Array) => Buffer.from(data).toString();
        const own = await hostile.operate(read).then(
          ({ data }) => `the session goes on, read ${text(data)}`,
          async () => {
            const next = await RawClient.connect(target, { globalId: 1n, nonce: 1 });
            const { data } = await next.operate(read);
            next.close();
            return `the session ends, read ${text(data)}`;
          },
        );
        const { data } = await other.operate(read);
        const left = osd.tracker.inFlight().length + osd.throttle.messages + osd.throttle.bytes;
        return `${own}, another read ${text(data)}, ${left} left`;
      } finally {
        hostile.close();
        other.close();
        await osd.stop();
      }
    },
  };
}

const ENDS = 'the session ends, read right, another read right, 0 left';
const GOES_ON = 'the session goes on, read right, another read right, 0 left';
const whole = front();

const REQUESTS: readonly HostileCase[] = [
  said('an empty request', ENDS, () => request(NO_BYTES)),
  said('a request of ones', ENDS, () => request(ONES)),
  said('a request of one byte', ENDS, () => request(Buffer.of(1))),
  ...[5, 17, 23, 40, 80, 120, whole.length >> 1, whole.length - 1].map((length) =>
    said(`a request cut at byte ${length}`, ENDS, () => request(whole.subarray(0, length))),
  ),
  said('a request with a byte too many', GOES_ON, () =>
    request(Buffer.concat([whole, Buffer.of(0)])),
  ),
  said('a pool that is not there', GOES_ON, () =>
    patched((bytes) => bytes.writeBigInt64LE(99n, FRONT.POOL)),
  ),
  said('pool -1', GOES_ON, () => patched((bytes) => bytes.writeBigInt64LE(-1n, FRONT.POOL))),
  said('a PG that is not there', GOES_ON, () =>
    patched((bytes) => bytes.writeUInt32LE(0xffff_ffff, FRONT.SEED)),
  ),
  said('a hash of another object', GOES_ON, () =>
    patched((bytes) => bytes.writeUInt32LE((HASH ^ 0xffff) >>> 0, FRONT.HASH)),
  ),
  said('a reqid of a later version', ENDS, () =>
    patched((bytes) => (bytes[FRONT.REQID_VERSION + 1] = 99)),
  ),
  said('a reqid of 4 GiB', ENDS, () =>
    patched((bytes) => bytes.writeUInt32LE(0xffff_ffff, FRONT.REQID_LENGTH)),
  ),
  said('a name of 4 GiB', ENDS, () => {
    const bytes = front();
    bytes.writeUInt32LE(0xffff_fff0, bytes.indexOf('x', FRONT.REQID_LENGTH + 40) - 4);
    return request(bytes);
  }),
  said('65535 operations of which there is one', ENDS, () => {
    const bytes = front();
    bytes.writeUInt16LE(0xffff, bytes.indexOf('x', FRONT.REQID_LENGTH + 40) + 1);
    return request(bytes);
  }),
  said('2^32 - 1 snapshots of which there is none', ENDS, () => {
    const bytes = front();
    // Behind them: attempt and features.
    bytes.writeUInt32LE(0xffff_ffff, bytes.length - 16);
    return request(bytes);
  }),
  said('data that no operation claims', GOES_ON, () => request(whole, { data: [ONES] })),
  said('an operation that claims data that are not there', ENDS, () =>
    request(front({ ops: [writeOp(0, ONES)] })),
  ),
  ...[0, 1, 7, 99].map((version) =>
    said(`a request of ones that says to be of version ${version}`, ENDS, () =>
      request(ONES, { version }),
    ),
  ),
  ...[MSG.OSD_BACKOFF].flatMap((type) => [
    said(`a message of type ${type} of ones`, ENDS, () => outgoing(type, ONES)),
    said(`an empty message of type ${type}`, ENDS, () => outgoing(type, NO_BYTES)),
  ]),
  ...[1, MSG.OSD_MAP, MSG.OSD_OPREPLY, MSG.WATCH_NOTIFY, MSG.MON_COMMAND_ACK, 0x7fff, 0xffff].map(
    (type) => said(`a message of type ${type} of ones`, GOES_ON, () => outgoing(type, ONES)),
  ),
];

export const REQUEST_CASES: readonly HostileCase[] = REQUESTS;
