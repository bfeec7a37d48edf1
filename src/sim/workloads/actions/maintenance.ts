/** What is done to an image as a whole, by any client: the owner of its lock does it for the others. */

import { SECTOR_BYTES } from '../../checkers/stamps.js';
import { type Action, type Actor, attempt, imagesOf, knownName, type Stage } from '../stage.js';
import { anImage, settleNames } from './snapshots.js';

const KEYS = ['a', 'b', 'c'];
const META_PREFIX = 'sim.';

/** To any size up to twice what the run began with; the device's own way or through the pool. */
async function resize(stage: Stage): Promise<void> {
  const { draw, plan, device, image } = stage;
  const most = Math.floor((plan.image.size * 2) / SECTOR_BYTES);
  const sectors = draw.chance(0.1) ? 0 : draw.int(1, most);
  const name = await knownName(stage, image);
  if (name === undefined) return;
  const size = sectors * SECTOR_BYTES;
  await attempt(
    stage,
    { image: image.key, kind: 'resize', firstSector: 0, sectors },
    {
      act: () =>
        draw.chance(0.5)
          ? device.resize(size)
          : imagesOf(stage).resize(name, size, { allowShrink: true }),
    },
  );
}

async function rename(stage: Stage): Promise<void> {
  const { image, history } = stage;
  if (image.renames.some(({ end }) => end !== 'ok' && end !== 'failed')) return;
  const [name] = image.names;
  if (name === undefined || image.names.length !== 1) return;
  const to = `vm${history.ops.length + 1}`;
  const input = { image: image.key, kind: 'rename', firstSector: 0, sectors: 0 } as const;
  await attempt(
    stage,
    { ...input, detail: to },
    {
      never: ['EEXIST', 'ENOENT'],
      onBegun: (op) => {
        image.renames.push(op);
        image.names.push(to);
      },
      act: () => imagesOf(stage).rename(name, to),
    },
  );
  settleNames(image);
}

async function setMetadata(stage: Stage): Promise<void> {
  const { draw, image } = stage;
  const name = await knownName(stage, image);
  if (name === undefined) return;
  const key = draw.pick(KEYS);
  const input = { image: image.key, kind: 'metadataSet', firstSector: 0, sectors: 0 } as const;
  await attempt(
    stage,
    { ...input, detail: key },
    {
      act: (op) => imagesOf(stage).metadata(name).set(`${META_PREFIX}${key}`, String(op.id)),
    },
  );
}

async function getMetadata(stage: Stage): Promise<void> {
  const { draw, image } = stage;
  const name = await knownName(stage, image);
  if (name !== undefined) await readMetadata(stage, { key: draw.pick(KEYS), name });
}

async function readMetadata(
  stage: Actor & Pick<Stage, 'image'>,
  { key, name }: { key: string; name: string },
): Promise<void> {
  const { image } = stage;
  const input = { image: image.key, kind: 'metadataGet', firstSector: 0, sectors: 0 } as const;
  await attempt(
    stage,
    { ...input, detail: key },
    {
      act: async (op) => {
        const value = await imagesOf(stage).metadata(name).get(`${META_PREFIX}${key}`);
        if (stage.pending.has(op)) op.values = Uint32Array.of(Number(value ?? 0));
      },
    },
  );
}

/** For who judges in the end. */
export async function readAllMetadata(
  stage: Parameters<typeof readMetadata>[0],
  name: string,
): Promise<void> {
  for (const key of KEYS) await readMetadata(stage, { key, name });
}

async function rebuildObjectMap(stage: Stage): Promise<void> {
  const { image, plan } = stage;
  if (!plan.image.features.includes('object-map')) return;
  const name = await knownName(stage, image);
  if (name === undefined) return;
  const input = { image: image.key, kind: 'rebuildObjectMap', firstSector: 0, sectors: 0 } as const;
  await attempt(stage, input, { act: () => imagesOf(stage).rebuildObjectMap(name) });
}

async function sparsify(stage: Stage): Promise<void> {
  const image = anImage(stage);
  const name = await knownName(stage, image);
  if (name === undefined) return;
  await attempt(
    stage,
    { image: image.key, kind: 'sparsify', firstSector: 0, sectors: 0 },
    {
      act: () => imagesOf(stage).sparsify(name),
    },
  );
}

export const maintenanceActions = {
  resize,
  rename,
  setMetadata,
  getMetadata,
  rebuildObjectMap,
  sparsify,
} satisfies Record<string, Action>;
