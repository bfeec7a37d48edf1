/**
 * One transaction as the log has it:
 *
 *   u32 length   what it did to the index: its operations, with where the bytes of writes were put
 *   arrivals     the blocks that it wrote to the data file, with their checksums
 *   images       the blocks that it changed, as they are after it: perhaps an arrived one, which it then changed
 *
 * The halves are replayed apart: a checkpoint that is newer than a record has what the record did to the index, and may
 * still lack its images.
 */

import { Decoder, DecodeError } from '../../../encoding/decoder.js';
import type { Encoder } from '../../../encoding/encoder.js';
import type { ObjectId } from '../object-id.js';
import type { Collection, ObjectIndex, PlainOp } from '../object-index.js';
import type { ObjectDump, StoreOp } from '../transaction.js';
import type { BlockData, Placement } from './block-data.js';
import { BLOCK_BYTES } from './block-space.js';
import { logEntry, objectId, objectIds, objectMeta, pgInfo } from './codecs.js';
import type { BlockChanges, DataFile } from './data-file.js';
import type { EncodedLog } from '../encoded-log.js';

/** What a record is about. Numbers are part of the format. */
const KIND = { TRANSACTION: 1, REMOVE_COLLECTION: 2, MOVE: 3 } as const;

const OP = {
  touch: 1,
  write: 2,
  zero: 3,
  truncate: 4,
  remove: 5,
  clone: 6,
  setXattr: 7,
  removeXattr: 8,
  omapSet: 9,
  omapRemove: 10,
  omapRemoveRange: 11,
  omapClear: 12,
  omapHeader: 13,
  setMeta: 14,
  install: 15,
  pgInfo: 16,
  log: 17,
  replaceLog: 18,
  removeAll: 19,
  missing: 20,
} as const satisfies Record<StoreOp['op'], number>;

/** In place of an object that the record named before. */
const SAME_OBJECT = 0;
const NEW_OBJECT = 1;

/** Blocks of one object that have moved within the data file. */
export interface MovedBlocks {
  readonly id: ObjectId;
  readonly moves: readonly { index: number; to: number }[];
}

export type Index = ObjectIndex<BlockData>;

// ---- writing ----

/** Writes a record while what it tells of happens. */
export class RecordWriter {
  readonly #file: DataFile;
  readonly #placements: Placement[];
  #lastId: ObjectId | undefined;

  constructor(file: DataFile, placements: Placement[]) {
    this.#file = file;
    this.#placements = placements;
  }

  /** Applies the operations to the index, and writes them. Returns what became of the blocks. */
  transaction(
    encoder: Encoder,
    index: Index,
    collection: Collection<BlockData>,
    ops: readonly StoreOp[],
  ): BlockChanges {
    const start = this.#begin(encoder, KIND.TRANSACTION, collection.name);
    encoder.u32(ops.length);
    for (const op of ops) this.#apply(encoder, index, collection, op);
    return this.#finish(encoder, start);
  }

  removeCollection(encoder: Encoder, index: Index, name: string): BlockChanges {
    const start = this.#begin(encoder, KIND.REMOVE_COLLECTION, name);
    index.removeCollection(name);
    return this.#finish(encoder, start);
  }

  moves(
    encoder: Encoder,
    index: Index,
    collection: string,
    moved: readonly MovedBlocks[],
  ): BlockChanges {
    const start = this.#begin(encoder, KIND.MOVE, collection);
    encoder.u32(moved.length);
    for (const { id, moves } of moved) {
      this.#id(encoder, id);
      encoder.u32(moves.length);
      const data = index.get(collection, id)?.data;
      for (const { index: at, to } of moves) {
        encoder.u32(at).u32(to);
        data?.move(at, to);
      }
    }
    return this.#finish(encoder, start);
  }

  #begin(encoder: Encoder, kind: number, collection: string): number {
    this.#lastId = undefined;
    const start = encoder.length;
    encoder.u32(0).u8(kind).string(collection);
    return start;
  }

  #finish(encoder: Encoder, start: number): BlockChanges {
    encoder.patchU32(start, encoder.length - start - 4);
    const changes = this.#file.takeChanges();
    writeBlocks(encoder, this.#file, changes);
    return changes;
  }

  #apply(encoder: Encoder, index: Index, collection: Collection<BlockData>, op: StoreOp): void {
    encoder.u8(OP[op.op]);
    switch (op.op) {
      case 'write':
        index.apply(collection, op);
        this.#id(encoder, op.id);
        encoder.u64n(op.offset).u64n(op.data.length);
        this.#placed(encoder);
        break;
      case 'install':
        index.apply(collection, op);
        this.#install(encoder, op.object);
        break;
      case 'log':
        encoder.blob((collection.log as EncodedLog).appended(op.entry));
        break;
      default:
        index.applyPlain(collection, op);
        this.#plain(encoder, op);
    }
  }

  #plain(encoder: Encoder, op: PlainOp): void {
    switch (op.op) {
      case 'pgInfo':
        pgInfo.encode(encoder, op.info);
        return;
      case 'replaceLog':
        encoder.u32(op.entries.length);
        for (const entry of op.entries) logEntry.encode(encoder, entry);
        return;
      case 'removeAll':
        return;
      case 'missing':
        objectIds.encode(encoder, op.add as ObjectId[]);
        objectIds.encode(encoder, op.remove as ObjectId[]);
        return;
      case 'clone':
        this.#id(encoder, op.from);
        this.#id(encoder, op.to);
        return;
      default:
        this.#id(encoder, op.id);
    }
    switch (op.op) {
      case 'zero':
        encoder.u64n(op.offset).u64n(op.length);
        break;
      case 'truncate':
        encoder.u64n(op.size);
        break;
      case 'setXattr':
        encoder.string(op.name).blob(op.value);
        break;
      case 'removeXattr':
        encoder.string(op.name);
        break;
      case 'omapSet':
        writePairs(encoder, op.values);
        break;
      case 'omapRemove':
        encoder.u32(op.keys.length);
        for (const key of op.keys) encoder.string(key);
        break;
      case 'omapRemoveRange':
        encoder.string(op.begin).string(op.end);
        break;
      case 'omapHeader':
        encoder.blob(op.header);
        break;
      case 'setMeta':
        objectMeta.encode(encoder, op.meta);
        break;
      case 'touch':
      case 'remove':
      case 'omapClear':
        break;
    }
  }

  #install(encoder: Encoder, object: ObjectDump): void {
    const { id, meta, data, damaged = [], xattrs, omap, omapHeader } = object;
    this.#id(encoder, id);
    objectMeta.encode(encoder, meta);
    encoder.u64n(data.size);
    writeRanges(encoder, [...data.extents(0, data.size), ...damaged]);
    this.#placed(encoder);
    writePairs(encoder, [...xattrs]);
    writePairs(encoder, omap);
    encoder.blob(omapHeader);
  }

  #placed(encoder: Encoder): void {
    encoder.u32(this.#placements.length);
    for (const { index, start, count } of this.#placements)
      encoder.u32(index).u32(start).u32(count);
    this.#placements.length = 0;
  }

  #id(encoder: Encoder, id: ObjectId): void {
    if (id === this.#lastId) {
      encoder.u8(SAME_OBJECT);
      return;
    }
    this.#lastId = id;
    encoder.u8(NEW_OBJECT);
    objectId.encode(encoder, id);
  }
}

function writePairs(encoder: Encoder, pairs: readonly (readonly [string, Uint8Array])[]): void {
  encoder.u32(pairs.length);
  for (const [name, value] of pairs) encoder.string(name).blob(value);
}

function writeRanges(encoder: Encoder, ranges: readonly (readonly [number, number])[]): void {
  encoder.u32(ranges.length);
  for (const [offset, length] of ranges) encoder.u64n(offset).u64n(length);
}

function writeBlocks(encoder: Encoder, file: DataFile, { changed, arrived }: BlockChanges): void {
  encoder.u32(arrived.length);
  for (const { start, count } of arrived) {
    encoder.u32(start).u32(count);
    for (let i = 0; i < count; i++) encoder.u32(file.space.checksum(start + i));
  }
  const countAt = encoder.length;
  let images = 0;
  encoder.u32(0);
  for (const block of changed) {
    const content = file.changedContent(block);
    if (!content) continue;
    encoder.u32(block).blob(content);
    images++;
  }
  encoder.patchU32(countAt, images);
}

// ---- replaying ----

export interface Replay {
  readonly index: Index;
  readonly file: DataFile;
  /** Whether the collection, as it was loaded, has what the record did to it. */
  readonly hasChange: (collection: string) => boolean;
  /** Whether the data file has the contents. */
  readonly hasBlocks: boolean;
}

/** Does again what a record tells of. DecodeError when it tells nonsense. */
export function replayRecord(decoder: Decoder, replay: Replay): void {
  const inner = new Decoder(decoder.blob());
  const kind = inner.u8();
  const collection = inner.string();
  if (!replay.hasChange(collection)) {
    new RecordReader(inner, replay.index).run(kind, collection);
    inner.finish('record');
  }
  replayBlocks(decoder, replay.hasBlocks ? undefined : replay.file);
}

function replayBlocks(decoder: Decoder, file: DataFile | undefined): void {
  const arrivals = decoder.count(8);
  for (let i = 0; i < arrivals; i++) {
    const start = decoder.u32();
    const count = decoder.count(4);
    for (let k = 0; k < count; k++) {
      const checksum = decoder.u32();
      file?.restoreArrived(start + k, checksum);
    }
  }
  const images = decoder.count(8);
  for (let i = 0; i < images; i++) {
    const block = decoder.u32();
    const content = decoder.blob();
    if (content.length > BLOCK_BYTES) throw new DecodeError('an image too long', decoder.offset);
    file?.restore(block, content);
  }
}

class RecordReader {
  readonly #decoder: Decoder;
  readonly #index: Index;
  #lastId: ObjectId | undefined;

  constructor(decoder: Decoder, index: Index) {
    this.#decoder = decoder;
    this.#index = index;
  }

  run(kind: number, name: string): void {
    switch (kind) {
      case KIND.TRANSACTION: {
        const collection = this.#index.ensure(name);
        const ops = this.#decoder.count(1);
        for (let i = 0; i < ops; i++) this.#op(collection);
        return;
      }
      case KIND.REMOVE_COLLECTION:
        this.#index.removeCollection(name);
        return;
      case KIND.MOVE:
        this.#moves(name);
        return;
      default:
        throw new DecodeError(`record of kind ${kind}`, this.#decoder.offset);
    }
  }

  #moves(collection: string): void {
    const decoder = this.#decoder;
    const objects = decoder.count(5);
    for (let i = 0; i < objects; i++) {
      const data = this.#index.get(collection, this.#id())?.data;
      const moves = decoder.count(8);
      for (let k = 0; k < moves; k++) {
        const moved = { index: decoder.u32(), start: decoder.u32(), count: 1 };
        data?.restorePlacement(moved);
      }
    }
  }

  #op(collection: Collection<BlockData>): void {
    const decoder = this.#decoder;
    const code = decoder.u8();
    switch (code) {
      case OP.write: {
        const { data } = this.#index.ensureObject(collection, this.#id());
        const offset = decoder.u64n();
        const length = decoder.u64n();
        data.restoreWrite(offset, length, this.#placements());
        return;
      }
      case OP.install:
        this.#installed(collection);
        return;
      case OP.log:
        (collection.log as EncodedLog).appendEncoded(decoder.blob());
        return;
      default:
        this.#index.applyPlain(collection, this.#plain(code));
    }
  }

  #plain(code: number): PlainOp {
    const decoder = this.#decoder;
    switch (code) {
      case OP.pgInfo:
        return { op: 'pgInfo', info: pgInfo.decode(decoder) };
      case OP.replaceLog: {
        const count = decoder.count(logEntry.minBytes);
        const entries = Array.from({ length: count }, () => logEntry.decode(decoder));
        return { op: 'replaceLog', entries };
      }
      case OP.removeAll:
        return { op: 'removeAll' };
      case OP.missing: {
        const add = objectIds.decode(decoder);
        return { op: 'missing', add, remove: objectIds.decode(decoder) };
      }
      case OP.clone: {
        const from = this.#id();
        return { op: 'clone', from, to: this.#id() };
      }
    }
    const id = this.#id();
    switch (code) {
      case OP.touch:
        return { op: 'touch', id };
      case OP.remove:
        return { op: 'remove', id };
      case OP.omapClear:
        return { op: 'omapClear', id };
      case OP.zero: {
        const offset = decoder.u64n();
        return { op: 'zero', id, offset, length: decoder.u64n() };
      }
      case OP.truncate:
        return { op: 'truncate', id, size: decoder.u64n() };
      case OP.setXattr: {
        const name = decoder.string();
        return { op: 'setXattr', id, name, value: copyOf(decoder.blob()) };
      }
      case OP.removeXattr:
        return { op: 'removeXattr', id, name: decoder.string() };
      case OP.omapSet:
        return { op: 'omapSet', id, values: readPairs(decoder) };
      case OP.omapRemove: {
        const count = decoder.count(4);
        return {
          op: 'omapRemove',
          id,
          keys: Array.from({ length: count }, () => decoder.string()),
        };
      }
      case OP.omapRemoveRange: {
        const begin = decoder.string();
        return { op: 'omapRemoveRange', id, begin, end: decoder.string() };
      }
      case OP.omapHeader:
        return { op: 'omapHeader', id, header: copyOf(decoder.blob()) };
      case OP.setMeta:
        return { op: 'setMeta', id, meta: objectMeta.decode(decoder) };
      default:
        throw new DecodeError(`operation ${code}`, decoder.offset);
    }
  }

  #installed(collection: Collection<BlockData>): void {
    const decoder = this.#decoder;
    const id = this.#id();
    this.#index.apply(collection, { op: 'remove', id });
    const object = this.#index.ensureObject(collection, id);
    object.meta = objectMeta.decode(decoder);
    const size = decoder.u64n();
    const extents = readRanges(decoder);
    for (const placement of this.#placements()) object.data.restorePlacement(placement);
    for (const [offset, length] of extents) object.data.restoreWrite(offset, length, []);
    object.data.restoreSize(size);
    for (const [name, value] of readPairs(decoder)) object.ownAttributes().set(name, value);
    for (const [key, value] of readPairs(decoder)) object.ownOmap().set(key, value);
    object.omapHeader = copyOf(decoder.blob());
  }

  #placements(): Placement[] {
    const decoder = this.#decoder;
    const count = decoder.count(12);
    return Array.from({ length: count }, () => ({
      index: decoder.u32(),
      start: decoder.u32(),
      count: decoder.u32(),
    }));
  }

  #id(): ObjectId {
    const what = this.#decoder.u8();
    if (what === NEW_OBJECT) this.#lastId = objectId.decode(this.#decoder);
    if (!this.#lastId) throw new DecodeError('an object without a name', this.#decoder.offset);
    return this.#lastId;
  }
}

/** Values outlive the log that they are read from. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function readPairs(decoder: Decoder): [string, Uint8Array][] {
  const count = decoder.count(8);
  return Array.from({ length: count }, () => [decoder.string(), copyOf(decoder.blob())]);
}

function readRanges(decoder: Decoder): [number, number][] {
  const count = decoder.count(16);
  return Array.from({ length: count }, () => [decoder.u64n(), decoder.u64n()]);
}
