/**
 * Bytes to frames: the receiving half of a connection, without a socket.
 *
 * Small frames are parsed in place, in a window of fixed size that the socket reads into. The segments of a frame that
 * does not fit are collected one by one in buffers of their own; a message's data may be given its final place by the
 * receiver, and then goes from the kernel straight there. Buffers grow with the bytes that came, never on a declared length.
 *
 *     banner head -> banner payload -> preamble -> body (in the window)  -> preamble ...
 *                                             `-> segments (one by one) -'
 */

import { copyBytes } from '../base/copy-bytes.js';
import { ProtocolError } from '../base/errors.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { TAG } from './control-frames.js';
import {
  BANNER_HEAD_BYTES,
  CRC_EPILOGUE_BYTES,
  checkBannerPayload,
  crcBodyBytes,
  decodeBannerHead,
  decodeMessageHeader,
  decodePreamble,
  isComplete,
  type MessageHeader,
  PREAMBLE_BYTES,
  type Preamble,
  readU32,
  SEGMENT_CRC_BYTES,
} from './frame.js';
import {
  type FrameDecipher,
  INLINE_BYTES,
  padded,
  SECURE_PREAMBLE_BYTES,
  secureFirstSegmentBytes,
  secureRestBytes,
} from './onwire-crypto.js';

/** The bytes of one message, in a frame's life: `front` and `middle` are views of the window. */
export interface ReceivedMessage {
  header: MessageHeader;
  front: Uint8Array;
  middle: Uint8Array;
  /** Owned by the receiver: a copy, or the buffer that `placeData` answered. */
  data: Uint8Array;
  /** Their checksum, which crc mode has in the frame. */
  dataCrc?: number | undefined;
}

export interface FrameSink {
  onBanner(): void;
  /** `payload` is valid during the call. */
  onControl(tag: number, payload: Uint8Array): void;
  onMessage(message: ReceivedMessage): void;
  /**
   * Where the data of a message should go (exactly `length` bytes), or undefined for a buffer of its own.
   * The front is checked by its crc only after this call.
   */
  placeData(header: MessageHeader, front: Uint8Array, length: number): Uint8Array | undefined;
}

/** Bodies up to this size are read through the window: an extra read event costs more than the copy. */
const IN_WINDOW_MAX_BYTES = 64 * 1024;
export const WINDOW_BYTES = 128 * 1024;
/** One read: larger ones gain nothing, and others on this thread wait meanwhile. */
const READ_MAX_BYTES = 256 * 1024;
/** A buffer for a declared length starts at most this large, for data and for all else, and grows as bytes arrive. */
const DATA_START_BYTES = 1024 * 1024;
const HEAD_START_BYTES = 16 * 1024;
/** Of a buffer that is full. Twofold would copy the data of a large write three times over. */
const GROWTH = 4;

const EMPTY: Uint8Array = new Uint8Array(0);

/** A segment that is collected outside the window. */
class Collector {
  readonly length: number;
  filled = 0;
  #bytes: Uint8Array;

  constructor(length: number, place?: Uint8Array, startBytes = DATA_START_BYTES) {
    this.length = length;
    this.#bytes = place ?? Buffer.allocUnsafe(Math.min(length, startBytes));
  }

  get done(): boolean {
    return this.filled === this.length;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  /** Room for the next bytes. */
  room(): Uint8Array {
    if (this.filled === this.#bytes.length && this.filled < this.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.length, this.#bytes.length * GROWTH));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return this.#bytes.subarray(
      this.filled,
      Math.min(this.#bytes.length, this.filled + READ_MAX_BYTES),
    );
  }
}

/** A message whose segments are collected one by one (control frames always fit in the window). */
interface LargeFrame {
  preamble: Preamble;
  /** crc mode: the header with its crc, front and middle; the data; the epilogue. Secure mode: blocks 2 and 3. */
  parts: Collector[];
  /** Lengths of the parts that are still to be opened. */
  pending: number[];
  header: MessageHeader | undefined;
  /** Segment 0's first bytes, which secure mode decrypts with the preamble. */
  inline: Uint8Array;
}

type CrcParts = [head: Collector, data: Collector, epilogue: Collector];

type State =
  | { kind: 'banner-head' }
  | { kind: 'banner-payload'; length: number }
  | { kind: 'preamble' }
  | { kind: 'body'; preamble: Preamble; length: number; inline: Uint8Array }
  | { kind: 'large'; frame: LargeFrame };

const PREAMBLE: State = { kind: 'preamble' };

export class FrameReader {
  readonly #crc32c: Crc32c;
  readonly #sink: FrameSink;
  readonly #window: Uint8Array;
  #start = 0;
  #end = 0;
  /** What is free of the window from `#roomAt` on: made anew only when that is elsewhere. */
  #room: Uint8Array;
  #roomAt = 0;
  #state: State = { kind: 'banner-head' };
  #decipher: FrameDecipher | undefined;
  #messagesAllowed = false;
  /** Raw bytes of the frames so far, while the signature of the handshake still needs them. */
  #transcript: Uint8Array[] | undefined = [];
  #stopped = false;

  constructor(options: { crc32c: Crc32c; sink: FrameSink; window: Uint8Array }) {
    this.#crc32c = options.crc32c;
    this.#sink = options.sink;
    this.#window = options.window;
    this.#room = options.window;
  }

  /** Where the next bytes belong. Never empty while reading goes on. */
  readInto(): Uint8Array {
    if (this.#state.kind === 'large' && this.#start === this.#end) {
      const part = currentPart(this.#state.frame);
      if (part && part.length - part.filled > IN_WINDOW_MAX_BYTES / 4) return part.room();
    }
    if (this.#end === this.#window.length) this.#compact();
    if (this.#roomAt !== this.#end) {
      this.#room = this.#window.subarray(this.#end);
      this.#roomAt = this.#end;
    }
    return this.#room;
  }

  /** `length` bytes were placed where the last `readInto` said. Throws `ProtocolError`; the reader is then dead. */
  onRead(length: number, place: Uint8Array): void {
    if (this.#stopped) return;
    if (place === this.#room && this.#roomAt === this.#end) {
      this.#end += length;
    } else if (this.#state.kind === 'large') {
      const part = currentPart(this.#state.frame);
      if (part) part.filled += length;
    }
    this.#parse();
    if (this.#start === this.#end) this.#start = this.#end = 0;
  }

  /** Stops within the current call: what is left in the window is not looked at. */
  stop(): void {
    this.#stopped = true;
  }

  /** From the next frame on, frames are encrypted. */
  enableSecureMode(decipher: FrameDecipher): void {
    this.#decipher = decipher;
  }

  /** The session is established. Before that a message is refused at its preamble: strangers get no buffers. */
  allowMessages(): void {
    this.#messagesAllowed = true;
  }

  /** Everything received so far, banner and current frame included; keeps no more from here on. */
  takeTranscript(): Uint8Array {
    const transcript = Buffer.concat(this.#transcript ?? []);
    this.#transcript = undefined;
    return transcript;
  }

  #compact(): void {
    this.#window.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** Claims the next `length` bytes of the window and returns where they start, or -1 until they are all there. */
  #need(length: number): number {
    const at = this.#start;
    if (this.#end - at < length) {
      if (at + length > this.#window.length) this.#compact();
      return -1;
    }
    this.#start = at + length;
    this.#transcript?.push(this.#window.slice(at, at + length));
    return at;
  }

  #parse(): void {
    while (!this.#stopped && this.#step());
  }

  /** Advances by one state; false when more bytes are needed. */
  #step(): boolean {
    const state = this.#state;
    switch (state.kind) {
      case 'banner-head': {
        const at = this.#need(BANNER_HEAD_BYTES);
        if (at < 0) return false;
        const length = decodeBannerHead(this.#window.subarray(at, at + BANNER_HEAD_BYTES));
        this.#state = { kind: 'banner-payload', length };
        return true;
      }
      case 'banner-payload': {
        const at = this.#need(state.length);
        if (at < 0) return false;
        checkBannerPayload(this.#window.subarray(at, at + state.length));
        this.#state = PREAMBLE;
        this.#sink.onBanner();
        return true;
      }
      case 'preamble':
        return this.#stepPreamble();
      case 'body': {
        const at = this.#need(state.length);
        if (at < 0) return false;
        this.#state = PREAMBLE;
        if (this.#decipher) {
          this.#openBody(
            state.preamble,
            this.#window.subarray(at, at + state.length),
            state.inline,
          );
        } else {
          this.#checkBody(state.preamble, at);
        }
        return true;
      }
      case 'large':
        return this.#stepLarge(state.frame);
    }
  }

  #stepPreamble(): boolean {
    const decipher = this.#decipher;
    const blockBytes = decipher ? SECURE_PREAMBLE_BYTES : PREAMBLE_BYTES;
    const at = this.#need(blockBytes);
    if (at < 0) return false;
    const plain = decipher?.open(this.#window.subarray(at, at + blockBytes));
    const preamble = plain
      ? decodePreamble(plain, 0, this.#crc32c)
      : decodePreamble(this.#window, at, this.#crc32c);
    if (preamble.tag === TAG.MESSAGE && !this.#messagesAllowed)
      throw new ProtocolError('MESSAGE frame before the session is established');
    const inline = plain ? plain.subarray(PREAMBLE_BYTES) : EMPTY;
    const length = decipher
      ? secureFirstSegmentBytes(preamble) + secureRestBytes(preamble)
      : crcBodyBytes(preamble);
    this.#state =
      length <= IN_WINDOW_MAX_BYTES
        ? { kind: 'body', preamble, length, inline }
        : { kind: 'large', frame: this.#startLarge(preamble, inline) };
    return true;
  }

  // ---- frames within the window ----

  /** The body lies in the window from `at` on, whole: it is checked and read where it is. */
  #checkBody(preamble: Preamble, at: number): void {
    const window = this.#window;
    const [l0, l1, l2, l3] = preamble.lengths;
    const firstEnd = at + l0;
    if (l0 > 0) this.#checkCrc(0, window, at, firstEnd, readU32(window, firstEnd));
    if (preamble.tag !== TAG.MESSAGE) {
      this.#sink.onControl(preamble.tag, window.subarray(at, firstEnd));
      return;
    }
    const header = decodeMessageHeader(window, at);
    if (preamble.segments === 1) {
      this.#sink.onMessage({ header, front: EMPTY, middle: EMPTY, data: EMPTY });
      return;
    }
    const frontAt = firstEnd + SEGMENT_CRC_BYTES;
    const middleAt = frontAt + l1;
    const dataAt = middleAt + l2;
    const epilogueAt = dataAt + l3;
    if (!isComplete(window[epilogueAt] as number)) return;
    if (l1 > 0) this.#checkCrc(1, window, frontAt, middleAt, readU32(window, epilogueAt + 1));
    if (l2 > 0) this.#checkCrc(2, window, middleAt, dataAt, readU32(window, epilogueAt + 5));
    const dataCrc = l3 > 0 ? readU32(window, epilogueAt + 9) : undefined;
    if (dataCrc !== undefined) this.#checkCrc(3, window, dataAt, epilogueAt, dataCrc);
    const front = window.subarray(frontAt, middleAt);
    const middle = l2 > 0 ? window.subarray(middleAt, dataAt) : EMPTY;
    const data =
      l3 > 0 ? this.#keepData(header, front, window.subarray(dataAt, epilogueAt)) : EMPTY;
    this.#sink.onMessage({ header, front, middle, data, dataCrc });
  }

  #openBody(preamble: Preamble, body: Uint8Array, inline: Uint8Array): void {
    const decipher = this.#decipher as FrameDecipher;
    const firstBytes = secureFirstSegmentBytes(preamble);
    const first = firstSegment(
      preamble,
      inline,
      firstBytes > 0 ? decipher.open(body.subarray(0, firstBytes)) : EMPTY,
    );
    if (preamble.segments === 1) {
      this.#deliver(preamble, first, EMPTY, EMPTY, EMPTY);
      return;
    }
    this.#deliverOpened(preamble, first, decipher.open(body.subarray(firstBytes)));
  }

  #deliverOpened(preamble: Preamble, first: Uint8Array, rest: Uint8Array): void {
    const [, l1, l2, l3] = preamble.lengths;
    const middleAt = padded(l1);
    const dataAt = middleAt + padded(l2);
    if (!isComplete(rest[dataAt + padded(l3)] as number)) return;
    this.#deliver(
      preamble,
      first,
      rest.subarray(0, l1),
      rest.subarray(middleAt, middleAt + l2),
      rest.subarray(dataAt, dataAt + l3),
    );
  }

  // ---- frames collected segment by segment ----

  #startLarge(preamble: Preamble, inline: Uint8Array): LargeFrame {
    const [l0, l1, l2, l3] = preamble.lengths;
    const pending = this.#decipher
      ? [secureFirstSegmentBytes(preamble), secureRestBytes(preamble)]
      : [l0 + SEGMENT_CRC_BYTES + l1 + l2, l3, CRC_EPILOGUE_BYTES];
    return { preamble, parts: [], pending, header: undefined, inline };
  }

  #stepLarge(frame: LargeFrame): boolean {
    let part = frame.parts.at(-1);
    if (!part || part.done) {
      const next = frame.pending.shift();
      if (next === undefined) {
        this.#state = PREAMBLE;
        this.#finishLarge(frame);
        return true;
      }
      part = this.#openPart(frame, next);
      frame.parts.push(part);
    }
    while (!part.done && this.#start < this.#end) {
      const room = part.room();
      const take = Math.min(room.length, this.#end - this.#start);
      const bytes = this.#window.subarray(this.#start, this.#start + take);
      copyBytes(room, bytes);
      this.#transcript?.push(bytes.slice());
      part.filled += take;
      this.#start += take;
    }
    return part.done;
  }

  /** Begins the next part; for a message's data in crc mode, asks the receiver where it should go. */
  #openPart(frame: LargeFrame, length: number): Collector {
    const [head] = frame.parts;
    if (this.#decipher || frame.header) return new Collector(length);
    if (!head) return new Collector(length, undefined, HEAD_START_BYTES);
    const [l0, l1] = frame.preamble.lengths;
    const { bytes } = head;
    this.#checkCrc(0, bytes, 0, l0, readU32(bytes, l0));
    frame.header = decodeMessageHeader(bytes, 0);
    const frontAt = l0 + SEGMENT_CRC_BYTES;
    const place =
      length > 0
        ? this.#sink.placeData(frame.header, bytes.subarray(frontAt, frontAt + l1), length)
        : undefined;
    return new Collector(length, place?.length === length ? place : undefined);
  }

  #finishLarge(frame: LargeFrame): void {
    const { preamble, parts, header } = frame;
    if (this.#decipher) {
      const [block2, block3] = parts as [Collector, Collector];
      const opened = block2.length > 0 ? this.#decipher.open(block2.bytes) : EMPTY;
      const first = firstSegment(preamble, frame.inline, opened);
      this.#deliverOpened(preamble, first, this.#decipher.open(block3.bytes));
      return;
    }
    const [{ bytes: head }, { bytes: data }, { bytes: epilogue }] = parts as CrcParts;
    if (!isComplete(epilogue[0] as number)) return;
    const [l0, l1, l2] = preamble.lengths;
    const frontAt = l0 + SEGMENT_CRC_BYTES;
    const middleAt = frontAt + l1;
    const end = middleAt + l2;
    if (l1 > 0) this.#checkCrc(1, head, frontAt, middleAt, readU32(epilogue, 1));
    if (l2 > 0) this.#checkCrc(2, head, middleAt, end, readU32(epilogue, 5));
    const dataCrc = data.length > 0 ? readU32(epilogue, 9) : undefined;
    if (dataCrc !== undefined) this.#checkCrc(3, data, 0, data.length, dataCrc);
    this.#sink.onMessage({
      header: header as MessageHeader,
      front: head.subarray(frontAt, middleAt),
      middle: head.subarray(middleAt, end),
      data,
      dataCrc,
    });
  }

  // ---- both ----

  #checkCrc(
    segment: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    expected: number,
  ): void {
    if (this.#crc32c(0xffff_ffff, bytes, start, end) !== expected) {
      throw new ProtocolError(`crc mismatch in segment ${segment}`);
    }
  }

  /** A frame of secure mode, decrypted. */
  #deliver(
    preamble: Preamble,
    first: Uint8Array,
    front: Uint8Array,
    middle: Uint8Array,
    data: Uint8Array,
  ): void {
    if (preamble.tag !== TAG.MESSAGE) {
      this.#sink.onControl(preamble.tag, first);
      return;
    }
    const header = decodeMessageHeader(first, 0);
    this.#sink.onMessage({ header, front, middle, data: this.#keepData(header, front, data) });
  }

  /** Data must outlive the window: to its place if the receiver has one, else into a copy. */
  #keepData(header: MessageHeader, front: Uint8Array, data: Uint8Array): Uint8Array {
    if (data.length === 0) return EMPTY;
    const place = this.#sink.placeData(header, front, data.length);
    if (place && place.length === data.length) {
      copyBytes(place, data);
      return place;
    }
    const copy = Buffer.allocUnsafe(data.length);
    copy.set(data);
    return copy;
  }
}

function currentPart(frame: LargeFrame): Collector | undefined {
  const part = frame.parts.at(-1);
  return part?.done ? undefined : part;
}

function firstSegment(preamble: Preamble, inline: Uint8Array, opened: Uint8Array): Uint8Array {
  const length = preamble.lengths[0];
  if (length <= INLINE_BYTES) return inline.subarray(0, length);
  return Buffer.concat([inline.subarray(0, INLINE_BYTES), opened]).subarray(0, length);
}
