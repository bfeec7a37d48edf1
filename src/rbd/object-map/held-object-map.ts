/** An open image's object map: there while the exclusive lock is held, when the image has the feature. */

import { FEATURE } from '../features.js';
import type { OpenImage } from '../open-image.js';
import type { MappedImage } from './mapped-image.js';
import { ObjectMap } from './object-map.js';

export class HeldObjectMap {
  readonly #image: OpenImage;
  #map: ObjectMap | undefined;

  constructor(image: OpenImage) {
    this.#image = image;
  }

  get current(): ObjectMap | undefined {
    return this.#map;
  }

  /** The lock is ours, or the image has come to have the feature while it is; nothing is written meanwhile. */
  async open(): Promise<void> {
    if (this.#map || !this.#hasFeature) return;
    this.#map = await ObjectMap.open(mapped(this.#image));
  }

  /** With no I/O under way. */
  async close(): Promise<void> {
    const map = this.#map;
    this.#map = undefined;
    await map?.close();
  }

  headerRead(): void {
    if (this.#hasFeature) this.#map?.headerRead();
    else void this.close();
  }

  get #hasFeature(): boolean {
    return (this.#image.features & FEATURE.OBJECT_MAP) !== 0n;
  }
}

function mapped(image: OpenImage): MappedImage {
  const { context, ioctx, id, target } = image;
  return {
    ...{ ioctx, id, target },
    environment: context.environment,
    get header() {
      return image.header;
    },
    get isLocked() {
      return image.lock?.state === 'locked';
    },
    get isOwner() {
      return image.lock?.isOwner === true;
    },
    mapLockLost: () => image.lock?.retake(),
  };
}
