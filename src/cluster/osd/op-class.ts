/** What a request as a whole does, judged by its opcodes and class methods, never by its flags (`osd/OpRequest.cc`). */

import { ERRNO } from '../../base/errors.js';
import { isWriteOp, OP, type OsdOp, WATCH_OP } from '../../messages/osd-op.js';
import { CLS_METHOD, type ClassRegistry } from '../classes/class-registry.js';
import { resolveCall } from './ops/call.js';
import { NEEDS } from './osd-caps.js';

export interface OpClass {
  readonly mayWrite: boolean;
  /** Asks the PG, not an object. */
  readonly pgOp: boolean;
  /** Ordered behind the object's writes although it is a read. */
  readonly ordered: boolean;
  /** What the client's caps must allow: a combination of NEEDS. */
  readonly needs: number;
  /** Known before the object is looked at: an unknown class or method. */
  readonly errno: number;
}

const OP_TYPE_MASK = 0x0f00;
const OP_TYPE_PG = 0x0500;

export function classify(classes: ClassRegistry, ops: readonly OsdOp[]): OpClass {
  let mayWrite = false;
  let pgOp = false;
  let ordered = false;
  let needs = 0;
  for (const op of ops) {
    if ((op.code & OP_TYPE_MASK) === OP_TYPE_PG) pgOp = true;
    if (op.code === OP.CALL) {
      const call = resolveCall(classes, op);
      if (typeof call === 'number') return { mayWrite, pgOp, ordered, needs, errno: call };
      if (call.method.flags & CLS_METHOD.WR) mayWrite = true;
      if (call.method.flags & CLS_METHOD.WR) needs |= NEEDS.CLASS_WRITE;
      if (call.method.flags & CLS_METHOD.RD) needs |= NEEDS.CLASS_READ;
    } else if (op.arg.kind === 'watch' && op.arg.op === WATCH_OP.PING) {
      // A ping changes nothing and is not logged, but must not overtake the registration.
      ordered = true;
      needs |= NEEDS.READ;
    } else if (isWriteOp(op.code)) {
      mayWrite = true;
      needs |= NEEDS.WRITE;
    } else {
      needs |= NEEDS.READ;
    }
    // A watch depends on what was registered before.
    if (op.code === OP.WATCH) needs |= NEEDS.READ;
  }
  return { mayWrite, pgOp, ordered, needs, errno: ops.length === 0 ? -ERRNO.EINVAL : 0 };
}
