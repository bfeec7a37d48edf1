/**
 * One header object in virtual time, and clients that share it: the embedded cluster's lock class, watches, notifications
 * that complete when all watchers have acknowledged, blocklisting. What a client sends arrives in order, some time later.
 * Data writes arrive too, and are checked against the lock as it is at that moment.
 */

import { abortError, ERRNO, RadosError } from '../../src/base/errors.js';
import {
  CLS_METHOD,
  ClassError,
  type ClassObject,
  runMethod,
} from '../../src/cluster/classes/class-registry.js';
import { createClasses } from '../../src/cluster/classes/index.js';
import { encodeWith } from '../../src/encoding/codec.js';
import { ADDR_TYPE, ENTITY_TYPE, type EntityAddr, formatAddr } from '../../src/encoding/entity.js';
import { utimeFromMs } from '../../src/encoding/types.js';
import { describeOps, OP, type OsdOp } from '../../src/messages/osd-op.js';
import type { OperateOptions, OperateResult } from '../../src/osd-client/request.js';
import { executeOne } from '../../src/rados/class-call.js';
import { getLockInfo, type LockInfo } from '../../src/rados/cls-lock.js';
import { IoContext } from '../../src/rados/io-context.js';
import { listWatchersReply } from '../../src/rados/watchers.js';
import { ExclusiveLock } from '../../src/rbd/exclusive-lock.js';
import type { LockHost, LockOptions, LockState } from '../../src/rbd/lock-host.js';
import type { ClientId } from '../../src/rbd/notify-payloads.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

export const HEADER = 'rbd_header.10a1';
const NOTIFY_TIMEOUT_MS = 5000;
const WATCH_TIMEOUT_MS = 30_000;
const NOTHING = new Uint8Array(0);

type NotifyKind = 'request' | 'acquired' | 'released';
/** `none`: acknowledged without a result. */
type Ack = number | undefined;
interface Notified {
  results: Ack[];
  missed: number;
}

export class LockWorld {
  readonly world: VirtualWorld;
  readonly clients: LockClient[] = [];
  readonly blocklist = new Set<string>();
  /** `client.1: get_info`, in the order of arrival. */
  readonly log: string[] = [];
  /** Data writes that arrived from clients that did not hold the lock. */
  readonly intruders: string[] = [];
  readonly writes: string[] = [];
  readonly #classes = createClasses();
  #xattrs: Map<string, Uint8Array> | undefined = new Map();
  /** Between a request's arrival and its effect: throw to fail it. */
  onRequest: (client: LockClient, text: string) => void = () => {};
  /** After its effect: throw to lose the answer. */
  onAnswer: (client: LockClient, text: string) => void = () => {};

  constructor(seed = 1) {
    this.world = new VirtualWorld({ seed });
  }

  client(options: LockOptions = {}): LockClient {
    const client = new LockClient(this, this.clients.length + 1, options);
    this.clients.push(client);
    return client;
  }

  /** Another image handle in the same client. */
  handle(of: LockClient, options: LockOptions = {}): LockClient {
    const client = new LockClient(this, of.id, options);
    this.clients.push(client);
    return client;
  }

  removeHeader(): void {
    this.#xattrs = undefined;
  }

  get headerExists(): boolean {
    return this.#xattrs !== undefined;
  }

  /** Of the header's lock as it is now: `client.1 auto 101`. */
  get owner(): string | undefined {
    const found = this.#classes.find('lock', 'get_info');
    if (!found || !this.#xattrs) return undefined;
    const { op, decode } = getLockInfo('rbd_lock');
    const out = runMethod(found, this.#object(undefined), this.#inputOf(op));
    if (typeof out === 'number') return undefined;
    const [locker] = (decode(out) as LockInfo).lockers;
    return locker && `client.${locker.locker.num} ${locker.cookie}`;
  }

  /** As `rbd lock rm` does it, without the fence. */
  stealLock(): void {
    this.#xattrs?.clear();
  }

  execute(client: LockClient, ops: readonly OsdOp[], options: OperateOptions): OperateResult {
    const text = describeOps(ops);
    this.log.push(`client.${client.id}: ${text.replace('call ', '').replace(/.*lock\./, '')}`);
    if (this.blocklist.has(client.addrText)) throw RadosError.fromErrno(-108, { op: text });
    this.onRequest(client, text);
    const before = this.#xattrs && new Map(this.#xattrs);
    try {
      const outputs = ops.map((op) => ({ rval: 0, outdata: this.#step(op, client, options) }));
      this.onAnswer(client, text);
      return { result: 0, ops: outputs, userVersion: 1n };
    } catch (error) {
      if (!(error instanceof RadosError) || error.outcome !== 'unknown') this.#xattrs = before;
      throw error;
    }
  }

  /** A data write of a client arrives. */
  apply(client: LockClient, what: string): void {
    if (this.blocklist.has(client.addrText)) throw RadosError.fromErrno(-108, { op: what });
    this.writes.push(what);
    if (!this.owner?.startsWith(`client.${client.id} `)) {
      this.intruders.push(`${what} at ${this.world.now} while ${this.owner ?? 'nobody'} had it`);
    }
  }

  /** Resolves with what the watchers answered, and how many did not. */
  notify(from: LockClient, kind: NotifyKind): Promise<Notified> {
    const source = { gid: BigInt(from.id), handle: from.watchCookie };
    return new Promise((resolve, reject) => {
      from.send(() => {
        this.log.push(`client.${from.id}: notify ${kind}`);
        if (this.blocklist.has(from.addrText)) reject(RadosError.fromErrno(-108, { op: 'notify' }));
        else this.#tell(source, kind, resolve);
      });
    });
  }

  #tell(source: ClientId, kind: NotifyKind, resolve: (notified: Notified) => void): void {
    const watchers = this.clients.filter((client) => client.listed);
    const pending = new Set(watchers);
    const results: Ack[] = [];
    const finish = () => {
      timer.cancel();
      resolve({ results, missed: pending.size });
    };
    const timer = this.world.after(NOTIFY_TIMEOUT_MS, finish);
    if (pending.size === 0) finish();
    for (const watcher of watchers) {
      const acknowledge = (result: Ack) =>
        watcher.send(() => {
          this.log.push(`client.${watcher.id}: ack ${kind}`);
          results.push(result);
          if (pending.delete(watcher) && pending.size === 0) finish();
        });
      this.world.after(watcher.delay(), () => {
        if (!watcher.listening) return;
        if (kind === 'request') acknowledge(watcher.lock.onRequestLock(source));
        else if (kind === 'acquired') {
          watcher.lock.onAcquiredLock(source);
          acknowledge(undefined);
        } else {
          const held = watcher.lock.onReleasedLock(source);
          if (held) void held.then(() => acknowledge(undefined));
          else acknowledge(undefined);
        }
      });
    }
  }

  #inputOf(op: OsdOp): Uint8Array {
    const { arg } = op;
    if (arg.kind !== 'cls') throw new Error('not a class call');
    return op.indata.subarray(arg.classLength + arg.methodLength);
  }

  #step(op: OsdOp, client: LockClient, options: OperateOptions): Uint8Array {
    const fail = (errno: number) => RadosError.fromErrno(errno, { outcome: 'not-applied' });
    if (op.code === OP.STAT) {
      if (!this.#xattrs) throw fail(-2);
      return new Uint8Array(16);
    }
    if (op.code === OP.NOTIFY) return new Uint8Array(8);
    if (op.code === OP.LIST_WATCHERS) {
      if (!this.#xattrs) throw fail(-2);
      const watchers = this.clients
        .filter((each) => each.listed)
        .map((each) => ({
          name: { type: ENTITY_TYPE.CLIENT, num: BigInt(each.id) },
          cookie: each.watchCookie,
          timeoutSeconds: 30,
          // Real OSDs list watchers with another address type than lockers.
          addr: { ...each.addr, type: ADDR_TYPE.ANY },
        }));
      return encodeWith(listWatchersReply, { watchers });
    }
    if (op.arg.kind !== 'cls') throw fail(-95);
    const { classLength, methodLength } = op.arg;
    const name = Buffer.from(op.indata).toString('latin1', 0, classLength + methodLength);
    const found = this.#classes.find(name.slice(0, classLength), name.slice(classLength));
    if (!found) throw fail(-95);
    const writes = (found.flags & CLS_METHOD.WR) !== 0;
    if (!writes && !this.#xattrs) throw fail(-2);
    if (writes && !options.write) throw new Error(`${name} was not sent as a write`);
    const out = runMethod(found, this.#object(client), this.#inputOf(op));
    if (typeof out === 'number') {
      if (out < 0) throw fail(out);
      return NOTHING;
    }
    return out;
  }

  #object(client: LockClient | undefined): ClassObject {
    const there = () => {
      if (!this.#xattrs) throw new ClassError('ENOENT');
      return this.#xattrs;
    };
    const none = () => {
      throw new Error('the lock class does not do this');
    };
    return {
      exists: this.#xattrs !== undefined,
      size: 0,
      xattr: (name) => there().get(name),
      xattrNames: () => [...there().keys()],
      setXattr: (name, value) => {
        this.#xattrs ??= new Map();
        this.#xattrs.set(name, value);
      },
      remove: () => {
        this.#xattrs = undefined;
      },
      origin: {
        name: { type: ENTITY_TYPE.CLIENT, num: BigInt(client?.id ?? 0) },
        addr: client?.addr ?? { type: 0, nonce: 0, host: '', port: 0 },
      },
      now: () => utimeFromMs(1_700_000_000_000 + this.world.now),
      snapSeq: undefined,
      crc32c: none as unknown as ClassObject['crc32c'],
      ...{ read: none, readAll: none, write: none, writeFull: none, truncate: none, create: none },
      ...{ omapGet: none, omapEntries: none, omapSet: none, omapRemove: none },
      randomBytes: (length) => new Uint8Array(length),
    };
  }
}

export class LockClient implements LockHost {
  readonly headerOid = HEADER;
  readonly target = 'rbd/vm1';
  readonly ioctx: IoContext;
  readonly addr: EntityAddr;
  readonly addrText: string;
  readonly lock: ExclusiveLock;
  readonly states: LockState[] = [];
  readonly events: string[] = [];
  watchCookie: bigint;
  /** The OSD has its watch. */
  listed = true;
  /** The process runs and its connections work. */
  alive = true;
  watchGood = true;
  refreshes = 0;
  onPostAcquire: () => void | Promise<void> = () => {};
  onPreRelease: () => void | Promise<void> = () => {};
  onRefresh: () => void | Promise<void> = () => {};
  /** In place of the cluster's answer. */
  answerRequest: (() => Promise<Ack>) | undefined;
  inFlight = 0;
  readonly #at: LockWorld;
  #arrival = 0;
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(
    at: LockWorld,
    readonly id: number,
    options: LockOptions,
  ) {
    this.#at = at;
    this.addr = { type: ADDR_TYPE.LEGACY, nonce: 7000 + id, host: '10.0.0.5', port: 0 };
    this.addrText = formatAddr({ ...this.addr, type: ADDR_TYPE.ANY });
    this.watchCookie = BigInt(100 * (at.clients.length + 1));
    this.ioctx = new IoContext(
      {
        operate: (_, ops, operateOptions) => this.#operate(ops, operateOptions),
        watch: () => Promise.reject(new Error('the world has its own watches')),
        notify: () => Promise.resolve({ notifyId: 0n, replies: [], missed: [] }),
        createSelfManagedSnap: () => Promise.reject(new Error('no snapshots here')),
        removeSelfManagedSnap: () => Promise.reject(new Error('no snapshots here')),
      },
      { id: 1, name: 'rbd' },
    );
    this.lock = new ExclusiveLock(this, {
      ...options,
      listener: {
        onState: (state) => this.states.push(state),
        onAcquired: () => this.events.push('acquired'),
        onLost: (reason) => this.events.push(`lost: ${reason}`),
      },
    });
    this.lock.initialize();
  }

  get env() {
    return this.#at.world.env;
  }

  get globalId(): bigint {
    return BigInt(this.id);
  }

  get clientAddr(): string {
    return this.addrText;
  }

  get listening(): boolean {
    return this.alive && this.listed;
  }

  delay(): number {
    return 0.2 + this.env.random.float();
  }

  /** Runs when this has arrived at the OSD; in order. */
  send(run: () => void): void {
    if (!this.alive) return;
    this.#arrival = Math.max(this.#arrival, this.#at.world.now + this.delay());
    this.#at.world.after(this.#arrival - this.#at.world.now, run);
  }

  /** Before an object is written: the lock, and the watch that shows that it is ours. */
  #gate(): Promise<void> | undefined {
    return this.lock.passObject() ?? this.watchReady();
  }

  /** A write through the lock, as an image does it, to some objects one after the other. */
  async write(what: string, objects = 1): Promise<void> {
    const wait = this.lock.enter();
    if (wait) await wait;
    try {
      for (let i = 0; i < objects; i++) {
        for (let pass = this.#gate(); pass; pass = this.#gate()) await pass;
        this.inFlight++;
        try {
          await this.#roundTrip(() => this.#at.apply(this, objects > 1 ? `${what}.${i}` : what));
        } finally {
          this.inFlight--;
        }
      }
    } finally {
      this.lock.leave();
    }
  }

  /** The process dies: nothing more is sent or answered, and the OSD drops its watch later. */
  kill(watchTimeoutMs = WATCH_TIMEOUT_MS): void {
    this.alive = false;
    this.#at.world.after(watchTimeoutMs, () => {
      this.listed = false;
    });
  }

  /** The OSD dropped the watch, and the client has noticed. */
  loseWatch(): void {
    this.listed = false;
    this.watchGood = false;
  }

  /** Registered again, with a new cookie unless it is to be the old one. */
  async reregister(cookie = this.watchCookie + 1n): Promise<void> {
    this.watchCookie = cookie;
    this.listed = true;
    await this.lock.reregistered();
    this.watchGood = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  failWatch(error: RadosError): void {
    this.loseWatch();
    this.lock.fail(error);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  cookie(): bigint {
    return this.watchCookie;
  }

  watchReady(): Promise<void> | undefined {
    if (this.watchGood) return undefined;
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async requestLock(): Promise<Ack> {
    if (this.answerRequest) return this.answerRequest();
    const { results, missed } = await this.#at.notify(this, 'request');
    const answers = results.filter((result) => result !== undefined);
    return answers[0] ?? (missed > 0 ? -ERRNO.ETIMEDOUT : undefined);
  }

  async announceAcquired(): Promise<void> {
    await this.#at.notify(this, 'acquired');
  }

  async announceReleased(): Promise<void> {
    await this.#at.notify(this, 'released');
  }

  async blocklist(addr: string, expireSeconds: number | undefined): Promise<void> {
    await this.#roundTrip(() => {
      this.#at.log.push(`client.${this.id}: blocklist ${addr} ${expireSeconds ?? 'default'}`);
      this.#at.onRequest(this, 'blocklist');
      this.#at.blocklist.add(addr);
    });
  }

  async refresh(): Promise<void> {
    this.refreshes++;
    await this.onRefresh();
  }

  beforeRelease(): void {}

  async postAcquire(): Promise<void> {
    await this.onPostAcquire();
  }

  async preRelease(): Promise<void> {
    await this.onPreRelease();
  }

  /** What the lock is to a bystander. */
  info(): Promise<LockInfo> {
    return executeOne(this.ioctx, HEADER, getLockInfo('rbd_lock'));
  }

  #operate(ops: readonly OsdOp[], options: OperateOptions = {}): Promise<OperateResult> {
    return this.#roundTrip(() => this.#at.execute(this, ops, options), options);
  }

  #roundTrip<T>(effect: () => T, { signal, timeoutMs }: OperateOptions = {}): Promise<T> {
    return new Promise((settle, fail) => {
      const done = () => signal?.removeEventListener('abort', onAbort);
      const resolve = (value: T) => (done(), settle(value));
      const reject = (error: Error) => (done(), fail(error));
      const onAbort = () => reject(abortError(signal as AbortSignal, { outcome: 'unknown' }));
      if (signal?.aborted) return reject(abortError(signal));
      signal?.addEventListener('abort', onAbort);
      if (timeoutMs) {
        const late = () => RadosError.fromErrno(-ERRNO.ETIMEDOUT, { outcome: 'unknown' });
        this.#at.world.after(timeoutMs, () => reject(late()));
      }
      this.send(() => {
        try {
          const result = effect();
          this.#at.world.after(this.delay(), () => {
            if (this.alive) resolve(result);
          });
        } catch (error) {
          if (error === NO_ANSWER) return;
          this.#at.world.after(this.delay(), () => {
            if (this.alive) reject(error as Error);
          });
        }
      });
    });
  }
}

/** Thrown by `onRequest` or `onAnswer`: the client never hears of it. */
export const NO_ANSWER = new RadosError('ETIMEDOUT', 'no answer', { outcome: 'unknown' });
