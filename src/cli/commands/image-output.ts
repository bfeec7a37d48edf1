/** What `ls -l` and `info` print, in `rbd`'s shapes. */

import type { ImageInfo } from '../../rbd/info.js';
import { formatTable, formatTime } from '../output.js';
import { formatSize } from '../sizes.js';

/** A line of `ls -l`: an image or one of its snapshots, in the order of `rbd`'s JSON. */
export interface ListedImage {
  image: string;
  id: string;
  snapshot?: string;
  snapshot_id?: number;
  size: number;
  parent?: { pool: string; pool_namespace: string; image: string; snapshot: string };
  format: 2;
  protected?: 'true' | 'false';
  lock_type?: 'exclusive' | 'shared';
}

export function longTable(entries: readonly ListedImage[]): string {
  if (entries.length === 0) return '';
  return formatTable(
    [
      { title: 'NAME', align: 'left' },
      { title: 'SIZE', align: 'right' },
      { title: 'PARENT', align: 'left' },
      { title: 'FMT', align: 'right' },
      { title: 'PROT', align: 'left' },
      { title: 'LOCK', align: 'left' },
    ],
    entries.map((entry) => {
      const { parent } = entry;
      const from =
        parent &&
        [parent.pool, parent.pool_namespace, parent.image].filter((part) => part !== '').join('/');
      return [
        entry.snapshot === undefined ? entry.image : `${entry.image}@${entry.snapshot}`,
        formatSize(entry.size),
        parent ? `${from}@${parent.snapshot}` : '',
        '2',
        entry.protected === 'true' ? 'yes' : '',
        entry.lock_type === 'exclusive' ? 'excl' : entry.lock_type === 'shared' ? 'shr' : '',
      ];
    }),
  );
}

/** The fields of `rbd info --format json`, in its order. */
export function infoJson(image: ImageInfo): Record<string, unknown> {
  return {
    ...(image.name === undefined ? {} : { name: image.name }),
    id: image.id,
    size: image.size,
    objects: image.objects,
    order: image.order,
    object_size: image.objectSize,
    snapshot_count: image.snapshotCount,
    ...(image.dataPool === undefined ? {} : { data_pool: image.dataPool }),
    block_name_prefix: image.blockNamePrefix,
    format: image.format,
    features: image.features,
    op_features: image.opFeatures,
    flags: image.flags,
    ...(image.group === undefined ? {} : { group: image.group }),
    create_timestamp: formatTime(image.createTimestamp),
    access_timestamp: formatTime(image.accessTimestamp),
    modify_timestamp: formatTime(image.modifyTimestamp),
    ...(image.protected === undefined ? {} : { protected: String(image.protected) }),
    ...(image.snapshotLimit === undefined ? {} : { snapshot_limit: image.snapshotLimit }),
    ...(image.parent === undefined
      ? {}
      : {
          parent: {
            pool: image.parent.pool,
            pool_namespace: image.parent.poolNamespace,
            image: image.parent.image,
            id: image.parent.id,
            snapshot: image.parent.snapshot,
            trash: image.parent.trash,
            overlap: image.parent.overlap,
          },
        }),
    ...(image.stripeUnit === undefined
      ? {}
      : { stripe_unit: image.stripeUnit, stripe_count: image.stripeCount }),
  };
}

export function infoText(image: ImageInfo): string {
  const { parent } = image;
  const lines = [
    `size ${formatSize(image.size)} in ${image.objects} objects`,
    `order ${image.order} (${formatSize(image.objectSize)} objects)`,
    `snapshot_count: ${image.snapshotCount}`,
    `id: ${image.id}`,
    ...(image.dataPool === undefined ? [] : [`data_pool: ${image.dataPool}`]),
    `block_name_prefix: ${image.blockNamePrefix}`,
    `format: ${image.format}`,
    `features: ${image.features.join(', ')}`,
    `op_features: ${image.opFeatures.join(', ')}`,
    `flags: ${image.flags.join(', ')}`,
    ...(image.group === undefined ? [] : [`group: ${image.group}`]),
    `create_timestamp: ${formatTime(image.createTimestamp)}`,
    `access_timestamp: ${formatTime(image.accessTimestamp)}`,
    `modify_timestamp: ${formatTime(image.modifyTimestamp)}`,
    ...(image.protected === undefined ? [] : [`protected: ${image.protected ? 'True' : 'False'}`]),
    ...(image.snapshotLimit === undefined ? [] : [`snapshot_limit: ${image.snapshotLimit}`]),
    ...(parent === undefined
      ? []
      : [
          `parent: ${[parent.pool, parent.poolNamespace, parent.image].filter((part) => part !== '').join('/')}@${parent.snapshot}${parent.trash ? ` (trash ${parent.id})` : ''}`,
          `overlap: ${formatSize(parent.overlap)}`,
        ]),
    ...(image.stripeUnit === undefined
      ? []
      : [`stripe unit: ${formatSize(image.stripeUnit)}`, `stripe count: ${image.stripeCount}`]),
  ];
  return `rbd image '${image.name ?? ''}':\n${lines.map((line) => `\t${line}\n`).join('')}`;
}
