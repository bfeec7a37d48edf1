/**
 * RADOS in a Map: what `src/rbd` does to objects, with the embedded cluster's object classes, and with failures as a
 * test wants them. Answers come in a shuffled order, as they do from several OSDs. An object's bytes are kept for the
 * snapshots of the contexts that it is written with.
 */

import { RadosError } from '../../src/base/errors.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import {
  CLS_METHOD,
  ClassError,
  type ClassObject,
  runMethod,
} from '../../src/cluster/classes/class-registry.js';
import { createClasses } from '../../src/cluster/classes/index.js';
import { encodeWith } from '../../src/encoding/codec.js';
import { ADDR_TYPE, ENTITY_TYPE } from '../../src/encoding/entity.js';
import { type SnapContext, utimeFromMs } from '../../src/encoding/types.js';
import { describeOps, isWriteOp, OP, OP_FLAG, type OsdOp } from '../../src/messages/osd-op.js';
import type { ObjectTarget, OperateOptions, OperateResult } from '../../src/osd-client/request.js';
import type { NotifyResult, Watch, WatchHandler } from '../../src/osd-client/watch-types.js';
import { IoContext, type ObjectOperator } from '../../src/rados/io-context.js';
import { listWatchersReply, type Watcher } from '../../src/rados/watchers.js';
import type { RbdContext } from '../../src/rbd/context.js';

export interface FakeRequest {
  pool: number;
  nspace: string;
  oid: string;
  ops: readonly OsdOp[];
  options: OperateOptions;
  /** `setallochint, write`. */
  text: string;
}

export interface FakeObject {
  data: Buffer;
  xattrs: Map<string, Uint8Array>;
  /** Keys are byte strings. */
  omap: Map<string, Uint8Array>;
}

/** Newest snapshot that an object was written after, and what older ones see of it. */
interface SnapSet {
  seq: bigint;
  clones: { snaps: readonly bigint[]; object: FakeObject }[];
}

export type ScriptedMethod = (input: Uint8Array, request: FakeRequest) => Uint8Array;

const NOTHING = new Uint8Array(0);
const CLIENT = {
  name: { type: ENTITY_TYPE.CLIENT, num: 4118n },
  addr: { type: ADDR_TYPE.ANY, nonce: 1, host: '127.0.0.1', port: 0 },
};

export class FakeObjects implements ObjectOperator {
  /** By `pool/namespace/oid`. */
  readonly objects = new Map<string, FakeObject>();
  readonly requests: FakeRequest[] = [];
  /** Answers in place of the class's, by `rbd.get_size`. */
  readonly methods = new Map<string, ScriptedMethod>();
  /** By oid. */
  readonly watchers = new Map<string, Watcher[]>();
  readonly #classes = createClasses();
  /** As `objects`. */
  readonly #snapSets = new Map<string, SnapSet>();
  readonly #handlers = new Map<bigint, { key: string; handler: WatchHandler }>();
  #lastCookie = 0n;
  #lastNotifyId = 0n;
  /** Runs before a request is carried out: throw to fail it, wait to hold it. */
  onRequest: (request: FakeRequest) => void | Promise<void> = () => {};
  inFlight = 0;
  inFlightMax = 0;
  snapsAllocated = 0;

  async operate(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options: OperateOptions = {},
  ): Promise<OperateResult> {
    const { pool, nspace, oid } = target;
    const request = { pool, nspace, oid, ops, options, text: describeOps(ops) };
    this.requests.push(request);
    this.inFlightMax = Math.max(this.inFlightMax, ++this.inFlight);
    try {
      for (let turns = 1 + Math.floor(Math.random() * 3); turns > 0; turns--) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      await this.onRequest(request);
      return this.#execute(request);
    } finally {
      this.inFlight--;
    }
  }

  /** A watch that is always well. Notifications by `notify` reach it. */
  async watch(target: ObjectTarget, handler: WatchHandler): Promise<Watch> {
    const key = keyOf(target);
    if (!this.objects.has(key)) throw RadosError.fromErrno(-2, { op: 'watch', target: target.oid });
    const cookie = ++this.#lastCookie;
    this.#handlers.set(cookie, { key, handler });
    return fakeWatch(target.oid, cookie, () => this.#handlers.delete(cookie));
  }

  /** Every watcher answers, however long it takes. */
  async notify(target: ObjectTarget, payload: Uint8Array): Promise<NotifyResult> {
    const { pool, nspace, oid } = target;
    const request = { pool, nspace, oid, ops: [], options: {}, text: 'notify' };
    this.requests.push(request);
    await this.onRequest(request);
    const notifyId = ++this.#lastNotifyId;
    const notifierGid = CLIENT.name.num;
    const watchers = [...this.#handlers].filter(([, { key }]) => key === keyOf(target));
    const replies = watchers.map(async ([cookie, { handler }]) => ({
      gid: notifierGid,
      cookie,
      payload:
        (await handler.onNotify({ notifyId, cookie, notifierGid, payload: payload.slice() })) ??
        NOTHING,
    }));
    return { notifyId, replies: await Promise.all(replies), missed: [] };
  }

  async createSelfManagedSnap(): Promise<bigint> {
    return BigInt(++this.snapsAllocated);
  }

  async removeSelfManagedSnap(): Promise<void> {}

  put(key: string, data: Uint8Array | string): void {
    this.objects.set(key, { data: Buffer.from(data), xattrs: new Map(), omap: new Map() });
  }

  /** What the requests were, as `oid: ops`. */
  log(): string[] {
    return this.requests.map(({ oid, text }) => `${oid}: ${text}`);
  }

  /** Everything there is, to compare states. */
  dump(): Record<string, unknown> {
    const hex = (map: Map<string, Uint8Array>) =>
      [...map].map(([key, value]) => `${key}=${Buffer.from(value).toString('hex')}`).sort();
    return Object.fromEntries(
      [...this.objects]
        .map(([key, { data, xattrs, omap }]) => [
          key,
          [data.toString('hex'), hex(xattrs), hex(omap)],
        ])
        .sort() as [string, unknown][],
    );
  }

  #execute(request: FakeRequest): OperateResult {
    const key = keyOf(request);
    const { snapid, snapContext } = request.options;
    const before = snapid === undefined ? this.objects.get(key) : this.#objectAt(key, snapid);
    // A copy: a vector that fails changes nothing.
    const state: State = {
      object: before && {
        data: Buffer.from(before.data),
        xattrs: new Map(before.xattrs),
        omap: new Map(before.omap),
      },
    };
    const ops = request.ops.map((op) => ({ rval: 0, outdata: this.#step(op, state, request) }));
    if (snapid === undefined) {
      if (snapContext && writes(request) && (before || state.object)) {
        this.#keep(key, before, snapContext);
      }
      if (state.object) this.objects.set(key, state.object);
      else this.objects.delete(key);
    }
    return { result: 0, ops, userVersion: BigInt(this.requests.length) };
  }

  /** Before a write: the snapshots that were taken since the last one get the object as it is. */
  #keep(key: string, before: FakeObject | undefined, { seq, snaps }: SnapContext): void {
    const set = this.#snapSets.get(key) ?? { seq: 0n, clones: [] };
    const since = snaps.filter((id) => id > set.seq);
    if (before && since.length > 0) set.clones.push({ snaps: since, object: before });
    if (seq > set.seq) set.seq = seq;
    this.#snapSets.set(key, set);
  }

  #objectAt(key: string, snapid: bigint): FakeObject | undefined {
    const set = this.#snapSets.get(key);
    if (!set || snapid > set.seq) return this.objects.get(key);
    return set.clones.find(({ snaps }) => snaps.includes(snapid))?.object;
  }

  #call(method: string, input: Uint8Array, state: State, request: FakeRequest): Uint8Array {
    const fail = (errno: number) =>
      RadosError.fromErrno(errno, { op: request.text, target: request.oid });
    const scripted = this.methods.get(method);
    if (scripted) return scripted(input, request);
    const [className = '', methodName = ''] = method.split('.');
    const found = this.#classes.find(className, methodName);
    if (!found) throw fail(-95);
    const isWrite = (found.flags & CLS_METHOD.WR) !== 0;
    if (!isWrite && !state.object) throw fail(-2);
    if (isWrite && !writes(request)) {
      throw new Error(`${method} writes, but was not sent as a write`);
    }
    const result = runMethod(found, classObject(state), input);
    if (typeof result === 'number' && result < 0) throw fail(result);
    return typeof result === 'number' ? NOTHING : result;
  }

  #step(op: OsdOp, state: State, request: FakeRequest): Uint8Array {
    const { arg } = op;
    const size = state.object?.data.length ?? 0;
    const fail = (errno: number) =>
      RadosError.fromErrno(errno, { op: request.text, target: request.oid });
    if (arg.kind === 'cls') {
      const name = Buffer.from(op.indata).toString('latin1', 0, arg.classLength + arg.methodLength);
      const method = `${name.slice(0, arg.classLength)}.${name.slice(arg.classLength)}`;
      return this.#call(
        method,
        op.indata.subarray(arg.classLength + arg.methodLength),
        state,
        request,
      );
    }
    switch (op.code) {
      case OP.SETALLOCHINT:
        create(state);
        return NOTHING;
      case OP.CREATE:
        if (state.object && op.flags & OP_FLAG.EXCL) throw fail(-17);
        create(state);
        return NOTHING;
      case OP.DELETE:
        if (!state.object) throw fail(-2);
        state.object = undefined;
        return NOTHING;
      case OP.STAT:
        if (!state.object) throw fail(-2);
        return new Uint8Array(16);
      case OP.NOTIFY:
        return new Uint8Array(8);
      case OP.LIST_WATCHERS:
        if (!state.object) throw fail(-2);
        return encodeWith(listWatchersReply, { watchers: this.watchers.get(request.oid) ?? [] });
      default:
        break;
    }
    if (arg.kind === 'writesame') {
      if (arg.length % arg.dataLength !== 0) throw fail(-22);
      grow(state, arg.offset + arg.length).fill(op.indata, arg.offset, arg.offset + arg.length);
      return NOTHING;
    }
    if (arg.kind !== 'extent') throw fail(-95);
    const end = arg.offset + arg.length;
    switch (op.code) {
      case OP.READ: {
        if (!state.object) throw fail(-2);
        const part = state.object.data.subarray(arg.offset, arg.length === 0 ? size : end);
        const { into } = request.options;
        if (!into) return part;
        into.set(part);
        return into.subarray(0, part.length);
      }
      case OP.CMPEXT: {
        const there = Buffer.concat([state.object?.data ?? NOTHING, Buffer.alloc(end)]);
        const differs = op.indata.findIndex((byte, i) => byte !== there[arg.offset + i]);
        if (differs >= 0) throw fail(-4095 - differs);
        return NOTHING;
      }
      case OP.WRITEFULL:
        create(state).data = Buffer.from(op.indata);
        return NOTHING;
      case OP.WRITE:
        grow(state, end).set(op.indata, arg.offset);
        return NOTHING;
      case OP.TRUNCATE:
        if (state.object) state.object.data = grow(state, arg.offset).subarray(0, arg.offset);
        return NOTHING;
      case OP.ZERO:
        if (arg.length === 0) throw new Error('a real OSD aborts on this');
        if (!state.object || arg.offset >= size) return NOTHING;
        if (end >= size) state.object.data = state.object.data.subarray(0, arg.offset);
        else state.object.data.fill(0, arg.offset, end);
        return NOTHING;
      default:
        throw fail(-95);
    }
  }
}

/** As the OsdClient sees it: an opcode that writes, or a class call that was said to. */
function writes({ ops, options }: FakeRequest): boolean {
  return options.write === true || ops.some(({ code }) => isWriteOp(code));
}

function keyOf({ pool, nspace, oid }: ObjectTarget): string {
  return `${pool}/${nspace}/${oid}`;
}

function fakeWatch(oid: string, cookie: bigint, end: () => void): Watch {
  let state: 'connected' | 'closed' = 'connected';
  return {
    cookie,
    get state() {
      return state;
    },
    get validThru() {
      return performance.now();
    },
    check: () => 0,
    verify: async () => {},
    flush: async () => {},
    close: async () => {
      state = 'closed';
      end();
    },
    status: () => ({
      ...{ oid, cookie: String(cookie), generation: 1, state, osd: 0, pg: '1.0', age: 0 },
      ...{ pings: 0, reconnects: 0, reregistrations: 0, losses: 0, queued: 0 },
      lastError: undefined,
    }),
  };
}

interface State {
  object: FakeObject | undefined;
}

function create(state: State): FakeObject {
  state.object ??= { data: Buffer.alloc(0), xattrs: new Map(), omap: new Map() };
  return state.object;
}

function grow(state: State, size: number): Buffer {
  const object = create(state);
  if (object.data.length < size) {
    object.data = Buffer.concat([object.data, Buffer.alloc(size - object.data.length)]);
  }
  return object.data;
}

/** The object as class methods see it. */
function classObject(state: State): ClassObject {
  const there = () => {
    if (!state.object) throw new ClassError('ENOENT');
    return state.object;
  };
  const inOrder = (omap: Map<string, Uint8Array>) =>
    [...omap].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return {
    get exists() {
      return state.object !== undefined;
    },
    get size() {
      return there().data.length;
    },
    read: (offset, length) => there().data.subarray(offset, offset + length),
    readAll: () => there().data,
    write: (offset, data) => void grow(state, offset + data.length).set(data, offset),
    writeFull: (data) => {
      create(state).data = Buffer.from(data);
    },
    truncate: (size) => {
      create(state).data = grow(state, size).subarray(0, size);
    },
    create: (exclusive) => {
      if (exclusive && state.object) throw new ClassError('EEXIST');
      create(state);
    },
    remove: () => {
      state.object = undefined;
    },
    xattr: (name) => there().xattrs.get(name),
    xattrNames: () => [...there().xattrs.keys()],
    setXattr: (name, value) => void create(state).xattrs.set(name, value),
    omapGet: (key) => state.object?.omap.get(key),
    omapEntries: (startAfter, prefix) =>
      inOrder(there().omap).filter(([key]) => key > startAfter && key.startsWith(prefix)),
    omapSet: (...entries) => {
      for (const [key, value] of entries) create(state).omap.set(key, Uint8Array.from(value));
    },
    omapRemove: (...keys) => {
      for (const key of keys) there().omap.delete(key);
    },
    snapSeq: undefined,
    origin: CLIENT,
    crc32c: (() => 0) as unknown as ClassObject['crc32c'],
    now: () => utimeFromMs(1_700_000_000_000),
    randomBytes: (length) => new Uint8Array(length),
  };
}

/** A client of pools `rbd` (1) and `data` (2). */
export function fakeContext(objects: FakeObjects): RbdContext {
  const pools = [
    { id: 1, name: 'rbd' },
    { id: 2, name: 'data' },
  ];
  return {
    async ioctx(pool, nspace = '') {
      const found = pools.find(({ id, name }) => id === pool || name === pool);
      if (!found) throw new RadosError('ENOENT', `pool ${pool} does not exist`);
      return new IoContext(objects, found, nspace);
    },
    poolById: (id) => pools.find((pool) => pool.id === id),
    pools: () => pools,
    requireMinCompatClient: 12,
    waitForLatestMap: () => Promise.resolve(),
    globalId: 4118n,
    clientAddr: '127.0.0.1:0/1',
    blocklistAdd: () => Promise.resolve(),
    environment: nodeEnvironment(),
  };
}
