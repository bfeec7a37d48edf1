/**
 * Faults at what an OSD's store does, by name: `osd.1.store.commit`, with `*` for any OSD. At that point a change is made, at
 * a primary or a replica, and about to be acknowledged as durable: a slow disk is late with it, and an OSD that dies there has
 * on its disk what nobody was told of.
 */

import type { Environment } from '../../base/environment.js';
import { RadosError } from '../../base/errors.js';
import type { ObjectId } from '../store/object-id.js';
import type { ArmedFault } from './armed-fault.js';
import type { StorePointAction } from './fault-spec.js';
import { HeldActs } from './held-acts.js';

/** Takes over when a change of these objects counts as durable; `done` resolves when it is. */
export type PassCommit = (
  osd: number,
  objects: readonly ObjectId[],
  done: Promise<void>,
) => Promise<void>;

/** The OSD, undefined for any. `commit` is the only event: what comes before it is a request's (`op-points.ts`). */
export function parseStorePoint(text: string): number | undefined {
  const [, osd] = /^osd\.(\d+|\*)\.store\.commit$/.exec(text) ?? [];
  if (osd === undefined) {
    throw new TypeError(`'${text}' is no point of a store: osd.0.store.commit, say`);
  }
  return osd === '*' ? undefined : Number(osd);
}

export interface StorePointRule {
  readonly osd: number | undefined;
  readonly fault: ArmedFault;
  readonly matches: (object: ObjectId) => boolean;
  readonly action: StorePointAction;
  /** Of `delay`. */
  readonly ms: number | undefined;
  /** Ends the OSD. */
  readonly kill: (osd: number) => void;
}

interface Armed extends StorePointRule {
  readonly held: HeldActs;
}

export class StorePoints {
  /** Undefined while there are no such faults. */
  pass: PassCommit | undefined;
  readonly #env: Environment;
  readonly #rules = new Set<Armed>();

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Returns what disarms it, and lets go what it holds. */
  arm(rule: StorePointRule): () => void {
    const armed = { ...rule, held: new HeldActs(this.#env) };
    this.#rules.add(armed);
    this.#update();
    return () => {
      this.#rules.delete(armed);
      this.#update();
      armed.held.release();
    };
  }

  /** The cluster ends, and its OSDs before it: whoever still waits is of an interval that is over. */
  close(): void {
    for (const { held } of this.#rules) held.release();
    this.#rules.clear();
    this.#update();
  }

  #update(): void {
    this.pass = this.#rules.size === 0 ? undefined : (...commit) => this.#pass(...commit);
  }

  #pass(osd: number, objects: readonly ObjectId[], done: Promise<void>): Promise<void> {
    const rule = [...this.#rules].find(
      ({ osd: meant = osd, matches, fault }) =>
        meant === osd && objects.some(matches) && fault.fire(),
    );
    if (!rule) return done;
    const { action, ms, held, kill } = rule;
    return done.then(() => {
      // It was stopped meanwhile: who died now would not be brought back.
      if (!this.#rules.has(rule)) return undefined;
      if (action === 'delay') return new Promise<void>((resolve) => held.hold(resolve, ms));
      kill(osd);
      throw new RadosError('EAGAIN', `osd.${osd} is gone`);
    });
  }
}
