/** The faults of a cluster, in its thread: arms them, counts them, and undoes them. */

import { ERRNO, isRadosError, RadosError } from '../../base/errors.js';
import { type EntityAddr, formatEntityName } from '../../encoding/entity.js';
import { ArmedFault } from './armed-fault.js';
import { addrOf, type ClientIdentity, formatClientAddr, matchClient } from './client-match.js';
import { type FaultMachinery, MON_NAME, osdName } from './fault-machinery.js';
import {
  type ClientStatus,
  type ConnectionMatch,
  FAULT_KINDS,
  OP_POINT_ACTIONS,
  STORE_POINT_ACTIONS,
  type FaultControl,
  type FaultCounters,
  type FaultKind,
  type FaultOptions,
  type FaultSpec,
  type FaultStatus,
  type NotifyOptions,
  type ObjectMatch,
  type OpOptions,
  type ShapeOptions,
  type WatchStatus,
} from './fault-spec.js';
import type { FaultTargets } from './fault-targets.js';
import type { Shaper } from './lane.js';
import { blocklist, churnMap, fillPools, movePg, poolId, setFlags } from './map-faults.js';
import { corruptObject } from './object-faults.js';
import type { ConnectionFilter, ConnectionRule } from './network-faults.js';
import { parseOpPoint } from './op-points.js';
import { isObject, isRequest, type ObjectFilter, type OpFilter } from './osd-faults.js';
import { parseStorePoint } from './store-points.js';
import { dropWatches, listWatches } from './watch-faults.js';

type Undo = () => void | Promise<void>;
/** Arms a fault; what it returns undoes it. */
type Arm<K extends FaultKind> = (
  fault: ArmedFault,
  options: FaultOptions[K],
) => Undo | Promise<Undo>;

/** Armed at a time, stopped ones not counted. */
const MAX_FAULTS = 1000;
const MAX_EPOCHS = 10_000;
const NOTHING: Undo = () => {};

export class FaultHost implements FaultControl {
  readonly #targets: FaultTargets;
  readonly #machinery: FaultMachinery;
  readonly #faults = new Map<number, { fault: ArmedFault; undo: Undo }>();
  readonly #counters: FaultCounters;
  #lastId = 0;
  #closed = false;

  constructor(targets: FaultTargets) {
    this.#targets = targets;
    this.#machinery = targets.machinery;
    this.#counters = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounters;
  }

  // ---- FaultControl ----

  async arm(spec: FaultSpec): Promise<number> {
    const { kind, options } = spec;
    if (!Object.hasOwn(this.#arms, kind)) throw new TypeError(`no fault is called '${kind}'`);
    if (this.#closed) throw new RadosError('ESTALE', 'the cluster has stopped');
    if (this.#faults.size >= MAX_FAULTS) {
      throw new RadosError('EBUSY', `${MAX_FAULTS} faults are armed: stop some`);
    }
    const fault = new ArmedFault(++this.#lastId, kind, limitOf(spec), (count) => {
      this.#counters[kind] += count;
    });
    const arm = this.#arms[kind] as Arm<FaultKind>;
    const undo = await arm(fault, options);
    this.#faults.set(fault.id, { fault, undo });
    this.#machinery.env.log.osd.debug({ fault: fault.id, kind }, 'fault armed');
    return fault.id;
  }

  async fired(id: number): Promise<number> {
    return this.#fault(id).fired;
  }

  async untilFired(id: number, count: number, timeoutMs: number): Promise<number> {
    return this.#fault(id).untilFired(this.#machinery.env, count, timeoutMs);
  }

  async stop(id: number): Promise<void> {
    const armed = this.#faults.get(id);
    if (!armed) return;
    this.#faults.delete(id);
    armed.fault.stop();
    await armed.undo();
  }

  /** The newest first, as they lie over one another. */
  async clear(): Promise<void> {
    const stopped = [];
    for (const id of [...this.#faults.keys()].reverse()) {
      stopped.push(...(await Promise.allSettled([this.stop(id)])));
    }
    const failed = stopped.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async counters(): Promise<FaultCounters> {
    return { ...this.#counters };
  }

  async active(): Promise<FaultStatus[]> {
    return [...this.#faults.values()].map(({ fault: { id, kind, fired, over } }) => ({
      id,
      kind,
      fired,
      over,
    }));
  }

  async watches(where: { pool?: string | number; object?: string }): Promise<WatchStatus[]> {
    return listWatches(this.#targets, where);
  }

  async clients(): Promise<ClientStatus[]> {
    return this.#machinery.network.clients().map(({ daemon, client: { name, addr } }) => ({
      client: formatEntityName(name),
      addr: formatClientAddr(addr),
      daemon,
    }));
  }

  /** The cluster ends: nothing is undone any more, and nothing is left to happen. */
  close(): void {
    this.#closed = true;
    for (const { fault } of this.#faults.values()) fault.stop();
    this.#faults.clear();
    this.#machinery.osds.close();
    this.#machinery.peers.close();
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #fault(id: number): ArmedFault {
    const armed = this.#faults.get(id);
    if (!armed) throw new RadosError('ENOENT', `fault ${id} was stopped`);
    return armed.fault;
  }

  // ---- the kinds ----

  readonly #arms: { [K in FaultKind]: Arm<K> } = {
    dropWatch: async (fault, options) => {
      fault.fire(await dropWatches(this.#targets, options, () => this.#closed));
      return NOTHING;
    },
    dropNotify: (fault, options) =>
      this.#machinery.osds.notifies(fault, this.#notifyFilter(options), { what: 'drop' }),
    delayNotify: (fault, { ms, ...options }) =>
      this.#machinery.osds.notifies(fault, this.#notifyFilter(options), {
        what: 'hold',
        ms: milliseconds(ms),
      }),
    duplicateNotify: (fault, options) =>
      this.#machinery.osds.notifies(fault, this.#notifyFilter(options), { what: 'duplicate' }),
    failOps: (fault, { errno, ...options }) => {
      if (!Object.hasOwn(ERRNO, errno)) throw new TypeError(`there is no errno '${errno}'`);
      return this.#machinery.osds.fail(fault, this.#opFilter(options), errno);
    },
    delayReplies: (fault, { ms, ...options }) =>
      this.#machinery.osds.replies(fault, this.#opFilter(options), {
        what: 'hold',
        ms: milliseconds(ms),
      }),
    dropReplies: (fault, options) =>
      this.#machinery.osds.replies(fault, this.#opFilter(options), { what: 'drop' }),

    opPoint: (fault, options) => this.#opPoint(fault, options),
    storePoint: (fault, options) => this.#storePoint(fault, options),

    resetConnections: (fault, { connections = 'open', everyMs, ...match }) => {
      const rule: ConnectionRule = {
        filter: this.#connectionFilter(match),
        open: connections === 'open',
        later: connections === 'next',
        act: { what: 'reset', fire: () => fault.fire() },
      };
      const disarm = this.#machinery.network.arm(rule);
      if (connections === 'next' || everyMs === undefined) return disarm;
      const again = this.#every(milliseconds(everyMs) ?? 0, () =>
        this.#machinery.network.applyToOpen(rule),
      );
      return () => {
        again();
        disarm();
      };
    },
    refuseConnections: (fault, match) =>
      this.#machinery.network.arm({
        filter: this.#connectionFilter(match),
        open: true,
        later: true,
        act: { what: 'reset', fire: () => fault.fire() },
      }),
    blackHole: (fault, options) => this.#shape(fault, options, { hold: true }),
    delayConnections: (fault, { ms, jitterMs, ...options }) =>
      this.#shape(fault, options, {
        delayMs: milliseconds(ms) ?? 0,
        jitterMs: milliseconds(jitterMs) ?? 0,
      }),
    throttleConnections: (fault, { bytesPerSecond, ...options }) => {
      if (!(bytesPerSecond > 0)) throw new RangeError('bytesPerSecond must be more than 0');
      return this.#shape(fault, options, { bytesPerSecond });
    },
    breakAfterBytes: (fault, { bytes, ...options }) => {
      if (!Number.isSafeInteger(bytes) || bytes < 0)
        throw new RangeError('bytes must be 0 or more');
      return this.#shape(fault, options, { breakAfter: bytes });
    },

    killOsd: (fault, { osd }) => {
      this.#targets.killOsd(osd);
      fault.fire();
      return () => this.#startOsd(osd);
    },
    stopOsd: async (fault, { osd }) => {
      await this.#targets.stopOsd(osd);
      fault.fire();
      return () => this.#startOsd(osd);
    },
    restartOsd: async (fault, { osd }) => {
      this.#targets.killOsd(osd);
      fault.fire();
      await this.#startOsd(osd);
      return NOTHING;
    },
    freezeOsd: (fault, { osd, ms, graceMs }) =>
      this.#freezeOsd(fault, { osd, ms: milliseconds(ms), graceMs }),
    partOsds: (fault, options) => this.#partOsds(fault, options),
    movePg: (fault, options) => counted(fault, movePg(this.#targets.state, options)),
    corruptObject: async (fault, options) => {
      await corruptObject(this.#targets, options);
      fault.fire();
      return NOTHING;
    },
    blocklist: (fault, { client, expireS }) => {
      const addr = addrOf(client) ?? this.#addrOfClient(client);
      return counted(fault, blocklist(this.#targets.state, addr, expireS));
    },
    setFlags: (fault, { flags }) => counted(fault, setFlags(this.#targets.state, flags)),
    full: (fault, { pool }) => counted(fault, fillPools(this.#targets.state, pool)),
    churnMap: (fault, { epochs }) => {
      if (!Number.isInteger(epochs) || epochs < 1 || epochs > MAX_EPOCHS) {
        throw new RangeError(`epochs must be 1 to ${MAX_EPOCHS}`);
      }
      churnMap(this.#targets.state, epochs);
      fault.fire(epochs);
      return NOTHING;
    },
    monUnavailable: (fault, { how = 'silent' }) => {
      const all = { filter: { daemon: MON_NAME, client: undefined }, open: true, later: true };
      const fire = () => fault.fire();
      const held = { hold: true, fire };
      return this.#machinery.network.arm({
        ...all,
        act:
          how === 'refuse'
            ? { what: 'reset', fire }
            : { what: 'shape', toCluster: held, toClient: held },
      });
    },
    retireTickets: (fault) => {
      if (!this.#targets.retireTickets()) {
        throw new RadosError('EOPNOTSUPP', 'the cluster has no tickets');
      }
      fault.fire();
      return NOTHING;
    },
    freezeClock: (fault, { ms }) => {
      const release = this.#machinery.clock.freeze();
      fault.fire();
      return this.#endAfter(milliseconds(ms), release);
    },
    jumpClock: (fault, { ms, clock = 'both' }) => {
      if (!Number.isFinite(ms)) throw new RangeError('ms must be a number');
      if (ms < 0 && clock !== 'wall') {
        throw new RangeError('only the wall clock goes back: a monotonic one never does');
      }
      if (clock !== 'monotonic') this.#machinery.clock.jumpWall(ms);
      if (clock !== 'wall') this.#machinery.clock.jumpMonotonic(ms);
      fault.fire();
      return clock === 'monotonic' ? NOTHING : () => this.#machinery.clock.jumpWall(-ms);
    },
  };

  // ---- watches ----

  #objectFilter(match: ObjectMatch): ObjectFilter {
    const { pool, namespace, object, prefix, client } = match;
    return {
      pool: pool === undefined ? undefined : poolId(this.#targets.state, pool),
      namespace,
      object,
      prefix,
      client: client === undefined ? undefined : matchClient(client),
    };
  }

  #notifyFilter({ message = 'notification', ...match }: NotifyOptions) {
    return { ...this.#objectFilter(match), message };
  }

  #opFilter({ ops, ...match }: OpOptions): OpFilter {
    const kinds = typeof ops === 'string' ? [ops] : ops;
    return { ...this.#objectFilter(match), ops: kinds };
  }

  #opPoint(
    fault: ArmedFault,
    { point: text, action, ms, ...match }: FaultOptions['opPoint'],
  ): Undo {
    const point = parseOpPoint(text);
    if (point.osd !== undefined) this.#targets.checkOsd(point.osd);
    if (!OP_POINT_ACTIONS.includes(action)) throw new TypeError(`no action is called '${action}'`);
    const filter = this.#opFilter(match);
    const undo: Undo[] = [];
    const disarm = this.#machinery.osds.points.arm({
      ...{ point, fault, action, ms: milliseconds(ms) },
      matches: ({ client, opClass }) => isRequest(filter, client, opClass),
      act: (osd, { client }) => {
        if (action === 'kill') {
          if (!this.#targets.osd(osd)) return;
          this.#targets.killOsd(osd);
          undo.push(() => this.#startOsd(osd));
        } else if (action === 'reset') {
          client.session.close();
        } else {
          const { pool, seed } = client.request.pg;
          try {
            undo.push(movePg(this.#targets.state, { pool, pg: seed }));
          } catch (error) {
            // The only OSD that is up keeps it.
            if (!isRadosError(error, 'EINVAL')) throw error;
          }
        }
      },
    });
    return async () => {
      disarm();
      for (const each of undo.splice(0).reverse()) await each();
    };
  }

  #storePoint(
    fault: ArmedFault,
    { point, action, ms, ...match }: FaultOptions['storePoint'],
  ): Undo {
    const osd = parseStorePoint(point);
    if (osd !== undefined) this.#targets.checkOsd(osd);
    if (!STORE_POINT_ACTIONS.includes(action)) {
      throw new TypeError(`no action is called '${action}'`);
    }
    const filter = this.#objectFilter(match);
    const killed: number[] = [];
    const disarm = this.#machinery.osds.stores.arm({
      ...{ osd, fault, action, ms: milliseconds(ms) },
      matches: (object) => isObject(filter, object),
      kill: (victim) => {
        if (!this.#targets.osd(victim)) return;
        this.#targets.killOsd(victim);
        killed.push(victim);
      },
    });
    return async () => {
      disarm();
      for (const victim of killed.splice(0)) await this.#startOsd(victim);
    };
  }

  // ---- connections ----

  #connectionFilter({ client, osd, mon }: ConnectionMatch): ConnectionFilter {
    if (osd !== undefined) this.#targets.checkOsd(osd);
    if (osd !== undefined && mon) throw new TypeError('osd and mon exclude one another');
    return {
      daemon: osd !== undefined ? osdName(osd) : mon ? MON_NAME : undefined,
      client: client === undefined ? undefined : matchClient(client),
    };
  }

  #shape(
    fault: ArmedFault,
    { connections = 'all', direction = 'both', ...match }: ShapeOptions,
    shape: Omit<Shaper, 'fire'>,
  ): Undo {
    const shaper: Shaper = { ...shape, fire: () => fault.fire() };
    return this.#machinery.network.arm({
      filter: this.#connectionFilter(match),
      open: connections !== 'next',
      later: connections !== 'open',
      act: {
        what: 'shape',
        toCluster: direction === 'toClient' ? undefined : shaper,
        toClient: direction === 'toCluster' ? undefined : shaper,
      },
    });
  }

  #addrOfClient(client: FaultOptions['blocklist']['client']): EntityAddr {
    const isMeant = matchClient(client);
    const isClient = (identity: ClientIdentity) => identity.addr.nonce !== 0 && isMeant(identity);
    const found = this.#machinery.network.clients().find((open) => isClient(open.client));
    if (!found) {
      throw new RadosError('ENOENT', `client ${String(client)} is not connected`, {
        op: 'blocklist',
      });
    }
    return { ...found.client.addr, port: 0 };
  }

  // ---- OSDs ----

  async #startOsd(osd: number): Promise<void> {
    try {
      await this.#targets.startOsd(osd);
    } catch (error) {
      // Somebody else started it.
      if (!isRadosError(error, 'EEXIST')) throw error;
    }
  }

  #partOsds(fault: ArmedFault, { osds, from }: FaultOptions['partOsds']): Undo {
    for (const osd of [...osds, ...(from ?? [])]) this.#targets.checkOsd(osd);
    const one = new Set(osds);
    const other = new Set(from ?? this.#machinery.osdIds.filter((osd) => !one.has(osd)));
    if (osds.some((osd) => other.has(osd))) throw new TypeError('an OSD hears of itself');
    return this.#machinery.peers.part(fault, one, other);
  }

  #freezeOsd(
    fault: ArmedFault,
    { osd, ms, graceMs }: { osd: number; ms: number | undefined; graceMs: number | undefined },
  ): Undo {
    this.#targets.checkOsd(osd);
    const fire = () => fault.fire();
    const open = this.#machinery.gate(osd).shut(fire, { silent: graceMs !== 0 });
    const held: Shaper = { hold: true, fire };
    const connect = this.#machinery.network.arm({
      filter: { daemon: osdName(osd), client: undefined },
      open: true,
      later: true,
      act: { what: 'shape', toCluster: held, toClient: held },
    });
    const missed = graceMs ? this.#after(graceMs, () => this.#targets.reportFailure(osd)) : NOTHING;
    return this.#endAfter(ms, () => {
      void missed();
      // First what it was about to do, then what came in meanwhile.
      open();
      connect();
    });
  }

  // ---- time, by the clock that no fault touches ----

  readonly #timers = new Set<{ cancel(): void }>();

  #after(ms: number, act: () => void): () => void {
    const timer = this.#machinery.env.timers.after(
      ms,
      () => {
        this.#timers.delete(timer);
        act();
      },
      { background: true },
    );
    this.#timers.add(timer);
    return () => {
      timer.cancel();
      this.#timers.delete(timer);
    };
  }

  #every(ms: number, act: () => void): () => void {
    let cancel = () => {};
    const next = () => {
      cancel = this.#after(Math.max(1, ms), () => {
        act();
        next();
      });
    };
    next();
    return () => cancel();
  }

  /** What ends by itself, or when it is stopped before. */
  #endAfter(ms: number | undefined, end: () => void): Undo {
    if (ms === undefined) return end;
    let ended = false;
    const once = () => {
      if (ended) return;
      ended = true;
      end();
    };
    const cancel = this.#after(ms, once);
    return () => {
      cancel();
      once();
    };
  }
}

function counted(fault: ArmedFault, undo: Undo): Undo {
  fault.fire();
  return undo;
}

function milliseconds(ms: number | undefined): number | undefined {
  if (ms !== undefined && !(ms >= 0 && ms <= 0x7fff_ffff)) {
    throw new RangeError(`${ms} is no number of milliseconds`);
  }
  return ms;
}

/** What is to hit connections to come, or breaks them, does so once where nothing is said. */
function limitOf({ kind, options }: FaultSpec): number {
  const once =
    kind === 'breakAfterBytes' || (kind === 'resetConnections' && options.connections === 'next');
  const { times = once ? 1 : Number.POSITIVE_INFINITY } = options as { times?: number };
  if (times !== Number.POSITIVE_INFINITY && (!Number.isInteger(times) || times < 1)) {
    throw new RangeError('times must be 1 or more');
  }
  return times;
}
