/**
 * Everything nondeterministic comes in through here: time, timers, randomness, network, files, log.
 *
 * Production uses `nodeEnvironment()`; the simulation passes a virtual one and replays a run from its seed.
 * Nothing else in `src/` may read a clock, arm a timer, draw a random number, open a socket or a file.
 */

import type { Log } from './log.js';

export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. May jump. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back. */
  monotonic(): number;
}

/** An armed timer. */
export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls once after `delayMs`. The timer keeps the process alive unless `background` is set. */
  after(delayMs: number, callback: () => void, options?: { background?: boolean }): Timer;
  /** Calls once after the events that are ready now: a turn of the event loop. */
  nextTurn(callback: () => void): Timer;
}

export interface Random {
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 2^32). */
  u32(): number;
  /** Uniform in [0, 1). */
  float(): number;
}

/** What a stream tells its owner. All callbacks come from the event loop, never from within a call into the stream. */
export interface StreamHandler {
  /**
   * Where the next bytes go: asked before every read, and often right after the one before it. Never empty. Returning the
   * final place of a payload saves a copy (the bytes go from the kernel straight there).
   */
  readInto(): Uint8Array;
  /** `length` bytes were placed at the start of the last `readInto()` answer. */
  onRead(length: number): void;
  /** The peer had fallen behind, and now everything written so far was handed to the kernel. */
  onDrain(): void;
  /** The stream ended; nothing comes after. `error` is absent for an orderly end by the peer. */
  onClose(error?: Error): void;
}

/** A duplex byte stream: TCP or in-process. */
export interface Stream {
  /**
   * Hands over the buffers in order. They are borrowed until `pendingBytes` is 0, or for ever if the stream closes
   * before.
   */
  write(buffers: Uint8Array[]): void;
  /** Bytes accepted by `write` and not yet handed to the kernel. */
  readonly pendingBytes: number;
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  /** Stops and resumes reading (backpressure). */
  pause(): void;
  resume(): void;
  /** Drops the stream at once. `onClose` still comes, with `error` when given. Safe to call twice. */
  destroy(error?: Error): void;
  /** Drops it as a crash does: the peer finds the connection reset, not closed. Where there is no such thing, absent. */
  reset?(): void;
  /** Ends it in order: the peer gets what was written, then the end. Where there is no such thing, absent. */
  end?(): void;
}

export interface SocketAddress {
  host: string;
  port: number;
  family: 4 | 6;
}

export interface Listener {
  readonly address: SocketAddress;
  close(): Promise<void>;
}

export interface Network {
  /** Addresses of a host name; an address is its own. */
  lookup(host: string): Promise<string[]>;
  /** Dials; `onConnect` is called once, or the handler's `onClose` with the reason. */
  connect(
    target: { host: string; port: number },
    handler: StreamHandler,
    onConnect: (stream: Stream) => void,
  ): Stream;
  /** Listens; port 0 picks a free one. `accept` returns the handler of the new stream. */
  listen(
    at: { host: string; port: number },
    accept: (stream: Stream) => StreamHandler,
  ): Promise<Listener>;
  /** As `connect`, to a Unix socket. Absent, as `listenLocal`, where there is no file system to have them in. */
  connectLocal?(path: string, handler: StreamHandler, onConnect: (stream: Stream) => void): Stream;
  /** Listens at a path, for its owner only; `close` removes it. */
  listenLocal?(
    path: string,
    accept: (stream: Stream) => StreamHandler,
  ): Promise<Pick<Listener, 'close'>>;
}

export interface Files {
  readFile(path: string): Promise<Uint8Array>;
  /** First existing path of the list, or undefined. */
  exists(path: string): Promise<boolean>;
  writeFile(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void>;
  mkdir(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** A new, empty directory that only its owner may read, for what goes when the process goes. */
  makeTempDir(prefix: string): Promise<string>;
}

/** A file that is read and written at any place. Errors are the system's (`code`: ENOSPC, EIO, ...). */
export interface DiskFile {
  /** Reads into `into`, at once; returns how many bytes there were, fewer only at the end of the file. */
  read(into: Uint8Array, position: number): number;
  /**
   * Writes the buffers one after the other, all of them; they are borrowed until it settles. When the file was opened
   * with `durable`, they are on stable storage when it resolves.
   */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  /** Everything that was written before is on stable storage when it resolves, and the file's length with it. */
  sync(): Promise<void>;
  /** Cuts the file, or lengthens it with a hole: at once, so that no write can come in between. */
  truncate(bytes: number): void;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** Held until it is released, or until the process that holds it is gone. */
export interface DiskLock {
  release(): Promise<void>;
}

/** Files that must survive: what a store of its own needs beyond `Files`. */
export interface Disk {
  /** ENOENT without `create` when there is none; with `create` it is made when missing. */
  open(path: string, options?: { create?: boolean; durable?: boolean }): Promise<DiskFile>;
  /** Names in a directory, sorted. */
  list(path: string): Promise<string[]>;
  mkdir(path: string): Promise<void>;
  /** Replaces `to`. */
  rename(from: string, to: string): Promise<void>;
  /** A file, or a directory with all that is in it; nothing when there is none. */
  remove(path: string): Promise<void>;
  /** What was made, renamed and removed in the directory is so on stable storage too. */
  syncDir(path: string): Promise<void>;
  /** Bytes that may still be written to the file system of `path`. */
  freeBytes(path: string): Promise<number>;
  /** Makes the directory this owner's. EBUSY, naming the process, when another has it. */
  lock(path: string): Promise<DiskLock>;
}

export interface Environment {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly network: Network;
  readonly files: Files;
  readonly disk: Disk;
  readonly hostname: string;
  readonly log: Log;
}

/** Resolves after `delayMs`, or rejects with the signal's reason. */
export function sleep(env: Environment, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = env.timers.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
