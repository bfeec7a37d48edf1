/**
 * Large buffers whose bytes nobody needs any more, to receive others in.
 *
 * V8 takes what ArrayBuffers hold for pressure, and collects the whole heap for every few dozen MiB of them; to the system
 * their pages are new each time. Together that was half of what a write of 4 MiB cost.
 */

/** Smaller ones cost less to make than to keep. */
const MIN_BYTES = 256 * 1024;
/** For as many large writes as are received at a time. */
const MAX_BYTES = 64 * 1024 * 1024;

export class SpareBuffers {
  /** The newest last: it is most likely to be in a cache. */
  #buffers: Uint8Array[] = [];
  #bytes = 0;

  /** Whether it is worth giving: an ArrayBuffer, whole. */
  static accepts({ length, buffer }: Uint8Array): boolean {
    return length >= MIN_BYTES && length === buffer.byteLength;
  }

  /** One of exactly this length, of any content. */
  take(length: number): Uint8Array | undefined {
    const at = this.#buffers.findLastIndex((buffer) => buffer.length === length);
    if (at < 0) return undefined;
    const [buffer] = this.#buffers.splice(at, 1);
    this.#bytes -= length;
    return buffer;
  }

  /** The caller and everybody else is done with it. */
  give(buffer: Uint8Array): void {
    if (!SpareBuffers.accepts(buffer)) return;
    this.#buffers.push(buffer);
    this.#bytes += buffer.length;
    while (this.#bytes > MAX_BYTES) this.#bytes -= (this.#buffers.shift() as Uint8Array).length;
  }
}
