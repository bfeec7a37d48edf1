/** All decoders of what peers send, and what to begin with for each. */

import { readdirSync, readFileSync } from 'node:fs';
import { isRadosError } from '../../src/base/errors.js';
import { packageFile } from '../../src/base/paths.js';
import { BitVector } from '../../src/cluster/classes/rbd/bit-vector.js';
import { decodeAll } from '../../src/encoding/codec.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { NOSNAP, ZERO_EVERSION } from '../../src/encoding/types.js';
import { ObjectBitmap } from '../../src/kernels/bitmap.js';
import { threadBitmapMemory } from '../../src/kernels/bitmap-memory.js';
import {
  decodeOsdReply,
  decodeOsdRequest,
  encodeOsdReply,
  encodeOsdRequest,
  osdRequestData,
} from '../../src/messages/osd-messages.js';
import {
  callOp,
  listSnapsOp,
  omapSetValsOp,
  readOp,
  statOp,
  writeOp,
} from '../../src/messages/osd-op.js';
import { WINDOW_BYTES } from '../../src/msgr/frame-reader.js';
import { applyIncremental } from '../../src/osdmap/apply-incremental.js';
import { limitedTwinMappers } from '../../src/osdmap/crush-twin.js';
import { decodeIncremental } from '../../src/osdmap/incremental.js';
import { decodeOsdMap, mapCrc } from '../../src/osdmap/osdmap.js';
import { Placement } from '../../src/osdmap/placement.js';
import type { ClassCall } from '../../src/rados/class-call.js';
import * as clsLock from '../../src/rados/cls-lock.js';
import * as clsRbd from '../../src/rados/cls-rbd.js';
import { decodePage, placeAt } from '../../src/rados/object-listing.js';
import { decodeNotifyPayload } from '../../src/rbd/notify-payloads.js';
import { declaredCodecs, sampleBytes } from '../support/codecs.js';
import { crc32c, TestReader } from '../support/frames.js';
import { libradosFrames } from '../support/librados-frames.js';
import type { FuzzTarget } from './fuzz.js';
import { packed, repairedFrame, unpacked } from './packing.js';

const FIXTURES = 'test/fixtures/ceph-16.2.15';
const SAMPLES = 12;
/** Placements computed of a map that was decoded: enough to walk all of its rules. */
const PGS_PLACED = 4;
/** As of a client: a map that takes longer to walk is refused. */
const CRUSH_WORK = 200_000;

const fixture = (path: string) => new Uint8Array(readFileSync(packageFile(path)));

function fixtures(folder: string, suffix = '.bin'): Uint8Array[] {
  const names = readdirSync(packageFile(`${FIXTURES}/${folder}`)).sort();
  return names
    .filter((name) => name.endsWith(suffix))
    .map((name) => fixture(`${FIXTURES}/${folder}/${name}`));
}

const SEEDS_OF_CODECS: Readonly<Record<string, readonly Uint8Array[]>> = {
  monMap: fixtures('monmap'),
  crushMap: fixtures('crush'),
};

export async function fuzzTargets(): Promise<FuzzTarget[]> {
  const declared = (await declaredCodecs()).map(({ name, codec }): FuzzTarget => {
    const seeds = Array.from({ length: SAMPLES }, (_, i) => sampleBytes(codec, i + 1));
    const more = SEEDS_OF_CODECS[name.split(': ')[1] ?? ''] ?? [];
    return { name, seeds: [...seeds, ...more], decode: (bytes) => decodeAll(name, codec, bytes) };
  });
  return [...declared, ...mapTargets(), ...messageTargets(), ...imageTargets(), ...classReplies()];
}

// ---- maps ----

/** The checksum of a map is at its end, that of an incremental before the one of the map that it leads to. */
function repairedMap(bytes: Uint8Array, fromEnd = 4): Uint8Array {
  const repaired = Buffer.from(bytes);
  const crcAt = repaired.length - fromEnd;
  if (crcAt >= 0) repaired.writeUInt32LE(mapCrc(repaired, crcAt, crc32c), crcAt);
  return repaired;
}

function mapTargets(): FuzzTarget[] {
  const maps = fixtures('osdmap');
  const incrementals = fixtures('osdmap/incrementals');
  const base = decodeOsdMap(maps[0] as Uint8Array, crc32c);
  const mappers = limitedTwinMappers(CRUSH_WORK);
  return [
    {
      name: 'osdmap, with placements by it',
      seeds: maps,
      repair: (bytes) => repairedMap(bytes),
      decode: (bytes) => {
        const map = decodeOsdMap(bytes, crc32c);
        const placement = new Placement(map, mappers(map.crush));
        for (const pool of [...map.pools.keys()].slice(0, 3)) {
          for (let seed = 0; seed < PGS_PLACED; seed++) placement.pgToUpActing({ pool, seed });
        }
      },
      // Its rules walk for longer than any that make sense.
      expects: (error) => isRadosError(error, 'EDOM'),
    },
    {
      name: 'incremental, applied',
      seeds: incrementals,
      repair: (bytes) => repairedMap(bytes, 8),
      decode: (bytes) => {
        const incremental = decodeIncremental(bytes, crc32c);
        const { fsid, epoch } = base;
        applyIncremental(base, { ...incremental, fsid, epoch: epoch + 1 }, crc32c);
      },
    },
  ];
}

// ---- messages and frames ----

const OPS = [
  [readOp(0, 4096)],
  [statOp(), writeOp(512, Buffer.alloc(600, 7))],
  [callOp('rbd', 'get_size', Buffer.alloc(8)), callOp('lock', 'get_info', Buffer.alloc(12))],
  [omapSetValsOp(new Map([['key', Buffer.from('value')]]))],
  [listSnapsOp()],
];

function messageTargets(): FuzzTarget[] {
  const requests = OPS.map((ops) => {
    const front = encodeOsdRequest({
      ...{ pg: { pool: 2, seed: 5 }, shard: -1, hash: 0x1234_5678, epoch: 7, flags: 0x24 },
      ...{ mtime: { sec: 1, nsec: 2 }, oid: 'rbd_data.10.0000000000000001', ops, snapid: NOSNAP },
      locator: { pool: 2, key: '', nspace: '', hash: -1 },
      snapContext: { seq: 4n, snaps: [4n, 2n] },
      ...{ retryAttempt: 1, features: 0n },
    });
    return packed(front, Buffer.concat(osdRequestData(ops)));
  });
  const replies = OPS.map((ops) => {
    const outputs = ops.map((op, i) => ({ op, rval: -i, outdata: Buffer.alloc(24 * i, i) }));
    const front = encodeOsdReply({
      ...{ oid: 'rbd_header.10', pg: { pool: 2, seed: 5 }, flags: 4, result: 0, epoch: 7 },
      ...{ ops: outputs, retryAttempt: 0, replayVersion: ZERO_EVERSION },
      ...{ badReplayVersion: ZERO_EVERSION, userVersion: 3n },
    });
    return packed(front, Buffer.concat(outputs.map(({ outdata }) => outdata)));
  });
  // As a connection has one, whatever comes.
  const window = new Uint8Array(WINDOW_BYTES);
  const frames = libradosFrames().map(({ bytes }) => bytes);
  return [
    {
      name: 'MOSDOp',
      seeds: requests,
      decode: (bytes) => decodeOsdRequest(...unpacked(bytes)),
    },
    ...[4, 7, 8].map((version) => ({
      name: `MOSDOpReply, version ${version}`,
      seeds: replies,
      decode: (bytes: Uint8Array) => decodeOsdReply(...unpacked(bytes), version),
    })),
    {
      name: 'frames',
      seeds: frames,
      repair: repairedFrame,
      decode: (bytes) => TestReader.inSession({ window }).feed(bytes, 1 + (bytes.length % 700)),
    },
    {
      name: 'banner',
      seeds: [Buffer.from('ceph v2\n\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0', 'latin1')],
      decode: (bytes) => new TestReader({ window }).feed(bytes),
    },
  ];
}

// ---- images ----

function imageTargets(): FuzzTarget[] {
  const notify = JSON.parse(readFileSync(packageFile(`${FIXTURES}/notify.json`), 'utf8')) as {
    notifications: { payload: string }[];
  };
  const vectors = [0, 1, 5, 300, 40_000].map((size) => new BitVector(size));
  const maps = vectors.flatMap((vector) => [vector.encode(crc32c), vector.encode()]);
  return [
    {
      name: 'notify payload',
      seeds: notify.notifications.map(({ payload }) => Buffer.from(payload, 'hex')),
      decode: decodeNotifyPayload,
    },
    {
      name: 'object map, at a client',
      seeds: maps,
      decode: (bytes) => ObjectBitmap.decode(threadBitmapMemory(), bytes).free(),
      expects: (error) => isRadosError(error, 'ENOMEM'),
    },
    {
      name: 'object map, at an OSD',
      seeds: maps,
      decode: (bytes) => BitVector.decode(new Decoder(bytes), crc32c),
    },
    { name: 'page of objects', seeds: [], decode: (bytes) => decodePage(placeAt(1, 0), bytes) },
  ];
}

/** What object classes answer a client. */
function classReplies(): FuzzTarget[] {
  const parent = { poolId: 1, imageId: 'a', snapId: 1n };
  const calls: Record<string, ClassCall<unknown>> = {
    getId: clsRbd.getId(),
    dirGetId: clsRbd.dirGetId('a'),
    dirGetName: clsRbd.dirGetName('a'),
    dirList: clsRbd.dirList('', 8),
    getSize: clsRbd.getSize(),
    getFeatures: clsRbd.getFeatures(true),
    getObjectPrefix: clsRbd.getObjectPrefix(),
    getDataPool: clsRbd.getDataPool(),
    getStripeUnitCount: clsRbd.getStripeUnitCount(),
    getFlags: clsRbd.getFlags(),
    getOpFeatures: clsRbd.getOpFeatures(),
    getSnapContext: clsRbd.getSnapContext(),
    getCreateTimestamp: clsRbd.getCreateTimestamp(),
    listChildren: clsRbd.listChildren(1n),
    getImageGroup: clsRbd.getImageGroup(),
    getMirrorImage: clsRbd.getMirrorImage('a'),
    listMetadata: clsRbd.listMetadata('', 8),
    getMetadata: clsRbd.getMetadata('a'),
    namespaceList: clsRbd.namespaceList('', 8),
    objectMapLoad: clsRbd.objectMapLoad(),
    getParent: clsRbd.getParent(),
    getParentOverlap: clsRbd.getParentOverlap(),
    getChildren: clsRbd.getChildren(parent),
    getSnapshot: clsRbd.getSnapshot(1n),
    getProtectionStatus: clsRbd.getProtectionStatus(1n),
    getSnapshotLimit: clsRbd.getSnapshotLimit(),
    trashGet: clsRbd.trashGet('a'),
    trashList: clsRbd.trashList('', 8),
    getLockInfo: clsLock.getLockInfo('a'),
    listLocks: clsLock.listLocks(),
  };
  return Object.entries(calls).map(([name, call]) => ({
    name: `reply to ${name}`,
    seeds: [],
    decode: (bytes) => call.decode(bytes),
  }));
}
