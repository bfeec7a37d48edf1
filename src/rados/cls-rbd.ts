/**
 * The methods of object class `rbd` (`cls/rbd/cls_rbd.cc`), by the object that they belong to. Errors named there are the
 * class's own.
 */

export * from './cls-rbd/children.js';
export * from './cls-rbd/data-objects.js';
export * from './cls-rbd/directory.js';
export * from './cls-rbd/groups-and-mirroring.js';
export * from './cls-rbd/header.js';
export * from './cls-rbd/metadata.js';
export * from './cls-rbd/namespaces.js';
export * from './cls-rbd/object-map.js';
export * from './cls-rbd/parent.js';
export * from './cls-rbd/snap-namespace.js';
export * from './cls-rbd/snapshots.js';
export * from './cls-rbd/trash.js';
