/**
 * Whole images as files, of version 2: what they are, and then a diff for each snapshot, and one for the head. (A file of
 * version 1 is the bytes of the image.)
 *
 *     "rbd image v2\n"        records, each a tag, a u64 length, and so many bytes; the last is E alone
 *       O T U C              u64: order, features, stripe unit, stripe count
 *       M                    string key, string value: of the image's metadata
 *       E
 *     "rbd image diffs v2\n"  u64 how many, and the diffs (diff-format.ts): beginning to oldest snapshot ... newest to head
 */

import { RadosError } from '../../base/errors.js';
import { type Encoder, encode } from '../../encoding/encoder.js';
import type { ByteReader } from './byte-reader.js';
import { readBanner } from './diff-format.js';

const IMAGE_BANNER = 'rbd image v2\n';
const DIFFS_BANNER = 'rbd image diffs v2\n';

const TAG = {
  ORDER: 0x4f,
  FEATURES: 0x54,
  STRIPE_UNIT: 0x55,
  STRIPE_COUNT: 0x43,
  META: 0x4d,
  END: 0x45,
} as const;

/** What an image is, but for its size and data. */
export interface ImageProperties {
  readonly order: number;
  readonly features: bigint;
  readonly stripeUnit: number;
  readonly stripeCount: number;
  readonly metadata: ReadonlyMap<string, string>;
}

export function encodeImageHeader(properties: ImageProperties): Uint8Array {
  const { order, features, stripeUnit, stripeCount, metadata } = properties;
  const number = (e: Encoder, tag: number, value: bigint) => e.u8(tag).u64n(8).u64(value);
  return encode((e) => {
    e.raw(Buffer.from(IMAGE_BANNER));
    number(e, TAG.ORDER, BigInt(order));
    number(e, TAG.FEATURES, features);
    number(e, TAG.STRIPE_UNIT, BigInt(stripeUnit));
    number(e, TAG.STRIPE_COUNT, BigInt(stripeCount));
    for (const [key, value] of metadata) {
      const length = 8 + Buffer.byteLength(key) + Buffer.byteLength(value);
      e.u8(TAG.META).u64n(length).string(key).string(value);
    }
    e.u8(TAG.END);
  });
}

export function encodeDiffsHeader(count: number): Uint8Array {
  return encode((e) => e.raw(Buffer.from(DIFFS_BANNER)).u64n(count));
}

/** What a stream may claim of one pair, and of how many there are. */
const META_BYTES_MAX = 1024 * 1024;
const META_MAX = 65_536;

/** EINVAL: it is something else. EBADMSG: it ends before. What the stream does not say is absent. */
export async function readImageHeader(reader: ByteReader): Promise<Partial<ImageProperties>> {
  await readBanner(reader, IMAGE_BANNER);
  const metadata = new Map<string, string>();
  const found: { -readonly [K in keyof ImageProperties]?: ImageProperties[K] } = { metadata };
  for (let tag = await reader.u8(); tag !== TAG.END; tag = await reader.u8()) {
    const length = await reader.u64n();
    if (tag === TAG.ORDER) found.order = await reader.u64n();
    else if (tag === TAG.FEATURES) found.features = await reader.u64();
    else if (tag === TAG.STRIPE_UNIT) found.stripeUnit = await reader.u64n();
    else if (tag === TAG.STRIPE_COUNT) found.stripeCount = await reader.u64n();
    else if (tag === TAG.META) {
      const key = await reader.string(META_BYTES_MAX);
      metadata.set(key, await reader.string(META_BYTES_MAX));
      if (metadata.size > META_MAX)
        throw new RadosError('EINVAL', 'the image has too much metadata');
    } else await reader.skip(length);
  }
  return found;
}

/** How many diffs follow. */
export async function readDiffsHeader(reader: ByteReader): Promise<number> {
  await readBanner(reader, DIFFS_BANNER);
  return reader.u64n();
}
