/**
 * AES-128-GCM framing of secure mode (`msg/async/crypto_onwire.cc`).
 *
 * A frame is up to three GCM messages, each followed by its 16-byte tag and each taking the next nonce:
 *
 *     1. preamble (32) and the first 48 bytes of segment 0, zero-filled          96 bytes on the wire
 *     2. the rest of segment 0, padded to 16                                      when it is over 48
 *     3. segments 1 .. n-1, each padded to 16, and a 16-byte epilogue             when there are several
 *
 * `node:crypto`, synchronous, one cipher object per GCM message: WebCrypto costs ten times as much at these sizes.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ProtocolError } from '../base/errors.js';
import { PREAMBLE_BYTES, type Preamble } from './frame.js';

export const GCM_TAG_BYTES = 16;
const GCM_BLOCK = 16;
/** How much of segment 0 travels with the preamble. */
export const INLINE_BYTES = 48;
export const SECURE_PREAMBLE_BYTES = PREAMBLE_BYTES + INLINE_BYTES + GCM_TAG_BYTES;
export const SECURE_EPILOGUE_BYTES = 16;

const KEY_BYTES = 16;
const NONCE_BYTES = 12;
const SECRET_BYTES = KEY_BYTES + 2 * NONCE_BYTES;

export function padded(length: number): number {
  return Math.ceil(length / GCM_BLOCK) * GCM_BLOCK;
}

/** Wire bytes of block 2, tag included; 0 when segment 0 fits beside the preamble. */
export function secureFirstSegmentBytes(preamble: Preamble): number {
  const length = padded(preamble.lengths[0]);
  return length > INLINE_BYTES ? length - INLINE_BYTES + GCM_TAG_BYTES : 0;
}

/** Wire bytes of block 3, tag included; 0 for a single segment. */
export function secureRestBytes(preamble: Preamble): number {
  if (preamble.segments === 1) return 0;
  const [, second, third, fourth] = preamble.lengths;
  return padded(second) + padded(third) + padded(fourth) + SECURE_EPILOGUE_BYTES + GCM_TAG_BYTES;
}

/** {u32 fixed, u64 counter}: the counter goes up by one with every GCM message. */
export class Nonce {
  readonly bytes: Buffer;
  readonly #initial: bigint;
  #used = false;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes);
    this.#initial = this.bytes.readBigUInt64LE(4);
  }

  /** To be called before each use. A nonce that comes round to its start must not be used again. */
  check(): void {
    if (this.#used && this.bytes.readBigUInt64LE(4) === this.#initial) {
      throw new ProtocolError('the nonces of this session are used up');
    }
    this.#used = true;
  }

  advance(): void {
    const low = this.bytes.readUInt32LE(4);
    if (low !== 0xffff_ffff) {
      this.bytes.writeUInt32LE(low + 1, 4);
      return;
    }
    this.bytes.writeUInt32LE(0, 4);
    this.bytes.writeUInt32LE((this.bytes.readUInt32LE(8) + 1) >>> 0, 8);
  }
}

/** Seals outgoing blocks. */
export class FrameCipher {
  readonly #key: Buffer;
  readonly #nonce: Nonce;

  constructor(key: Buffer, nonce: Uint8Array) {
    this.#key = key;
    this.#nonce = new Nonce(nonce);
  }

  /** Encrypts the parts as one GCM message; the result ends with the tag. */
  seal(parts: readonly Uint8Array[]): Uint8Array[] {
    this.#nonce.check();
    const cipher = createCipheriv('aes-128-gcm', this.#key, this.#nonce.bytes);
    const sealed: Uint8Array[] = parts.map((part) => cipher.update(part));
    cipher.final();
    sealed.push(cipher.getAuthTag());
    this.#nonce.advance();
    return sealed;
  }
}

/** Opens incoming blocks. */
export class FrameDecipher {
  readonly #key: Buffer;
  readonly #nonce: Nonce;

  constructor(key: Buffer, nonce: Uint8Array) {
    this.#key = key;
    this.#nonce = new Nonce(nonce);
  }

  /** Decrypts one GCM message with its tag; a wrong tag ends the session. */
  open(block: Uint8Array): Uint8Array {
    const body = block.length - GCM_TAG_BYTES;
    const decipher = createDecipheriv('aes-128-gcm', this.#key, this.#nonce.bytes);
    decipher.setAuthTag(block.subarray(body));
    const plain = decipher.update(block.subarray(0, body));
    try {
      decipher.final();
    } catch (cause) {
      throw new ProtocolError('a frame failed authentication (GCM tag mismatch)', { cause });
    }
    this.#nonce.advance();
    return plain;
  }
}

/** Both directions' keys from the connection secret. The two sides use its nonces crosswise. */
export function onwireCrypto(
  connectionSecret: Uint8Array,
  role: 'client' | 'server',
): { tx: FrameCipher; rx: FrameDecipher } {
  if (connectionSecret.length < SECRET_BYTES) {
    throw new ProtocolError(`connection secret of ${connectionSecret.length} bytes`);
  }
  const key = Buffer.from(connectionSecret.subarray(0, KEY_BYTES));
  const a = connectionSecret.subarray(KEY_BYTES, KEY_BYTES + NONCE_BYTES);
  const b = connectionSecret.subarray(KEY_BYTES + NONCE_BYTES, SECRET_BYTES);
  return role === 'client'
    ? { tx: new FrameCipher(key, b), rx: new FrameDecipher(key, a) }
    : { tx: new FrameCipher(key, a), rx: new FrameDecipher(key, b) };
}
