/** The image that a run is about, and what it is a clone of. */

import { SECTOR_BYTES, stamps } from '../checkers/stamps.js';
import type { Op } from '../checkers/history.js';
import type { WorkloadClient } from './habitat.js';
import type { KnownImage } from './known-images.js';
import { readSnapshot } from './actions/snapshots.js';
import { attempt, imagesOf, POOL, type Scene, type Stage, withMapped } from './stage.js';

const BASE = 'base';
const BASE_SNAPSHOT = 's';
const IMAGE = 'vm';
/** Of ten pieces of the base so many hold something. */
const FILLED = 0.6;

/**
 * Without an exclusive lock a client writes by the header that it has for as long as it believes in its watch, which is 22 s;
 * and a second or two in which a request is under way.
 */
const LAG_MS = 30_000;

/** Of an image with or without the exclusive lock. */
export function lagOf(features: readonly string[]): number {
  return features.includes('exclusive-lock') ? 0 : LAG_MS;
}

export async function makeImage(
  scene: Omit<Scene, 'image'>,
  client: WorkloadClient,
): Promise<KnownImage> {
  const { plan, images, history } = scene;
  const { features, isClone, ...shape } = plan.image;
  const sectors = Math.floor(shape.size / SECTOR_BYTES);
  const lagMs = lagOf(features);
  const made = imagesOf({ client });
  const options = { ...shape, features: [...features] };
  if (!isClone) {
    await made.create(IMAGE, options);
    history.origins.push({ image: IMAGE, sectors, lagMs });
    return images.add(IMAGE);
  }
  await made.create(BASE, options);
  const base = images.add(BASE);
  history.origins.push({ image: BASE, sectors, lagMs });
  const maker = { ...scene, image: base, client, pending: new Set<Op>() };
  await fill(maker, sectors);
  const at = { image: BASE, firstSector: 0, sectors: 0 };
  await attempt(
    maker,
    { ...at, kind: 'snapCreate', snap: BASE_SNAPSHOT },
    {
      onBegun: (create) =>
        base.snapshots.push({
          ...{ key: BASE_SNAPSHOT, image: base, create, names: [BASE_SNAPSHOT], changes: [] },
          isProtected: false,
        }),
      act: () => made.snapshots(BASE).create(BASE_SNAPSHOT),
    },
  );
  const [parent] = base.snapshots;
  const values = parent && (await readSnapshot(maker as unknown as Stage, parent));
  if (!values) throw new Error('the parent cannot be read');
  const { size: _, ...layout } = options;
  await attempt(
    maker,
    { ...at, image: IMAGE, kind: 'clone', sectors },
    {
      act: () => made.clone(`${POOL}/${BASE}@${BASE_SNAPSHOT}`, IMAGE, { ...layout, format: 2 }),
    },
  );
  history.origins.push({ image: IMAGE, sectors, values, lagMs });
  return images.add(IMAGE, { parent });
}

type Maker = Scene & Pick<Stage, 'client' | 'pending'>;

async function fill(maker: Maker, sectors: number): Promise<void> {
  const { plan, image } = maker;
  const piece = Math.max(1, Math.ceil(sectors / 10));
  await withMapped(maker, image.key, {}, async (device) => {
    for (let first = 0; first < sectors; first += piece) {
      if (((first / piece) * 7 + plan.seed) % 10 >= FILLED * 10) continue;
      const count = Math.min(piece, sectors - first);
      const at = { image: image.key, kind: 'write', firstSector: first, sectors: count } as const;
      await attempt(maker, at, {
        act: (op) => device.write(first * SECTOR_BYTES, stamps(first, count, op.id)),
      });
    }
  });
}
