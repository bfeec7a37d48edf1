/**
 * Where faults take hold: the environment that each daemon of a cluster runs in, and what its OSDs ask.
 *
 *     the caller's environment  ->  the cluster's clock  ->  an OSD's gate      (time)
 *                               ->  the daemon's network                        (connections)
 *
 * Made before the daemons. The faults' own delays run by the caller's clock, which no fault touches.
 */

import type { Environment } from '../../base/environment.js';
import { ClockFaults } from './clock-faults.js';
import { DaemonGate } from './daemon-gate.js';
import { NetworkFaults } from './network-faults.js';
import { OsdFaultRules } from './osd-faults.js';
import { PeerFaults } from './peer-faults.js';

/** There is one monitor. */
export const MON_NAME = 'mon.a';

export const osdName = (id: number) => `osd.${id}`;

export class FaultMachinery {
  readonly env: Environment;
  readonly clock: ClockFaults;
  readonly network: NetworkFaults;
  readonly osds: OsdFaultRules;
  readonly peers = new PeerFaults();
  /** However many of them run. */
  readonly osdIds: readonly number[];
  readonly #gates: readonly DaemonGate[];

  constructor(env: Environment, osds: number) {
    this.env = env;
    this.clock = new ClockFaults(env);
    this.network = new NetworkFaults(env);
    this.osds = new OsdFaultRules(env);
    this.osdIds = Array.from({ length: osds }, (_, id) => id);
    this.#gates = this.osdIds.map(() => new DaemonGate());
  }

  /** Outlives the OSD: one that is restarted while its machine stands still stands still. */
  gate(osd: number): DaemonGate {
    return this.#gates[osd] as DaemonGate;
  }

  monEnvironment(): Environment {
    const { clock, timers } = this.clock;
    return { ...this.env, clock, timers, network: this.network.of(MON_NAME) };
  }

  osdEnvironment(id: number): Environment {
    const { clock, timers } = this.clock;
    const network = this.network.of(osdName(id));
    return { ...this.env, clock, timers: this.gate(id).timers(timers), network };
  }
}
