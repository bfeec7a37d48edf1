/** Reads and writes of any place and length. */

import type { BlockDevice } from '../../../block/device.js';
import { describeOp, type IoKind, type Op } from '../../checkers/history.js';
import { SECTOR_BYTES, stamps } from '../../checkers/stamps.js';
import { mayRely } from '../../checkers/watch-hearings.js';
import { headerObject } from '../../../rbd/names.js';
import type { KnownImage } from '../known-images.js';
import { type Action, attempt, judge, readSectors, sectorsOf, type Stage } from '../stage.js';

const CHANGES: ReadonlySet<Op['kind']> = new Set([
  'write',
  'writeZeroes',
  'discard',
  'compareAndWrite',
]);

/** One operation on an image that is mapped. `signal` gives it up. */
export async function operate(
  stage: Stage,
  { image, device }: { image: KnownImage; device: BlockDevice },
  kind: IoKind,
  signal?: AbortSignal,
): Promise<void> {
  const { draw, plan } = stage;
  const all = sectorsOf(device);
  if (all === 0) return;
  const firstSector = draw.int(0, all - 1);
  const sectors = draw.int(1, Math.min(plan.maxSectors, all - firstSector));
  const input = { image: image.key, kind, firstSector, sectors };
  if (kind === 'compareAndWrite') {
    await compareAndWrite(stage, device, { ...input, kind, sectors: 1 });
    return;
  }
  await act(stage, device, input, signal);
}

/** Does it, and writes down what came of it. */
export async function act(
  stage: Stage,
  device: BlockDevice,
  input: Pick<Op, 'image' | 'kind' | 'firstSector' | 'sectors'>,
  signal?: AbortSignal,
): Promise<void> {
  await attempt(stage, input, {
    ...{ signal, device },
    act: async (op) => {
      const values = await perform(op, device, signal);
      // A process that has died meanwhile has seen nothing.
      if (!stage.pending.has(op)) return;
      if (values) op.values = values;
      void checkWatch(stage, device, op);
    },
  });
}

/** What has been answered went by a header that its client watched. */
async function checkWatch(stage: Stage, device: BlockDevice, op: Op): Promise<void> {
  const { client, violate, watchHeardAt } = stage;
  const heardAt = await watchHeardAt?.(client, headerObject(device.attributes.imageId));
  if (heardAt === undefined || mayRely(heardAt, op.startedAt)) return;
  const message = `${client.name} has gone by a header whose watch was last heard of at ${heardAt.toFixed(1)} ms`;
  violate({ checker: 'freshness', message, ops: [describeOp(op)] });
}

async function perform(
  op: Op,
  device: BlockDevice,
  signal: AbortSignal | undefined,
): Promise<Uint32Array | undefined> {
  const offset = op.firstSector * SECTOR_BYTES;
  const length = op.sectors * SECTOR_BYTES;
  const options = signal ? { signal } : {};
  switch (op.kind) {
    case 'write':
      await device.write(offset, stamps(op.firstSector, op.sectors, op.id), options);
      return undefined;
    case 'writeZeroes':
      await device.writeZeroes(offset, length, options);
      return undefined;
    case 'discard':
      await device.discard(offset, length, options);
      return undefined;
    default:
      return readSectors(device, op.firstSector, op.sectors, options);
  }
}

/** Done twice, the second would not find what it expects: so a resend that is not recognised is told. */
async function compareAndWrite(
  stage: Stage,
  device: BlockDevice,
  input: { image: string; kind: 'compareAndWrite'; firstSector: number; sectors: number },
): Promise<void> {
  const { firstSector, sectors } = input;
  let expected: Uint32Array | undefined;
  await attempt(
    stage,
    { ...input, kind: 'read' },
    {
      device,
      act: async (op) => {
        const values = await readSectors(device, firstSector, sectors);
        if (!stage.pending.has(op)) return;
        op.values = values;
        expected = values;
      },
    },
  );
  if (!expected || !stage.client.isWorking) return;
  const found = expected;
  await attempt(
    stage,
    { ...input, expected: found },
    {
      device,
      act: async (op) => {
        const before = stampsOf(found, firstSector);
        await device.compareAndWrite(
          firstSector * SECTOR_BYTES,
          before,
          stamps(firstSector, sectors, op.id),
        );
      },
    },
  );
}

function stampsOf(writes: Uint32Array, firstSector: number): Buffer {
  return Buffer.concat(
    [...writes].map((write, i) =>
      write === 0 ? Buffer.alloc(SECTOR_BYTES) : stamps(firstSector + i, 1, write),
    ),
  );
}

/** Whatever changed the image before it must have been answered by then. */
async function flush(stage: Stage): Promise<void> {
  const { device, client, image, pending, violate, habitat } = stage;
  const before = [...pending].filter((op) => op.image === image.key && CHANGES.has(op.kind));
  try {
    await device.flush();
  } catch (error) {
    judge(stage, { doing: 'flush', error });
    return;
  }
  // An answer that came in the same turn may be on its way through promises.
  await habitat.sleep(0);
  const left = before.filter((op) => pending.has(op));
  if (left.length === 0) return;
  const message = `a flush of ${client.name} was answered before what it is to wait for`;
  violate({ checker: 'flush', message, ops: left.map(describeOp) });
}

const io =
  (kind: IoKind): Action =>
  (stage) =>
    operate(stage, stage, kind);

export const ioActions = {
  read: io('read'),
  write: io('write'),
  writeZeroes: io('writeZeroes'),
  discard: io('discard'),
  compareAndWrite: io('compareAndWrite'),
  flush,
  /** The client lets go of the image, and of the lock with it; another process takes its place. */
  leave: ({ leave }: Stage) => leave(),
} satisfies Record<string, Action>;
