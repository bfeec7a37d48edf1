/** Node's streams over what makes bytes, and what takes them, one chunk after the other. */

import { Readable, Writable } from 'node:stream';

import { copyBytes } from '../base/copy-bytes.js';
import { abortError } from '../base/errors.js';
import { sharedAborter } from '../base/shared-aborter.js';

/** Of what crosses to another thread at a time. */
const PIECE_BYTES = 1024 * 1024;

/** A stream of what `begin` makes. Destroyed, it aborts the signal. */
export function readableOf(
  begin: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void, undefined>,
  { signal, highWaterMark }: { signal?: AbortSignal | undefined; highWaterMark: number },
): Readable {
  const stop = sharedAborter();
  const chunks = begin(signal ? AbortSignal.any([signal, stop.signal]) : stop.signal);
  return new Readable({
    highWaterMark,
    read() {
      chunks.next().then(
        (result) => this.push(result.done ? null : result.value),
        (error: Error) => this.destroy(error),
      );
    },
    destroy(error, callback) {
      stop.abort();
      chunks.return().catch(() => undefined);
      callback(error);
    },
  });
}

/** What a writer has given and nobody has taken. */
interface Offer {
  readonly chunk: Uint8Array;
  taken(): void;
}

/**
 * A stream whose chunks `consume` takes, at its own pace: finished when that resolves, destroyed when it rejects. Destroyed, it
 * aborts the signal, and closes when `consume` has settled. What comes after `consume` has had enough is dropped.
 */
export function writableTo(
  consume: (chunks: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<void>,
  { signal, highWaterMark }: { signal?: AbortSignal | undefined; highWaterMark: number },
): Writable {
  const stop = sharedAborter();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let offer: Offer | undefined;
  let isEnded = false;
  let isOver = false;
  let wake = () => {};
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    while (!isOver) {
      if (either.aborted) throw abortError(either, { op: 'write' });
      if (offer) {
        const { chunk, taken } = offer;
        yield chunk;
        offer = undefined;
        taken();
      } else if (isEnded) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  either.addEventListener('abort', () => wake(), { once: true });
  const consuming = consume(chunks(), either).finally(() => {
    isOver = true;
    wake();
    offer?.taken();
  });
  const stream = new Writable({
    highWaterMark,
    decodeStrings: true,
    write(chunk: Uint8Array, _encoding, callback) {
      if (isOver) return callback();
      offer = { chunk, taken: callback };
      wake();
    },
    final(callback) {
      isEnded = true;
      wake();
      consuming.then(() => callback(), callback);
    },
    destroy(error, callback) {
      stop.abort();
      consuming.then(
        () => callback(error),
        () => callback(error),
      );
    },
  });
  consuming.catch((error: Error) => stream.destroy(error));
  return stream;
}

/** The same bytes in fewer pieces, each of which has its memory for itself: it can be moved to another thread. */
export async function* joined(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let piece = new Uint8Array(PIECE_BYTES);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + PIECE_BYTES - filled);
      copyBytes(piece, part, filled);
      filled += part.length;
      at += part.length;
      if (filled < PIECE_BYTES) continue;
      yield piece;
      piece = new Uint8Array(PIECE_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.slice(0, filled);
}
