/** Frame readers and writers without a connection, and what tests of them share. */

import { createCrc32c } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';
import type { MessageHeader } from '../../src/msgr/frame.js';
import { encodeBanner } from '../../src/msgr/frame.js';
import {
  FrameReader,
  type FrameSink,
  type ReceivedMessage,
  WINDOW_BYTES,
} from '../../src/msgr/frame-reader.js';

export const kernels = loadKernels();
export const crc32c = createCrc32c(kernels);

/** What a reader delivered, copied out of its window. */
export type Delivered =
  | { kind: 'banner' }
  | { kind: 'control'; tag: number; payload: Uint8Array }
  | ({ kind: 'message' } & ReceivedMessage);

export type PlaceData = (
  header: MessageHeader,
  front: Uint8Array,
  length: number,
) => Uint8Array | undefined;

export class TestReader {
  readonly delivered: Delivered[] = [];
  readonly reader: FrameReader;
  /** The largest single place that the reader offered. */
  largestPlace = 0;

  constructor(options: { placeData?: PlaceData; window?: Uint8Array } = {}) {
    const sink: FrameSink = {
      onBanner: () => this.delivered.push({ kind: 'banner' }),
      onControl: (tag, payload) =>
        this.delivered.push({ kind: 'control', tag, payload: new Uint8Array(payload) }),
      onMessage: (message) =>
        this.delivered.push({
          kind: 'message',
          header: message.header,
          front: new Uint8Array(message.front),
          middle: new Uint8Array(message.middle),
          data: message.data,
        }),
      placeData: (header, front, length) =>
        options.placeData?.(header, new Uint8Array(front), length),
    };
    this.reader = new FrameReader({
      crc32c,
      sink,
      window: options.window ?? new Uint8Array(WINDOW_BYTES),
    });
    this.reader.allowMessages();
  }

  get messages(): ReceivedMessage[] {
    return this.delivered.flatMap((each) => (each.kind === 'message' ? [each] : []));
  }

  /** Past the banner, where frames begin. */
  static inSession(options: ConstructorParameters<typeof TestReader>[0] = {}): TestReader {
    const reader = new TestReader(options);
    reader.feed(encodeBanner());
    reader.delivered.length = 0;
    return reader;
  }

  /** Reads as a socket does: into where the reader wants it, at most `segmentBytes` at a time. */
  feed(bytes: Uint8Array, segmentBytes = Number.POSITIVE_INFINITY): this {
    for (let at = 0; at < bytes.length; ) {
      const place = this.reader.readInto();
      if (place.length === 0) throw new Error('the reader offers no room');
      this.largestPlace = Math.max(this.largestPlace, place.length);
      const part = bytes.subarray(at, at + Math.min(place.length, segmentBytes));
      place.set(part);
      at += part.length;
      this.reader.onRead(part.length, place);
    }
    return this;
  }
}
