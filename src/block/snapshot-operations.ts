/** What is done to snapshots, and to images in the trash, as named operations: see `management.ts`. */

import { usageLimit } from '../rados/pool-usage.js';
import { forceSnapRemove } from '../rbd/force-snap-remove.js';
import type { SnapCreateOptions, SnapshotRef } from '../rbd/image-snapshots.js';
import { listSnapshots, type ListSnapshotsOptions, type SnapshotInfo } from '../rbd/snapshots.js';
import type { NamedImageSpec } from '../rbd/spec.js';
import {
  listTrash,
  moveToTrash,
  purgeTrash,
  removeFromTrash,
  restoreFromTrash,
  type TrashedImage,
  type TrashedImageSpec,
  type TrashMoveOptions,
} from '../rbd/trash.js';
import { header, type OperationContext, progress, withImage } from './operation-context.js';

export const snapshotOperations = {
  listSnapshots: async (
    context: OperationContext,
    spec: NamedImageSpec,
    options: ListSnapshotsOptions,
  ): Promise<SnapshotInfo[]> => listSnapshots(await header(context, spec, true), options),

  createSnapshot: (
    context: OperationContext,
    spec: NamedImageSpec,
    name: string,
    create: Pick<SnapCreateOptions, 'skipQuiesce' | 'ignoreQuiesceError'>,
  ) =>
    withImage(context, spec, ({ snapshots }, options) =>
      snapshots.create(name, { ...options, ...create }),
    ),

  removeSnapshot: (
    context: OperationContext,
    spec: NamedImageSpec,
    ref: SnapshotRef,
    { force }: { force: boolean },
  ) =>
    withImage(context, spec, (image, options) =>
      force ? forceSnapRemove(image, ref, options) : image.snapshots.remove(ref, options),
    ),

  renameSnapshot: (
    context: OperationContext,
    spec: NamedImageSpec,
    ref: SnapshotRef,
    name: string,
  ) => withImage(context, spec, ({ snapshots }, options) => snapshots.rename(ref, name, options)),

  protectSnapshot: (context: OperationContext, spec: NamedImageSpec, ref: SnapshotRef) =>
    withImage(context, spec, ({ snapshots }, options) => snapshots.protect(ref, options)),

  unprotectSnapshot: (context: OperationContext, spec: NamedImageSpec, ref: SnapshotRef) =>
    withImage(context, spec, ({ snapshots }, options) => snapshots.unprotect(ref, options)),

  rollbackToSnapshot: (context: OperationContext, spec: NamedImageSpec, ref: SnapshotRef) =>
    withImage(context, spec, ({ snapshots }, options) => snapshots.rollback(ref, options)),

  purgeSnapshots: (context: OperationContext, spec: NamedImageSpec): Promise<string[]> =>
    withImage(context, spec, ({ snapshots }, options) => snapshots.purge(options)),

  limitSnapshots: (context: OperationContext, spec: NamedImageSpec, limit: number | undefined) =>
    withImage(context, spec, ({ snapshots }, options) => snapshots.setLimit(limit, options)),

  listTrash: async (
    { client }: OperationContext,
    pool: string,
    namespace: string,
    options: { all: boolean },
  ): Promise<TrashedImage[]> => listTrash(await client.ioctx(pool, namespace), options),

  moveToTrash: (
    { client }: OperationContext,
    spec: NamedImageSpec,
    options: TrashMoveOptions,
  ): Promise<void> => moveToTrash(client, spec, options),

  restoreFromTrash: (
    { client }: OperationContext,
    spec: TrashedImageSpec,
    options: { name?: string },
  ): Promise<void> => restoreFromTrash(client, spec, options),

  removeFromTrash: (
    context: OperationContext,
    spec: TrashedImageSpec,
    { force }: { force: boolean },
  ): Promise<void> => removeFromTrash(context.client, spec, { force, ...progress(context) }),

  purgeTrash: (
    context: OperationContext,
    pool: string,
    namespace: string,
    { threshold, ...which }: { expiredBefore?: Date; threshold?: number },
  ): Promise<void> => {
    const { client } = context;
    const limit = threshold === undefined ? {} : { limit: usageLimit(client, threshold) };
    return purgeTrash(client, { pool, namespace }, { ...which, ...limit, ...progress(context) });
  },
};
