/**
 * Reading the log after a start: from the first record that the checkpoint does not have to the last one there is.
 *
 * The log ends where no intact group with the next number is found. If an intact group with a later number exists
 * anywhere, then what is missing was acknowledged and has been damaged since: that is an error and not an end. (The very
 * last group is the exception that nobody can tell: damaged after it was acknowledged, it looks like one that a crash
 * cut short.)
 */

import type { Disk, DiskFile } from '../../../base/environment.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import { Decoder } from '../../../encoding/decoder.js';
import { unusable } from './format.js';
import {
  GROUP_HEADER_BYTES,
  groupBytes,
  isIntact,
  parseGroupHeader,
  SECTOR_BYTES,
} from './wal-group.js';
import { type Segment, segmentNames } from './wal-segments.js';

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly salt: number;
  readonly crc32c: Crc32c;
  /** The checkpoint needs nothing up to this record. */
  readonly afterSeq: number;
  /** Called for every later record, in order, and for some before; takes the record's bytes from the decoder. */
  readonly onRecord: (seq: number, decoder: Decoder) => void;
}

export interface Recovered {
  readonly lastSeq: number;
  /** Segments with records after `afterSeq`, oldest first. */
  readonly segments: Segment[];
  /** The others. */
  readonly unused: Segment[];
}

interface Candidate extends Segment {
  /** Of its first group; undefined when none is intact. */
  readonly firstSeq: number | undefined;
}

export async function recoverWal(options: RecoveryOptions): Promise<Recovered> {
  const { disk, dir, afterSeq } = options;
  const candidates: Candidate[] = [];
  try {
    for (const name of segmentNames(await disk.list(dir))) {
      candidates.push(await openSegment(options, `${dir}/${name}`));
    }
    const reader = new LogReader(options);
    const began = candidates
      .filter(({ firstSeq }) => firstSeq !== undefined)
      .sort((a, b) => (a.firstSeq as number) - (b.firstSeq as number));
    // The last one that begins no later than what is wanted, and those that go on from it.
    const first = began.findLastIndex(({ firstSeq }) => (firstSeq as number) <= afterSeq + 1);
    for (const segment of began.slice(Math.max(0, first))) {
      if (segment.firstSeq !== reader.nextSeq && segment !== began[first]) break;
      reader.read(segment);
    }
    for (const segment of candidates) reader.refuseLater(segment);
    await reader.confirmLast();
    const isOld = ({ lastSeq }: Candidate) => lastSeq <= afterSeq;
    return {
      lastSeq: reader.nextSeq - 1,
      segments: began.filter((segment) => !isOld(segment)),
      unused: candidates.filter(isOld),
    };
  } catch (error) {
    await Promise.all(candidates.map(({ file }) => file.close()));
    throw error;
  }
}

async function openSegment(
  { disk, salt, crc32c }: RecoveryOptions,
  path: string,
): Promise<Candidate> {
  const file = await disk.open(path, { durable: true });
  const bytes = await file.size();
  const group = readGroup(file, { at: 0, end: bytes, salt, crc32c });
  return { path, file, bytes, at: 0, lastSeq: 0, firstSeq: group?.firstSeq };
}

/** An intact group, from its header to the end of its payload. */
function readGroup(
  file: DiskFile,
  { at, end, salt, crc32c }: { at: number; end: number; salt: number; crc32c: Crc32c },
) {
  const head = Buffer.alloc(SECTOR_BYTES);
  const header = parseGroupHeader(head.subarray(0, file.read(head, at)), salt);
  if (!header || at + groupBytes(header.payloadBytes) > end) return undefined;
  const length = GROUP_HEADER_BYTES + header.payloadBytes;
  let bytes = head.subarray(0, length);
  if (length > SECTOR_BYTES) {
    bytes = Buffer.allocUnsafe(length);
    if (file.read(bytes, at) < length) return undefined;
  }
  return isIntact(bytes, salt, crc32c) ? { ...header, bytes } : undefined;
}

class LogReader {
  readonly #options: RecoveryOptions;
  /** Of the group that comes next. */
  nextSeq: number;
  #last: { file: DiskFile; at: number; bytes: Uint8Array } | undefined;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    this.nextSeq = options.afterSeq + 1;
  }

  /** Reads a segment's groups as far as they follow one another. */
  read(segment: Candidate): void {
    const { salt, crc32c, afterSeq } = this.#options;
    let expected = segment.firstSeq as number;
    for (let at = 0; at < segment.bytes; ) {
      const group = readGroup(segment.file, { at, end: segment.bytes, salt, crc32c });
      const follows = group?.firstSeq === expected;
      // Damage among records that nobody needs any more keeps nobody from those that come after.
      const goesOn = group && group.firstSeq > expected && group.firstSeq <= afterSeq + 1;
      if (group && (follows || goesOn)) {
        this.#last = { file: segment.file, at, bytes: group.bytes };
        at += groupBytes(group.payloadBytes);
        expected = group.firstSeq + group.records;
        segment.at = at;
        segment.lastSeq = expected - 1;
        if (segment.lastSeq > afterSeq) this.#replay(group);
      } else if (expected <= afterSeq) {
        at += SECTOR_BYTES;
      } else {
        break;
      }
    }
    this.nextSeq = Math.max(this.nextSeq, expected);
  }

  /**
   * Writes the newest group again. Its own write may have failed, and only the page cache have it: what comes after it would
   * be durable and it not, which is a hole after the next crash.
   */
  async confirmLast(): Promise<void> {
    if (!this.#last) return;
    const { file, at, bytes } = this.#last;
    const whole = Buffer.alloc(Math.ceil(bytes.length / SECTOR_BYTES) * SECTOR_BYTES);
    whole.set(bytes);
    await file.write([whole], at);
  }

  #replay(group: { bytes: Uint8Array; firstSeq: number; records: number }): void {
    const { dir, onRecord } = this.#options;
    const decoder = new Decoder(group.bytes);
    decoder.take(GROUP_HEADER_BYTES);
    for (let seq = group.firstSeq; seq < group.firstSeq + group.records; seq++) {
      try {
        onRecord(seq, decoder);
      } catch (error) {
        throw unusable(
          dir,
          `has a log whose record ${seq} makes no sense: ${(error as Error).message}`,
        );
      }
    }
  }

  /** Nothing after the end may be intact. */
  refuseLater({ file, path, bytes, at: end }: Candidate): void {
    const { salt, crc32c, dir } = this.#options;
    const chunk = Buffer.allocUnsafe(SCAN_BYTES);
    for (let from = end; from < bytes; from += SCAN_BYTES) {
      const got = file.read(chunk, from);
      for (let at = 0; at < got; at += SECTOR_BYTES) {
        const header = parseGroupHeader(chunk.subarray(at, got), salt);
        if (!header || header.firstSeq < this.nextSeq) continue;
        if (!readGroup(file, { at: from + at, end: bytes, salt, crc32c })) continue;
        const lost = `${this.nextSeq} to ${header.firstSeq - 1}`;
        throw unusable(dir, `has lost records ${lost} of its log, which goes on in ${path}`);
      }
    }
  }
}

const SCAN_BYTES = 64 * SECTOR_BYTES;
