/**
 * Byte strings as JavaScript strings, one character per byte.
 *
 * Ceph's names (omap keys, xattr names, image names, cookies) are bytes that need not be UTF-8, and are ordered as bytes.
 * So are these: what comes in goes out unchanged, and `<` compares as `std::string` does.
 */

import { latin1Text } from '../base/bytes-as-text.js';
import { blob, type Codec, mapped } from '../encoding/codec.js';

export function latin1(bytes: Uint8Array): string {
  return latin1Text(bytes, 0, bytes.length);
}

export function latin1Bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** u32 length + bytes. */
export const byteString: Codec<string> = mapped(blob, latin1, latin1Bytes);

export function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A copy that outlives the message it came in. (`slice` of a Node Buffer would be a view.) */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
