// P30, P25: the modes differ in what goes side by side, and in nothing that a client can see of one object.

import { afterEach, describe, expect, it } from 'vitest';
import { PIPELINE_MODES, type PipelineMode } from '../../../../src/cluster/settings.js';
import { OSD_FLAG } from '../../../../src/messages/osd-messages.js';
import {
  appendOp,
  createOp,
  deleteOp,
  type OsdOp,
  readOp,
  statOp,
  truncateOp,
  writeFullOp,
  writeOp,
  zeroOp,
} from '../../../../src/messages/osd-op.js';
import { Bench, pendsFor, POOL, write } from '../../faults/support.js';
import { OsdUnderTest } from '../support/osd-under-test.js';
import { RawClient, type RawRequest } from '../support/raw-client.js';
import { random } from './support/lane-world.js';

const OBJECTS = 4;
const REQUESTS = 150;
const SEEDS = [1, 2, 3, 4];
const pools = SEEDS.map((seed) => ({ name: `seed ${seed}`, pgNum: 2 }));

let open: OsdUnderTest[] = [];
afterEach(async () => {
  for (const osd of open) await osd.stop();
  open = [];
});

/** Vectors that succeed and fail, of reads, writes and both. */
function requests(seed: number): RawRequest[] {
  const draw = random(seed);
  const bytes = () => Buffer.alloc(1 + draw(40), 97 + draw(26));
  const makers: (() => OsdOp[])[] = [
    () => [writeOp(draw(100), bytes())],
    () => [writeFullOp(bytes())],
    () => [appendOp(bytes())],
    () => [truncateOp(draw(60))],
    () => [zeroOp(draw(60), 1 + draw(60))],
    () => [createOp(true)],
    () => [deleteOp()],
    () => [writeOp(0, bytes()), createOp(true)],
    () => [statOp(), appendOp(bytes())],
    () => [readOp(0, 0), writeOp(draw(50), bytes())],
    () => [readOp(0, 0)],
    () => [readOp(0, 0)],
    () => [readOp(draw(50), 1 + draw(50)), statOp()],
    () => [statOp()],
  ];
  return Array.from({ length: REQUESTS }, () => ({
    oid: `o${draw(OBJECTS)}`,
    ops: (makers[draw(makers.length)] as () => OsdOp[])(),
    flags: draw(5) === 0 ? OSD_FLAG.RWORDERED : 0,
  }));
}

/** All of them sent at once: of each object, the answers in the order in which they came. */
async function answers(osd: OsdUnderTest, seed: number): Promise<Map<string, string[]>> {
  const pool = pools[seed - 1] as (typeof pools)[number];
  const client = await RawClient.connect(osd.target(pool), {
    globalId: BigInt(900_000 + seed),
    nonce: seed,
  });
  const byObject = new Map<string, string[]>();
  const sent = requests(seed).map((request, i) =>
    client.send(request).reply.then(({ reply, data }) => {
      const order = byObject.get(request.oid) ?? [];
      byObject.set(request.oid, order);
      const rvals = reply.ops.map(({ rval }) => rval);
      order.push(`#${i} ${reply.result} [${rvals}] ${Buffer.from(data).toString('hex')}`);
    }),
  );
  await Promise.all(sent);
  client.close();
  return byObject;
}

const run = async (mode: PipelineMode) => {
  const osd = await OsdUnderTest.start(pools, mode);
  open.push(osd);
  const all = [];
  for (const seed of SEEDS) all.push(await answers(osd, seed));
  return all;
};

describe('the same requests', () => {
  it('P30: have the same answers in the same order of each object in every mode', async () => {
    const [seed, object, objectRw] = await Promise.all(PIPELINE_MODES.map(run));
    expect(object).toEqual(seed);
    expect(objectRw).toEqual(seed);
    for (const each of seed ?? []) {
      expect([...each.values()].flat()).toHaveLength(REQUESTS);
      // Nobody is answered before who came before.
      for (const order of each.values()) {
        const numbers = order.map((text) => Number(/^#(\d+)/.exec(text)?.[1]));
        expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
      }
    }
  });

  it.each(PIPELINE_MODES)(
    'P25: in mode %s those of one object keep only whom the mode says',
    async (mode) => {
      const bench = await Bench.start({ pipeline: { mode } });
      const { io } = await bench.client();
      await write(io, 'held');
      await write(io, 'other');
      const point = 'osd.*.op.O1.process.entered';
      const fault = await bench.faults.opPoint({
        point,
        action: 'delay',
        pool: POOL,
        object: 'held',
      });
      const held = write(io, 'held');
      await fault.untilFired();
      const other = write(io, 'other');
      if (mode === 'seed') expect(await pendsFor(other, 50)).toBe(true);
      else await other;
      await fault.stop();
      await Promise.all([held, other]);
    },
  );
});
