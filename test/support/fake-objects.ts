/**
 * RADOS in a Map: enough for what `src/rbd` does to data objects, with scripted class methods and scripted failures.
 * Answers come in a shuffled order, as they do from several OSDs. Snapshots are not kept: tests look at the requests.
 */

import { RadosError } from '../../src/base/errors.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { OP, OP_FLAG, type OsdOp } from '../../src/messages/osd-op.js';
import type { ObjectTarget, OperateOptions, OperateResult } from '../../src/osd-client/request.js';
import { describeOps, IoContext, type ObjectOperator } from '../../src/rados/io-context.js';
import type { RbdContext } from '../../src/rbd/context.js';

export interface FakeRequest {
  pool: number;
  nspace: string;
  oid: string;
  ops: readonly OsdOp[];
  options: OperateOptions;
  /** `set-alloc-hint, write`. */
  text: string;
}

export type ClassMethod = (input: Uint8Array, request: FakeRequest) => Uint8Array;

const NOTHING = new Uint8Array(0);

export class FakeObjects implements ObjectOperator {
  /** By `pool/namespace/oid`. */
  readonly objects = new Map<string, Buffer>();
  readonly requests: FakeRequest[] = [];
  /** By `rbd.get_size`. */
  readonly methods = new Map<string, ClassMethod>();
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

  async createSelfManagedSnap(): Promise<bigint> {
    return BigInt(++this.snapsAllocated);
  }

  async removeSelfManagedSnap(): Promise<void> {}

  /** What the requests were, as `oid: ops`. */
  log(): string[] {
    return this.requests.map(({ oid, text }) => `${oid}: ${text}`);
  }

  #execute(request: FakeRequest): OperateResult {
    const key = `${request.pool}/${request.nspace}/${request.oid}`;
    const state = { bytes: this.objects.get(key) };
    const outputs = request.ops.map((op) => ({ rval: 0, outdata: this.#step(op, state, request) }));
    if (state.bytes) this.objects.set(key, state.bytes);
    else this.objects.delete(key);
    return { result: 0, ops: outputs, userVersion: 1n };
  }

  #step(op: OsdOp, object: { bytes: Buffer | undefined }, request: FakeRequest): Uint8Array {
    const { arg } = op;
    const size = object.bytes?.length ?? 0;
    const fail = (errno: number) =>
      RadosError.fromErrno(errno, { op: request.text, target: request.oid });
    if (arg.kind === 'cls') {
      const name = Buffer.from(op.indata).toString('latin1', 0, arg.classLength + arg.methodLength);
      const method = `${name.slice(0, arg.classLength)}.${name.slice(arg.classLength)}`;
      const run = this.methods.get(method);
      if (!run) throw fail(-95);
      return run(op.indata.subarray(arg.classLength + arg.methodLength), request);
    }
    switch (op.code) {
      case OP.SETALLOCHINT:
        object.bytes ??= Buffer.alloc(0);
        return NOTHING;
      case OP.CREATE:
        if (object.bytes && op.flags & OP_FLAG.EXCL) throw fail(-17);
        object.bytes ??= Buffer.alloc(0);
        return NOTHING;
      case OP.DELETE:
        if (!object.bytes) throw fail(-2);
        object.bytes = undefined;
        return NOTHING;
      case OP.WRITEFULL:
        object.bytes = Buffer.from(op.indata);
        return NOTHING;
      case OP.STAT:
        if (!object.bytes) throw fail(-2);
        return new Uint8Array(16);
      case OP.NOTIFY:
        return new Uint8Array(8);
      default:
        break;
    }
    if (arg.kind === 'writesame') {
      if (arg.length % arg.dataLength !== 0) throw fail(-22);
      object.bytes = grown(object.bytes, arg.offset + arg.length);
      object.bytes.fill(op.indata, arg.offset, arg.offset + arg.length);
      return NOTHING;
    }
    if (arg.kind !== 'extent') throw fail(-95);
    const end = arg.offset + arg.length;
    switch (op.code) {
      case OP.READ: {
        if (!object.bytes) throw fail(-2);
        const part = object.bytes.subarray(arg.offset, arg.length === 0 ? size : end);
        const { into } = request.options;
        if (!into) return Buffer.from(part);
        into.set(part);
        return into.subarray(0, part.length);
      }
      case OP.CMPEXT: {
        const there = grown(object.bytes, end).subarray(arg.offset, end);
        const differs = op.indata.findIndex((byte, i) => byte !== there[i]);
        if (differs >= 0) throw fail(-4095 - differs);
        return NOTHING;
      }
      case OP.WRITE:
        object.bytes = grown(object.bytes, end);
        object.bytes.set(op.indata, arg.offset);
        return NOTHING;
      case OP.TRUNCATE:
        if (object.bytes)
          object.bytes = Buffer.from(grown(object.bytes, arg.offset).subarray(0, arg.offset));
        return NOTHING;
      case OP.ZERO:
        if (arg.length === 0) throw new Error('a real OSD aborts on this');
        if (object.bytes && arg.offset < size) {
          if (end >= size) object.bytes = Buffer.from(object.bytes.subarray(0, arg.offset));
          else object.bytes.fill(0, arg.offset, end);
        }
        return NOTHING;
      default:
        throw fail(-95);
    }
  }
}

function grown(bytes: Buffer | undefined, size: number): Buffer {
  const old = bytes ?? Buffer.alloc(0);
  return old.length >= size ? old : Buffer.concat([old, Buffer.alloc(size - old.length)]);
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
    globalId: 4118n,
    environment: nodeEnvironment(),
  };
}
