/**
 * Where an image's bytes lie: image extents to object extents and back (`osdc/Striper.cc`).
 *
 *      stripe count 3, stripe unit u, object size 2u         object set 0             object set 1
 *                                                      obj 0   obj 1   obj 2     obj 3  ...
 *      image    0   u  2u  3u  4u  5u  6u  7u          +-----+ +-----+ +-----+   +-----+
 *             +---+---+---+---+---+---+---+---+        |  0  | |  1  | |  2  |   |  6  |
 *      unit   | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |        |  3  | |  4  | |  5  |   |  9  |
 *             +---+---+---+---+---+---+---+---+        +-----+ +-----+ +-----+   +-----+
 *
 * Without striping the unit is the object and the count is 1, and object `n` is the n-th piece of the image.
 *
 * Invariant: one contiguous image extent meets every object in one contiguous range. (Units of one object follow one
 * another in it, and only the first and last unit of the extent are cut.) So there is at most one request per object.
 */

import { RadosError } from '../base/errors.js';

/** A stretch of an image extent within one object. */
export interface ObjectExtent {
  objectNo: number;
  /** In the object. */
  offset: number;
  length: number;
  /** Where the bytes are in the image extent, counted from its start: pieces in object order. */
  pieces: readonly Piece[];
}

export interface Piece {
  start: number;
  length: number;
}

export interface ImageExtent {
  offset: number;
  length: number;
}

export interface LayoutFields {
  /** log2 of the object size. */
  readonly order: number;
  /** Defaults to the object size and 1: no striping. */
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
}

/** librbd accepts 12 to 25, krbd 9 to 31: what either may have made is read. */
const ORDER_MIN = 9;
const ORDER_MAX = 31;
/** Far above anything sensible; keeps a lying header from turning one read into a storm of requests. */
const STRIPE_COUNT_MAX = 65_536;

export class Layout {
  readonly order: number;
  readonly objectSize: number;
  readonly stripeUnit: number;
  readonly stripeCount: number;
  /** Image bytes per object set: no object of another set has bytes of this range. */
  readonly period: number;
  readonly striped: boolean;
  readonly #unitsPerObject: number;

  /** EINVAL for a layout that cannot be. */
  constructor(fields: LayoutFields) {
    const { order } = fields;
    if (!Number.isInteger(order) || order < ORDER_MIN || order > ORDER_MAX) {
      throw new RadosError('EINVAL', `order ${order} is not within ${ORDER_MIN} to ${ORDER_MAX}`);
    }
    this.order = order;
    this.objectSize = 2 ** order;
    this.stripeUnit = fields.stripeUnit ?? this.objectSize;
    this.stripeCount = fields.stripeCount ?? 1;
    if (this.stripeUnit <= 0 || this.objectSize % this.stripeUnit !== 0) {
      throw new RadosError(
        'EINVAL',
        `stripe unit ${this.stripeUnit} does not divide the object size ${this.objectSize}`,
      );
    }
    if (this.stripeCount <= 0 || this.stripeCount > STRIPE_COUNT_MAX) {
      throw new RadosError('EINVAL', `stripe count ${this.stripeCount} is not usable`);
    }
    this.period = this.objectSize * this.stripeCount;
    // With one object per set the units lie in the image's own order, whatever their size.
    this.striped = this.stripeCount > 1;
    this.#unitsPerObject = this.objectSize / this.stripeUnit;
  }

  /** Objects that an image of this size can have. */
  objectCount(imageSize: number): number {
    const count = Math.ceil(imageSize / this.period) * this.stripeCount;
    const rest = imageSize % this.period;
    const firstRow = this.stripeCount * this.stripeUnit;
    if (rest === 0 || rest >= firstRow) return count;
    return count - this.stripeCount + Math.ceil(rest / this.stripeUnit);
  }

  /** How much of an object, from its start on, an image of this size has. */
  objectBytes(objectNo: number, imageSize: number): number {
    const rest = imageSize - Math.floor(objectNo / this.stripeCount) * this.period;
    if (rest >= this.period) return this.objectSize;
    if (rest <= 0) return 0;
    const row = this.stripeCount * this.stripeUnit;
    const inRow = (rest % row) - (objectNo % this.stripeCount) * this.stripeUnit;
    return Math.floor(rest / row) * this.stripeUnit + Math.min(this.stripeUnit, Math.max(0, inRow));
  }

  /** The objects that an image extent meets, in the order of their first byte in the image. */
  objectExtents(offset: number, length: number): ObjectExtent[] {
    return this.striped ? this.#stripedExtents(offset, length) : this.#plainExtents(offset, length);
  }

  #plainExtents(offset: number, length: number): ObjectExtent[] {
    const extents: ObjectExtent[] = [];
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const inObject = at % this.objectSize;
      const part = Math.min(length - done, this.objectSize - inObject);
      extents.push({
        objectNo: Math.floor(at / this.objectSize),
        offset: inObject,
        length: part,
        pieces: [{ start: done, length: part }],
      });
      done += part;
    }
    return extents;
  }

  #stripedExtents(offset: number, length: number): ObjectExtent[] {
    const byObject = new Map<number, ObjectExtent & { pieces: Piece[] }>();
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const inUnit = at % this.stripeUnit;
      const part = Math.min(length - done, this.stripeUnit - inUnit);
      const { objectNo, offset: inObject } = this.locate(at);
      const extent = byObject.get(objectNo);
      if (extent) {
        extent.length += part;
        extent.pieces.push({ start: done, length: part });
      } else {
        const pieces = [{ start: done, length: part }];
        byObject.set(objectNo, { objectNo, offset: inObject, length: part, pieces });
      }
      done += part;
    }
    return [...byObject.values()];
  }

  /** The object and the offset in it of one image byte. */
  locate(imageOffset: number): { objectNo: number; offset: number } {
    const unit = Math.floor(imageOffset / this.stripeUnit);
    const stripe = Math.floor(unit / this.stripeCount);
    const position = unit % this.stripeCount;
    const set = Math.floor(stripe / this.#unitsPerObject);
    return {
      objectNo: set * this.stripeCount + position,
      offset: (stripe % this.#unitsPerObject) * this.stripeUnit + (imageOffset % this.stripeUnit),
    };
  }

  /** The image extents of a range of one object, in the object's order; neighbours in the image are merged. */
  imageExtents(objectNo: number, offset: number, length: number): ImageExtent[] {
    const set = Math.floor(objectNo / this.stripeCount);
    const position = objectNo % this.stripeCount;
    const extents: ImageExtent[] = [];
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const inUnit = at % this.stripeUnit;
      const part = Math.min(length - done, this.stripeUnit - inUnit);
      const stripe = set * this.#unitsPerObject + Math.floor(at / this.stripeUnit);
      const imageOffset = (stripe * this.stripeCount + position) * this.stripeUnit + inUnit;
      const last = extents.at(-1);
      if (last && last.offset + last.length === imageOffset) last.length += part;
      else extents.push({ offset: imageOffset, length: part });
      done += part;
    }
    return extents;
  }
}

/** `rbd_data.10e3697ace75.000000000000002a`. */
export function dataObject(prefix: string, objectNo: number): string {
  return `${prefix}.${objectNo.toString(16).padStart(16, '0')}`;
}
