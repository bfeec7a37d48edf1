// The kernel module: everything exported here is an export of dist/wasm/kernels.wasm.
// Kernels take pointers, lengths and integers only, never call the host and hold no state between calls.

export * from './memory';
export * from './crc32c';
export * from './crush';
export * from './bitmap';
export * from './bitmap-runs';
export * from './bit-vector';
export * from './zeros';
