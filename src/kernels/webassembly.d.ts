/** The part of the WebAssembly API that we use: Node's types lack it, and we do not want the DOM's. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }

  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: unknown;
  }

  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: true });
    /** Always shared here. Another object after the memory has grown; the one before stays valid for what it spans. */
    readonly buffer: SharedArrayBuffer;
    /** By so many pages of 64 KiB; RangeError beyond the maximum, or when the system has no memory left. */
    grow(pages: number): number;
  }
}
