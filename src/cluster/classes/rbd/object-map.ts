/** Class `rbd`, object maps: which objects of an image exist, and which changed since the last snapshot. */

import { optional, u8 } from '../../../encoding/codec.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import {
  BitVector,
  BLOCK_BYTES,
  blockCrcs,
  blockRange,
  decodeHeader,
  footerOffsets,
  getElement,
  HEADER_BYTES,
  setElement,
} from './bit-vector.js';

const EXISTS = 1;
const EXISTS_CLEAN = 3;
const ELEMENTS_PER_BLOCK = BLOCK_BYTES * 4;

/** 1 PiB of 4 MiB objects: a bound on memory, not on images. */
const MAX_OBJECTS = 256_000_000;

/** EINVAL when corrupt, ENOENT when missing or empty. */
function readMap(object: ClassObject): BitVector {
  if (object.size === 0) throw new ClassError('ENOENT');
  return BitVector.decode(new Decoder(object.readAll()), object.crc32c);
}

const save = writeMethod((object, input) => {
  object.writeFull(BitVector.decode(input, object.crc32c).encode(object.crc32c));
});

const resize = writeMethod((object, input) => {
  const count = input.u64();
  const state = input.u8();
  if (count > BigInt(MAX_OBJECTS)) throw new ClassError('EINVAL');
  const size = Number(count);
  const map = object.exists && object.size > 0 ? readMap(object) : new BitVector();
  for (let i = size; i < map.size; i++) {
    if (map.get(i) !== state) throw new ClassError('ESTALE', `object ${i} still exists`);
  }
  map.resize(size, state);
  object.writeFull(map.encode(object.crc32c));
});

/** Reads and writes the touched blocks only: a map may be tens of megabytes. */
const update = writeMethod((object, input) => {
  const start = input.u64();
  const end = input.u64();
  const state = input.u8();
  const current = optional(u8).decode(input);
  if (!object.exists) throw new ClassError('ENOENT');
  const size = decodeHeader(object.read(0, HEADER_BYTES));
  if (start >= end || end > BigInt(size)) throw new ClassError('ERANGE');

  const blocks = blockRange(size, Number(start), Number(end));
  const crcsAt = footerOffsets(size).blockCrcs + 4 * blocks.first;
  const data = object.read(HEADER_BYTES + blocks.from, blocks.to - blocks.from);
  const crcs = object.read(crcsAt, 4 * blocks.count);
  if (Buffer.compare(blockCrcs(data, object.crc32c), crcs) !== 0) {
    throw new DecodeError('block checksum', HEADER_BYTES + blocks.from);
  }

  const base = blocks.first * ELEMENTS_PER_BLOCK;
  let changed = false;
  for (let i = Number(start) - base; i < Number(end) - base; i++) {
    const before = getElement(data, i);
    const matches =
      current === undefined ||
      before === current ||
      (current === EXISTS && before === EXISTS_CLEAN);
    if (!matches || before === state) continue;
    setElement(data, i, state);
    changed = true;
  }
  if (!changed) return;
  object.write(HEADER_BYTES + blocks.from, data);
  object.write(crcsAt, blockCrcs(data, object.crc32c));
});

/** After a snapshot, what existed is unchanged since it. */
const snapAdd = writeMethod((object) => {
  const map = readMap(object);
  let changed = false;
  for (let i = 0; i < map.size; i++) {
    if (map.get(i) !== EXISTS) continue;
    map.set(i, EXISTS_CLEAN);
    changed = true;
  }
  if (changed) object.writeFull(map.encode(object.crc32c));
});

/** A snapshot goes: what was dirty in it is dirty in the next version. */
const snapRemove = writeMethod((object, input) => {
  const removed = BitVector.decode(input, object.crc32c);
  const map = readMap(object);
  let changed = false;
  for (let i = 0; i < map.size; i++) {
    if (map.get(i) !== EXISTS_CLEAN) continue;
    if (i < removed.size && removed.get(i) !== EXISTS) continue;
    map.set(i, EXISTS);
    changed = true;
  }
  if (changed) object.writeFull(map.encode(object.crc32c));
});

export const objectMapMethods = {
  object_map_load: readMethod((object) => readMap(object).encode()),
  object_map_save: save,
  object_map_resize: resize,
  object_map_update: update,
  object_map_snap_add: snapAdd,
  object_map_snap_remove: snapRemove,
};
