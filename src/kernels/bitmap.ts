/**
 * An object map in WASM memory, in Ceph's own packing, with the kernels as methods (assembly/bitmap.ts, bitmap-runs.ts).
 *
 * Object numbers and ranges `[start, end)` that are not within the map are a RangeError.
 */

import { copyBytes } from '../base/copy-bytes.js';
import { RadosError } from '../base/errors.js';
import { DecodeError } from '../encoding/decoder.js';
import {
  bitVectorLayout,
  CRC_BLOCK_BYTES,
  crcBlocks,
  dataBytes,
  encodeFooter,
  encodeHeader,
  HEADER_BYTES,
  NO_FOOTER,
  OBJECTS_PER_BYTE,
} from './bitmap-codec.js';
import type { BitmapMemory, Region } from './bitmap-memory.js';
import { type DiffClass, Runs } from './bitmap-runs.js';
import {
  OBJECT_STATE,
  type ObjectState,
  OBJECTS_MAX,
  type StateCounts,
  type StateSet,
  setOf,
  statesMatching,
} from './object-state.js';

/** What kernels look at together; a map's data begins on such a block and is followed by zeros up to the next. */
const BLOCK_BYTES = 64;
/** Before the data: room for the header of what is decoded in place. */
const PREFIX_BYTES = 64;
const NO_BYTES = new Uint8Array(0);

/** Classes of the states, two bits each: every state its own. */
const BY_STATE = 0b11_10_01_00;
/** States of a chain of diffs that are reported. */
const UPDATED = 0b11_10_00_00;
/** All that may exist; in a chain of diffs, all that are not a hole from the start to the end: as one class. */
const OCCUPIED = 0b01_01_01_00;

export class ObjectBitmap {
  readonly memory: BitmapMemory;
  #region: Region;
  #objectCount: number;
  /** The data alone. */
  #bytes: Uint8Array;

  private constructor(memory: BitmapMemory, region: Region, objectCount: number) {
    this.memory = memory;
    this.#region = region;
    this.#objectCount = objectCount;
    this.#bytes = dataView(region, objectCount);
  }

  /** All objects in `state`. EINVAL: more than 256,000,000; ENOMEM: the memory is full. */
  static allocate(
    memory: BitmapMemory,
    objectCount: number,
    state: ObjectState = OBJECT_STATE.NONEXISTENT,
  ): ObjectBitmap {
    checkObjectCount(objectCount);
    const region = memory.take(PREFIX_BYTES + paddedBytes(objectCount));
    region.bytes.fill(0, PREFIX_BYTES, PREFIX_BYTES + paddedBytes(objectCount));
    const bitmap = new ObjectBitmap(memory, region, objectCount);
    if (state !== OBJECT_STATE.NONEXISTENT) bitmap.fill(0, objectCount, state);
    return bitmap;
  }

  /**
   * From an encoded map, which is copied. A footer is verified if there is one. Throws DecodeError when it is corrupt,
   * ENOMEM when the memory is full.
   */
  static decode(memory: BitmapMemory, encoded: Uint8Array): ObjectBitmap {
    const staged = new StagedBitmap(memory, encoded.length);
    copyBytes(staged.bytes, encoded);
    return staged.decode();
  }

  /** @internal From what was verified in `region`, whose data begins after the prefix. */
  static adopt(memory: BitmapMemory, region: Region, objectCount: number): ObjectBitmap {
    const bitmap = new ObjectBitmap(memory, region, objectCount);
    bitmap.#clearBeyondEnd(region.bytes.length - PREFIX_BYTES);
    return bitmap;
  }

  get objectCount(): number {
    return this.#objectCount;
  }

  /** Of the data in `memory`; another after a `resize`. RangeError after `free`. */
  get address(): number {
    if (this.#region.address === 0) throw new RangeError('the object map was freed');
    return this.#region.address + PREFIX_BYTES;
  }

  /** @internal Where it lies, to be pinned while another thread uses it. */
  get region(): Region {
    return this.#region;
  }

  /** Gives the memory back. Safe to call twice; any other use afterwards is a RangeError. */
  free(): void {
    if (this.#region.bytes.length === 0) return;
    this.memory.give(this.#region);
    this.#region = { address: 0, bytes: NO_BYTES };
    this.#bytes = NO_BYTES;
    this.#objectCount = 0;
  }

  // ---- one object ----

  get(objectNo: number): ObjectState {
    const byte = this.#bytes[objectNo >>> 2];
    if (byte === undefined || !(objectNo < this.#objectCount && objectNo >= 0)) {
      throw new RangeError(`object ${objectNo} is not one of ${this.#objectCount}`);
    }
    return ((byte >>> ((~objectNo & 3) << 1)) & 3) as ObjectState;
  }

  set(objectNo: number, state: ObjectState): void {
    const byte = this.#bytes[objectNo >>> 2];
    if (byte === undefined || !(objectNo < this.#objectCount && objectNo >= 0)) {
      throw new RangeError(`object ${objectNo} is not one of ${this.#objectCount}`);
    }
    const shift = (~objectNo & 3) << 1;
    this.#bytes[objectNo >>> 2] = (byte & ~(3 << shift)) | (state << shift);
  }

  // ---- questions ----

  count(start = 0, end = this.#objectCount): StateCounts {
    this.#check(start, end);
    const { exports, counts, countsAddress } = this.memory;
    exports.bitmapCount(this.address, start, end, countsAddress);
    return {
      nonexistent: counts[0]!,
      exists: counts[1]!,
      pending: counts[2]!,
      existsClean: counts[3]!,
    };
  }

  /** The first object from `start` on and before `end` whose state is in the set, or -1. */
  next(states: StateSet, start = 0, end = this.#objectCount): number {
    this.#check(start, end);
    return this.memory.exports.bitmapNext(this.address, start, end, states);
  }

  /** Whether `update` would change anything. */
  wouldUpdate(start: number, end: number, state: ObjectState, current?: ObjectState): boolean {
    return this.next(statesMatching(current) & ~setOf(state), start, end) >= 0;
  }

  /**
   * Runs by class, `classes` having two bits for each state: those of state s at 2s. Class 0 is left out.
   * By default each state is its own class, and NONEXISTENT is left out.
   */
  runs<Class extends number = ObjectState>(
    classes = BY_STATE,
    start = 0,
    end = this.#objectCount,
  ): Runs<Class> {
    this.#check(start, end);
    return new Runs(this.memory, start, end, {
      kernel: 'bitmapRuns',
      maps: [this],
      args: () => [this.address, classes],
    });
  }

  /** Runs of objects that may exist. */
  occupied(start = 0, end = this.#objectCount): Runs<1> {
    return this.runs<1>(OCCUPIED, start, end);
  }

  // ---- changes ----

  fill(start: number, end: number, state: ObjectState): void {
    this.#check(start, end);
    this.memory.exports.bitmapFill(this.address, start, end, state);
  }

  /**
   * As class method `object_map_update`: puts into `state` the objects in state `current`, or all; `current` EXISTS means
   * EXISTS_CLEAN too. Returns how many changed.
   */
  update(start: number, end: number, state: ObjectState, current?: ObjectState): number {
    return this.replace(statesMatching(current), state, start, end);
  }

  /** Puts the objects whose state is in the set into `state`. Returns how many changed. */
  replace(states: StateSet, state: ObjectState, start = 0, end = this.#objectCount): number {
    this.#check(start, end);
    return this.memory.exports.bitmapReplace(this.address, start, end, states, state) >>> 0;
  }

  /** After a snapshot was taken (`object_map_snap_add`): what is EXISTS becomes EXISTS_CLEAN. Returns how many did. */
  snapshotAdded(): number {
    return this.replace(setOf(OBJECT_STATE.EXISTS), OBJECT_STATE.EXISTS_CLEAN);
  }

  /**
   * The snapshot before this map is removed (`object_map_snap_remove`): what was EXISTS in its map `removed`, or is beyond
   * its end, is EXISTS here where it was EXISTS_CLEAN. Returns how many changed.
   */
  snapshotRemoved(removed: ObjectBitmap): number {
    const both = Math.min(this.#objectCount, removed.#objectCount);
    const { exports } = this.memory;
    const merged = exports.bitmapMerge(this.address, removed.address, blocksOf(both)) >>> 0;
    return merged + this.replace(setOf(OBJECT_STATE.EXISTS_CLEAN), OBJECT_STATE.EXISTS, both);
  }

  /** Objects beyond the old end are in `state`. EINVAL, ENOMEM as `allocate`; then it is as before. */
  resize(objectCount: number, state: ObjectState = OBJECT_STATE.NONEXISTENT): void {
    checkObjectCount(objectCount);
    const before = this.#objectCount;
    const from = PREFIX_BYTES + paddedBytes(before);
    const to = PREFIX_BYTES + paddedBytes(objectCount);
    if (to > this.#region.bytes.length) {
      const region = this.memory.take(to);
      copyBytes(region.bytes, this.#region.bytes.subarray(0, from));
      this.memory.give(this.#region);
      this.#region = region;
    }
    if (to > from) this.#region.bytes.fill(0, from, to);
    this.#objectCount = objectCount;
    this.#bytes = dataView(this.#region, objectCount);
    if (objectCount < before) this.#clearBeyondEnd(paddedBytes(before));
    else if (state !== OBJECT_STATE.NONEXISTENT) this.fill(before, objectCount, state);
  }

  /** A copy in the same memory. */
  clone(): ObjectBitmap {
    const region = this.memory.take(PREFIX_BYTES + paddedBytes(this.#objectCount));
    const length = PREFIX_BYTES + paddedBytes(this.#objectCount);
    copyBytes(region.bytes, this.#region.bytes.subarray(0, length));
    return new ObjectBitmap(this.memory, region, this.#objectCount);
  }

  // ---- encoding ----

  /** With checksums, as it is stored; or without, as arguments of class methods may be. */
  encode({ checksums = true }: { checksums?: boolean } = {}): Uint8Array {
    if (!checksums) return this.encodeWith(undefined);
    const { exports, entriesAddress, entries } = this.memory;
    exports.bitVectorChecksums(this.address, this.#bytes.length, entriesAddress);
    return this.encodeWith(entries.subarray(0, crcBlocks(this.#objectCount)));
  }

  /** @internal `sums`: crc32c of each block of the data. */
  encodeWith(sums: Uint32Array | undefined): Uint8Array {
    const data = this.#bytes;
    const header = encodeHeader(this.#objectCount);
    const footer = sums ? encodeFooter(this.#checksumOf(header.subarray(4)), sums) : NO_FOOTER;
    const encoded = Buffer.allocUnsafe(header.length + data.length + footer.length);
    encoded.set(header);
    copyBytes(encoded, data, header.length);
    encoded.set(footer, header.length + data.length);
    return encoded;
  }

  /** Of a header, in a place that nothing else needs just now. */
  #checksumOf(bytes: Uint8Array): number {
    const { exports, cursorAddress, memory } = this.memory;
    new Uint8Array(memory.buffer, cursorAddress, bytes.length).set(bytes);
    return exports.crc32c(0, cursorAddress, bytes.length) >>> 0;
  }

  /** Invariant: what is beyond the last object is zero, up to the end of its block of 64 bytes. */
  #clearBeyondEnd(dirtyBytes: number): void {
    const used = dataBytes(this.#objectCount);
    const data = this.#region.bytes.subarray(PREFIX_BYTES);
    data.fill(0, used, Math.max(dirtyBytes, paddedBytes(this.#objectCount)));
    const inLast = this.#objectCount % OBJECTS_PER_BYTE;
    if (inLast > 0) data[used - 1] = data[used - 1]! & (0xff << (2 * (OBJECTS_PER_BYTE - inLast)));
  }

  #check(start: number, end: number): void {
    checkRange(start, end, this.#objectCount);
  }
}

/**
 * Room for an encoded map of known length, to be read into: it becomes the map where it lies, with no copy. Either `decode` or
 * `discard` has to be called.
 */
export class StagedBitmap {
  readonly #memory: BitmapMemory;
  readonly #region: Region;
  /** To be filled. */
  readonly bytes: Uint8Array;

  /** ENOMEM: the memory is full. */
  constructor(memory: BitmapMemory, byteLength: number) {
    const at = PREFIX_BYTES - HEADER_BYTES;
    this.#memory = memory;
    this.#region = memory.take(at + byteLength + BLOCK_BYTES);
    this.bytes = this.#region.bytes.subarray(at, at + byteLength);
  }

  /** Whether these bytes are its own, and all of them. */
  isFilledBy({ buffer, byteOffset, length }: Uint8Array): boolean {
    const { bytes } = this;
    return buffer === bytes.buffer && byteOffset === bytes.byteOffset && length === bytes.length;
  }

  /** Throws DecodeError when it is corrupt; then the room is given back. */
  decode(): ObjectBitmap {
    const checks = this.open();
    const { exports } = this.#memory;
    const { dataAddress, dataLength, sumsAddress } = checks;
    const isUnchecked = sumsAddress === undefined;
    return this.finish(
      checks,
      isUnchecked ? -1 : exports.bitVectorBadBlock(dataAddress, dataLength, sumsAddress),
    );
  }

  discard(): void {
    this.#memory.give(this.#region);
  }

  /** @internal Where it lies, to be pinned while another thread uses it. */
  get region(): Region {
    return this.#region;
  }

  /** @internal The first half of `decode`: what is left to be checked. */
  open(): StagedChecks {
    return this.#orDiscard(() => {
      const { bytes } = this;
      const { exports } = this.#memory;
      const { objectCount, dataAt, dataLength, checksums } = bitVectorLayout(bytes);
      const base = bytes.byteOffset;
      if (checksums && exports.crc32c(0, base + 4, dataAt - 4) >>> 0 !== checksums.header) {
        throw new DecodeError('wrong checksum of the header', 4, ['BitVector']);
      }
      return {
        objectCount,
        dataAddress: base + dataAt,
        dataLength,
        sumsAddress: checksums && base + checksums.blocksAt,
      };
    });
  }

  /** @internal The second: `badBlock` is the first whose checksum is wrong, or -1. */
  finish({ objectCount, dataAddress, dataLength }: StagedChecks, badBlock: number): ObjectBitmap {
    return this.#orDiscard(() => {
      const { bytes } = this;
      const dataAt = dataAddress - bytes.byteOffset;
      if (badBlock >= 0) {
        const at = dataAt + badBlock * CRC_BLOCK_BYTES;
        throw new DecodeError(`wrong checksum of block ${badBlock}`, at, ['BitVector']);
      }
      if (dataAt !== HEADER_BYTES) bytes.copyWithin(HEADER_BYTES, dataAt, dataAt + dataLength);
      return ObjectBitmap.adopt(this.#memory, this.#region, objectCount);
    });
  }

  #orDiscard<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      this.discard();
      throw error;
    }
  }
}

/** Of a staged map: its data, and where the checksums of its blocks are, if it has any. */
export interface StagedChecks {
  readonly objectCount: number;
  readonly dataAddress: number;
  readonly dataLength: number;
  readonly sumsAddress: number | undefined;
}

// ---- fast-diff ----

/**
 * What changed between two snapshots that follow each other, or a snapshot and the head: from `from`, or from the beginning
 * when that is absent, to `to`. As many objects as `to` has.
 */
export function diffRuns(
  from: ObjectBitmap | undefined,
  to: ObjectBitmap,
  start = 0,
  end = to.objectCount,
): Runs<DiffClass> {
  const { memory } = to;
  if (from && from.memory !== memory) throw new RangeError('the maps are in different memories');
  checkRange(start, end, to.objectCount);
  return new Runs(memory, start, end, {
    kernel: 'bitmapDiff',
    maps: from ? [from, to] : [to],
    args: () => [from?.address ?? 0, from ? paddedBytes(from.objectCount) : 0, to.address],
  });
}

/**
 * What changed from one snapshot to a later one with others between them: `start` with the first map, a `step` for each
 * that follows, in order; only one needs to be loaded at a time. The last `step` says so.
 */
export class DiffChain {
  /** @internal */
  readonly states: ObjectBitmap;

  private constructor(states: ObjectBitmap) {
    this.states = states;
  }

  /** From the beginning, where nothing was. */
  static begin(memory: BitmapMemory): DiffChain {
    return new DiffChain(ObjectBitmap.allocate(memory, 0));
  }

  /** The first map becomes the chain's own. */
  static start(from: ObjectBitmap): DiffChain {
    from.memory.exports.bitmapDiffStart(from.address, from.address, blocksOf(from.objectCount));
    return new DiffChain(from);
  }

  get objectCount(): number {
    return this.states.objectCount;
  }

  /** Objects beyond the map's end are dropped, and new ones begin as holes. */
  step(map: ObjectBitmap, { isLast = false }: { isLast?: boolean } = {}): void {
    const { states } = this;
    states.resize(map.objectCount);
    const blocks = blocksOf(map.objectCount);
    map.memory.exports.bitmapDiffStep(states.address, map.address, blocks, isLast ? 1 : 0);
  }

  /** After the last step. */
  runs(): Runs<DiffClass> {
    return this.states.runs(UPDATED);
  }

  /** After the last step: objects that exist, or did at the start, whether they changed or not. */
  occupied(): Runs<1> {
    return this.states.occupied();
  }

  /** After the last step: the object neither exists nor did at the start. */
  isHole(objectNo: number): boolean {
    return this.states.get(objectNo) === 0;
  }

  free(): void {
    this.states.free();
  }
}

// ---- sizes ----

function checkObjectCount(objectCount: number): void {
  if (!(Number.isSafeInteger(objectCount) && objectCount >= 0 && objectCount <= OBJECTS_MAX)) {
    throw new RadosError('EINVAL', `an object map cannot have ${objectCount} objects`);
  }
}

function checkRange(start: number, end: number, objectCount: number): void {
  const isRange = Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end;
  if (!isRange || end > objectCount) {
    throw new RangeError(`objects ${start} to ${end} are not within ${objectCount}`);
  }
}

function dataView(region: Region, objectCount: number): Uint8Array {
  return region.bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + dataBytes(objectCount));
}

function blocksOf(objectCount: number): number {
  return Math.ceil(dataBytes(objectCount) / BLOCK_BYTES);
}

function paddedBytes(objectCount: number): number {
  return blocksOf(objectCount) * BLOCK_BYTES;
}
