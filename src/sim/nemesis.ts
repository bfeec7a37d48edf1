/** Brings planned faults about at their times, and undoes them. */

import type { Timer } from '../base/environment.js';
import { begin, type Disturbance, type SimFaultName } from './faults/catalogue.js';
import type { PlannedFault } from './plan.js';
import { Draw, seededRandom } from './random.js';
import type { Simulation } from './simulation.js';

export interface NemesisOptions {
  readonly trace: (line: string) => void;
  /** Hears of each fault that acts; what it returns is called when that is over. */
  readonly onFault?: ((kind: SimFaultName, forMs: number) => () => void) | undefined;
  /** Something went wrong with the fault itself. */
  readonly onError: (kind: SimFaultName, error: unknown) => void;
}

/**
 * They are not over when they have been brought about, and never undone: a client that was fenced and has not heard of it
 * must stay so, as for the hour that who breaks a lock fences for.
 */
const LASTING: ReadonlySet<SimFaultName> = new Set(['lock.blocklisted']);

interface Standing {
  readonly kind: SimFaultName;
  readonly disturbance: Disturbance;
  readonly isOver: (() => void) | undefined;
  timer: Timer | undefined;
  ending: Promise<void> | undefined;
}

export class Nemesis {
  readonly #simulation: Simulation;
  readonly #options: NemesisOptions;
  readonly #standing = new Set<Standing>();
  readonly #planned = new Set<Timer>();
  readonly #beginning = new Set<Promise<void>>();
  readonly #fired: Partial<Record<SimFaultName, number>> = {};
  #over = false;

  constructor(simulation: Simulation, options: NemesisOptions) {
    this.#simulation = simulation;
    this.#options = options;
  }

  /** How often faults of each kind have acted, as far as they are over. */
  get fired(): Readonly<Partial<Record<SimFaultName, number>>> {
    return this.#fired;
  }

  /** From now on. */
  start(faults: readonly PlannedFault[]): void {
    const { world } = this.#simulation;
    for (const fault of faults) {
      const timer = world.after(fault.at, () => {
        this.#planned.delete(timer);
        this.#track(fault.kind, this.#disturb(fault));
      });
      this.#planned.add(timer);
    }
  }

  /** Undoes everything that can be undone, and brings nothing about any more. */
  async stop(): Promise<void> {
    this.#over = true;
    for (const timer of this.#planned) timer.cancel();
    this.#planned.clear();
    await Promise.all(this.#beginning);
    await Promise.all([...this.#standing].map((each) => this.#end(each)));
  }

  async #disturb({ kind, forMs, seed }: PlannedFault): Promise<void> {
    const draw = new Draw(seededRandom(seed));
    const disturbance = await begin(kind, { simulation: this.#simulation, draw });
    if (!disturbance) return;
    this.#options.trace(`fault ${kind}${forMs > 0 ? ` for ${forMs} ms` : ''}`);
    const isOver = this.#options.onFault?.(kind, forMs);
    const standing: Standing = {
      ...{ kind, disturbance, isOver, timer: undefined, ending: undefined },
    };
    this.#standing.add(standing);
    if (this.#over || (forMs === 0 && !LASTING.has(kind))) await this.#end(standing);
    else if (forMs > 0) {
      standing.timer = this.#simulation.world.after(forMs, () =>
        this.#track(kind, this.#end(standing)),
      );
    }
  }

  #end(standing: Standing): Promise<void> {
    standing.timer?.cancel();
    standing.ending ??= this.#undo(standing);
    return standing.ending;
  }

  async #undo(standing: Standing): Promise<void> {
    const { kind, disturbance } = standing;
    this.#fired[kind] = (this.#fired[kind] ?? 0) + (await disturbance.fired());
    if (!LASTING.has(kind)) await disturbance.stop();
    this.#standing.delete(standing);
    standing.isOver?.();
    this.#options.trace(`fault ${kind} is over`);
  }

  #track(kind: SimFaultName, work: Promise<void>): void {
    const settled = work
      .catch((error: unknown) => this.#options.onError(kind, error))
      .finally(() => this.#beginning.delete(settled));
    this.#beginning.add(settled);
  }
}
