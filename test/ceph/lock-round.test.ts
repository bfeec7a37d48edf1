// Goal: the exclusive lock of mapped images goes round 200 times among two clients of ours and librbd, all writing without
// a break. Method: every write is stamped with its writer and the writer's own sequence number. All of them write one shared
// block as well, which an observer reads without a break, past all locks:
//
// - a writer's numbers never go back there, and never behind what it had been told to be written;
// - whose block it is does not become a writer's again more often than that writer took the lock: two who write at the same
//   time would change places without it.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BlockDevice, type Cluster, connect } from '../../src/index.js';
import { describeCeph } from './support/ceph-cluster.js';
import { LibrbdClient } from './support/lock-clients.js';
import { sleep } from './support/processes.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const BLOCK = 512;
const SHARED = 0;
const HAND_OVERS = 200;
const LIMIT_MS = 50_000;

/** As LibrbdClient stamps its writes. */
const stamp = (who: string, block: number, seq: number) =>
  Buffer.from(`${who}.${block}.${seq}`.padEnd(BLOCK));

for (const server of SERVERS) {
  describeCeph(`the lock round on ${server.name}`, () => lockRound(server));
}

function lockRound(server: ServerKind): void {
  let cluster: Server;
  beforeAll(async () => {
    cluster = await server.start({ osds: 2, pools: [{ name: 'rbd' }] });
    const features = ['--image-feature', 'layering,exclusive-lock'];
    await cluster.rbd('create', '--size', '8M', ...features, 'rbd/round');
  });
  afterAll(() => cluster?.stop());

  it(`${HAND_OVERS} hand-overs under write load: no two owners at a time, no write lost`, async () => {
    await using a = await Writer.open('a', cluster.confPath);
    await using b = await Writer.open('b', cluster.confPath);
    const history = new SharedHistory([a, b]);
    await using watching = await connect({ conf: cluster.confPath });
    await using observer = await watching.map('rbd/round', { readOnly: true });
    const librbd = await LibrbdClient.open(cluster.confPath, 'round');
    try {
      let stopping = false;
      const over = () => stopping;
      const lanes = [a.write(10, over), b.write(20, over), history.follow(observer, over)];
      // Its lanes are one block each: the shared one and two of its own.
      await librbd.call('start', SHARED, 3);
      const started = Date.now();
      const turns = async () =>
        (await a.acquired()) + (await b.acquired()) + history.turns('librbd');
      const enough = async () => (await turns()) > HAND_OVERS || Date.now() - started > LIMIT_MS;
      while (!(await enough())) await sleep(100);
      stopping = true;
      const theirs = await librbd.call<Record<string, string>>('stop');
      await Promise.all(lanes);

      expect(await turns()).toBeGreaterThan(HAND_OVERS);
      for (const { who } of [a, b]) expect(history.turns(who)).toBeGreaterThan(10);
      expect(history.turns('librbd')).toBeGreaterThan(10);
      expect(history.wrong).toEqual([]);
      expect(history.turns('a')).toBeLessThanOrEqual(await a.acquired());
      expect(history.turns('b')).toBeLessThanOrEqual(await b.acquired());
      for (const { lost } of [a, b]) expect(lost.filter((why) => why !== 'requested')).toEqual([]);
      expect(await cluster.ceph('osd', 'blocklist', 'ls')).not.toContain(':0/');

      await librbd.call('close');
      const written = new Map([...a.last, ...b.last]);
      const shared = [a.last.get(SHARED), b.last.get(SHARED), theirs[SHARED]];
      for (const [block, text] of Object.entries(theirs)) written.set(Number(block), text);
      written.delete(SHARED);
      expect(written.size).toBe(6);
      const text = async (block: number) =>
        Buffer.from(await observer.read(block * BLOCK, BLOCK)).toString();
      for (const [block, last] of written) expect(await text(block)).toBe(last);
      expect(shared).toContain(await text(SHARED));
    } finally {
      librbd.kill();
    }
  });
}

/** A client of ours that writes to the shared block and to two of its own, one after the other. */
class Writer implements AsyncDisposable {
  readonly lost: string[] = [];
  /** What was acknowledged last, by block. */
  readonly last = new Map<number, string>();
  acknowledged = 0;

  static async open(who: string, conf: string): Promise<Writer> {
    const cluster = await connect({ conf });
    return new Writer(who, cluster, await cluster.map('rbd/round'));
  }

  private constructor(
    readonly who: string,
    readonly cluster: Cluster,
    readonly device: BlockDevice,
  ) {
    device.on('lock-lost', (reason) => this.lost.push(reason));
  }

  async write(own: number, over: () => boolean): Promise<void> {
    const lane = async (block: number) => {
      for (let seq = 1; !over(); seq++) {
        const bytes = stamp(this.who, block, seq);
        await this.device.write(block * BLOCK, bytes);
        this.last.set(block, bytes.toString());
        if (block === SHARED) this.acknowledged = seq;
      }
    };
    await Promise.all([SHARED, own, own + 1].map(lane));
  }

  async acquired(): Promise<number> {
    const clients = (await this.cluster.status()).flat();
    const [image] = clients.flatMap(({ images }) => images);
    return image?.lock?.counters.acquired ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.close();
  }
}

/** What the shared block held, one after the other. */
class SharedHistory {
  readonly wrong: string[] = [];
  readonly #turns = new Map<string, number>();
  readonly #newest = new Map<string, number>();
  #owner = '';

  constructor(private readonly writers: readonly Writer[]) {}

  /** How often the block became this writer's. */
  turns(who: string): number {
    return this.#turns.get(who) ?? 0;
  }

  async follow(observer: BlockDevice, over: () => boolean): Promise<void> {
    while (!over()) {
      const known = new Map(this.writers.map(({ who, acknowledged }) => [who, acknowledged]));
      const bytes = Buffer.from(await observer.read(SHARED * BLOCK, BLOCK));
      const [who = '', , seq] = bytes.toString().trimEnd().split('.');
      if (bytes[0] !== 0) this.#see(who, Number(seq), known.get(who) ?? 0);
    }
  }

  #see(who: string, seq: number, acknowledged: number): void {
    const oldest = Math.max(this.#newest.get(who) ?? 0, acknowledged);
    if (!(seq >= oldest)) this.wrong.push(`${who}: ${seq} after ${oldest}`);
    this.#newest.set(who, seq);
    if (who !== this.#owner) this.#turns.set(who, this.turns(who) + 1);
    this.#owner = who;
  }
}
