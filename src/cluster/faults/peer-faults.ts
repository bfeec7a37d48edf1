/**
 * OSDs that do not hear of each other, while clients and the monitor hear of both: their calls wait, heartbeats too, and
 * arrive in their order when the network is whole again, as OSDs' connections send again what was not acknowledged.
 */

import { RadosError } from '../../base/errors.js';
import type { OsdPeer } from '../osd/osd-peer.js';
import type { ArmedFault } from './armed-fault.js';

interface Waiting {
  go(): void;
  refuse(error: RadosError): void;
}

interface Parting {
  readonly isParted: (one: number, other: number) => boolean;
  readonly fault: ArmedFault;
}

/** Calls that wait on one way: more than an OSD has under way. */
const WAITING_MAX = 100_000;

export class PeerFaults {
  readonly #partings = new Set<Parting>();
  readonly #ways = new Map<string, Way>();

  /** No OSD of `one` hears of one of `other`, nor the other way round. Returns what ends it. */
  part(fault: ArmedFault, one: ReadonlySet<number>, other: ReadonlySet<number>): () => void {
    const isParted = (a: number, b: number) =>
      (one.has(a) && other.has(b)) || (one.has(b) && other.has(a));
    const parting = { isParted, fault };
    this.#partings.add(parting);
    return () => {
      this.#partings.delete(parting);
      for (const [name, way] of [...this.#ways]) {
        if (this.#parting(way.from, way.to)) continue;
        this.#ways.delete(name);
        way.open();
      }
    };
  }

  /** `peer` as OSD `from` reaches it. */
  reach(from: number, to: number, peer: OsdPeer | undefined): OsdPeer | undefined {
    if (!peer || this.#partings.size === 0 || !this.#parting(from, to)) return peer;
    const name = `${from}>${to}`;
    let way = this.#ways.get(name);
    if (!way) {
      const parted = new Way(from, to, () => this.#parting(from, to)?.fault.fire(1, parted));
      way = parted;
      this.#ways.set(name, way);
    }
    return way.peer(peer);
  }

  /** The cluster ends: nothing arrives any more. */
  close(): void {
    this.#partings.clear();
    for (const way of this.#ways.values()) way.close();
    this.#ways.clear();
  }

  #parting(one: number, other: number): Parting | undefined {
    return [...this.#partings].find(({ isParted }) => isParted(one, other));
  }
}

/** From one OSD to another, while nothing passes. */
class Way {
  readonly from: number;
  readonly to: number;
  readonly #onHeld: () => void;
  #waiting: Waiting[] = [];
  /** The same for the same peer: who waits for an answer to its ping knows it by that. */
  readonly #peers = new WeakMap<OsdPeer, OsdPeer>();

  constructor(from: number, to: number, onHeld: () => void) {
    this.from = from;
    this.to = to;
    this.#onHeld = onHeld;
  }

  peer(peer: OsdPeer): OsdPeer {
    let behind = this.#peers.get(peer);
    if (!behind) {
      behind = new Proxy(peer, {
        get: (target, name) => {
          const call = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
          return (...args: unknown[]) => this.#hold(() => call.apply(target, args));
        },
      });
      this.#peers.set(peer, behind);
    }
    return behind;
  }

  open(): void {
    for (const { go } of this.#waiting.splice(0)) go();
  }

  close(): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(this.#gone());
  }

  #hold<T>(call: () => Promise<T>): Promise<T> {
    this.#onHeld();
    if (this.#waiting.length >= WAITING_MAX) return Promise.reject(this.#gone());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ go: () => void call().then(resolve, reject), refuse: reject });
    });
  }

  #gone(): RadosError {
    return new RadosError('EAGAIN', `osd.${this.from} does not reach osd.${this.to}`);
  }
}
