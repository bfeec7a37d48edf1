/**
 * The shape of a messenger v2.1 frame: banner, preamble, message header, epilogue.
 *
 * crc mode:
 *
 *     preamble (32) | segment 0 | u32 crc | segment 1 .. n-1 | epilogue (13)
 *                     `--- absent when empty ---'   `--- absent when there is one segment ---'
 *
 * secure mode: see onwire-crypto.ts.
 */

import { ProtocolError } from '../base/errors.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { isKnownTag, TAG, tagName } from './control-frames.js';

export const BANNER_PREFIX = 'ceph v2\n';
export const BANNER_HEAD_BYTES = BANNER_PREFIX.length + 2;
/** Payload: u64 supported and u64 required features; a later release may append to it. */
export const BANNER_PAYLOAD_BYTES = 16;
export const BANNER_PAYLOAD_MAX = 1024;
/** Messenger v2.1. Compression (bit 1) is not advertised, so that no peer asks for it. */
export const MSGR2_FEATURE_REVISION_1 = 1n;

export const PREAMBLE_BYTES = 32;
export const MAX_SEGMENTS = 4;
const PREAMBLE_CRC_AT = 28;
export const SEGMENT_CRC_BYTES = 4;
export const CRC_EPILOGUE_BYTES = 13;

/** The low nibble of the epilogue's first byte. */
const LATE_STATUS_ABORTED = 0x01;
const LATE_STATUS_COMPLETE = 0x0e;

/** The longest control frame, AUTH_DONE with tickets for all services, is below 2 KiB. All fit in a reader's window. */
const CONTROL_MAX_BYTES = 32 * 1024;
/** Fronts carry maps (a full map of 10,000 OSDs is some 8 MiB); data an OSD write of at most 90 MiB or a whole map. */
const FRONT_MAX_BYTES = 256 * 1024 * 1024;
const DATA_MAX_BYTES = 256 * 1024 * 1024;

export const MESSAGE_HEADER_BYTES = 41;

export interface Preamble {
  tag: number;
  segments: number;
  /** Logical lengths of all four segments; unused ones are 0. */
  lengths: [number, number, number, number];
}

export function encodeBanner(): Uint8Array {
  const banner = Buffer.alloc(BANNER_HEAD_BYTES + BANNER_PAYLOAD_BYTES);
  banner.write(BANNER_PREFIX, 'latin1');
  banner.writeUInt16LE(BANNER_PAYLOAD_BYTES, BANNER_PREFIX.length);
  banner.writeBigUInt64LE(MSGR2_FEATURE_REVISION_1, BANNER_HEAD_BYTES);
  return banner;
}

/** Length of the payload that follows the first ten bytes; refuses what is not a messenger v2 peer. */
export function decodeBannerHead(head: Uint8Array): number {
  const text = Buffer.from(head.slice(0, BANNER_PREFIX.length)).toString('latin1');
  if (text !== BANNER_PREFIX) {
    const v1 = text.startsWith('ceph v0');
    throw new ProtocolError(
      v1 ? 'the peer speaks messenger v1 only; use its v2 port' : 'the peer is not a Ceph daemon',
      { offset: 0 },
    );
  }
  const length = (head[8] as number) | ((head[9] as number) << 8);
  if (length < BANNER_PAYLOAD_BYTES || length > BANNER_PAYLOAD_MAX) {
    throw new ProtocolError(`banner payload of ${length} bytes`, { offset: 8 });
  }
  return length;
}

export function checkBannerPayload(payload: Uint8Array): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const supported = view.getBigUint64(0, true);
  const required = view.getBigUint64(8, true);
  if ((required & ~MSGR2_FEATURE_REVISION_1) !== 0n) {
    throw new ProtocolError(`the peer requires messenger features 0x${required.toString(16)}`);
  }
  if ((supported & MSGR2_FEATURE_REVISION_1) === 0n) {
    throw new ProtocolError('the peer speaks messenger v2.0 only (a release before 15.2)');
  }
}

/** Writes the 32 bytes at `at`. */
export function encodePreamble(out: Buffer, at: number, preamble: Preamble, crc32c: Crc32c): void {
  out[at] = preamble.tag;
  out[at + 1] = preamble.segments;
  for (let i = 0; i < MAX_SEGMENTS; i++) {
    const length = preamble.lengths[i] as number;
    out.writeUInt32LE(length, at + 2 + 6 * i);
    // Receivers take the alignment as a hint; Ceph asks for pages for data and words for the rest.
    out.writeUInt16LE(i >= preamble.segments ? 0 : i === 3 ? 4096 : 8, at + 6 + 6 * i);
  }
  out[at + 26] = 0;
  out[at + 27] = 0;
  out.writeUInt32LE(crc32c(0, out, at, at + PREAMBLE_CRC_AT), at + PREAMBLE_CRC_AT);
}

/** Checks the crc, the tag, and that every declared length is one that such a frame may have. */
export function decodePreamble(bytes: Uint8Array, at: number, crc32c: Crc32c): Preamble {
  const crc = crc32c(0, bytes, at, at + PREAMBLE_CRC_AT);
  if (readU32(bytes, at + PREAMBLE_CRC_AT) !== crc)
    throw new ProtocolError('preamble crc mismatch');
  const tag = bytes[at] as number;
  const segments = bytes[at + 1] as number;
  if (!isKnownTag(tag)) throw new ProtocolError(`unknown frame tag ${tag}`);
  if (segments < 1 || segments > MAX_SEGMENTS) {
    throw new ProtocolError(`${tagName(tag)} frame with ${segments} segments`);
  }
  const lengths: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = 0; i < segments; i++) lengths[i] = readU32(bytes, at + 2 + 6 * i);
  if (segments > 1 && lengths[segments - 1] === 0) {
    throw new ProtocolError(`${tagName(tag)} frame whose last segment is empty`);
  }
  checkLengths(tag, segments, lengths);
  if (bytes[at + 26] !== 0) throw new ProtocolError('compressed frame, which was not negotiated');
  return { tag, segments, lengths };
}

function checkLengths(tag: number, segments: number, lengths: readonly number[]): void {
  const [first = 0, front = 0, middle = 0, data = 0] = lengths;
  if (tag === TAG.MESSAGE) {
    if (first !== MESSAGE_HEADER_BYTES) throw new ProtocolError(`message header of ${first} bytes`);
    if (front > FRONT_MAX_BYTES || middle > FRONT_MAX_BYTES || data > DATA_MAX_BYTES) {
      throw new ProtocolError(`message segments of ${front}, ${middle} and ${data} bytes`);
    }
  } else {
    if (segments !== 1) throw new ProtocolError(`${tagName(tag)} frame with ${segments} segments`);
    if (first > CONTROL_MAX_BYTES)
      throw new ProtocolError(`${tagName(tag)} frame of ${first} bytes`);
  }
}

/** Bytes after the preamble in crc mode. */
export function crcBodyBytes(preamble: Preamble): number {
  const [first, second, third, fourth] = preamble.lengths;
  const rest = preamble.segments > 1 ? second + third + fourth + CRC_EPILOGUE_BYTES : 0;
  return first + (first > 0 ? SEGMENT_CRC_BYTES : 0) + rest;
}

/** True when the sender finished the frame, false when it gave up half-way (the frame is then ignored). */
export function isComplete(lateStatus: number): boolean {
  const status = lateStatus & 0x0f;
  if (status === LATE_STATUS_COMPLETE) return true;
  if (status === LATE_STATUS_ABORTED) return false;
  throw new ProtocolError(`epilogue status ${lateStatus}`);
}

export const COMPLETE = LATE_STATUS_COMPLETE;

/** `ceph_msg_header2`. */
export interface MessageHeader {
  seq: number;
  tid: number;
  type: number;
  priority: number;
  version: number;
  compatVersion: number;
}

export function encodeMessageHeader(
  out: Buffer,
  at: number,
  header: MessageHeader,
  ackSeq: number,
): void {
  writeU64(out, at, header.seq);
  writeU64(out, at + 8, header.tid);
  out.writeUInt16LE(header.type, at + 16);
  out.writeUInt16LE(header.priority, at + 18);
  out.writeUInt16LE(header.version, at + 20);
  out.writeUInt32LE(0, at + 22); // data_pre_padding_len
  out.writeUInt16LE(0, at + 26); // data_off
  writeU64(out, at + 28, ackSeq);
  out[at + 36] = 1; // COMPLETE
  out.writeUInt16LE(header.compatVersion, at + 37);
  out.writeUInt16LE(0, at + 39);
}

export function decodeMessageHeader(bytes: Uint8Array, at: number): MessageHeader {
  return {
    seq: readU64(bytes, at),
    tid: readU64(bytes, at + 8),
    type: readU16(bytes, at + 16),
    priority: readU16(bytes, at + 18),
    version: readU16(bytes, at + 20),
    compatVersion: readU16(bytes, at + 37),
  };
}

function writeU64(out: Buffer, at: number, value: number): void {
  out.writeUInt32LE(value >>> 0, at);
  out.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/** Sequence numbers and tids beyond 2^53 do not occur; a liar's becomes the largest, and matches nothing. */
function readU64(bytes: Uint8Array, at: number): number {
  const value = readU32(bytes, at + 4) * 0x1_0000_0000 + readU32(bytes, at);
  return value > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : value;
}

// By single bytes: frames are read where they lie, and a DataView for each costs more than it saves.

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}
