/** What keeps a client's operation from its object, beside the operations before it. */

import type { ObjectId } from '../store/object-id.js';
import type { OpClass } from './op-class.js';
import type { Blocker } from './pipeline/blocker.js';

/** Undefined: nothing keeps it. `head` is the object that the request names, whatever snapshot it is about. */
export type ObjectBlocker = (head: ObjectId, opClass: OpClass) => Blocker | undefined;

/**
 * Asked behind recovery (`ObjectRecovery.blocker`), in the order in which they stand here, when an operation has come to its
 * turn in `process`, and all again after each wait: what executes was kept by none of them at that moment.
 */
export interface ObjectBlockers {
  /** In a range that is being scrubbed. */
  scrub: ObjectBlocker;
  /** Frozen by a migration of its image. */
  metalock: ObjectBlocker;
}

const nothing: ObjectBlocker = () => undefined;

export function noBlockers(): ObjectBlockers {
  return { scrub: nothing, metalock: nothing };
}
