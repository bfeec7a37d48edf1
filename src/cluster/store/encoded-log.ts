/**
 * A PG's newest log entries in their encoded form: 100 bytes each instead of half a kilobyte of objects, and a checkpoint
 * copies them as they are. They are only decoded to recognise duplicates after a restart, and for recovery.
 */

import { Decoder } from '../../encoding/decoder.js';
import { Encoder } from '../../encoding/encoder.js';
import type { LogKeeper } from './object-index.js';
import { LOG_ENTRIES_MAX, type LogEntry } from './pg-record.js';
import { logEntry } from './durable/codecs.js';

/** Entries of one piece; the oldest piece goes as a whole. */
const PIECE_ENTRIES = 500;

interface Piece {
  readonly encoder: Encoder;
  count: number;
}

export class EncodedLog implements LogKeeper {
  #pieces: Piece[] = [];
  #count = 0;

  append(entry: LogEntry): void {
    logEntry.encode(this.#claim().encoder, entry);
  }

  /** An entry as `appended` gave it. */
  appendEncoded(bytes: Uint8Array): void {
    this.#claim().encoder.raw(bytes);
  }

  /** Appends an entry and returns its encoded form, which is good until the next one comes. */
  appended(entry: LogEntry): Uint8Array {
    const { encoder } = this.#claim();
    const start = encoder.length;
    logEntry.encode(encoder, entry);
    return encoder.bytes.subarray(start);
  }

  replace(entries: readonly LogEntry[]): void {
    this.#pieces = [];
    this.#count = 0;
    for (const entry of entries) this.append(entry);
  }

  entries(): readonly LogEntry[] {
    const entries: LogEntry[] = [];
    for (const { encoder, count } of this.#pieces) {
      const decoder = new Decoder(encoder.bytes);
      for (let i = 0; i < count; i++) entries.push(logEntry.decode(decoder));
    }
    return entries;
  }

  /** For a checkpoint. */
  encode(encoder: Encoder): void {
    encoder.u32(this.#pieces.length);
    for (const piece of this.#pieces) encoder.u32(piece.count).blob(piece.encoder.bytes);
  }

  restore(decoder: Decoder): void {
    const pieces = decoder.count(8);
    for (let i = 0; i < pieces; i++) {
      const count = decoder.u32();
      const bytes = decoder.blob();
      const encoder = new Encoder(bytes.length).raw(bytes);
      this.#pieces.push({ encoder, count });
      this.#count += count;
    }
  }

  #claim(): Piece {
    let last = this.#pieces.at(-1);
    if (!last || last.count >= PIECE_ENTRIES) {
      const oldest = this.#pieces[0];
      if (oldest && this.#count - oldest.count >= LOG_ENTRIES_MAX) {
        this.#pieces.shift();
        this.#count -= oldest.count;
      }
      last = { encoder: new Encoder(4096), count: 0 };
      this.#pieces.push(last);
    }
    last.count++;
    this.#count++;
    return last;
  }
}
