/** Writers and readers that keep a stamped image busy, many calls at a time, until they are told to stop. */

import { type BlockDevice, isRadosError } from '../../src/index.js';
import type { BlockRange, StampedImage } from './stamped-image.js';
import { Random } from './support.js';

export interface LoadOptions {
  image: StampedImage;
  device: BlockDevice;
  /** The same image through another client, which only reads. */
  observer: BlockDevice;
  /** Calls in flight. */
  depth: number;
  seed: number;
}

const MAX_RUN_BLOCKS = 8;

export class Load {
  readonly #options: LoadOptions;
  readonly #random: Random;
  readonly #lanes: Promise<void>[];
  #stopping = false;
  #failure: Error | undefined;
  /** Writes given up, to see what becomes of them. */
  abandoned = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#lanes = Array.from({ length: options.depth }, (_, lane) => this.#run(lane));
  }

  /** Resolves when so many more writes were acknowledged. */
  async progress(writes: number, timeoutMs = 60_000): Promise<void> {
    const { image, device } = this.#options;
    const goal = image.acknowledged + writes;
    const deadline = Date.now() + timeoutMs;
    while (image.acknowledged < goal) {
      if (this.#failure) throw this.#failure;
      if (Date.now() > deadline) {
        const missing = goal - image.acknowledged;
        throw new Error(
          `${missing} of ${writes} writes were not acknowledged in ${timeoutMs} ms; ` +
            `in flight: ${device.load.inFlight}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Resolves when every call is settled; rejects with what went wrong, or with what never ended. */
  async stop(timeoutMs = 60_000): Promise<void> {
    this.#stopping = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const { load } = this.#options.device;
      const message = `calls are pending after ${timeoutMs} ms: ${JSON.stringify(load)}`;
      timer = setTimeout(() => reject(new Error(message)), timeoutMs);
    });
    try {
      await Promise.race([Promise.all(this.#lanes), late]);
    } finally {
      clearTimeout(timer);
    }
    if (this.#failure) throw this.#failure;
  }

  async #run(lane: number): Promise<void> {
    try {
      while (!this.#stopping) await this.#step(lane);
    } catch (error) {
      this.#failure ??= error as Error;
      this.#stopping = true;
    }
  }

  async #step(lane: number): Promise<void> {
    const { image, device, observer } = this.#options;
    const dice = this.#random.below(100);
    // Every lane compares and writes in a block of its own, where nothing is given up.
    if (dice < 10) await image.compareAndWrite(device, lane);
    else if (dice < 20) await image.writeZeroes(device, this.#range());
    else if (dice < 40) await image.read(device, this.#range());
    else if (dice < 55) await image.observe(observer, this.#range());
    else if (dice < 58) await this.#abandon();
    else await image.write(device, this.#range());
  }

  async #abandon(): Promise<void> {
    const { image, device } = this.#options;
    const abort = new AbortController();
    const write = image.write(device, this.#range(), abort.signal);
    abort.abort();
    await write.catch((error: unknown) => {
      if (!isRadosError(error, 'ECANCELED')) throw error;
      this.abandoned++;
    });
  }

  #range(): BlockRange {
    const { image, depth } = this.#options;
    const count = 1 + this.#random.below(MAX_RUN_BLOCKS);
    return { first: depth + this.#random.below(image.blocks - depth - count), count };
  }
}
