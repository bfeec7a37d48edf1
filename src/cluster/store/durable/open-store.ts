/** From a directory to a store in memory: checkpoint, then the log after it. */

import type { Disk, DiskFile } from '../../../base/environment.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import type { ObjectId } from '../object-id.js';
import { ObjectIndex } from '../object-index.js';
import { BlockData, type BlockHost } from './block-data.js';
import { BLOCK_BYTES, type BlockRun, BlockSpace } from './block-space.js';
import { type CheckpointPlace, loadCheckpoint } from './checkpoint.js';
import { DataFile } from './data-file.js';
import { EncodedLog } from '../encoded-log.js';
import { DATA_FILE, identifyStore, storeSalt, unusable } from './format.js';
import { type Index, RecordWriter, replayRecord } from './record.js';
import { Wal } from './wal.js';
import { recoverWal } from './wal-recovery.js';
import { SegmentFactory, type SegmentSizes } from './wal-segments.js';

export interface OpenOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly crc32c: Crc32c;
  readonly generateId: () => string;
  readonly segments: SegmentSizes;
  readonly onDamage: (id: ObjectId, offset: number, reason: string) => void;
  readonly onFailure: (error: Error) => void;
  /** Does it again and again while it finds the disk full. */
  readonly untilRoom: <T>(act: () => Promise<T>) => Promise<T>;
}

export interface OpenedStore {
  readonly index: Index;
  readonly file: DataFile;
  readonly writer: RecordWriter;
  readonly wal: Wal;
  readonly segments: SegmentFactory;
  readonly checkpoint: CheckpointPlace;
  /** 0: there was no checkpoint. */
  readonly checkpointBytes: number;
  /** Up to which record the checkpoint has everything. */
  readonly checkpointSeq: number;
  /** Log after the checkpoint. */
  readonly replayedBytes: number;
}

export async function openStore(options: OpenOptions): Promise<OpenedStore> {
  const { disk, dir } = options;
  const { id } = await identifyStore(disk, dir, options.generateId);
  const salt = storeSalt(id);
  const path = `${dir}/${DATA_FILE}`;
  const files = [
    await disk.open(path, { create: true }),
    await disk.open(path, { durable: true }),
  ] as const;
  try {
    await disk.syncDir(dir);
    return await load(options, salt, files);
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}

async function load(
  options: OpenOptions,
  salt: number,
  [plain, durable]: readonly [DiskFile, DiskFile],
): Promise<OpenedStore> {
  const { disk, dir, crc32c, untilRoom } = options;
  const space = new BlockSpace();
  const write = (target: DiskFile, bytes: Uint8Array, position: number) =>
    writeUntilRoom(untilRoom, target, bytes, position);
  const file = new DataFile({
    file: plain,
    durableFile: durable,
    space,
    writtenEnd: Math.floor((await plain.size()) / BLOCK_BYTES),
    crc32c,
    write,
  });
  const host: BlockHost = { file, placements: [], onDamage: options.onDamage };
  const index: Index = createIndex(host);
  const place = { disk, dir, salt, crc32c };
  const loaded = await loadCheckpoint(place, { index, space });
  const flushedSeq = loaded?.flushedSeq ?? 0;
  const recovered = await recoverWal({
    ...place,
    afterSeq: flushedSeq,
    onRecord: (seq, decoder) => {
      replayRecord(decoder, {
        index,
        file,
        hasChange: (collection) => seq <= (loaded?.seqs.get(collection) ?? flushedSeq),
        hasBlocks: seq <= flushedSeq,
      });
    },
  });
  if (loaded && recovered.lastSeq < loaded.lastSeq) {
    throw unusable(dir, `has lost records up to ${loaded.lastSeq} of its log`);
  }
  file.settleReplay();
  const all = [...recovered.segments, ...recovered.unused];
  const segments = new SegmentFactory(disk, dir, options.segments, all);
  for (const segment of recovered.unused) await segments.recycle(segment);
  const wal = new Wal({
    segments,
    salt,
    crc32c,
    lastSeq: recovered.lastSeq,
    old: recovered.segments,
    write,
    untilRoom,
    onFreed: (runs: readonly BlockRun[]) => file.rested(runs),
    onFailure: options.onFailure,
  });
  return {
    index,
    file,
    writer: new RecordWriter(file, host.placements),
    wal,
    segments,
    checkpoint: place,
    checkpointBytes: loaded?.bytes ?? 0,
    checkpointSeq: flushedSeq,
    replayedBytes: recovered.segments.reduce((sum, { at }) => sum + at, 0),
  };
}

function createIndex(host: BlockHost): Index {
  return new ObjectIndex<BlockData>({
    newData: (id) => new BlockData(host, id),
    copyData: (from, to) => from.copyFor(to),
    importData: (from) => {
      const data = new BlockData(host, from.id);
      data.importFrom(from);
      return data;
    },
    newLog: () => new EncodedLog(),
  });
}

/** The promise of the write itself, unless it finds the disk full. */
function writeUntilRoom(
  untilRoom: OpenOptions['untilRoom'],
  file: DiskFile,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  return file.write([bytes], position).catch((error: unknown) => {
    if (!isDiskFull(error)) throw error;
    return untilRoom(() => file.write([bytes], position));
  });
}

export function isDiskFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
