/** Clones of snapshots: made, written to, made independent, removed. */

import type { IoKind } from '../../checkers/history.js';
import { isUsable, type KnownImage, nameOf } from '../known-images.js';
import {
  type Action,
  attempt,
  imagesOf,
  judge,
  knownName,
  POOL,
  type Stage,
  withMapped,
} from '../stage.js';
import { operate } from './io.js';
import { aSnapshot, readSnapshot } from './snapshots.js';

const CLONES_MAX = 3;
const OPERATIONS_MAX = 6;

async function clone(stage: Stage): Promise<void> {
  const { images, draw, history, client } = stage;
  if (images.clones.length >= CLONES_MAX) return;
  const snapshot = aSnapshot(stage);
  // What the clone begins as.
  const values = snapshot && (await readSnapshot(stage, snapshot));
  if (!values || values.length === 0 || !client.isWorking) return;
  const name = await knownName(stage, snapshot.image);
  const snap = nameOf(snapshot);
  if (name === undefined || snap === undefined || !client.isWorking) return;
  const key = `clone${history.ops.length + 1}`;
  const format = snapshot.isProtected && draw.chance(0.5) ? 1 : 2;
  const input = { image: key, kind: 'clone', firstSector: 0, sectors: values.length } as const;
  await attempt(
    stage,
    { ...input, detail: `of ${snapshot.image.key}@${snapshot.key}` },
    {
      never: ['EEXIST'],
      onBegun: (create) => {
        images.add(key, { create, parent: snapshot });
        history.origins.push({ image: key, sectors: values.length, values, lagMs: 0 });
      },
      act: () => imagesOf(stage).clone(`${POOL}/${name}@${snap}`, key, { format }),
    },
  );
}

function aClone({ images, draw }: Stage): KnownImage | undefined {
  const { clones } = images;
  return clones.length > 0 ? draw.pick(clones) : undefined;
}

/** Maps it, does something with it, and lets go of it. */
async function use(stage: Stage): Promise<void> {
  const image = aClone(stage);
  const name = image && nameOf(image);
  if (!image || name === undefined) return;
  const { draw, client } = stage;
  const kinds: IoKind[] = ['read', 'write', 'write', 'writeZeroes', 'discard'];
  try {
    await withMapped(stage, name, {}, async (device) => {
      const count = draw.int(1, OPERATIONS_MAX);
      for (let i = 0; i < count && client.isWorking && !device.closed; i++) {
        await operate(stage, { image, device }, draw.pick(kinds));
      }
    });
  } catch (error) {
    judge(stage, { doing: 'map', error, image });
  }
}

/** Of any image that has a parent, or has had one. */
async function flatten(stage: Stage): Promise<void> {
  const { images, draw } = stage;
  const candidates = images.usable.filter(
    ({ parent, flattens }) => parent && flattens.every(({ end }) => end === 'failed'),
  );
  if (candidates.length === 0) return;
  const image = draw.pick(candidates);
  const name = await knownName(stage, image);
  if (name === undefined || !isUsable(image)) return;
  if (image.flattens.some(({ end }) => end !== 'failed')) return;
  await attempt(
    stage,
    { image: image.key, kind: 'flatten', firstSector: 0, sectors: 0 },
    {
      never: ['EINVAL'],
      onBegun: (op) => image.flattens.push(op),
      act: () => imagesOf(stage).flatten(name),
    },
  );
}

async function remove(stage: Stage): Promise<void> {
  const image = aClone(stage);
  const name = image && nameOf(image);
  if (!image || name === undefined) return;
  if (image.snapshots.some(({ removal }) => removal?.end !== 'ok')) return;
  await attempt(
    stage,
    { image: image.key, kind: 'removeImage', firstSector: 0, sectors: 0 },
    {
      never: ['ENOENT'],
      onBegun: (op) => {
        image.removal = op;
      },
      act: () => imagesOf(stage).remove(name),
    },
  );
}

export const cloneActions = {
  clone,
  useClone: use,
  flatten,
  removeClone: remove,
} satisfies Record<string, Action>;
