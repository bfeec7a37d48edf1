/**
 * Object classes: methods that run inside the OSD, on one object, as part of an op vector (`objclass/`, `cls/`).
 *
 * A method sees its object through `ClassObject`. Contents are those from before the vector, existence and size are
 * the pending ones, as for every other operation.
 */

import { ERRNO, type ErrnoCode, errnoCode } from '../../base/errors.js';
import { DecodeError, Decoder } from '../../encoding/decoder.js';
import type { EntityAddr, EntityName } from '../../encoding/entity.js';
import type { Utime } from '../../encoding/types.js';
import type { Crc32c } from '../../kernels/crc32c.js';

/** The object that a method runs on. Everything that fails throws a `ClassError`. */
export interface ClassObject {
  readonly exists: boolean;
  /** Throws ENOENT when the object does not exist. */
  readonly size: number;
  /** Short at the end of the object. */
  read(offset: number, length: number): Uint8Array;
  readAll(): Uint8Array;
  write(offset: number, data: Uint8Array): void;
  writeFull(data: Uint8Array): void;
  truncate(size: number): void;
  create(exclusive: boolean): void;
  remove(): void;

  /** Throws ENOENT when the store has no such object. */
  xattr(name: string): Uint8Array | undefined;
  xattrNames(): string[];
  setXattr(name: string, value: Uint8Array): void;

  /** Omap keys are byte strings, one character per byte. */
  omapGet(key: string): Uint8Array | undefined;
  /** Entries after `startAfter` (exclusive) whose keys start with `prefix`, in key order. */
  omapEntries(startAfter: string, prefix: string): Iterable<readonly [string, Uint8Array]>;
  omapSet(...entries: [string, Uint8Array][]): void;
  /** Throws ENOENT when the object does not exist; a missing key is fine. */
  omapRemove(...keys: string[]): void;

  /** The newest snapshot that the object knows; undefined when it has no history. */
  readonly snapSeq: bigint | undefined;
  /** Who calls, and from where. */
  readonly origin: { readonly name: EntityName; readonly addr: EntityAddr };
  readonly crc32c: Crc32c;
  /** The OSD's clock. */
  now(): Utime;
  randomBytes(length: number): Uint8Array;
}

/** A method's negative result. */
export class ClassError extends Error {
  override readonly name = 'ClassError';
  /** Negative. */
  readonly errno: number;

  constructor(code: ErrnoCode | number, reason?: string) {
    const errno = typeof code === 'number' ? -Math.abs(code) : -ERRNO[code];
    super(reason ? `${errnoCode(errno)}: ${reason}` : errnoCode(errno));
    this.errno = errno;
  }

  get code(): string {
    return errnoCode(this.errno);
  }
}

/** What a method is registered for: it decides how the OSD orders the request and treats a missing object. */
export const CLS_METHOD = { RD: 1, WR: 2 } as const;

export interface ClassMethod {
  readonly flags: number;
  /** Returns the output, if any. */
  run(object: ClassObject, input: Decoder): Uint8Array | undefined;
}

export type ObjectClass = ReadonlyMap<string, ClassMethod>;

type Body = (object: ClassObject, input: Decoder) => Uint8Array | undefined | void;

/** A method that only reads: on a missing object it fails with ENOENT before it runs. */
export function readMethod(body: Body): ClassMethod {
  return { flags: CLS_METHOD.RD, run: (object, input) => body(object, input) ?? undefined };
}

/** A method that reads and writes: it runs on missing objects too. */
export function writeMethod(body: Body): ClassMethod {
  return {
    flags: CLS_METHOD.RD | CLS_METHOD.WR,
    run: (object, input) => body(object, input) ?? undefined,
  };
}

/** Runs a method: its output, or its negative result. An argument that cannot be decoded is EINVAL. */
export function runMethod(
  method: ClassMethod,
  object: ClassObject,
  input: Uint8Array,
): Uint8Array | number {
  try {
    return method.run(object, new Decoder(input)) ?? new Uint8Array(0);
  } catch (error) {
    if (error instanceof ClassError) return error.errno;
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
}

export class ClassRegistry {
  readonly #classes = new Map<string, ObjectClass>();

  register(name: string, methods: Readonly<Record<string, ClassMethod>>): this {
    this.#classes.set(name, new Map(Object.entries(methods)));
    return this;
  }

  find(className: string, methodName: string): ClassMethod | undefined {
    return this.#classes.get(className)?.get(methodName);
  }
}
