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
    /** Always shared here; the same object for the memory's life, because ours never grow. */
    readonly buffer: SharedArrayBuffer;
  }
}
