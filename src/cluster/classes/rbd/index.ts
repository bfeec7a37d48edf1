/** Class `rbd`, all of its methods. */

import { childrenMethods } from './children.js';
import { dataObjectMethods } from './data-objects.js';
import { directoryMethods } from './directory.js';
import { groupAndMirroringMethods } from './groups-and-mirroring.js';
import { headerMethods } from './header.js';
import { metadataMethods } from './metadata.js';
import { namespaceMethods } from './namespaces.js';
import { objectMapMethods } from './object-map.js';
import { parentMethods } from './parent.js';
import { snapshotMethods } from './snapshots.js';
import { trashMethods } from './trash.js';

export const rbdClass = {
  ...headerMethods,
  ...snapshotMethods,
  ...parentMethods,
  ...childrenMethods,
  ...metadataMethods,
  ...directoryMethods,
  ...trashMethods,
  ...namespaceMethods,
  ...objectMapMethods,
  ...dataObjectMethods,
  ...groupAndMirroringMethods,
};
