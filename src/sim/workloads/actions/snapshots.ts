/** Snapshots, as a client makes, reads, changes and removes them. */

import type { Snapshots } from '../../../block/snapshots.js';
import { isRadosError, RadosError } from '../../../base/errors.js';
import { isUsableSnapshot, type KnownImage, type KnownSnapshot, nameOf } from '../known-images.js';
import {
  type Action,
  attempt,
  imagesOf,
  knownName,
  readSectors,
  sectorsOf,
  type Stage,
  withMapped,
} from '../stage.js';

/** Snapshots that there are at a time, of all images: more cost time and show nothing new. */
const SNAPSHOTS_MAX = 8;
/** That of all images one is chosen that is not the one that everybody writes to. */
const OTHER_IMAGE = 0.3;

export function anImage({ draw, images, image }: Stage): KnownImage {
  const { clones } = images;
  return clones.length > 0 && draw.chance(OTHER_IMAGE) ? draw.pick(clones) : image;
}

export function aSnapshot({ draw, images }: Stage): KnownSnapshot | undefined {
  const { snapshots } = images;
  return snapshots.length > 0 ? draw.pick(snapshots) : undefined;
}

const whole = ({ key }: KnownImage) => ({ image: key, firstSector: 0, sectors: 0 });

/** Undefined while its image has no name that is known. */
async function managing(stage: Stage, image: KnownImage): Promise<Snapshots | undefined> {
  const name = await knownName(stage, image);
  return name === undefined ? undefined : imagesOf(stage).snapshots(name);
}

/** The snapshot's sectors; undefined when they could not be read. What there is for certain must be there. */
export async function readSnapshot(
  stage: Stage,
  snapshot: KnownSnapshot,
): Promise<Uint32Array | undefined> {
  const { image } = snapshot;
  const [name, snap] = [await knownName(stage, image), nameOf(snapshot)];
  if (name === undefined || snap === undefined) return undefined;
  const changed = snapshot.changes.length;
  const input = { ...whole(image), kind: 'read', snap: snapshot.key } as const;
  return attempt(stage, input, {
    act: async (op) => {
      try {
        return await withMapped(stage, `${name}@${snap}`, { readOnly: true }, async (device) => {
          const sectors = sectorsOf(device);
          const values = sectors === 0 ? new Uint32Array(0) : await readSectors(device, 0, sectors);
          // What is read of a snapshot while it is removed is of no snapshot.
          if (snapshot.removal ?? image.removal)
            throw new RadosError('ENOENT', 'removed meanwhile');
          if (stage.pending.has(op)) Object.assign(op, { values, sectors });
          return values;
        });
      } catch (error) {
        const stays =
          snapshot.removal === undefined &&
          image.removal === undefined &&
          snapshot.changes.length === changed &&
          image.renames.length === 0;
        if (stays && isRadosError(error, 'ENOENT') && stage.pending.has(op)) {
          const message = `${stage.client.name} misses ${name}@${snap}: ${error.message}`;
          stage.violate({ checker: 'snapshots', message });
        }
        throw error;
      }
    },
  });
}

async function create(stage: Stage): Promise<void> {
  const { images, history } = stage;
  if (images.snapshots.length >= SNAPSHOTS_MAX) return;
  const image = anImage(stage);
  const managed = await managing(stage, image);
  if (!managed) return;
  const key = `s${history.ops.length + 1}`;
  await attempt(
    stage,
    { ...whole(image), kind: 'snapCreate', snap: key },
    {
      never: ['EEXIST'],
      onBegun: (op) => {
        image.snapshots.push({
          ...{ key, image, create: op, names: [key], changes: [], isProtected: false },
        });
      },
      act: () => managed.create(key),
    },
  );
}

async function remove(stage: Stage): Promise<void> {
  const snapshot = aSnapshot(stage);
  const managed = snapshot && (await managing(stage, snapshot.image));
  const name = snapshot && nameOf(snapshot);
  if (!managed || name === undefined || !isUsableSnapshot(snapshot)) return;
  await attempt(
    stage,
    { ...whole(snapshot.image), kind: 'snapRemove', snap: snapshot.key },
    {
      never: snapshot.image.renames.length === 0 ? ['ENOENT'] : [],
      onBegun: (op) => {
        snapshot.removal = op;
      },
      act: () => managed.remove(name),
    },
  );
}

async function rename(stage: Stage): Promise<void> {
  const snapshot = aSnapshot(stage);
  const managed = snapshot && (await managing(stage, snapshot.image));
  const name = snapshot && nameOf(snapshot);
  if (!managed || name === undefined || !isUsableSnapshot(snapshot)) return;
  const to = `${snapshot.key}.${stage.history.ops.length + 1}`;
  const input = { ...whole(snapshot.image), kind: 'snapRename', snap: snapshot.key } as const;
  await attempt(
    stage,
    { ...input, detail: to },
    {
      never: ['EEXIST'],
      onBegun: (op) => {
        snapshot.changes.push(op);
        snapshot.names.push(to);
      },
      act: () => managed.rename(name, to),
    },
  );
  settleNames(snapshot);
}

/** When it is known how the last rename came out. */
export function settleNames(renamed: KnownSnapshot | KnownImage): void {
  const renames = 'changes' in renamed ? renamed.changes : renamed.renames;
  const { end } = renames.findLast(({ kind }) => kind === 'rename' || kind === 'snapRename') ?? {};
  if (renamed.names.length !== 2) return;
  if (end === 'ok') renamed.names.shift();
  else if (end === 'failed') renamed.names.pop();
}

/** Protects what is not protected, and the other way round. */
async function protect(stage: Stage): Promise<void> {
  const snapshot = aSnapshot(stage);
  const managed = snapshot && (await managing(stage, snapshot.image));
  const name = snapshot && nameOf(snapshot);
  if (!managed || name === undefined || !isUsableSnapshot(snapshot)) return;
  const { isProtected } = snapshot;
  const kind = isProtected ? 'snapUnprotect' : 'snapProtect';
  let change: { end?: string } | undefined;
  await attempt(
    stage,
    { ...whole(snapshot.image), kind, snap: snapshot.key },
    {
      never: isProtected ? ['EINVAL'] : ['EBUSY'],
      onBegun: (op) => {
        snapshot.changes.push(op);
        change = op;
      },
      act: () => (isProtected ? managed.unprotect(name) : managed.protect(name)),
    },
  );
  if (change?.end === 'ok') snapshot.isProtected = !isProtected;
}

async function rollback(stage: Stage): Promise<void> {
  const snapshot = aSnapshot(stage);
  if (!snapshot) return;
  const values = await readSnapshot(stage, snapshot);
  const { image } = snapshot;
  const managed = values && stage.client.isWorking && (await managing(stage, image));
  const name = nameOf(snapshot);
  if (!managed || name === undefined || !isUsableSnapshot(snapshot)) return;
  const input = { ...whole(image), kind: 'rollback', sectors: values.length, values } as const;
  await attempt(
    stage,
    { ...input, detail: `to ${snapshot.key}` },
    {
      onBegun: (op) => {
        image.rollbacks.push(op);
        snapshot.changes.push(op);
      },
      act: () => managed.rollback(name),
    },
  );
}

export const snapshotActions = {
  snapCreate: create,
  snapRead: async (stage: Stage) => {
    const snapshot = aSnapshot(stage);
    if (snapshot) await readSnapshot(stage, snapshot);
  },
  snapRemove: remove,
  snapRename: rename,
  snapProtect: protect,
  rollback,
} satisfies Record<string, Action>;
