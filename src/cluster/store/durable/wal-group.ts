/**
 * The unit of the log: all records that came while the one before was being written, in one write.
 *
 *   u32 magic | u32 salt | u32 crc of all that follows | u32 payload bytes | u64 first sequence number | u32 records
 *   records, one after the other, then zeros up to a multiple of 4 KiB
 *
 * Padded, so that no write ever touches a sector in which an acknowledged one lies. A group is there whole or not at
 * all. The salt is the store's own, and the checksum begins with it: what a client writes does not pass for a group.
 */

import type { Crc32c } from '../../../kernels/crc32c.js';
import { Encoder } from '../../../encoding/encoder.js';

export const SECTOR_BYTES = 4096;
export const GROUP_HEADER_BYTES = 28;

const MAGIC = 0x4c41574c;
const CRC_AT = 8;
const CHECKED_FROM = 12;

export interface GroupHeader {
  readonly crc: number;
  readonly payloadBytes: number;
  readonly firstSeq: number;
  readonly records: number;
}

/** Of a whole group in the log. */
export function groupBytes(payloadBytes: number): number {
  return Math.ceil((GROUP_HEADER_BYTES + payloadBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/** Undefined when no group of this log begins here. */
export function parseGroupHeader(bytes: Uint8Array, salt: number): GroupHeader | undefined {
  if (bytes.length < GROUP_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== salt) return undefined;
  return {
    crc: view.getUint32(CRC_AT, true),
    payloadBytes: view.getUint32(12, true),
    firstSeq: view.getUint32(16, true) + view.getUint32(20, true) * 2 ** 32,
    records: view.getUint32(24, true),
  };
}

/** `bytes` is the group from its header to the end of its payload. */
export function isIntact(bytes: Uint8Array, salt: number, crc32c: Crc32c): boolean {
  const header = parseGroupHeader(bytes, salt);
  return (
    header !== undefined &&
    GROUP_HEADER_BYTES + header.payloadBytes === bytes.length &&
    crc32c(salt, bytes, CHECKED_FROM) === header.crc
  );
}

/** A group that is being filled. Its memory is used again for later ones. */
export class GroupBuffer {
  readonly encoder = new Encoder(64 * 1024);
  firstSeq = 0;
  records = 0;

  begin(firstSeq: number): void {
    this.encoder.rewind();
    this.encoder.zeros(GROUP_HEADER_BYTES);
    this.firstSeq = firstSeq;
    this.records = 0;
  }

  /** The group as it goes to disk: no more is added. */
  seal(salt: number, crc32c: Crc32c): Uint8Array {
    const { encoder } = this;
    const end = encoder.length;
    encoder.patchU32(0, MAGIC);
    encoder.patchU32(4, salt);
    encoder.patchU32(12, end - GROUP_HEADER_BYTES);
    encoder.patchU32(16, this.firstSeq >>> 0);
    encoder.patchU32(20, Math.floor(this.firstSeq / 2 ** 32));
    encoder.patchU32(24, this.records);
    encoder.patchU32(CRC_AT, crc32c(salt, encoder.bytes, CHECKED_FROM));
    encoder.zeros(groupBytes(end - GROUP_HEADER_BYTES) - end);
    return encoder.bytes;
  }
}
