/**
 * Faults at single events of the request pipeline, by name: `osd.1.op.O1.process.entered`.
 *
 *   enter       it is about to take its ticket of the phase; it holds the slot of the one before
 *   entered     the phase has admitted it
 *   leave       it is about to leave the phase
 *   block       something keeps it in the phase
 *   unblock     nothing does any more
 *   submit      it is about to be executed
 *   commit      all members have its change
 *   reply       its answer is about to be sent
 *   drop        there will be no answer
 *   interrupt   its interval ended
 *
 * Requests may be held at such a point, which holds up those behind them; their order is never changed.
 */

import type { Environment, Timer } from '../../base/environment.js';
import { RadosError } from '../../base/errors.js';
import { ClientOp } from '../osd/client-op.js';
import { Blocker } from '../osd/pipeline/blocker.js';
import type { Handle } from '../osd/pipeline/handle.js';
import type { Intercept, PipelineEvent } from '../osd/pipeline/world.js';
import type { ArmedFault } from './armed-fault.js';
import type { OpPointAction } from './fault-spec.js';

const EVENTS: readonly PipelineEvent[] = [
  'enter',
  'entered',
  'leave',
  'block',
  'unblock',
  'submit',
  'commit',
  'reply',
  'drop',
  'interrupt',
];
/** It has happened by then: it cannot be held any more, and what follows from it is under way. */
function isFact(event: PipelineEvent): boolean {
  return event === 'block' || event === 'drop' || event === 'interrupt';
}

/** `*` for any: `osd.*.op.*.reply`. */
export interface OpPoint {
  readonly osd: number | undefined;
  readonly phase: string | undefined;
  readonly event: PipelineEvent;
}

export function parseOpPoint(text: string): OpPoint {
  const [, osd = '', phase = '', event] = /^osd\.(\d+|\*)\.op\.(.+)\.([a-z]+)$/.exec(text) ?? [];
  const known = EVENTS.find((each) => each === event);
  if (!known) {
    throw new TypeError(`'${text}' is no point: osd.0.op.O1.process.entered, say`);
  }
  return {
    osd: osd === '*' ? undefined : Number(osd),
    phase: phase === '*' ? undefined : phase,
    event: known,
  };
}

export interface OpPointRule {
  readonly point: OpPoint;
  readonly fault: ArmedFault;
  readonly matches: (op: ClientOp) => boolean;
  readonly action: OpPointAction;
  /** Of `delay`. */
  readonly ms: number | undefined;
  /** Of the other actions; the request is where it is while it runs. */
  readonly act: (osd: number, op: ClientOp) => void;
}

interface Armed extends OpPointRule {
  /** Those that it holds until it is stopped. */
  readonly held: Blocker;
}

export class OpPoints {
  /** Undefined while there are no such faults. */
  intercept: Intercept | undefined;
  readonly #env: Environment;
  readonly #rules = new Set<Armed>();
  readonly #timers = new Set<Timer>();

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Returns what disarms it. */
  arm(rule: OpPointRule): () => void {
    const { event } = rule.point;
    if (isFact(event) && ['delay', 'drop'].includes(rule.action)) {
      throw new RadosError('EINVAL', `'${event}' has happened: nothing can be put off by then`);
    }
    const armed = { ...rule, held: new Blocker('fault', 'until it is stopped') };
    this.#rules.add(armed);
    this.#update();
    return () => {
      this.#rules.delete(armed);
      this.#update();
      armed.held.lift();
    };
  }

  /** The cluster ends. */
  close(): void {
    this.#rules.clear();
    this.#update();
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #update(): void {
    this.intercept =
      this.#rules.size === 0 ? undefined : (...happening) => this.#intercept(...happening);
  }

  #intercept(handle: Handle, event: PipelineEvent, phase: string): Blocker | undefined {
    if (!(handle instanceof ClientOp)) return undefined;
    const osd = handle.world.osd;
    for (const rule of this.#rules) {
      const { point, fault, matches, action, act } = rule;
      if (point.event !== event) continue;
      if (point.osd !== undefined && point.osd !== osd) continue;
      if (point.phase !== undefined && point.phase !== phase) continue;
      if (!matches(handle) || !fault.fire()) continue;
      if (action === 'delay') return this.#delay(rule);
      if (action === 'drop') handle.drop('a fault');
      else if (isFact(event)) this.#env.timers.nextTurn(() => act(osd, handle));
      else act(osd, handle);
      if (handle.ended) return undefined;
    }
    return undefined;
  }

  #delay({ ms, held }: Armed): Blocker {
    if (ms === undefined) return held;
    const blocker = new Blocker('fault', `for ${ms} ms`);
    const timer = this.#env.timers.after(
      ms,
      () => {
        this.#timers.delete(timer);
        blocker.lift();
      },
      { background: true },
    );
    this.#timers.add(timer);
    return blocker;
  }
}
