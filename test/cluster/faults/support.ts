// An embedded cluster to break, with real clients of it: ours, and raw ones that keep watches by hand.

import { afterEach } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import {
  EmbeddedCluster,
  type EmbeddedClusterOptions,
} from '../../../src/cluster/embedded-cluster.js';
import { parseAddr } from '../../../src/cluster/mon/addresses.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { createOp, type OsdOp, writeOp } from '../../../src/messages/osd-op.js';
import { type ConnectOptions, connectRados } from '../../../src/rados/connect.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import '../osd/support/pipeline-rules.js';
import { RawClient, type RawReply, type RawTarget } from '../osd/support/raw-client.js';
import { readEvent, type WatchEvent } from '../osd/support/watch-messages.js';

export const env = nodeEnvironment();
const kernels = loadKernels();

export const POOL = 'rbd';
/** The object that tests use when any will do. */
export const OID = 'rbd_header.1';

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export async function until(
  satisfied: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await satisfied())) {
    if (Date.now() > deadline) throw new Error(`not so after ${timeoutMs} ms: ${satisfied}`);
    await sleep(5);
  }
}

/** Milliseconds that something takes. */
export async function timed(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

/** Whether a promise is still pending after so long. */
export async function pendsFor(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const settled = promise.then(
    () => false,
    () => false,
  );
  return Promise.race([settled, sleep(ms).then(() => true)]);
}

/** Disposed after each test. */
const open: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

let lastGid = 800_000n;

export class Bench {
  readonly cluster: EmbeddedCluster;

  private constructor(cluster: EmbeddedCluster) {
    this.cluster = cluster;
  }

  /** One PG, so that it is known where everything is. */
  static async start(options: EmbeddedClusterOptions = {}): Promise<Bench> {
    const cluster = await EmbeddedCluster.start({
      inThread: true,
      auth: 'none',
      pools: [{ name: POOL, pgNum: 1 }],
      ...options,
    });
    open.push(() => cluster.stop());
    return new Bench(cluster);
  }

  get faults() {
    return this.cluster.faults;
  }

  async client(options: ConnectOptions = {}): Promise<TestClient> {
    const connect = { ...this.cluster.connectOptions, ...options };
    const { client } = await connectRados(env, kernels, connect);
    open.push(() => client.close());
    return { rados: client, io: await client.ioctx(POOL) };
  }

  /** The primary of the pool's only PG. */
  async primary(rados: RadosClient, oid = OID): Promise<number> {
    return (await this.acting(rados, oid))[0] as number;
  }

  /** The OSDs of the pool's only PG, its primary first. */
  async acting(rados: RadosClient, oid = OID): Promise<number[]> {
    const command = { prefix: 'osd map', pool: POOL, object: oid, format: 'json' };
    const { output } = await rados.command(command);
    const { acting_primary, acting } = JSON.parse(Buffer.from(output).toString()) as {
      acting_primary: number;
      acting: number[];
    };
    return [acting_primary, ...acting.filter((osd) => osd !== acting_primary)];
  }

  /** A client of one OSD that does only what the test says. */
  async raw(osd: number, gid = ++lastGid): Promise<TestRaw> {
    const status = await this.cluster.status();
    const addr = parseAddr(status.osds[osd]?.addr ?? '');
    if (!addr) throw new Error(`osd.${osd} has no address`);
    const target = { addr, pool: 1, pgNum: 1, epoch: status.epoch };
    const client = await RawClient.connect(target, { globalId: gid, nonce: Number(gid) });
    open.push(() => client.close());
    return new TestRaw(client, gid, target);
  }
}

export interface TestClient {
  rados: RadosClient;
  io: IoContext;
}

export class TestRaw {
  readonly client: RawClient;
  readonly gid: bigint;
  /** Its requests wait until the OSD has the map of this `epoch`. */
  readonly target: RawTarget;

  constructor(client: RawClient, gid: bigint, target: RawTarget) {
    this.client = client;
    this.gid = gid;
    this.target = target;
  }

  /** The results of one operation vector. */
  async ask(ops: readonly OsdOp[], { oid = OID, timeoutMs = 30_000 } = {}): Promise<RawReply> {
    return this.client.operate({ oid, ops }, timeoutMs);
  }

  async result(...ops: OsdOp[]): Promise<number> {
    return (await this.ask(ops)).reply.result;
  }

  async events(count: number, timeoutMs = 30_000): Promise<WatchEvent[]> {
    const { notifies } = this.client;
    await until(() => notifies.length >= count, timeoutMs);
    return notifies.splice(0).map(readEvent);
  }

  create(): Promise<number> {
    return this.result(createOp(false));
  }
}

export async function write(io: IoContext, oid = OID, text = 'data'): Promise<void> {
  await io.operate(oid, [writeOp(0, Buffer.from(text))]);
}

export async function read(io: IoContext, oid = OID): Promise<string> {
  return Buffer.from(await io.read(oid, 0, 100)).toString();
}
