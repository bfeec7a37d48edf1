/** What a request as a whole does, judged by its opcodes and class methods, never by its flags (`osd/OpRequest.cc`). */

import { ERRNO } from '../../base/errors.js';
import { isWriteOp, OP, type OsdOp, WATCH_OP } from '../../messages/osd-op.js';
import { CLS_METHOD, type ClassRegistry } from '../classes/class-registry.js';
import { resolveCall } from './ops/call.js';
import { type ClassCall, NEEDS } from './osd-caps.js';

export interface OpClass {
  readonly mayWrite: boolean;
  /** Asks the PG, not an object. */
  readonly pgOp: boolean;
  /** Ordered behind the object's writes although it is a read. */
  readonly ordered: boolean;
  /** What the client's caps must allow beside the calls: of NEEDS.READ and NEEDS.WRITE. */
  readonly needs: number;
  /** The class methods that its caps must allow. */
  readonly calls: readonly ClassCall[];
  /** Known before the object is looked at: an unknown class or method. */
  readonly errno: number;
}

const OP_MODE_MASK = 0xf000;
const OP_TYPE_MASK = 0x0f00;
const OP_TYPE_PG = 0x0500;

/** Shared, and left empty. */
const NO_CALLS: ClassCall[] = [];

function classCall({ className, methodName, method }: Exclude<Resolved, number>): ClassCall {
  const needs =
    (method.flags & CLS_METHOD.WR ? NEEDS.CLASS_WRITE : 0) |
    (method.flags & CLS_METHOD.RD ? NEEDS.CLASS_READ : 0);
  return { className, method: methodName, needs };
}

type Resolved = ReturnType<typeof resolveCall>;

export function classify(classes: ClassRegistry, ops: readonly OsdOp[]): OpClass {
  let mayWrite = false;
  let pgOp = false;
  let ordered = false;
  let needs = 0;
  let calls: ClassCall[] = NO_CALLS;
  for (const op of ops) {
    if ((op.code & OP_TYPE_MASK) === OP_TYPE_PG) pgOp = true;
    if (op.code === OP.CALL) {
      const call = resolveCall(classes, op);
      if (typeof call === 'number') return { mayWrite, pgOp, ordered, needs, calls, errno: call };
      if (call.method.flags & CLS_METHOD.WR) mayWrite = true;
      if (calls === NO_CALLS) calls = [];
      calls.push(classCall(call));
    } else if (op.arg.kind === 'watch' && op.arg.op === WATCH_OP.PING) {
      // A ping changes nothing and is not logged, but must not overtake the registration.
      ordered = true;
      needs |= NEEDS.READ;
    } else if (isWriteOp(op.code)) {
      mayWrite = true;
      needs |= NEEDS.WRITE;
    } else if (op.code & OP_MODE_MASK) {
      needs |= NEEDS.READ;
    }
    // A watch depends on what was registered before.
    if (op.code === OP.WATCH) needs |= NEEDS.READ;
  }
  // Neither reads nor writes, whatever it may be.
  const isNothing = ops.every(({ code }) => (code & OP_MODE_MASK) === 0);
  return { mayWrite, pgOp, ordered, needs, calls, errno: isNothing ? -ERRNO.EINVAL : 0 };
}
