/**
 * Diffs as files (`doc/dev/rbd-diff.rst`): a banner, records that say what the diff is of, records of data, an end.
 *
 *     tag  v1                              v2: a u64 length after each tag but the end's
 *     f    string: from this snapshot      length 4 + n
 *     t    string: to this snapshot        length 4 + n
 *     p                                    length 8 (as 16.2 writes it), but one byte: the end is protected
 *     s    u64: size of the image at the end
 *     w    u64 offset, u64 length, bytes   length 16 + n
 *     z    u64 offset, u64 length          length 16
 *     e
 */

import { RadosError } from '../../base/errors.js';
import { type Encoder, encode } from '../../encoding/encoder.js';
import type { ByteReader } from './byte-reader.js';

export type DiffFormat = 1 | 2;

export const DIFF_BANNER = { 1: 'rbd diff v1\n', 2: 'rbd diff v2\n' } as const;

const TAG = {
  FROM_SNAP: 0x66,
  TO_SNAP: 0x74,
  PROTECTION: 0x70,
  IMAGE_SIZE: 0x73,
  WRITE: 0x77,
  ZERO: 0x7a,
  END: 0x65,
} as const;

/** What a diff is of. */
export interface DiffHeader {
  /** Absent: from the beginning. */
  readonly from?: string | undefined;
  /** Absent: to the head. */
  readonly to?: string | undefined;
  /** Of the snapshot at the end; in version 2 only. */
  readonly isProtected?: boolean | undefined;
  /** Bytes of the image at the end. */
  readonly size: number;
}

const PROTECTION_LENGTH = 8;
const SIZE_LENGTH = 8;
const EXTENT_LENGTH = 16;

export function encodeDiffHeader(format: DiffFormat, header: DiffHeader): Uint8Array {
  const { from, to, isProtected = false, size } = header;
  const tagged = (e: Encoder, tag: number, length: number) => {
    e.u8(tag);
    return format === 1 ? e : e.u64n(length);
  };
  const name = (e: Encoder, tag: number, text: string) =>
    tagged(e, tag, 4 + Buffer.byteLength(text)).string(text);
  return encode((e) => {
    e.raw(Buffer.from(DIFF_BANNER[format]));
    if (from !== undefined) name(e, TAG.FROM_SNAP, from);
    if (to !== undefined) name(e, TAG.TO_SNAP, to);
    if (to !== undefined && format === 2) {
      tagged(e, TAG.PROTECTION, PROTECTION_LENGTH).bool(isProtected);
    }
    tagged(e, TAG.IMAGE_SIZE, SIZE_LENGTH).u64n(size);
  });
}

/** The start of a record of data: with `exists`, `length` bytes follow. */
export function encodeDiffExtent(
  format: DiffFormat,
  { offset, length, exists }: { offset: number; length: number; exists: boolean },
): Uint8Array {
  return encode((e) => {
    e.u8(exists ? TAG.WRITE : TAG.ZERO);
    if (format === 2) e.u64n(EXTENT_LENGTH + (exists ? length : 0));
    e.u64n(offset).u64n(length);
  });
}

export const DIFF_END = Uint8Array.of(TAG.END);

export type DiffRecord =
  | { readonly kind: 'from'; readonly name: string }
  | { readonly kind: 'to'; readonly name: string }
  | { readonly kind: 'protection'; readonly isProtected: boolean }
  | { readonly kind: 'size'; readonly size: number }
  /** `length` bytes follow in the stream, to be read before the next record. */
  | { readonly kind: 'write'; readonly offset: number; readonly length: number }
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  | { readonly kind: 'end' };

/** Keeps a stream that is no diff from making us take memory for its "names". */
const NAME_BYTES_MAX = 4096;

/** EINVAL: it is something else. EBADMSG: it ends before. */
export async function readBanner(reader: ByteReader, banner: string): Promise<void> {
  const found = Buffer.from(await reader.exactly(banner.length)).toString('latin1');
  if (found !== banner) {
    throw new RadosError('EINVAL', `the stream begins with ${JSON.stringify(found)}`);
  }
}

/** The next record. EBADMSG: the stream ends, or has a tag that nothing says the length of. */
export async function readDiffRecord(reader: ByteReader, format: DiffFormat): Promise<DiffRecord> {
  for (;;) {
    const tag = await reader.u8();
    if (tag === TAG.END) return { kind: 'end' };
    const length = format === 2 ? await reader.u64n() : undefined;
    switch (tag) {
      case TAG.FROM_SNAP:
        return { kind: 'from', name: await reader.string(NAME_BYTES_MAX) };
      case TAG.TO_SNAP:
        return { kind: 'to', name: await reader.string(NAME_BYTES_MAX) };
      case TAG.PROTECTION:
        return { kind: 'protection', isProtected: (await reader.u8()) !== 0 };
      case TAG.IMAGE_SIZE:
        return { kind: 'size', size: await reader.u64n() };
      case TAG.WRITE:
        return { kind: 'write', offset: await reader.u64n(), length: await reader.u64n() };
      case TAG.ZERO:
        return { kind: 'zero', offset: await reader.u64n(), length: await reader.u64n() };
      default:
        // Of a later version: what is not known may be left out.
        if (length === undefined) throw unknownTag(tag);
        await reader.skip(length);
    }
  }
}

function unknownTag(tag: number): RadosError {
  return new RadosError('EBADMSG', `the diff has a record of unknown kind 0x${tag.toString(16)}`);
}
