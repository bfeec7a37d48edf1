/**
 * The data path: image extents to object operations, as librbd sends them (`librbd/io/ImageRequest.cc`).
 * What becomes of one object's part is in `object-request.ts`.
 *
 *     read            read; bytes past an object's end are zeros, and where there is none the parent's or zeros
 *     write           set-alloc-hint, write; or writefull for a whole object
 *     discard, zero   zero; truncate up to the object's end; delete for a whole object
 *     write-same      set-alloc-hint, write-same
 *     compare+write   set-alloc-hint, cmpext, write
 *
 * Reads are plain where librbd uses sparse-read from 64 KiB on: the payload of a plain read goes from the socket
 * straight into the caller's buffer, and an OSD that has holes sends zeros, which cost less than the copy.
 *
 * Nothing here knows the image's size or whether it may be written: `Image` has checked.
 * There is no order between the objects of one request, nor between requests that overlap while in flight.
 */

import { copyBytes } from '../base/copy-bytes.js';
import { isRadosError, RadosError } from '../base/errors.js';
import { cmpExtOp, type OsdOp, writeFullOp, writeOp, writeSameOp } from '../messages/osd-op.js';
import { HeldBackError } from '../osd-client/request.js';
import { eachLimited } from './concurrency.js';
import { CompareMismatchError, ofUnknownOutcome } from './errors.js';
import type { Layout, ObjectExtent, Piece } from './layout.js';
import {
  ObjectRequests,
  type ObjectRequestsOptions,
  type ReadContext,
  type WriteContext,
  zeroPartOp,
} from './object-request.js';

export interface ImageDataOptions extends ObjectRequestsOptions {
  /** The image, for messages. */
  readonly target: string;
  /** Discards shrink inwards to multiples of this, so that they free space and leave no crumbs. */
  readonly allocSize: number;
  /** Object operations of one request that may be in flight at a time. */
  readonly objectOpsMax: number;
}

/** OSDs answer a mismatch at byte `n` of a CMPEXT with `-(4095 + n)`. */
const CMPEXT_MISMATCH = 4095;

export class ImageData {
  readonly layout: Layout;
  readonly objects: ObjectRequests;
  readonly #options: ImageDataOptions;

  constructor(options: ImageDataOptions) {
    this.layout = options.layout;
    this.objects = new ObjectRequests(options);
    this.#options = options;
  }

  /** Fills `into` when given, else returns a buffer of its own. */
  async read(
    offset: number,
    length: number,
    into: Uint8Array | undefined,
    context: ReadContext,
  ): Promise<Uint8Array> {
    const extents = this.layout.objectExtents(offset, length);
    const only = extents.length === 1 ? extents[0] : undefined;
    if (only && !into) {
      const bytes = await this.objects.read(only, undefined, context);
      if (bytes.length === length) return bytes;
      const padded = new Uint8Array(length);
      padded.set(bytes);
      return padded;
    }
    const target = into ? into.subarray(0, length) : Buffer.allocUnsafeSlow(length);
    if (only) await this.#readInto(only, target, context);
    else await this.#forEach(extents, (extent) => this.#readInto(extent, target, context));
    return target;
  }

  async write(offset: number, data: Uint8Array, context: WriteContext): Promise<void> {
    await this.#writeExtents(this.layout.objectExtents(offset, data.length), context, (extent) =>
      this.#overwrite(extent, this.#writeOp(extent, gather(extent.pieces, data)), context),
    );
  }

  /** Frees what lies in whole multiples of the alloc size; the rest keeps its bytes. */
  async discard(offset: number, length: number, context: WriteContext): Promise<void> {
    const extents = this.layout
      .objectExtents(offset, length)
      .map((extent) => this.#alignDiscard(extent))
      .filter((extent) => extent.length > 0);
    await this.#writeExtents(extents, context, (extent) => this.#zero(extent, context));
  }

  /** Afterwards the range reads as zeros, whatever its alignment. */
  async writeZeroes(offset: number, length: number, context: WriteContext): Promise<void> {
    await this.#writeExtents(this.layout.objectExtents(offset, length), context, (extent) =>
      this.#zero(extent, context),
    );
  }

  /** Repeats the pattern, its first byte at `offset`. `length` is a multiple of the pattern's. */
  async writeSame(
    offset: number,
    length: number,
    pattern: Uint8Array,
    context: WriteContext,
  ): Promise<void> {
    await this.#writeExtents(this.layout.objectExtents(offset, length), context, (extent) =>
      this.#overwrite(extent, this.#writeSameOp(extent, pattern), context),
    );
  }

  /** Writes `data` if the bytes there equal `compare`, of the same length, within one object. */
  async compareAndWrite(
    offset: number,
    compare: Uint8Array,
    data: Uint8Array,
    context: WriteContext,
  ): Promise<void> {
    const { target } = this.#options;
    const [extent, ...more] = this.layout.objectExtents(offset, compare.length);
    if (!extent || more.length > 0) {
      throw new RadosError(
        'EINVAL',
        `compare-and-write at ${offset} of ${compare.length} bytes reaches over the end of an object`,
        { op: 'compare-and-write', target, outcome: 'not-applied' },
      );
    }
    // In one vector with a write, an OSD compares what is missing as zeros, a missing object included.
    const ops = [cmpExtOp(extent.offset, compare), this.#writeOp(extent, data)];
    try {
      await this.objects.change(extent.objectNo, { ops, hinted: true, compares: true }, context);
    } catch (error) {
      if (!isRadosError(error) || error.errno > -CMPEXT_MISMATCH) throw error;
      throw new CompareMismatchError(target, offset - error.errno - CMPEXT_MISMATCH);
    }
  }

  /** Fills the extent's pieces of `target`. */
  #readInto(extent: ObjectExtent, target: Uint8Array, context: ReadContext): Promise<unknown> {
    const piece = extent.pieces[0] as Piece;
    if (extent.pieces.length > 1) {
      return this.objects
        .read(extent, undefined, context)
        .then((bytes) => scatter(extent.pieces, bytes, target));
    }
    const whole = piece.start === 0 && piece.length === target.length;
    const part = whole ? target : target.subarray(piece.start, piece.start + piece.length);
    return this.objects.read(extent, part, context);
  }

  #writeOp(extent: ObjectExtent, bytes: Uint8Array): OsdOp {
    const isWhole = extent.length === this.layout.objectSize;
    return isWhole ? writeFullOp(bytes) : writeOp(extent.offset, bytes);
  }

  #writeSameOp(extent: ObjectExtent, pattern: Uint8Array): OsdOp {
    const piece = extent.pieces[0] as Piece;
    if (extent.pieces.length === 1 && extent.length % pattern.length === 0) {
      const rotated = rotate(pattern, piece.start % pattern.length);
      return writeSameOp(extent.offset, extent.length, rotated);
    }
    // The object ends within a pattern, or its pieces come from several places of it: spell the bytes out.
    return this.#writeOp(extent, repeated(extent, pattern));
  }

  #overwrite(extent: ObjectExtent, op: OsdOp, context: WriteContext): Promise<unknown> {
    const replaces = extent.length === this.layout.objectSize;
    const change = { ops: [op], hinted: true, replaces, overwrites: extent };
    return this.objects.change(extent.objectNo, change, context);
  }

  #zero(extent: ObjectExtent, context: WriteContext): Promise<unknown> {
    const { objectSize } = this.layout;
    if (extent.length === objectSize) return this.objects.remove(extent.objectNo, context);
    const change = {
      ops: [zeroPartOp(extent, objectSize)],
      overwrites: extent,
      removes: true,
    };
    return this.objects.change(extent.objectNo, change, context);
  }

  /** librbd's `prune_object_extents`: a range up to the object's end is not cut there if the alloc size is the object's. */
  #alignDiscard(extent: ObjectExtent): ObjectExtent {
    const { objectSize } = this.layout;
    const unit = Math.min(this.#options.allocSize, objectSize);
    const end = extent.offset + extent.length;
    if (unit <= 1 || (unit === objectSize && end === objectSize)) return extent;
    const offset = Math.ceil(extent.offset / unit) * unit;
    const length = Math.max(0, Math.floor(end / unit) * unit - offset);
    return { ...extent, offset, length };
  }

  async #writeExtents(
    extents: readonly ObjectExtent[],
    { done }: WriteContext,
    step: (extent: ObjectExtent) => Promise<unknown>,
  ): Promise<void> {
    const left = done?.size ? extents.filter(({ objectNo }) => !done.has(objectNo)) : extents;
    const only = extents.length === 1 ? left[0] : undefined;
    if (only) {
      await step(only);
      return;
    }
    // What fails for good ends it, whatever is to begin anew besides: it may have happened, and must not happen twice.
    let failure: RadosError | undefined;
    try {
      await this.#forEach(left, async (extent) => {
        try {
          await step(extent);
          done?.add(extent.objectNo);
        } catch (error) {
          if (isRadosError(error) && !(error instanceof HeldBackError)) failure ??= error;
          throw error;
        }
      });
    } catch (error) {
      // One object was certainly not written, but others may have been.
      throw failure ? ofUnknownOutcome(failure) : error;
    }
  }

  #forEach(
    extents: readonly ObjectExtent[],
    step: (extent: ObjectExtent) => Promise<unknown>,
  ): Promise<void> {
    return eachLimited(extents, this.#options.objectOpsMax, step);
  }
}

/** The bytes of an object extent, from where they lie in the request's buffer. */
function gather(pieces: readonly Piece[], data: Uint8Array): Uint8Array {
  const views = pieces.map(({ start, length }) => data.subarray(start, start + length));
  return views.length === 1 ? (views[0] as Uint8Array) : Buffer.concat(views);
}

/** The other way round; what `bytes` lacks becomes zeros. */
function scatter(pieces: readonly Piece[], bytes: Uint8Array, target: Uint8Array): void {
  let done = 0;
  for (const { start, length } of pieces) {
    const part = bytes.subarray(done, done + length);
    copyBytes(target, part, start);
    target.fill(0, start + part.length, start + length);
    done += length;
  }
}

/** The pattern as it looks from its byte `phase` on. */
function rotate(pattern: Uint8Array, phase: number): Uint8Array {
  return phase === 0
    ? pattern
    : Buffer.concat([pattern.subarray(phase), pattern.subarray(0, phase)]);
}

function repeated(extent: ObjectExtent, pattern: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(extent.length);
  let done = 0;
  for (const { start, length } of extent.pieces) {
    const part = bytes.subarray(done, done + length);
    part.fill(rotate(pattern, start % pattern.length));
    done += length;
  }
  return bytes;
}
