/**
 * Text of any bytes, shared memory among them.
 *
 * What `Buffer.toString` calls, without a Buffer: making one for each short name in a message costs more than its text does.
 * A byte order mark stays, and invalid UTF-8 becomes U+FFFD, as with `toString`.
 */

interface Slices {
  utf8Slice(this: Uint8Array, start: number, end: number): string;
  latin1Slice(this: Uint8Array, start: number, end: number): string;
}

const { utf8Slice, latin1Slice } = Buffer.prototype as unknown as Slices;

/** From `start` up to `end`, which lie within the bytes. */
export function utf8Text(bytes: Uint8Array, start: number, end: number): string {
  return utf8Slice.call(bytes, start, end);
}

/** One character per byte. */
export function latin1Text(bytes: Uint8Array, start: number, end: number): string {
  return latin1Slice.call(bytes, start, end);
}
