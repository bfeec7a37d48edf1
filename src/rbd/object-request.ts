/**
 * One data object's part of a request, as librbd and krbd have it (`librbd/io/ObjectRequest.cc`, `CopyupRequest.cc`):
 *
 *     read     the object; if it is missing, or the object map knows that it is, what the parent has there, or zeros
 *     change   admitted -> object map -> admitted -> [hint,] operations          nothing is behind the object
 *                                                 -> stat, [hint,] operations    a parent is
 *                                                    -> ENOENT -> copy-up
 *     remove   delete; under a parent: create and truncate to nothing, which hides what the parent has
 *
 * A copy-up gives the object what the parent has, together with the operations; one at a time for an object, and whoever
 * wants to change that object meanwhile waits for it. Where snapshots of this image are to see the parent's bytes too, all
 * of these go first, under no snapshot, so that the operations make the clones.
 *
 * After every wait the request is admitted again, and the object map and the parent are looked at anew: the lock may have
 * gone and come back, the parent may be gone.
 */

import { copyBytes } from '../base/copy-bytes.js';
import { isRadosError, RadosError } from '../base/errors.js';
import type { SnapContext } from '../encoding/types.js';
import { OSD_FLAG } from '../messages/osd-messages.js';
import {
  allocHintOp,
  createOp,
  deleteOp,
  type OsdOp,
  readOp,
  statOp,
  truncateOp,
  zeroOp,
} from '../messages/osd-op.js';
import { madeNow, type SendGate } from '../osd-client/request.js';
import type { IoContext, OperateOptions, OperateResult } from '../rados/io-context.js';
import { type ByteRange, type CopiedUp, copiedUp } from './copy-up.js';
import { isMissingObject, unless } from './errors.js';
import { dataObject, type Layout, type ObjectExtent } from './layout.js';
import type { ObjectStates } from './object-states.js';
import { type ParentBytes, readParent } from './parent.js';
import { unlessAborted } from './waiting.js';

export interface RequestContext {
  readonly signal?: AbortSignal | undefined;
  /**
   * Asked before each object operation is sent: undefined when it may go at once, else resolves when it may. A request
   * over many objects takes its time, and what it began with may have changed.
   */
  admit?(): Promise<void> | undefined;
  /** Whether that still holds when an operation is sent, which waits for its OSD: else all rejects with a `HeldBackError`. */
  readonly gate?: SendGate | undefined;
}

/** What goes with a write. */
export interface WriteContext extends RequestContext {
  /** Read for each object operation, once it is admitted. */
  readonly snapContext: SnapContext;
  /**
   * When given, OSDs refuse a snapshot context that is older than the object's. The operation is sent again after
   * this was called and `admit` let it through.
   */
  onOldSnapContext?(): void;
  /** Space is to be freed: also when the cluster is full. */
  readonly fullTry?: boolean | undefined;
  /**
   * The objects to which the request was done. When it begins anew it leaves them alone: others may have changed them since,
   * and nobody may see it happen twice.
   */
  readonly done?: Set<number>;
}

/** What goes with a read: absent `snapId` reads the head. */
export interface ReadContext extends RequestContext {
  readonly snapId?: bigint | undefined;
}

/** What is known of the objects, always as of now. */
export interface ObjectBackground {
  /** The object map of the lock's owner. */
  readonly states: ObjectStates | undefined;
  /** The map by which reads go: the owner's, or that of the snapshot that is open. */
  readonly existence: Pick<ObjectStates, 'mayExist'> | undefined;
  /** What shows through where an object is missing. */
  readonly parent: ParentBytes | undefined;
}

export interface ObjectRequestsOptions {
  /** The pool that holds the data objects. */
  readonly ioctx: IoContext;
  readonly layout: Layout;
  readonly objectPrefix: string;
  /** Flags of the hint that goes with every write (`CEPH_OSD_ALLOC_HINT_FLAG_*`). */
  readonly allocHintFlags: number;
  readonly background: ObjectBackground;
}

export interface Change {
  readonly ops: readonly OsdOp[];
  /** They may create the object, so its size to be is hinted at. */
  readonly hinted?: boolean;
  /** What the object held before does not matter: with no snapshot to keep it for, no parent does either. */
  readonly replaces?: boolean;
  /** The bytes of the object that are overwritten: they need not be copied up, unless for a snapshot. */
  readonly overwrites?: ByteRange;
  /** Looks at the object as it was before: a copy-up is to be done by then. */
  readonly compares?: boolean;
  /** Only takes bytes away: nothing to do where there is no object and nothing behind it. */
  readonly removes?: boolean;
}

/** Snapshots that are taken faster than the header can be read are somebody's mistake. */
const OLD_SNAP_CONTEXTS_MAX = 10;
/** Nothing that a copy-up leaves behind makes an object vanish: whoever sees it so often has found a cluster at fault. */
const ATTEMPTS_MAX = 100;
const NO_SNAPSHOTS: SnapContext = { seq: 0n, snaps: [] };
const NO_BYTES = new Uint8Array(0);
const DELETE = [deleteOp()];
const NOTHING: Change = { ops: [] };

export class ObjectRequests {
  readonly #options: ObjectRequestsOptions;
  readonly #hint: OsdOp;
  /** Under way, by object. */
  readonly #copyUps = new Map<number, Promise<void>>();

  constructor(options: ObjectRequestsOptions) {
    this.#options = options;
    const { objectSize } = options.layout;
    this.#hint = allocHintOp(objectSize, objectSize, options.allocHintFlags);
  }

  // ---- reads ----

  /**
   * The bytes of an object extent, short where the object ends; empty where nothing is. With `into` that is filled, zeros
   * included. On the data path: one promise, not one for each step.
   */
  read(
    extent: ObjectExtent,
    into: Uint8Array | undefined,
    context: ReadContext,
  ): Promise<Uint8Array> {
    const wait = context.admit?.();
    return wait
      ? wait.then(() => this.#sendRead(extent, into, context))
      : this.#sendRead(extent, into, context);
  }

  #sendRead(
    extent: ObjectExtent,
    into: Uint8Array | undefined,
    context: ReadContext,
  ): Promise<Uint8Array> {
    const { background, ioctx, objectPrefix } = this.#options;
    const { parent, existence } = background;
    if (existence && !existence.mayExist(extent.objectNo)) {
      return this.#readBehind(parent, extent, into, context);
    }
    const options: OperateOptions = {};
    if (into) options.into = into;
    if (context.snapId !== undefined) options.snapid = context.snapId;
    if (context.signal) options.signal = context.signal;
    madeNow(options, context.gate);
    const oid = dataObject(objectPrefix, extent.objectNo);
    return ioctx.operate(oid, [readOp(extent.offset, extent.length)], options).then(
      ({ ops }) => {
        const bytes = ops[0]?.outdata;
        if (bytes && bytes.length <= extent.length) return into ? place(bytes, into) : bytes;
        throw new RadosError(
          'EBADMSG',
          `read of ${extent.length} bytes of ${oid} answered ${bytes?.length ?? 'nothing'}`,
          { op: 'read', target: ioctx.describe(oid) },
        );
      },
      (error: unknown) => {
        if (!isMissingObject(error)) throw error;
        return this.#readBehind(parent, extent, into, context);
      },
    );
  }

  /** What is seen where the object is missing. */
  async #readBehind(
    parent: ParentBytes | undefined,
    extent: ObjectExtent,
    into: Uint8Array | undefined,
    context: ReadContext,
  ): Promise<Uint8Array> {
    const seen = parent ? this.#bytesBehind(parent, extent.objectNo) : 0;
    if (!parent || seen <= extent.offset) return into ? into.fill(0) : NO_BYTES;
    const length = Math.min(extent.length, seen - extent.offset);
    const target = into ? into.subarray(0, length) : Buffer.alloc(length);
    const isRead = await this.#readParent(parent, extent.objectNo, extent.offset, target, context);
    if (!isRead) return this.read(extent, into, context);
    if (!into) return target;
    into.fill(0, length);
    return into;
  }

  /** How many bytes from the object's start on a parent shows through. */
  #bytesBehind(parent: ParentBytes, objectNo: number): number {
    return this.#options.layout.objectBytes(objectNo, parent.overlap);
  }

  /**
   * False when it is not the parent any more: flattened meanwhile, so that the object is there, and the parent's bytes
   * perhaps gone. Admitted anew when it resolves.
   */
  async #readParent(
    parent: ParentBytes,
    objectNo: number,
    offset: number,
    into: Uint8Array,
    context: RequestContext,
  ): Promise<boolean> {
    const { background, layout } = this.#options;
    let failure: { error: unknown } | undefined;
    try {
      await readParent(parent, layout, objectNo, offset, into, context.signal);
    } catch (error) {
      failure = { error };
    }
    const wait = context.admit?.();
    if (wait) await wait;
    if (background.parent !== parent) return false;
    if (failure) throw failure.error;
    return true;
  }

  // ---- changes ----

  /**
   * Rejects with what the operations failed with; ENOENT only where they need an object that exists. On the data path:
   * one promise where nothing has to be waited for.
   */
  change(objectNo: number, change: Change, context: WriteContext): Promise<unknown> {
    const wait = context.admit?.();
    const { states, parent } = this.#options.background;
    const isSure = !states || states.mayExist(objectNo);
    if (wait || parent || !isSure || context.onOldSnapContext) {
      return this.#changeLater(objectNo, change, context, wait);
    }
    if (!states) return this.#send(objectNo, this.#vector(change), context);
    const entry = states.beginWrite(objectNo, context.signal);
    if (!entry) {
      const sent = this.#send(objectNo, change.ops, context);
      return sent.finally(() => states.endWrite(objectNo));
    }
    return entry.then(() => {
      states.endWrite(objectNo);
      return this.#changeLater(objectNo, change, context, context.admit?.());
    });
  }

  #changeLater(
    objectNo: number,
    change: Change,
    context: WriteContext,
    wait: Promise<void> | undefined,
  ): Promise<void> {
    return this.#untilDone(objectNo, context, wait, () => this.#attempt(objectNo, change, context));
  }

  /** Makes a whole object read as zeros, and frees it where nothing behind it has to be hidden. */
  remove(objectNo: number, context: WriteContext): Promise<void> {
    const wait = context.admit?.();
    return this.#untilDone(objectNo, context, wait, () => this.#attemptRemoval(objectNo, context));
  }

  /** Cuts an object, so that what is beyond reads as zeros, whatever the parent has there. */
  async cut(objectNo: number, size: number, context: WriteContext): Promise<void> {
    const overwrites = { offset: size, length: this.#options.layout.objectSize - size };
    await this.change(objectNo, { ops: [truncateOp(size)], overwrites, removes: true }, context);
  }

  /** Gives the object what the parent has, unless it has bytes of its own: nothing shows through afterwards. */
  copyUp(objectNo: number, context: WriteContext): Promise<void> {
    const wait = context.admit?.();
    return this.#untilDone(objectNo, context, wait, async () => {
      if (!this.#isCovered(objectNo)) return true;
      const { states } = this.#options.background;
      const mayExist = !states || states.mayExist(objectNo);
      if (mayExist && (await this.#exists(objectNo, context))) return true;
      return this.#copyUpWith(objectNo, NOTHING, context);
    });
  }

  /** An attempt, admitted, resolves with false when the object has to be looked at again. */
  async #untilDone(
    objectNo: number,
    context: WriteContext,
    wait: Promise<void> | undefined,
    attempt: () => Promise<boolean>,
  ): Promise<void> {
    if (wait) await wait;
    for (let attempts = 1, oldContexts = 0; attempts <= ATTEMPTS_MAX; attempts++) {
      try {
        if (await attempt()) return;
      } catch (error) {
        const isOld = context.onOldSnapContext && isRadosError(error, 'ERESTART');
        if (!isOld || ++oldContexts === OLD_SNAP_CONTEXTS_MAX) throw error;
        context.onOldSnapContext?.();
      }
      const again = context.admit?.();
      if (again) await again;
    }
    throw new RadosError(
      'EIO',
      `${this.#name(objectNo)} changed ${ATTEMPTS_MAX} times while it was to be changed`,
      { op: 'change', target: this.#name(objectNo), outcome: 'unknown' },
    );
  }

  async #attempt(objectNo: number, change: Change, context: WriteContext): Promise<boolean> {
    const { background } = this.#options;
    const { states } = background;
    if (states && !states.mayExist(objectNo)) {
      if (this.#needsParent(objectNo, change, context)) {
        return this.#copyUpWith(objectNo, change, context);
      }
      if (change.removes) return true;
    }
    const entry = states?.beginWrite(objectNo, context.signal);
    if (entry) await entry;
    try {
      if (entry) {
        const wait = context.admit?.();
        if (wait) await wait;
        // What the map was told may not be what the owner's map says now.
        if (background.states !== states) return false;
      }
      const mayBeNew = !states || entry !== undefined;
      const isGuarded = this.#needsParent(objectNo, change, context);
      const ops = mayBeNew ? this.#vector(change) : change.ops;
      try {
        await this.#send(objectNo, isGuarded ? [statOp(), ...ops] : ops, context);
        return true;
      } catch (error) {
        if (!isGuarded || !isMissingObject(error)) throw error;
      }
    } finally {
      states?.endWrite(objectNo);
    }
    return this.#copyUpWith(objectNo, change, context);
  }

  async #attemptRemoval(objectNo: number, context: WriteContext): Promise<boolean> {
    const { background } = this.#options;
    if (this.#isCovered(objectNo)) {
      const replaces = context.snapContext.snaps.length === 0;
      const ops = replaces ? [createOp(false), truncateOp(0)] : [truncateOp(0)];
      return this.#attempt(objectNo, { ops, replaces }, context);
    }
    const { states } = background;
    const remove = () => unless('ENOENT', this.#send(objectNo, DELETE, context));
    let isOurs = true;
    if (!states) await remove();
    else {
      const removeIfOurs = async () => {
        const wait = context.admit?.();
        if (wait) await wait;
        isOurs = background.states === states;
        if (isOurs) await remove();
      };
      await states.removeObject(objectNo, removeIfOurs, context.signal);
    }
    return isOurs;
  }

  /** Whether the object, should it be missing, has to be copied up for this change. */
  #needsParent(objectNo: number, change: Change, { snapContext }: WriteContext): boolean {
    return this.#isCovered(objectNo) && !(change.replaces && snapContext.snaps.length === 0);
  }

  #isCovered(objectNo: number): boolean {
    const { parent } = this.#options.background;
    return parent !== undefined && this.#bytesBehind(parent, objectNo) > 0;
  }

  async #exists(objectNo: number, { signal }: RequestContext): Promise<boolean> {
    const { ioctx, objectPrefix } = this.#options;
    const oid = dataObject(objectPrefix, objectNo);
    const stat = ioctx.operate(oid, [statOp()], signal ? { signal } : {});
    return (await unless('ENOENT', stat)) !== undefined;
  }

  // ---- copy-up ----

  /** True when the change was made with the copy-up. */
  async #copyUpWith(objectNo: number, change: Change, context: WriteContext): Promise<boolean> {
    const running = this.#copyUps.get(objectNo);
    if (running) {
      await unlessAborted(running, context.signal, this.#name(objectNo));
      return false;
    }
    const { parent } = this.#options.background;
    if (!parent) return false;
    const work = this.#copyUp(parent, objectNo, change, context);
    this.#copyUps.set(objectNo, work.then(noop, noop));
    try {
      return await work;
    } finally {
      this.#copyUps.delete(objectNo);
    }
  }

  async #copyUp(
    parent: ParentBytes,
    objectNo: number,
    change: Change,
    context: WriteContext,
  ): Promise<boolean> {
    const { background } = this.#options;
    const behind = Buffer.alloc(this.#bytesBehind(parent, objectNo));
    if (!(await this.#readParent(parent, objectNo, 0, behind, context))) return false;
    const { states } = background;
    const { snaps, seq } = context.snapContext;
    // The snapshots are to see what is overwritten, too, and so is a comparison.
    const isAll = snaps.length > 0 || change.compares;
    const copied = copiedUp(behind, isAll ? undefined : change.overwrites);
    const hasData = copied.data.length > 0;
    const isChange = change.ops.length > 0;
    if (!hasData && !isChange) return true;

    const seenBy = hasData ? snaps : [];
    const entry = states?.beginCopyUp(objectNo, seenBy, isChange, context.signal);
    if (entry) await entry;
    try {
      if (entry) {
        const wait = context.admit?.();
        if (wait) await wait;
        const isSame = background.states === states && context.snapContext.seq === seq;
        if (!isSame || background.parent !== parent) return false;
      }
      return await this.#sendCopyUp(objectNo, copied, change, context);
    } finally {
      states?.endWrite(objectNo);
    }
  }

  async #sendCopyUp(
    objectNo: number,
    { op, data }: CopiedUp,
    change: Change,
    context: WriteContext,
  ): Promise<boolean> {
    const { ops, compares } = change;
    const { signal, fullTry } = context;
    const copyUp = [op, this.#hint];
    const isDeep = context.snapContext.snaps.length > 0 && data.length > 0;
    if (!isDeep && !compares) {
      await this.#send(objectNo, [...copyUp, ...ops], context);
      return true;
    }
    const before = isDeep ? { signal, fullTry, snapContext: NO_SNAPSHOTS } : context;
    await this.#send(objectNo, copyUp, before);
    // The change begins anew, with the object that is there now.
    return ops.length === 0;
  }

  // ---- operations ----

  #vector({ ops, hinted }: Change): readonly OsdOp[] {
    return hinted ? [this.#hint, ...ops] : ops;
  }

  #send(objectNo: number, ops: readonly OsdOp[], context: WriteContext): Promise<OperateResult> {
    const { ioctx, objectPrefix } = this.#options;
    const options: OperateOptions = { snapContext: context.snapContext };
    if (context.signal) options.signal = context.signal;
    madeNow(options, context.gate);
    const orderSnap = context.onOldSnapContext ? OSD_FLAG.ORDERSNAP : 0;
    const fullTry = context.fullTry ? OSD_FLAG.FULL_TRY : 0;
    if (orderSnap | fullTry) options.flags = orderSnap | fullTry;
    return ioctx.operate(dataObject(objectPrefix, objectNo), ops, options);
  }

  #name(objectNo: number): string {
    const { ioctx, objectPrefix } = this.#options;
    return ioctx.describe(dataObject(objectPrefix, objectNo));
  }
}

const noop = () => undefined;

/** What makes part of an object read as zeros and frees most. Of a missing object both say nothing. */
export function zeroPartOp(
  { offset, length }: { offset: number; length: number },
  objectSize: number,
): OsdOp {
  return offset + length < objectSize ? zeroOp(offset, length) : truncateOp(offset);
}

/** Puts what was read where it belongs, unless it is there already, and zeros behind it. */
function place(bytes: Uint8Array, into: Uint8Array): Uint8Array {
  if (bytes.buffer !== into.buffer || bytes.byteOffset !== into.byteOffset) copyBytes(into, bytes);
  if (bytes.length < into.length) into.fill(0, bytes.length);
  return into;
}
