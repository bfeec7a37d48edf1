/** The faults of a cluster, in its thread: arms them, counts them, and undoes them. */

import { RadosError } from '../../base/errors.js';
import { formatEntityName } from '../../encoding/entity.js';
import { ArmedFault } from './armed-fault.js';
import { formatClientAddr } from './client-match.js';
import { type Arm, FaultKinds, type Undo } from './fault-kinds.js';
import type { FaultMachinery } from './fault-machinery.js';
import {
  type ClientStatus,
  FAULT_KINDS,
  type FaultControl,
  type FaultCounters,
  type FaultKind,
  type FaultSpec,
  type FaultStatus,
  type WatchStatus,
} from './fault-spec.js';
import type { FaultTargets } from './fault-targets.js';
import { listWatches } from './watch-faults.js';

/** Armed at a time, stopped ones not counted. */
const MAX_FAULTS = 1000;

export class FaultHost implements FaultControl {
  readonly #targets: FaultTargets;
  readonly #machinery: FaultMachinery;
  readonly #kinds: FaultKinds;
  readonly #faults = new Map<number, { fault: ArmedFault; undo: Undo }>();
  readonly #counters: FaultCounters;
  #lastId = 0;
  #closed = false;

  constructor(targets: FaultTargets) {
    this.#targets = targets;
    this.#machinery = targets.machinery;
    this.#kinds = new FaultKinds(targets);
    this.#counters = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounters;
  }

  // ---- FaultControl ----

  async arm(spec: FaultSpec): Promise<number> {
    const { kind, options } = spec;
    const { arms } = this.#kinds;
    if (!Object.hasOwn(arms, kind)) throw new TypeError(`no fault is called '${kind}'`);
    if (this.#closed) throw new RadosError('ESTALE', 'the cluster has stopped');
    if (this.#faults.size >= MAX_FAULTS) {
      throw new RadosError('EBUSY', `${MAX_FAULTS} faults are armed: stop some`);
    }
    const fault = new ArmedFault(++this.#lastId, kind, limitOf(spec), (count) => {
      this.#counters[kind] += count;
    });
    const arm = arms[kind] as Arm<FaultKind>;
    const undo = await arm(fault, options);
    this.#faults.set(fault.id, { fault, undo });
    this.#machinery.env.log.osd.debug({ fault: fault.id, kind }, 'fault armed');
    return fault.id;
  }

  async fired(id: number): Promise<number> {
    return this.#fault(id).fired;
  }

  async activations(id: number): Promise<number> {
    return this.#fault(id).activations;
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
    this.#kinds.close();
  }

  #fault(id: number): ArmedFault {
    const armed = this.#faults.get(id);
    if (!armed) throw new RadosError('ENOENT', `fault ${id} was stopped`);
    return armed.fault;
  }
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
