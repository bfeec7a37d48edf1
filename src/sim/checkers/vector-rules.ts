/**
 * The rules of what a vector of operations does to its object:
 *
 *   P21  all of it or nothing: one that fails leaves the object as it was, and what a disk has of an object after its OSD's end is
 *        what one of the writes before made of it as a whole
 *   P22  what it reads and compares is the object from before it, whatever it has written itself by then
 */

import { latin1 } from '../../cluster/byte-string.js';
import { ClientOp } from '../../cluster/osd/client-op.js';
import type { LogEvent } from '../../cluster/osd/pipeline/event-log.js';
import type { StoredObject } from '../../cluster/store/object-store.js';
import type { OsdReply } from '../../messages/osd-messages.js';
import { CMP, isWriteOp, OP, type OsdOp } from '../../messages/osd-op.js';

/** What can be seen of the OSD that speaks. */
export interface VectorSight {
  /** The head that a request is about, as it is stored there. */
  stored(op: ClientOp): StoredObject | undefined;
}

const VIOLATIONS_MAX = 20;
/** Versions of objects that are remembered. */
const VERSIONS_MAX = 20_000;
const CMP_MODE_STRING = 1;

/** These fail before anything is written, or not at all: what stands behind them decides nothing. */
const PLAIN: ReadonlySet<number> = new Set([
  ...[OP.SETALLOCHINT, OP.WRITE, OP.WRITEFULL, OP.APPEND, OP.ZERO, OP.TRUNCATE],
]);

interface Before {
  readonly op: ClientOp;
  /** Of a vector that may fail half-way: what its object was. */
  readonly picture: string | undefined;
  /** By place in the vector: whether it succeeds on the object from before. */
  readonly reads: ReadonlyMap<number, boolean>;
}

/** Of one cluster: a version of an object is the same wherever it is. */
export class VectorRules {
  readonly violations: string[] = [];
  #before: Before | undefined;
  /** By object, by version. */
  readonly #versions = new Map<string, string>();

  feed({ ev, handle }: LogEvent, sight: VectorSight): void {
    const before = this.#before;
    if (!before && ev !== 'execute') return;
    this.#before = undefined;
    if (!(handle instanceof ClientOp)) return;
    if (before?.op === handle) this.#executed(before, ev, sight);
    if (ev !== 'execute' || !handle.opClass.mayWrite) return;
    const { ops } = handle.client.request;
    const behindWrite = ops.slice(ops.findIndex(({ code }) => isWriteOp(code)) + 1);
    if (behindWrite.every(({ code }) => PLAIN.has(code))) {
      this.#before = { op: handle, picture: undefined, reads: new Map() };
      return;
    }
    const stored = sight.stored(handle);
    this.#before = { op: handle, picture: pictureOf(stored), reads: readsOf(ops, stored) };
  }

  /** An OSD begins with what a disk has. */
  found(stored: StoredObject): void {
    const known = this.#versions.get(versionKey(stored));
    if (known !== undefined && known !== contentOf(stored)) {
      this.#violated('P21', `${stored.id.oid} is not what its version was`);
    }
  }

  #executed({ op, picture, reads }: Before, ev: LogEvent['ev'], sight: VectorSight): void {
    if (ev === 'submit') {
      const stored = sight.stored(op);
      if (stored) this.#remember(stored);
    } else if (picture !== undefined && pictureOf(sight.stored(op)) !== picture) {
      this.#violated('P21', `a part of what failed was done: ${op.description}`);
    }
    const reply = op.reply as OsdReply | undefined;
    for (const [i, succeeds] of reads) {
      const { rval } = reply?.ops[i] ?? {};
      // Behind one that failed nothing was tried.
      if (rval === undefined || (rval === 0 && (reply as OsdReply).result < 0)) continue;
      if (rval >= 0 !== succeeds) {
        this.#violated('P22', `operation ${i} saw what the vector had written: ${op.description}`);
      }
    }
  }

  #remember(stored: StoredObject): void {
    if (this.#versions.size > VERSIONS_MAX) this.#versions.clear();
    this.#versions.set(versionKey(stored), contentOf(stored));
  }

  #violated(rule: string, what: string): void {
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push(`${rule}: ${what}`);
  }
}

function readsOf(ops: readonly OsdOp[], stored: StoredObject | undefined): Map<number, boolean> {
  const reads = new Map<number, boolean>();
  const before = stored?.meta.info.whiteout ? undefined : stored;
  const first = ops.findIndex(({ code }) => isWriteOp(code));
  for (const [i, { code, arg, indata }] of ops.entries()) {
    if (i <= first || arg.kind !== 'xattr' || arg.nameLength > indata.length) continue;
    const value = before?.xattr(latin1(indata.subarray(0, arg.nameLength)));
    if (code === OP.GETXATTR) reads.set(i, value !== undefined);
    if (code !== OP.CMPXATTR || arg.cmpOp !== CMP.EQ || arg.cmpMode !== CMP_MODE_STRING) continue;
    const end = arg.nameLength + arg.valueLength;
    if (end > indata.length) continue;
    const given = indata.subarray(arg.nameLength, end);
    reads.set(i, before !== undefined && Buffer.compare(given, value ?? Buffer.alloc(0)) === 0);
  }
  return reads;
}

function versionKey({ id, meta }: StoredObject): string {
  const { version, epoch } = meta.info.version;
  return `${id.pool} ${id.nspace}/${id.key}/${id.oid} ${epoch}'${version}`;
}

/** What belongs together of an object, but for its bytes: those are judged by who wrote them. */
function contentOf(stored: StoredObject): string {
  const xattrs = stored.xattrs().map(([name, value]) => `${name}=${latin1(value)}`);
  return `${stored.size} ${stored.omapSize} ${stored.omapHeader.length} ${xattrs.join()}`;
}

function pictureOf(stored: StoredObject | undefined): string {
  if (!stored) return 'nothing';
  const omap = [...stored.omapFrom('')].map(([key, value]) => `${key}=${latin1(value)}`);
  return `${versionKey(stored)} ${contentOf(stored)} ${omap.join()}`;
}
