/**
 * What a request costs an embedded OSD, from the decoded frame to the encoded reply: one OSD, one copy, in memory, no
 * network. Of the processor's time, which other work on the machine disturbs least. One JSON object per line.
 *
 *   node dist/bench/micro/osd-requests.bench.js [ROUNDS]
 */

import { NoneServer } from '../../src/auth/none.js';
import { AUTH_METHOD } from '../../src/auth/method.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import type { MonLink } from '../../src/cluster/mon-link.js';
import { OsdSession } from '../../src/cluster/osd/session.js';
import { OsdDaemon } from '../../src/cluster/osd-daemon.js';
import { MemoryStore } from '../../src/cluster/store/memory-store.js';
import { Encoder } from '../../src/encoding/encoder.js';
import { NOSNAP, ZERO_TIME } from '../../src/encoding/types.js';
import { createCrc32c } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';
import { encodeOsdRequest, OSD_FLAG } from '../../src/messages/osd-messages.js';
import { type OsdOp, readOp, writeOp } from '../../src/messages/osd-op.js';
import { MSG, type OutgoingMessage } from '../../src/messages/types.js';
import type { Connection } from '../../src/msgr/connection.js';
import { WindowPool } from '../../src/msgr/window-pool.js';
import { buildSimpleCrushMap, createOsdMap } from '../../src/osdmap/build.js';
import { objectHash, stableMod } from '../../src/osdmap/object-hash.js';
import { OSD_IN, OSD_STATE, OsdMap } from '../../src/osdmap/osdmap.js';
import { createPool, OBJECT_HASH, POOL_FLAG } from '../../src/osdmap/pool.js';

const ROUNDS = Number(process.argv[2] ?? 9);
const REQUESTS = 20_000;
const DEPTH = 16;
const OBJECTS = 64;
const BLOCK = 4096;
const POOL = 1;
const PGS = 8;
const FSID = '5f1ee9ab-0d5e-4b0a-9d3e-6f1c1d5b7a10';

const kernels = loadKernels();
const crc32c = createCrc32c(kernels);
const messenger = { env: nodeEnvironment(), crc32c, windows: new WindowPool(kernels) };

function soloMon(): MonLink {
  let map = createOsdMap({
    fsid: FSID,
    epoch: 1,
    created: ZERO_TIME,
    crush: buildSimpleCrushMap({
      osds: [{ id: 0, host: 'here', weight: 1 }],
      failureDomain: 'osd',
    }),
    osds: [{ id: 0, uuid: FSID, up: false }],
    pools: [
      {
        id: POOL,
        name: 'p',
        pool: createPool({
          size: 1,
          minSize: 1,
          pgNum: PGS,
          flags: POOL_FLAG.HASHPSPOOL | POOL_FLAG.SELFMANAGED_SNAPS,
          applications: ['rbd'],
        }),
      },
    ],
  });
  let tell: (update: { map: OsdMap; epoch: number }) => void = () => {};
  return {
    authMethods: [AUTH_METHOD.NONE],
    authServer: () => NoneServer.service(),
    subscribe: (listener) => {
      tell = listener;
      listener({ map, epoch: map.epoch });
      return () => {};
    },
    mapMessage: () => undefined,
    mapAt: () => undefined,
    boot: async (_, addrs) => {
      map = new OsdMap({
        ...map,
        epoch: map.epoch + 1,
        osdState: map.osdState.map(() => OSD_STATE.EXISTS | OSD_STATE.UP),
        osdWeight: map.osdWeight.map(() => OSD_IN),
        clientAddrs: [[...addrs]],
        // Alive in that epoch already: it can serve.
        osdInfo: map.osdInfo.map((info) => ({ ...info, upThru: map.epoch + 1 })),
      });
      tell({ map, epoch: map.epoch });
    },
    reportFull: async () => {},
    reportFailure: () => {},
    reportAlive: () => {},
  };
}

class Client {
  readonly #session: OsdSession;
  readonly #connection: Connection;
  #onReply: () => void = () => {};
  #tid = 0;

  constructor(osd: OsdDaemon) {
    const encoder = new Encoder(1 << 16);
    const connection = {
      peer: { entityType: 8, gid: 4000n, addrs: [], caps: 'allow *', features: 0n },
      send: ({ front }: OutgoingMessage) => {
        if (!(front instanceof Uint8Array)) front.encode(encoder);
        this.#onReply();
      },
      pause: () => {},
      resume: () => {},
      close: () => {},
    };
    this.#connection = connection as unknown as Connection;
    this.#session = new OsdSession(osd, this.#connection);
    this.#session.onReady(this.#connection);
  }

  /** Resolves when all are answered; so many at a time. */
  run(count: number, make: (i: number) => { oid: string; op: OsdOp }): Promise<void> {
    return new Promise((resolve) => {
      let sent = 0;
      let answered = 0;
      const next = () => this.#send(make(sent++));
      this.#onReply = () => {
        answered++;
        if (answered === count) resolve();
        else if (sent < count) queueMicrotask(next);
      };
      for (let i = 0; i < DEPTH; i++) next();
    });
  }

  #send({ oid, op }: { oid: string; op: OsdOp }): void {
    const hash = objectHash(OBJECT_HASH.RJENKINS, { oid, key: '', nspace: '' });
    const writes = op.indata.length > 0;
    const front = encodeOsdRequest({
      pg: { pool: POOL, seed: stableMod(hash, PGS) },
      shard: -1,
      hash,
      epoch: 2,
      flags: OSD_FLAG.ONDISK | OSD_FLAG.KNOWN_REDIR | (writes ? OSD_FLAG.WRITE : OSD_FLAG.READ),
      mtime: { sec: 1_600_000_000, nsec: 0 },
      locator: { pool: POOL, key: '', nspace: '', hash: -1 },
      oid,
      ops: [op],
      snapid: NOSNAP,
      snapContext: { seq: 0n, snaps: [] },
      retryAttempt: 0,
      features: 0n,
    });
    this.#session.onMessage(this.#connection, {
      type: MSG.OSD_OP,
      version: 8,
      tid: ++this.#tid,
      priority: 63,
      front,
      middle: new Uint8Array(0),
      data: op.indata,
    });
  }
}

const osd = await OsdDaemon.start({
  ...messenger,
  id: 0,
  host: '127.0.0.1',
  mon: soloMon(),
  peers: { osd: () => undefined },
  objectStore: new MemoryStore(),
});
const client = new Client(osd);
const block = new Uint8Array(BLOCK).fill(7);
const place = (i: number) => ((i * 7919) % 256) * BLOCK;
const oid = (i: number) => `rbd_data.10ab.${(i % OBJECTS).toString(16).padStart(16, '0')}`;
const cases = {
  write: (i: number) => ({ oid: oid(i), op: writeOp(place(i), block) }),
  read: (i: number) => ({ oid: oid(i), op: readOp(place(i), BLOCK) }),
  // One object: its lane is never empty.
  'write, one object': (i: number) => ({ oid: oid(0), op: writeOp(place(i), block) }),
};
for (const [name, make] of Object.entries(cases)) {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage();
    await client.run(REQUESTS, make);
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / REQUESTS);
  }
  times.sort((a, b) => a - b);
  const best = times[0]?.toFixed(2);
  const median = times[Math.floor(times.length / 2)]?.toFixed(2);
  console.log(
    JSON.stringify({ name, bytes: BLOCK, depth: DEPTH, best_us: best, median_us: median }),
  );
}
await osd.stop();
