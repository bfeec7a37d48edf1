/**
 * The encoding of an object map, Ceph's `BitVector<2>` (`common/bit_vector.hpp`), checked and taken apart where it lies:
 *
 *     0   u32 14, then struct(1,1){ u64 N }              header, 18 bytes with its length
 *    18   ceil(N / 4) bytes                              the first object in the two highest bits
 *         u32 length, u32 header crc, u32 B, B x u32     footer: a crc per 4,096 bytes of data; or empty
 *
 * `object_map_load` answers with an empty footer, the object itself has a full one.
 */

import { DecodeError, Decoder } from '../encoding/decoder.js';
import { encode } from '../encoding/encoder.js';
import { OBJECTS_MAX } from './object-state.js';

export const OBJECTS_PER_BYTE = 4;
/** Of data, to a checksum. */
export const CRC_BLOCK_BYTES = 4096;
/** Of what this version writes; a later one may be longer. */
export const HEADER_BYTES = 18;
const STRUCTURE = 'BitVector';

export function dataBytes(objectCount: number): number {
  return Math.ceil(objectCount / OBJECTS_PER_BYTE);
}

/** Of a map without checksums, as `object_map_load` answers. */
export function encodedBytes(objectCount: number): number {
  return HEADER_BYTES + dataBytes(objectCount) + 4;
}

export function crcBlocks(objectCount: number): number {
  return Math.ceil(dataBytes(objectCount) / CRC_BLOCK_BYTES);
}

export interface BitVectorLayout {
  readonly objectCount: number;
  /** Where the data begins. */
  readonly dataAt: number;
  readonly dataLength: number;
  /** What the footer says; undefined when it is empty. */
  readonly checksums: { readonly header: number; readonly blocksAt: number } | undefined;
}

/** Where the parts are. DecodeError when they do not fit: sizes that lie, a short vector, a wrong number of blocks. */
export function bitVectorLayout(bytes: Uint8Array): BitVectorLayout {
  const decoder = new Decoder(bytes);
  const header = new Decoder(decoder.blob());
  const objectCount = header.struct(STRUCTURE, 1, () => header.u64n());
  const dataAt = decoder.offset;
  if (objectCount > OBJECTS_MAX) {
    throw new DecodeError(`${objectCount} objects are more than a map may have`, dataAt, [
      STRUCTURE,
    ]);
  }
  const dataLength = dataBytes(objectCount);
  decoder.take(dataLength);
  const footerAt = decoder.offset + 4;
  const footer = new Decoder(decoder.blob());
  if (footer.remaining === 0) return { objectCount, dataAt, dataLength, checksums: undefined };
  const headerCrc = footer.u32();
  const blocks = footer.u32();
  if (blocks !== crcBlocks(objectCount)) {
    throw new DecodeError(
      `${blocks} checksums for ${crcBlocks(objectCount)} blocks`,
      footerAt + 4,
      [STRUCTURE],
    );
  }
  const blocksAt = footerAt + footer.take(4 * blocks);
  return { objectCount, dataAt, dataLength, checksums: { header: headerCrc, blocksAt } };
}

export function encodeHeader(objectCount: number): Uint8Array {
  return encode((e) => e.blob(encode((h) => h.struct(1, 1, () => h.u64n(objectCount)))));
}

/** What `object_map_load` answers with, and `object_map_save` takes. */
export const NO_FOOTER = encode((e) => e.u32(0));

/** `sums`: crc32c of each block of the data. */
export function encodeFooter(headerCrc: number, sums: Uint32Array): Uint8Array {
  return encode((e) => {
    e.u32(8 + 4 * sums.length)
      .u32(headerCrc)
      .u32(sums.length);
    for (const sum of sums) e.u32(sum);
  });
}
