/** The maps that an OSD follows: the newest, those of the past that PGs look up, and who waits for one to come. */

import { RadosError } from '../../base/errors.js';
import type { CrushMappers } from '../../osdmap/crush-mapper.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import { Placement } from '../../osdmap/placement.js';
import type { MapView } from './pg-host.js';

/** Views of past maps kept for PGs that catch up. */
const PAST_VIEWS_MAX = 64;

export interface OsdMapsOptions {
  /** For messages: `osd.1`. */
  readonly name: string;
  readonly mappers: CrushMappers;
  /** A map of the past, while the monitor keeps it. */
  readonly mapAt: (epoch: number) => OsdMap | undefined;
}

export class OsdMaps {
  readonly #options: OsdMapsOptions;
  readonly #past = new Map<number, MapView>();
  #waiters: { epoch: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #view: MapView | undefined;
  #ended = false;

  constructor(options: OsdMapsOptions) {
    this.#options = options;
  }

  /** The newest. EAGAIN before the first. */
  get view(): MapView {
    if (!this.#view) throw new RadosError('EAGAIN', `${this.#options.name} has no map yet`);
    return this.#view;
  }

  /** 0 before the first map. */
  get epoch(): number {
    return this.#view?.epoch ?? 0;
  }

  take(map: OsdMap): void {
    // PGs look back at the last map of an interval that ends.
    if (this.#view) this.#keep(this.#view);
    this.#view = this.#createView(map);
  }

  /** Those who waited for the newest map go on. */
  announce(): void {
    const { epoch } = this;
    const reached = this.#waiters.filter((waiter) => waiter.epoch <= epoch);
    this.#waiters = this.#waiters.filter((waiter) => waiter.epoch > epoch);
    for (const { resolve } of reached) resolve();
  }

  /** Resolves when the map is at least `epoch`; rejects when the OSD stops. */
  reached(epoch: number): Promise<void> {
    if (this.#ended) return Promise.reject(this.goneError());
    if (epoch <= this.epoch) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ epoch, resolve, reject }));
  }

  /** Undefined when nobody has it any more. */
  at(epoch: number): MapView | undefined {
    if (epoch === this.#view?.epoch) return this.#view;
    let view = this.#past.get(epoch);
    const map = view ? undefined : this.#options.mapAt(epoch);
    if (map) {
      view = this.#createView(map);
      this.#keep(view);
    }
    return view;
  }

  /** No map comes any more. */
  end(): void {
    this.#ended = true;
    const gone = this.goneError();
    for (const { reject } of this.#waiters.splice(0)) reject(gone);
  }

  /** EAGAIN when the OSD has stopped. */
  check(): void {
    if (this.#ended) throw this.goneError();
  }

  goneError(): RadosError {
    return new RadosError('EAGAIN', `${this.#options.name} is gone`, { retryable: true });
  }

  #keep(view: MapView): void {
    if (this.#past.size >= PAST_VIEWS_MAX) this.#past.clear();
    this.#past.set(view.epoch, view);
  }

  #createView(map: OsdMap): MapView {
    const placement = new Placement(map, this.#options.mappers(map.crush));
    return { map, epoch: map.epoch, placement };
  }
}
