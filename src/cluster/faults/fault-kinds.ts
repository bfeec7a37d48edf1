/** What each kind of fault does to a cluster. */

import { ERRNO, isRadosError, RadosError } from '../../base/errors.js';
import type { EntityAddr } from '../../encoding/entity.js';
import type { ArmedFault } from './armed-fault.js';
import { addrOf, type ClientIdentity, matchClient } from './client-match.js';
import { type FaultMachinery, MON_NAME, osdName } from './fault-machinery.js';
import {
  type ConnectionMatch,
  type FaultKind,
  type FaultOptions,
  type NotifyOptions,
  type ObjectMatch,
  OP_POINT_ACTIONS,
  type OpOptions,
  type ShapeOptions,
  STORE_POINT_ACTIONS,
} from './fault-spec.js';
import type { FaultTargets } from './fault-targets.js';
import { FaultTimers } from './fault-timers.js';
import type { Lane, Shaper } from './lane.js';
import { blocklist, churnMap, fillPools, movePg, poolId, setFlags } from './map-faults.js';
import type { ConnectionFilter, ConnectionRule } from './network-faults.js';
import { corruptObject } from './object-faults.js';
import { parseOpPoint } from './op-points.js';
import { isObject, isRequest, type ObjectFilter, type OpFilter } from './osd-faults.js';
import { parseStorePoint } from './store-points.js';
import { dropWatches } from './watch-faults.js';

export type Undo = () => void | Promise<void>;
/** Arms a fault; what it returns undoes it. */
export type Arm<K extends FaultKind> = (
  fault: ArmedFault,
  options: FaultOptions[K],
) => Undo | Promise<Undo>;

const MAX_EPOCHS = 10_000;
const NOTHING: Undo = () => {};

export class FaultKinds {
  readonly #targets: FaultTargets;
  readonly #machinery: FaultMachinery;
  readonly #timers: FaultTimers;
  #closed = false;

  constructor(targets: FaultTargets) {
    this.#targets = targets;
    this.#machinery = targets.machinery;
    this.#timers = new FaultTimers(targets.machinery.env);
  }

  /** The cluster ends: nothing is left to happen. */
  close(): void {
    this.#closed = true;
    this.#machinery.osds.close();
    this.#machinery.peers.close();
    this.#timers.close();
  }

  readonly arms: { [K in FaultKind]: Arm<K> } = {
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
      const again = this.#timers.every(milliseconds(everyMs) ?? 0, () =>
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
      const held = { hold: true, fire: (lane: Lane) => fault.fire(1, lane) };
      return this.#machinery.network.arm({
        ...all,
        act:
          how === 'refuse'
            ? { what: 'reset', fire: () => fault.fire() }
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
      return this.#timers.endAfter(milliseconds(ms), release);
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
    const { breakAfter } = shape;
    const shaper: Shaper = {
      ...shape,
      fire: (lane) => fault.fire(1, breakAfter === undefined ? lane : undefined),
    };
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
    const gate = this.#machinery.gate(osd);
    const open = gate.shut(() => fault.fire(1, gate), { silent: graceMs !== 0 });
    const held: Shaper = { hold: true, fire: (lane) => fault.fire(1, lane) };
    const connect = this.#machinery.network.arm({
      filter: { daemon: osdName(osd), client: undefined },
      open: true,
      later: true,
      act: { what: 'shape', toCluster: held, toClient: held },
    });
    const missed = graceMs
      ? this.#timers.after(graceMs, () => this.#targets.reportFailure(osd))
      : NOTHING;
    return this.#timers.endAfter(ms, () => {
      void missed();
      // First what it was about to do, then what came in meanwhile.
      open();
      connect();
    });
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
