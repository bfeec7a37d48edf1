/** What this client does at the request of others while it owns the exclusive lock. */

import type { MaintenancePayload } from '../notify-payloads.js';
import { flatten } from './flatten.js';
import { updateMetadata } from './metadata.js';
import type { Operation } from './operation.js';
import { rebuildObjectMap } from './rebuild-object-map.js';
import { rename } from './rename.js';
import { resize } from './resize.js';
import { snapCreate } from './snap-create.js';
import { snapProtect, snapUnprotect } from './snap-protect.js';
import { snapRemove } from './snap-remove.js';
import { snapRename } from './snap-rename.js';
import { sparsify } from './sparsify.js';
import { updateFeatures } from './update-features.js';

/** By what the notification calls it. Whoever asks for another is told EOPNOTSUPP, takes the lock and does it there. */
const OPERATIONS: { [Op in MaintenancePayload['op']]?: Operation<RequestFor<Op>> } = {
  flatten,
  resize,
  snapCreate,
  snapProtect,
  snapRemove,
  snapRename,
  snapUnprotect,
  rebuildObjectMap,
  rename,
  sparsify,
  updateFeatures,
  metadataUpdate: updateMetadata,
};

type RequestFor<Op> = Omit<Extract<MaintenancePayload, { op: Op }>, 'id'>;

export function operationFor({ op }: MaintenancePayload): Operation<object> | undefined {
  return OPERATIONS[op] as Operation<object> | undefined;
}
