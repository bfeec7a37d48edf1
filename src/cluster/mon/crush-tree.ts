/** Walks over the CRUSH map for commands: subtrees, locations, weights. */

import type { CrushBucket, CrushMap } from '../../osdmap/crush-map.js';

/** Shadow buckets (`default~hdd`) are CRUSH's own business. */
export function isShadow(crush: CrushMap, id: number): boolean {
  return crush.itemNames.get(id)?.includes('~') ?? false;
}

/** Buckets that stand in no other one, in ascending id. */
export function rootBuckets(crush: CrushMap): CrushBucket[] {
  const buckets = crush.buckets.filter((bucket) => bucket !== undefined);
  const contained = new Set(buckets.flatMap((bucket) => bucket.items));
  return buckets
    .filter(({ id }) => !contained.has(id) && !isShadow(crush, id))
    .sort((a, b) => a.id - b.id);
}

export function subtreeOsds(crush: CrushMap, id: number): number[] {
  if (id >= 0) return [id];
  return (crush.bucket(id)?.items ?? []).flatMap((item) => subtreeOsds(crush, item));
}

/** Where an item stands, innermost first: `[['host', 'vm'], ['root', 'default']]`. */
export function crushLocation(crush: CrushMap, id: number): [type: string, name: string][] {
  const parent = crush.buckets.find(
    (bucket) => bucket?.items.includes(id) && !isShadow(crush, bucket.id),
  );
  if (!parent) return [];
  const here: [string, string] = [
    crush.typeNames.get(parent.type) ?? String(parent.type),
    crush.itemNames.get(parent.id) ?? String(parent.id),
  ];
  return [here, ...crushLocation(crush, parent.id)];
}

export function itemClass(crush: CrushMap, id: number): string | undefined {
  const classId = crush.classMap.get(id);
  return classId === undefined ? undefined : crush.classNames.get(classId);
}

/** The weight of item `i` of a bucket, 16.16 fixed point. */
export function itemWeight(bucket: CrushBucket, i: number): number {
  switch (bucket.alg) {
    case 1:
      return bucket.itemWeight;
    case 3:
      // Leaves of the tree are its odd nodes.
      return bucket.nodeWeights[2 * i + 1] ?? 0;
    default:
      return bucket.itemWeights[i] ?? 0;
  }
}

export interface TreeItem {
  id: number;
  /** 0 for roots and strays. */
  depth: number;
  /** 16.16 fixed point. */
  weight: number;
  /** Undefined for roots. */
  parent: number | undefined;
  children: number[];
}

/**
 * Depth first. Devices of a bucket come by class and number, buckets by name, whatever their order in the bucket
 * (`CrushTreeDumper`).
 */
export function walkTree(crush: CrushMap): TreeItem[] {
  const items: TreeItem[] = [];
  const visit = (id: number, weight: number, depth: number, parent: number | undefined): void => {
    const bucket = id < 0 ? crush.bucket(id) : undefined;
    const children = (bucket?.items ?? []).map((child, i) => ({
      child,
      weight: bucket ? itemWeight(bucket, i) : 0,
    }));
    items.push({
      id,
      depth,
      weight: bucket ? bucket.weight : weight,
      parent,
      children: children.map(({ child }) => child),
    });
    for (const { child, weight } of children.sort((a, b) =>
      sortKey(crush, a.child) < sortKey(crush, b.child) ? -1 : 1,
    )) {
      visit(child, weight, depth + 1, id);
    }
  };
  for (const root of rootBuckets(crush)) visit(root.id, root.weight, 0, undefined);
  return items;
}

function sortKey(crush: CrushMap, id: number): string {
  if (id < 0) return `_${crush.itemNames.get(id) ?? ''}`;
  return `${itemClass(crush, id) ?? ''}_osd.${String(id).padStart(8, '0')}`;
}
