/**
 * A block device in the shape of `fs.promises.FileHandle`, for code that reads and writes files.
 *
 * It behaves as an open block special file does on Linux: reads stop at the end, writes beyond it fail with ENOSPC
 * (a write across it is cut), and `truncate` fails with EINVAL.
 */

import type { Readable, Writable } from 'node:stream';

import { RadosError } from '../base/errors.js';
import type { BlockDevice } from './device.js';
import {
  createReadStream,
  createWriteStream,
  type ReadStreamOptions,
  type WriteStreamOptions,
} from './streams.js';

export interface ReadResult<T extends Uint8Array> {
  bytesRead: number;
  buffer: T;
}

export interface WriteResult<T> {
  bytesWritten: number;
  buffer: T;
}

/** The part of `fs.Stats` that a block device has. */
export interface BlockStats {
  readonly size: number;
  readonly blksize: number;
  /** Of 512 bytes, as for files. */
  readonly blocks: number;
  readonly mode: number;
  isBlockDevice(): boolean;
  isFile(): boolean;
  isDirectory(): boolean;
  isCharacterDevice(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

export interface ReadOptions<T extends Uint8Array = Uint8Array> {
  buffer?: T;
  offset?: number | null;
  length?: number | null;
  position?: number | null;
}

/** Buffers are borrowed until the call settles, as with a `FileHandle`. */
export interface BlockFileHandle {
  read<T extends Uint8Array>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | null,
  ): Promise<ReadResult<T>>;
  read<T extends Uint8Array>(
    buffer: T,
    options?: Omit<ReadOptions, 'buffer'>,
  ): Promise<ReadResult<T>>;
  read<T extends Uint8Array = Uint8Array>(options?: ReadOptions<T>): Promise<ReadResult<T>>;
  write<T extends Uint8Array>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | null,
  ): Promise<WriteResult<T>>;
  readv(
    buffers: readonly Uint8Array[],
    position?: number | null,
  ): Promise<{ bytesRead: number; buffers: readonly Uint8Array[] }>;
  writev(
    buffers: readonly Uint8Array[],
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffers: readonly Uint8Array[] }>;
  stat(): Promise<BlockStats>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  truncate(length?: number): Promise<void>;
  createReadStream(options?: ReadStreamOptions): Readable;
  createWriteStream(options?: WriteStreamOptions): Writable;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const S_IFBLK = 0o060000;
const DEFAULT_READ_BYTES = 16 * 1024;

export function asFileHandle(device: BlockDevice): BlockFileHandle {
  return new DeviceFileHandle(device);
}

class DeviceFileHandle implements BlockFileHandle {
  readonly #device: BlockDevice;
  /** Where a call without a position reads or writes: the file's own, which such calls move. */
  #position = 0;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  async read<T extends Uint8Array>(
    bufferOrOptions?: T | ReadOptions<T>,
    offsetOrOptions?: number | null | Omit<ReadOptions, 'buffer'>,
    length?: number | null,
    position?: number | null,
  ): Promise<ReadResult<T>> {
    const options: ReadOptions<T> = !(bufferOrOptions instanceof Uint8Array)
      ? (bufferOrOptions ?? {})
      : typeof offsetOrOptions === 'object' && offsetOrOptions !== null
        ? { ...offsetOrOptions, buffer: bufferOrOptions }
        : defined(bufferOrOptions, offsetOrOptions, length, position);
    const buffer = options.buffer ?? (Buffer.allocUnsafe(DEFAULT_READ_BYTES) as Uint8Array as T);
    const into = slice(buffer, options.offset, options.length);
    const bytesRead = await this.#readInto([into], options.position);
    return { bytesRead, buffer };
  }

  async write<T extends Uint8Array>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | null,
  ): Promise<WriteResult<T>> {
    const bytesWritten = await this.#writeFrom([slice(buffer, offset, length)], position);
    return { bytesWritten, buffer };
  }

  async readv(buffers: readonly Uint8Array[], position?: number | null) {
    return { bytesRead: await this.#readInto(buffers, position), buffers };
  }

  async writev(buffers: readonly Uint8Array[], position?: number | null) {
    return { bytesWritten: await this.#writeFrom(buffers, position), buffers };
  }

  stat(): Promise<BlockStats> {
    const { size, objectSize } = this.#device.attributes;
    const permissions = this.#device.readOnly ? 0o440 : 0o660;
    const no = () => false;
    return Promise.resolve({
      size,
      blksize: Math.min(objectSize, 64 * 1024),
      blocks: Math.ceil(size / 512),
      mode: S_IFBLK | permissions,
      isBlockDevice: () => true,
      isFile: no,
      isDirectory: no,
      isCharacterDevice: no,
      isSymbolicLink: no,
      isFIFO: no,
      isSocket: no,
    });
  }

  sync(): Promise<void> {
    return this.#device.flush();
  }

  datasync(): Promise<void> {
    return this.#device.flush();
  }

  truncate(length = 0): Promise<void> {
    const message = `truncate to ${length}: a block device has the size it has; use resize()`;
    return Promise.reject(new RadosError('EINVAL', message, { op: 'truncate' }));
  }

  createReadStream(options?: ReadStreamOptions): Readable {
    return createReadStream(this.#device, options);
  }

  createWriteStream(options?: WriteStreamOptions): Writable {
    return createWriteStream(this.#device, options);
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #readInto(
    buffers: readonly Uint8Array[],
    position: number | null | undefined,
  ): Promise<number> {
    const { at, parts, bytes } = this.#place(buffers, position);
    if (bytes > 0) await this.#device.readv(at, parts);
    return bytes;
  }

  async #writeFrom(
    buffers: readonly Uint8Array[],
    position: number | null | undefined,
  ): Promise<number> {
    const { at, parts, bytes, wanted } = this.#place(buffers, position);
    if (bytes === 0 && wanted > 0) {
      const message = `write at ${at}: the device ends at ${this.#device.size}`;
      throw new RadosError('ENOSPC', message, { op: 'write', outcome: 'not-applied' });
    }
    if (bytes > 0) await this.#device.writev(at, parts, { borrowed: true });
    return bytes;
  }

  /**
   * Where a call acts and on which part of its buffers: up to the end of the device. The file's own position moves
   * when the call is made, so that calls made side by side do not act on the same place.
   */
  #place(buffers: readonly Uint8Array[], position: number | null | undefined) {
    const own = position === null || position === undefined || position === -1;
    const at = own ? this.#position : position;
    if (!Number.isSafeInteger(at) || at < 0) {
      throw new RangeError(`position ${at} is not a non-negative integer`);
    }
    let left = Math.max(0, this.#device.size - at);
    let bytes = 0;
    let wanted = 0;
    const parts: Uint8Array[] = [];
    for (const buffer of buffers) {
      wanted += buffer.length;
      const part = buffer.length <= left ? buffer : buffer.subarray(0, left);
      left -= part.length;
      bytes += part.length;
      if (part.length > 0) parts.push(part);
    }
    if (own) this.#position += bytes;
    return { at, parts, bytes, wanted };
  }
}

function defined<T extends Uint8Array>(
  buffer: T,
  offset: number | null | undefined,
  length: number | null | undefined,
  position: number | null | undefined,
): ReadOptions<T> {
  return {
    buffer,
    offset: offset ?? null,
    length: length ?? null,
    position: position ?? null,
  };
}

function slice(
  buffer: Uint8Array,
  offset: number | null | undefined,
  length: number | null | undefined,
): Uint8Array {
  const start = offset ?? 0;
  const bytes = length ?? buffer.length - start;
  const fits = Number.isInteger(start) && Number.isInteger(bytes) && start >= 0 && bytes >= 0;
  if (!fits || start + bytes > buffer.length) {
    throw new RangeError(`${bytes} bytes at ${start} are not within a buffer of ${buffer.length}`);
  }
  return buffer.subarray(start, start + bytes);
}
