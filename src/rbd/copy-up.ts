/** What a copy-up carries: the parent's bytes of one object, as few as do it (`librbd/io/CopyupRequest.cc`). */

import type { OsdOp } from '../messages/osd-op.js';
import { sparseCopyup } from '../rados/cls-rbd.js';

/** Zeros are left out by blocks of this many bytes, as file systems and OSDs allocate them. */
const BLOCK = 4096;
const ZEROS = Buffer.alloc(BLOCK);

export interface CopiedUp {
  readonly op: OsdOp;
  /** Empty: the parent has nothing but zeros there, or nothing that is not overwritten. */
  readonly data: Uint8Array;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** `bytes` from the object's start on, less what is `overwritten` and whole blocks of zeros. */
export function copiedUp(bytes: Buffer, overwritten: ByteRange | undefined): CopiedUp {
  const extents = dataExtents(bytes).flatMap((extent) => without(extent, overwritten));
  const parts = extents.map(({ offset, length }) => bytes.subarray(offset, offset + length));
  const data = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  const pairs = extents.map(({ offset, length }) => [offset, length] as const);
  return { op: sparseCopyup(pairs, data).op, data };
}

/** The blocks that are not all zeros, neighbours as one. */
function dataExtents(bytes: Buffer): ByteRange[] {
  const extents: { offset: number; length: number }[] = [];
  for (let offset = 0; offset < bytes.length; offset += BLOCK) {
    const length = Math.min(BLOCK, bytes.length - offset);
    if (bytes.compare(ZEROS, 0, length, offset, offset + length) === 0) continue;
    const last = extents.at(-1);
    if (last && last.offset + last.length === offset) last.length += length;
    else extents.push({ offset, length });
  }
  return extents;
}

function without(extent: ByteRange, hole: ByteRange | undefined): ByteRange[] {
  if (!hole) return [extent];
  const end = extent.offset + extent.length;
  const holeEnd = hole.offset + hole.length;
  if (holeEnd <= extent.offset || hole.offset >= end) return [extent];
  const left = { offset: extent.offset, length: Math.max(0, hole.offset - extent.offset) };
  const right = { offset: holeEnd, length: Math.max(0, end - holeEnd) };
  return [left, right].filter(({ length }) => length > 0);
}
