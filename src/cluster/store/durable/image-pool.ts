/** Memory for the contents of changed blocks, used again and again: allocating 4 KiB costs more than filling it. */

import { BLOCK_BYTES } from './block-space.js';

const SLAB_BLOCKS = 64;

/** A block's content. Beyond `used` it is zeros. */
export class Image {
  used = 0;
  /** The transaction that changed it last. */
  changedBy = 0;

  constructor(readonly bytes: Buffer) {}

  clear(): void {
    this.bytes.fill(0, 0, this.used);
    this.used = 0;
  }

  write(at: number, part: Uint8Array): void {
    this.bytes.set(part, at);
    if (at + part.length > this.used) this.used = at + part.length;
  }
}

export class ImagePool {
  #idle: Image[] = [];

  take(): Image {
    if (this.#idle.length === 0) this.#grow();
    const image = this.#idle.pop() as Image;
    image.clear();
    image.changedBy = 0;
    return image;
  }

  give(image: Image): void {
    this.#idle.push(image);
  }

  drain(): void {
    this.#idle = [];
  }

  #grow(): void {
    // Zeroed: what an image does not use reads as zeros.
    const slab = Buffer.alloc(SLAB_BLOCKS * BLOCK_BYTES);
    for (let at = 0; at < slab.length; at += BLOCK_BYTES) {
      this.#idle.push(new Image(slab.subarray(at, at + BLOCK_BYTES)));
    }
  }
}
