/**
 * `checkpoint`: everything but the objects' bytes and the log, as it was at some time.
 *
 *   header        the data file has all contents up to this record of the log
 *   checksums     of the data file's blocks, in pieces
 *   collection    a PG as it was after some record, which may be a later one: info and log
 *   objects       of that collection, in pieces
 *   end
 *
 * A collection is encoded in one turn; between two of them others work, which is why each has its own place in the log.
 * Every section has a checksum. The file is written beside the old one and takes its place when it is complete.
 */

import type { Disk, DiskFile } from '../../../base/environment.js';
import { optional, tuple, u32, u64n, list } from '../../../encoding/codec.js';
import { Decoder, DecodeError } from '../../../encoding/decoder.js';
import { Encoder } from '../../../encoding/encoder.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import { objectKey } from '../object-id.js';
import type { Collection, IndexedObject } from '../object-index.js';
import type { BlockData } from './block-data.js';
import type { BlockSpace } from './block-space.js';
import { objectId, objectIds, objectMeta, pgInfo } from './codecs.js';
import type { EncodedLog } from '../encoded-log.js';
import { CHECKPOINT_FILE, unusable } from './format.js';
import type { Index } from './record.js';

const SECTION = { HEADER: 1, CHECKSUMS: 2, COLLECTION: 3, OBJECTS: 4, END: 5 } as const;
/** u32 kind, u32 payload bytes, u32 crc of the payload. */
const SECTION_HEADER_BYTES = 12;
const PIECE_BYTES = 1024 * 1024;
const CHECKSUMS_PER_PIECE = 64 * 1024;

export interface CheckpointPlace {
  readonly disk: Disk;
  readonly dir: string;
  readonly salt: number;
  readonly crc32c: Crc32c;
}

export interface CheckpointSource {
  readonly index: Index;
  readonly space: BlockSpace;
  /** The data file has all contents up to this record. */
  readonly flushedSeq: number;
  /** The newest record; asked whenever a collection is encoded. */
  readonly seq: () => number;
  /** Lets others work. */
  readonly pause: () => Promise<void>;
  /** Resolves when everything that was encoded is in the log. */
  readonly settled: () => Promise<void>;
}

const optionalInfo = optional(pgInfo);
const pair = tuple(u64n, u64n);
const pairs = list(pair);
const placements = list(tuple(u32, tuple(u32, u32)));

// ---- writing ----

/** Returns its size. */
export async function writeCheckpoint(
  place: CheckpointPlace,
  source: CheckpointSource,
): Promise<number> {
  const { disk, dir } = place;
  const temporary = `${dir}/${CHECKPOINT_FILE}.new`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, { create: true });
  let bytes: number;
  try {
    const writer = new SectionWriter(place, file);
    await writeSections(writer, source);
    await source.settled();
    await file.sync();
    bytes = writer.bytes;
  } catch (error) {
    await file.close();
    await disk.remove(temporary).catch(() => {});
    throw error;
  }
  await file.close();
  await disk.rename(temporary, `${dir}/${CHECKPOINT_FILE}`);
  await disk.syncDir(dir);
  return bytes;
}

async function writeSections(writer: SectionWriter, source: CheckpointSource): Promise<void> {
  const { index, space, flushedSeq, seq, pause } = source;
  const { end } = space;
  await writer.write(SECTION.HEADER, new Encoder().u64n(flushedSeq).u32(end));
  for (let start = 0; start < end; start += CHECKSUMS_PER_PIECE) {
    const count = Math.min(CHECKSUMS_PER_PIECE, end - start);
    const encoder = new Encoder(4 * count + 8).u32(start).u32(count);
    for (const checksum of space.checksums(start, start + count)) encoder.u32(checksum);
    await writer.write(SECTION.CHECKSUMS, encoder);
  }
  for (const name of index.names()) {
    const collection = index.find(name);
    if (!collection) continue;
    for (const { kind, encoder } of encodeCollection(collection, seq())) {
      await writer.write(kind, encoder);
    }
    await pause();
  }
  await writer.write(SECTION.END, new Encoder().u32(writer.sections));
}

function encodeCollection(collection: Collection<BlockData>, seq: number) {
  const head = new Encoder(4096).string(collection.name).u64n(seq);
  optionalInfo.encode(head, collection.info);
  (collection.log as EncodedLog).encode(head);
  objectIds.encode(head, [...collection.missing.values()]);
  const sections: { kind: number; encoder: Encoder }[] = [
    { kind: SECTION.COLLECTION, encoder: head },
  ];
  let objects = new Encoder(4096);
  const endPiece = () => {
    if (objects.length > 0) sections.push({ kind: SECTION.OBJECTS, encoder: objects });
  };
  for (const [, object] of collection.objects.entries()) {
    encodeObject(objects, object);
    if (objects.length < PIECE_BYTES) continue;
    endPiece();
    objects = new Encoder(4096);
  }
  endPiece();
  return sections;
}

function encodeObject(encoder: Encoder, object: IndexedObject<BlockData>): void {
  const { id, meta, data, attributes, omap, omapHeader } = object;
  objectId.encode(encoder, id);
  objectMeta.encode(encoder, meta);
  encoder.u64n(data.size).u32(data.written.count);
  for (const [start, end] of data.written.ranges()) encoder.u64n(start).u64n(end);
  encodeBlocks(encoder, data);
  encoder.u32(attributes?.size ?? 0);
  for (const [name, value] of attributes ?? []) encoder.string(name).blob(value);
  encoder.u32(omap?.size ?? 0);
  for (const [key, value] of omap?.entries() ?? []) encoder.string(key).blob(value);
  encoder.blob(omapHeader);
}

/** Runs that are consecutive in the object and in the data file. */
function encodeBlocks(encoder: Encoder, data: BlockData): void {
  const countAt = encoder.length;
  encoder.u32(0);
  let runs = 0;
  let run = { index: 0, start: 0, count: 0 };
  const endRun = () => {
    if (run.count === 0) return;
    encoder.u32(run.index).u32(run.start).u32(run.count);
    runs++;
  };
  data.map.all((index, block) => {
    if (run.count > 0 && index === run.index + run.count && block === run.start + run.count) {
      run.count++;
      return;
    }
    endRun();
    run = { index, start: block, count: 1 };
  });
  endRun();
  encoder.patchU32(countAt, runs);
}

class SectionWriter {
  readonly #place: CheckpointPlace;
  readonly #file: DiskFile;
  bytes = 0;
  sections = 0;

  constructor(place: CheckpointPlace, file: DiskFile) {
    this.#place = place;
    this.#file = file;
  }

  async write(kind: number, payload: Encoder): Promise<void> {
    const { salt, crc32c } = this.#place;
    const { bytes } = payload;
    const header = new Encoder(SECTION_HEADER_BYTES)
      .u32(kind)
      .u32(bytes.length)
      .u32(crc32c(salt ^ kind, bytes)).bytes;
    await this.#file.write([header, bytes], this.bytes);
    this.bytes += header.length + bytes.length;
    this.sections++;
  }
}

// ---- loading ----

export interface LoadedCheckpoint {
  readonly bytes: number;
  readonly flushedSeq: number;
  /** By collection: the last record that it has. */
  readonly seqs: ReadonlyMap<string, number>;
  /** The newest of all. */
  readonly lastSeq: number;
}

/** Fills index and space; undefined when there is no checkpoint. EIO when it is damaged. */
export async function loadCheckpoint(
  place: CheckpointPlace,
  target: { index: Index; space: BlockSpace },
): Promise<LoadedCheckpoint | undefined> {
  const { disk, dir } = place;
  if (!(await disk.list(dir)).includes(CHECKPOINT_FILE)) return undefined;
  const file = await disk.open(`${dir}/${CHECKPOINT_FILE}`);
  try {
    return new CheckpointReader(place, target, file, await file.size()).load();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw unusable(dir, `has a damaged checkpoint: ${error.message}`);
  } finally {
    await file.close();
  }
}

class CheckpointReader {
  readonly #place: CheckpointPlace;
  readonly #index: Index;
  readonly #space: BlockSpace;
  readonly #file: DiskFile;
  readonly #bytes: number;
  #at = 0;
  #flushedSeq = 0;
  #lastSeq = 0;
  readonly #seqs = new Map<string, number>();
  #collection: Collection<BlockData> | undefined;

  constructor(
    place: CheckpointPlace,
    { index, space }: { index: Index; space: BlockSpace },
    file: DiskFile,
    bytes: number,
  ) {
    this.#place = place;
    this.#index = index;
    this.#space = space;
    this.#file = file;
    this.#bytes = bytes;
  }

  load(): LoadedCheckpoint {
    for (let sections = 0; ; sections++) {
      const { kind, decoder } = this.#section();
      if (kind === SECTION.END) {
        if (decoder.u32() !== sections) throw new DecodeError('sections are missing', this.#at);
        break;
      }
      this.#read(kind, decoder);
      decoder.finish(`section ${kind}`);
    }
    return {
      bytes: this.#bytes,
      flushedSeq: this.#flushedSeq,
      seqs: this.#seqs,
      lastSeq: this.#lastSeq,
    };
  }

  #section(): { kind: number; decoder: Decoder } {
    const { salt, crc32c } = this.#place;
    const header = new Decoder(this.#take(SECTION_HEADER_BYTES));
    const kind = header.u32();
    const length = header.u32();
    const crc = header.u32();
    const at = this.#at;
    const payload = this.#take(length);
    if (crc32c(salt ^ kind, payload) !== crc) throw new DecodeError('a wrong checksum', at);
    return { kind, decoder: new Decoder(payload) };
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes - this.#at) throw new DecodeError('it is cut short', this.#at);
    const bytes = Buffer.allocUnsafe(length);
    if (this.#file.read(bytes, this.#at) < length)
      throw new DecodeError('it is cut short', this.#at);
    this.#at += length;
    return bytes;
  }

  #read(kind: number, decoder: Decoder): void {
    switch (kind) {
      case SECTION.HEADER:
        this.#flushedSeq = decoder.u64n();
        this.#lastSeq = this.#flushedSeq;
        decoder.u32();
        return;
      case SECTION.CHECKSUMS: {
        const start = decoder.u32();
        const count = decoder.count(4);
        const checksums = Uint32Array.from({ length: count }, () => decoder.u32());
        this.#space.restoreChecksums(start, checksums);
        return;
      }
      case SECTION.COLLECTION: {
        const collection = this.#index.ensure(decoder.string());
        const seq = decoder.u64n();
        this.#seqs.set(collection.name, seq);
        this.#lastSeq = Math.max(this.#lastSeq, seq);
        collection.info = optionalInfo.decode(decoder);
        (collection.log as EncodedLog).restore(decoder);
        // Format 1 knew of no missing objects.
        const missing = decoder.remaining > 0 ? objectIds.decode(decoder) : [];
        for (const id of missing) collection.missing.set(objectKey(id), id);
        this.#collection = collection;
        return;
      }
      case SECTION.OBJECTS:
        if (!this.#collection) throw new DecodeError('objects of no collection', this.#at);
        while (decoder.remaining > 0) this.#object(this.#collection, decoder);
        return;
      default:
        throw new DecodeError(`a section of kind ${kind}`, this.#at);
    }
  }

  #object(collection: Collection<BlockData>, decoder: Decoder): void {
    const object = this.#index.ensureObject(collection, objectId.decode(decoder));
    object.meta = objectMeta.decode(decoder);
    const size = decoder.u64n();
    for (const [start, end] of pairs.decode(decoder)) object.data.written.add(start, end);
    for (const [index, [start, count]] of placements.decode(decoder)) {
      object.data.restorePlacement({ index, start, count });
    }
    object.data.restoreSize(size);
    const attributes = decoder.count(8);
    for (let i = 0; i < attributes; i++) {
      const name = decoder.string();
      object.ownAttributes().set(name, new Uint8Array(decoder.blob()));
    }
    const keys = decoder.count(8);
    for (let i = 0; i < keys; i++) {
      const key = decoder.string();
      object.ownOmap().set(key, new Uint8Array(decoder.blob()));
    }
    object.omapHeader = new Uint8Array(decoder.blob());
  }
}
