/**
 * Faults of an embedded cluster, for tests of what an application does when storage fails: `cluster.faults`.
 *
 *     await using fault = await cluster.faults.blackHole({ osd: 1 });
 *     ... what the application does now ...
 *     expect(await fault.fired()).toBeGreaterThan(0);
 *
 * Each call returns when the fault is in place. Each fault counts how often it acted, and is undone by `stop`, at the
 * end of its `await using` block, or by `clear`. Faults lie over one another. Nothing of them outlives the cluster.
 */

import type {
  BlocklistOptions,
  BreakAfterOptions,
  ClientStatus,
  CorruptObjectOptions,
  DelayConnectionsOptions,
  DelayNotifyOptions,
  DelayRepliesOptions,
  DropWatchOptions,
  FailOpsOptions,
  FaultControl,
  FaultCounters,
  FaultKind,
  FaultOptions,
  FaultSpec,
  FaultStatus,
  FreezeOsdOptions,
  FullOptions,
  JumpClockOptions,
  MapFlag,
  MonUnavailableOptions,
  MovePgOptions,
  NotifyOptions,
  OpOptions,
  OpPointOptions,
  PartOsdsOptions,
  RefuseOptions,
  ResetOptions,
  ShapeOptions,
  StorePointOptions,
  ThrottleOptions,
  WatchStatus,
} from './fault-spec.js';

const FIRED_TIMEOUT_MS = 30_000;

/** A fault that is in place. */
export class Fault implements AsyncDisposable {
  readonly #control: FaultControl;
  readonly #id: number;
  readonly kind: FaultKind;

  /** @internal */
  constructor(control: FaultControl, id: number, kind: FaultKind) {
    this.#control = control;
    this.#id = id;
    this.kind = kind;
  }

  /** How often it has acted. ENOENT once it is stopped. */
  fired(): Promise<number> {
    return this.#control.fired(this.#id);
  }

  /**
   * As `fired`, with all that it did to one direction of a connection, or to a daemon that it froze, as one: a black hole acts
   * on every piece of data that comes its way. ENOENT once it is stopped.
   */
  activations(): Promise<number> {
    return this.#control.activations(this.#id);
  }

  /**
   * Resolves with the number when it has acted that often. ETIMEDOUT: not within `timeoutMs` (30 s); ECANCELED: it was
   * stopped before.
   */
  untilFired(count = 1, { timeoutMs = FIRED_TIMEOUT_MS } = {}): Promise<number> {
    return this.#control.untilFired(this.#id, count, timeoutMs);
  }

  /** Undoes it; resolves when things are as they were. Safe to call twice. */
  stop(): Promise<void> {
    return this.#control.stop(this.#id);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/**
 * All faults of one cluster. They reject with ENOENT for a pool or a client that does not exist, RangeError and TypeError
 * for options that make no sense.
 */
export class Faults {
  readonly #control: FaultControl;

  /** @internal */
  constructor(control: FaultControl) {
    this.#control = control;
  }

  // ---- watches and notifies ----

  /**
   * The OSD forgets a watch, and the client is not told: it finds out with its next ping (ENOTCONN). In life: the OSD did
   * not hear of the client for longer than the watch timeout (30 s) while the client thought all was well: a stalled
   * network, a suspended machine, an overloaded OSD. ENOENT when nobody (or not the client) watches the object.
   */
  dropWatch(options: DropWatchOptions): Promise<Fault> {
    return this.#arm('dropWatch', options);
  }

  /** A message of a notify never arrives. In life: its connection broke at that moment, or its receiver died. */
  dropNotify(options: NotifyOptions = {}): Promise<Fault> {
    return this.#arm('dropNotify', options);
  }

  /** A message of a notify arrives late. In life: a busy OSD or watcher, a slow network. */
  delayNotify(options: DelayNotifyOptions = {}): Promise<Fault> {
    return this.#arm('delayNotify', options);
  }

  /** A message of a notify arrives twice. In life: the connection broke after the first and before its ack. */
  duplicateNotify(options: NotifyOptions = {}): Promise<Fault> {
    return this.#arm('duplicateNotify', options);
  }

  // ---- operations ----

  /** Operations are answered with an error and not carried out. In life: a bad disk (EIO), a full one (ENOSPC). */
  failOps(options: FailOpsOptions): Promise<Fault> {
    return this.#arm('failOps', options);
  }

  /**
   * Operations are carried out, and their answers come late. In life: a slow disk or network ("slow ops"). With
   * `ops: 'watch'` the answer to a registration: the OSD knows the watch, the client does not know that it does.
   */
  delayReplies(options: DelayRepliesOptions = {}): Promise<Fault> {
    return this.#arm('delayReplies', options);
  }

  /** Operations are carried out, and their answers are lost. In life: the OSD or its connection died in between. */
  dropReplies(options: OpOptions = {}): Promise<Fault> {
    return this.#arm('dropReplies', options);
  }

  /**
   * Something happens as a request comes to a point of its way through an OSD, by name: `osd.1.op.O1.process.entered`,
   * `osd.*.op.*.reply`. In life: any of it, at the worst moment. The names of phases and events are in docs/fault-injection.md.
   */
  opPoint(options: OpPointOptions): Promise<Fault> {
    return this.#arm('opPoint', options);
  }

  /**
   * Something happens as an OSD's store is about to acknowledge a change as durable, at a primary or a replica:
   * `osd.1.store.commit`, `osd.*.store.commit`. In life: a slow or dying disk (`delay`); power that fails between the disk and
   * whoever waits for it (`kill`).
   */
  storePoint(options: StorePointOptions): Promise<Fault> {
    return this.#arm('storePoint', options);
  }

  // ---- connections ----

  /**
   * Connections break. In life: a daemon crashed, a firewall or load balancer lost its state, a cable was pulled for a
   * moment. With `everyMs` again and again: a flapping network.
   */
  resetConnections(options: ResetOptions = {}): Promise<Fault> {
    return this.#arm('resetConnections', options);
  }

  /**
   * Connections break, and new ones break as soon as they are made (those of a certain client: as soon as it has
   * authenticated). In life: a daemon that does not come up, a firewall that rejects.
   */
  refuseConnections(options: RefuseOptions = {}): Promise<Fault> {
    return this.#arm('refuseConnections', options);
  }

  /**
   * Connections stay and nothing comes through; what was sent arrives when the fault is over, as TCP sends it again. In
   * life: a switch that died, a firewall that drops. Counts pieces of data held back.
   */
  blackHole(options: ShapeOptions = {}): Promise<Fault> {
    return this.#arm('blackHole', options);
  }

  /** Everything takes longer. In life: distance, congestion, bufferbloat. Counts pieces of data. */
  delayConnections(options: DelayConnectionsOptions): Promise<Fault> {
    return this.#arm('delayConnections', options);
  }

  /** Each connection carries so much and no more. In life: a link at its limit. Counts pieces of data. */
  throttleConnections(options: ThrottleOptions): Promise<Fault> {
    return this.#arm('throttleConnections', options);
  }

  /** A connection breaks after so many bytes, in the middle of a message. In life: any crash, seen from the wire. */
  breakAfterBytes(options: BreakAfterOptions): Promise<Fault> {
    return this.#arm('breakAfterBytes', options);
  }

  // ---- OSDs and PGs ----

  /** An OSD dies (SIGKILL, power). Its data are kept; `stop` starts it again. */
  killOsd(osd: number): Promise<Fault> {
    return this.#arm('killOsd', { osd });
  }

  /** An OSD is stopped as `systemctl stop` does: it has the map say that it is down, then goes. `stop` starts it again. */
  stopOsd(osd: number): Promise<Fault> {
    return this.#arm('stopOsd', { osd });
  }

  /** An OSD dies and comes back at once, at another port: an upgrade, a crash under systemd. */
  restartOsd(osd: number): Promise<Fault> {
    return this.#arm('restartOsd', { osd });
  }

  /**
   * An OSD stands still: it reads nothing, sends nothing, and its timers wait, for `ms` or until `stop`; after `graceMs` its
   * peers report it. In life: a dying disk, a machine that swaps, SIGSTOP, a paused VM. Counts what had to wait.
   */
  freezeOsd(options: FreezeOsdOptions): Promise<Fault> {
    return this.#arm('freezeOsd', options);
  }

  /**
   * OSDs and others do not hear of each other, and clients and the monitor hear of all: what one asks the other waits until
   * `stop`, and after 20 s without a heartbeat (`osd_heartbeat_grace`) each is reported by the others. In life: a switch of
   * the cluster network that died, a wrong VLAN or MTU there. What was asked before is answered. Counts what had to wait.
   */
  partOsds(options: PartOsdsOptions): Promise<Fault> {
    return this.#arm('partOsds', options);
  }

  /** A PG gets another primary. In life: backfill, the balancer, an administrator. `stop` moves it back. */
  movePg(options: MovePgOptions): Promise<Fault> {
    return this.#arm('movePg', options);
  }

  /**
   * One OSD's copy of an object is not what it was, and the OSD does not know: a scrub finds it, a repair mends it. In life:
   * bit rot, a write that the disk lost, a file system's repair. `stop` undoes nothing.
   */
  corruptObject(options: CorruptObjectOptions): Promise<Fault> {
    return this.#arm('corruptObject', options);
  }

  // ---- the map and the monitor ----

  /**
   * A client is fenced: its operations fail with EBLOCKLISTED, its watches are gone. In life: another client broke its
   * exclusive lock, or an administrator did it. `stop` takes it off the list.
   */
  blocklist(options: BlocklistOptions): Promise<Fault> {
    return this.#arm('blocklist', options);
  }

  /** Flags of the map, as `ceph osd set` sets them: `pauserd` and `pausewr` stop reads and writes everywhere. */
  setFlags(...flags: MapFlag[]): Promise<Fault> {
    return this.#arm('setFlags', { flags });
  }

  /** A pool, or every pool, is full: writes that need space wait (or fail with ENOSPC where the client asks for that). */
  full(options: FullOptions = {}): Promise<Fault> {
    return this.#arm('full', options);
  }

  /** Many new maps in which nothing changes: more than 500 and a client that was away must start from a full one. */
  churnMap(epochs: number): Promise<Fault> {
    return this.#arm('churnMap', { epochs });
  }

  /**
   * The monitor cannot be reached, as when it lost its quorum: no maps, no commands, no new logins. Reads and writes go
   * on. Counts pieces of data held back, or connections refused.
   */
  monUnavailable(options: MonUnavailableOptions = {}): Promise<Fault> {
    return this.#arm('monUnavailable', options);
  }

  /**
   * Tickets that clients have are good no more: connections stand, and the next ones need new tickets. In life: a client that
   * was away for hours, keys that rotated meanwhile. EOPNOTSUPP: the cluster has no tickets (`auth: 'none'`).
   */
  retireTickets(): Promise<Fault> {
    return this.#arm('retireTickets', {});
  }

  // ---- time ----

  /**
   * The cluster's clock stands still, for `ms` or until `stop`: no timeout of the cluster runs. In life: a VM whose host
   * paused it, seen from within.
   */
  freezeClock(options: { ms?: number } = {}): Promise<Fault> {
    return this.#arm('freezeClock', options);
  }

  /**
   * The cluster's clock jumps. In life: the wall clock by NTP or an administrator, `both` when a machine wakes up. Timers
   * that were due meanwhile fire: by `{ ms: 31_000, clock: 'monotonic' }` every silent watch is removed at once. `stop` sets
   * the wall clock back; the monotonic one never goes back.
   */
  jumpClock(options: JumpClockOptions): Promise<Fault> {
    return this.#arm('jumpClock', options);
  }

  // ---- all of them ----

  /** Undoes every fault, the newest first. */
  clear(): Promise<void> {
    return this.#control.clear();
  }

  /** How often each kind has acted since the cluster started. */
  counters(): Promise<FaultCounters> {
    return this.#control.counters();
  }

  /** Those that are in place. */
  active(): Promise<FaultStatus[]> {
    return this.#control.active();
  }

  // ---- whom to hit ----

  /** Who watches what, as the OSDs have it. */
  watches(where: { pool?: string | number; object?: string } = {}): Promise<WatchStatus[]> {
    return this.#control.watches(where);
  }

  /** Clients that are connected, once for each connection. */
  clients(): Promise<ClientStatus[]> {
    return this.#control.clients();
  }

  async #arm<K extends FaultKind>(kind: K, options: FaultOptions[K]): Promise<Fault> {
    const id = await this.#control.arm({ kind, options } as FaultSpec);
    return new Fault(this.#control, id, kind);
  }
}
