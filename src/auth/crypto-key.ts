/**
 * cephx keys: what they look like on the wire and in keyrings, and what is encrypted with them (`auth/Crypto.cc`).
 *
 * Two kinds exist. `AES` (every release) is AES-128-CBC with one fixed IV. `AES256KRB5` (newer clusters) is the
 * aes256-cts-hmac-sha384-192 encryption of RFC 8009, with keys derived per usage. Each key carries its own kind.
 *
 * The secret sits in a private field: printing, logging or serializing a key never shows it.
 */

import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';
import type { Random } from '../base/environment.js';
import { ProtocolError, RadosError } from '../base/errors.js';
import { type Codec, decodeAll, encodeWith } from '../encoding/codec.js';
import { DecodeError, Decoder } from '../encoding/decoder.js';
import { Encoder } from '../encoding/encoder.js';
import { type Utime, utime, ZERO_TIME } from '../encoding/types.js';

export const KEY_TYPE = { NONE: 0, AES: 1, AES256KRB5: 2 } as const;

/** Which message a ciphertext belongs to. Only `AES256KRB5` keys tell them apart. */
export const KEY_USAGE = {
  MON_CONNECTION_SECRET: 0x03,
  SERVICE_TICKET: 0x04,
  TICKET_BLOB: 0x05,
  AUTHORIZE: 0x10,
  AUTHORIZE_CHALLENGE: 0x11,
  AUTHORIZE_REPLY: 0x12,
  ROTATING_SECRETS: 0x20,
  TICKET_INFO: 0x30,
} as const;

const SECRET_BYTES: Readonly<Record<number, number>> = {
  [KEY_TYPE.NONE]: 0,
  [KEY_TYPE.AES]: 16,
  [KEY_TYPE.AES256KRB5]: 32,
};

/** `CEPH_AES_IV`: the same for every message, as the protocol has it. */
const AES_IV = Buffer.from('cephsageyudagreg', 'latin1');
const BLOCK = 16;
const ZERO_IV = new Uint8Array(BLOCK);
/** HMAC-SHA384-192. */
const KRB5_MAC_BYTES = 24;
const KRB5_ENCRYPT_KEY = { label: 0xaa, length: 32 } as const;
const KRB5_INTEGRITY_KEY = { label: 0x55, length: 24 } as const;

/** `AUTH_ENC_MAGIC`: what a plaintext starts with, to notice the wrong key. */
const MAGIC = 0xff00_9cad_8826_aa55n;
const ENVELOPE_VERSION = 1;

/** Bytes that printing, logging and serializing do not show. */
export class Secret {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    // Not `slice`: of a Buffer that would be a view of the frame that it came in.
    this.#bytes = new Uint8Array(bytes);
  }

  /** The bytes themselves: for signatures and the wire only. */
  reveal(): Uint8Array {
    return this.#bytes;
  }

  toString(): string {
    return '<hidden>';
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

export class CryptoKey extends Secret {
  readonly type: number;
  readonly created: Utime;

  constructor(type: number, secret: Uint8Array, created: Utime = ZERO_TIME) {
    const expected = SECRET_BYTES[type];
    if (expected === undefined) throw new RangeError(`key type ${type} is not known`);
    if (secret.length !== expected) {
      throw new RangeError(`a key of type ${type} has ${expected} bytes, not ${secret.length}`);
    }
    super(secret);
    this.type = type;
    this.created = created;
  }

  static generate(random: Random, created: Utime, type: number = KEY_TYPE.AES): CryptoKey {
    return new CryptoKey(type, random.bytes(SECRET_BYTES[type] ?? 0), created);
  }

  /** Reads the form of keyrings. The error does not repeat the text. */
  static fromBase64(text: string): CryptoKey {
    const trimmed = text.trim();
    // Node decodes what it can and drops the rest: the alphabet is checked first.
    const wellFormed = /^[A-Za-z0-9+/]+={0,2}$/.test(trimmed) && trimmed.length % 4 === 0;
    try {
      if (!wellFormed) throw new ProtocolError('not base64');
      const key = decodeAll('CryptoKey', cryptoKey, Buffer.from(trimmed, 'base64'));
      if (key.type === KEY_TYPE.NONE) throw new ProtocolError('no key in it');
      return key;
    } catch (error) {
      throw new RadosError('EINVAL', 'the key is not a cephx key in base64', { cause: error });
    }
  }

  /** The form of keyrings: this reveals the secret. */
  toBase64(): string {
    return Buffer.from(encodeWith(cryptoKey, this)).toString('base64');
  }

  equals(other: CryptoKey): boolean {
    return this.type === other.type && sameBytes(this.reveal(), other.reveal());
  }

  encrypt(usage: number, plaintext: Uint8Array, random: Random): Uint8Array {
    switch (this.type) {
      case KEY_TYPE.AES: {
        const cipher = createCipheriv('aes-128-cbc', this.reveal(), AES_IV);
        return Buffer.concat([cipher.update(plaintext), cipher.final()]);
      }
      case KEY_TYPE.AES256KRB5:
        return krb5Encrypt(this.reveal(), usage, plaintext, random.bytes(BLOCK));
      default:
        throw new RadosError('EOPNOTSUPP', `key type ${this.type} cannot encrypt`);
    }
  }

  /** Undefined when this is not the key that the ciphertext was made with, as far as the cipher can tell. */
  decrypt(usage: number, ciphertext: Uint8Array): Uint8Array | undefined {
    switch (this.type) {
      case KEY_TYPE.AES:
        return aesDecrypt(this.reveal(), ciphertext);
      case KEY_TYPE.AES256KRB5:
        return krb5Decrypt(this.reveal(), usage, ciphertext);
      default:
        return undefined;
    }
  }

  /**
   * The client's proof to a monitor: 64 bits folded from the two challenges under the key
   * (`cephx_calc_client_server_challenge`).
   */
  challengeProof(serverChallenge: bigint, clientChallenge: bigint): bigint {
    const challenges = new Encoder(16).u64(serverChallenge).u64(clientChallenge).bytes;
    switch (this.type) {
      case KEY_TYPE.AES: {
        const cipher = createCipheriv('aes-128-cbc', this.reveal(), AES_IV);
        const sealed = Buffer.concat([cipher.update(envelope(challenges)), cipher.final()]);
        // The length prefix takes part, and what does not fill a word at the end does not.
        return foldWords(new Encoder(36).blob(sealed).bytes);
      }
      case KEY_TYPE.AES256KRB5:
        return foldWords(createHmac('sha256', this.reveal()).update(challenges).digest());
      default:
        throw new RadosError('EOPNOTSUPP', `key type ${this.type} cannot prove anything`);
    }
  }
}

/** `CryptoKey`: type, creation time, u16 length, secret. */
export const cryptoKey: Codec<CryptoKey> = {
  minBytes: 12,
  decode(decoder) {
    const at = decoder.offset;
    const type = decoder.u16();
    const created = utime.decode(decoder);
    const length = decoder.u16();
    const expected = SECRET_BYTES[type];
    if (expected === undefined) throw new DecodeError(`key type ${type}`, at, ['CryptoKey']);
    if (length !== expected) {
      throw new DecodeError(`${length} bytes of key type ${type}`, at, ['CryptoKey']);
    }
    return new CryptoKey(type, decoder.view(length), created);
  },
  encode(encoder, key) {
    encoder.u16(key.type);
    utime.encode(encoder, key.created);
    encoder.u16(key.reveal().length).raw(key.reveal());
  },
  sample: (draw) => {
    const type = draw(3);
    const secret = Uint8Array.from({ length: SECRET_BYTES[type] ?? 0 }, () => draw(256));
    return new CryptoKey(type, secret, utime.sample(draw));
  },
};

/** Which bytes are opened or sealed, with which key: said once, used in both directions. */
export interface Sealed<T> {
  readonly name: string;
  readonly usage: number;
  readonly codec: Codec<T>;
}

/** `encode_encrypt_enc_bl`: version, magic and the value, encrypted. Without a length. */
export function seal<T>(key: CryptoKey, what: Sealed<T>, value: T, random: Random): Uint8Array {
  return key.encrypt(what.usage, envelope(encodeWith(what.codec, value)), random);
}

/**
 * The reverse. Undefined when the key is wrong; a `ProtocolError` when the key is right and the content is not.
 * What follows the value is skipped: a newer peer may say more.
 */
export function open<T>(key: CryptoKey, what: Sealed<T>, ciphertext: Uint8Array): T | undefined {
  const plaintext = key.decrypt(what.usage, ciphertext);
  if (plaintext === undefined || plaintext.length < 9) return undefined;
  const decoder = new Decoder(plaintext);
  decoder.u8();
  if (decoder.u64() !== MAGIC) return undefined;
  try {
    return what.codec.decode(decoder);
  } catch (error) {
    throw error instanceof DecodeError ? error.within(what.name) : error;
  }
}

function envelope(content: Uint8Array): Uint8Array {
  return new Encoder(9 + content.length).u8(ENVELOPE_VERSION).u64(MAGIC).raw(content).bytes;
}

/** Compares without telling by the time taken how much agrees. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** XOR of the whole little-endian 64-bit words. */
function foldWords(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let folded = 0n;
  for (let at = 0; at + 8 <= bytes.length; at += 8) folded ^= view.getBigUint64(at, true);
  return folded;
}

function aesDecrypt(secret: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
  if (ciphertext.length === 0 || ciphertext.length % BLOCK !== 0) return undefined;
  const decipher = createDecipheriv('aes-128-cbc', secret, AES_IV);
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch {
    // Padding that no encryption makes.
    return undefined;
  }
}

/** KDF-HMAC-SHA2 of RFC 8009, section 3. */
export function krb5DeriveKey(
  secret: Uint8Array,
  usage: number,
  { label, length }: { label: number; length: number },
): Uint8Array {
  const input = Buffer.alloc(4 + 5 + 1 + 4);
  input.writeUInt32BE(1, 0);
  input.writeUInt32BE(usage, 4);
  input.writeUInt8(label, 8);
  input.writeUInt32BE(8 * length, 10);
  return createHmac('sha384', secret).update(input).digest().subarray(0, length);
}

/** RFC 8009, section 5: a random first block, CBC with ciphertext stealing, and a MAC over the zero IV and the result. */
export function krb5Encrypt(
  secret: Uint8Array,
  usage: number,
  plaintext: Uint8Array,
  confounder: Uint8Array,
): Uint8Array {
  const encryptKey = krb5DeriveKey(secret, usage, KRB5_ENCRYPT_KEY);
  const ciphertext = ctsEncrypt(encryptKey, Buffer.concat([confounder, plaintext]));
  return Buffer.concat([ciphertext, krb5Mac(secret, usage, ciphertext)]);
}

export function krb5Decrypt(
  secret: Uint8Array,
  usage: number,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.length < BLOCK + KRB5_MAC_BYTES) return undefined;
  const ciphertext = sealed.subarray(0, sealed.length - KRB5_MAC_BYTES);
  const mac = sealed.subarray(sealed.length - KRB5_MAC_BYTES);
  if (!sameBytes(mac, krb5Mac(secret, usage, ciphertext))) return undefined;
  return ctsDecrypt(krb5DeriveKey(secret, usage, KRB5_ENCRYPT_KEY), ciphertext).subarray(BLOCK);
}

function krb5Mac(secret: Uint8Array, usage: number, ciphertext: Uint8Array): Uint8Array {
  const key = krb5DeriveKey(secret, usage, KRB5_INTEGRITY_KEY);
  const mac = createHmac('sha384', key).update(ZERO_IV).update(ciphertext).digest();
  return mac.subarray(0, KRB5_MAC_BYTES);
}

/** CBC-CS3: the last two blocks change places and the ciphertext is as long as the plaintext (one block at least). */
function ctsEncrypt(key: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const length = plaintext.length;
  const padded = new Uint8Array(Math.ceil(length / BLOCK) * BLOCK);
  padded.set(plaintext);
  const cipher = createCipheriv('aes-256-cbc', key, ZERO_IV).setAutoPadding(false);
  const blocks = Buffer.concat([cipher.update(padded), cipher.final()]);
  if (blocks.length === BLOCK) return blocks;
  const swapAt = blocks.length - 2 * BLOCK;
  const swapped = Buffer.concat([
    blocks.subarray(0, swapAt),
    blocks.subarray(swapAt + BLOCK),
    blocks.subarray(swapAt, swapAt + BLOCK),
  ]);
  return swapped.subarray(0, length);
}

function ctsDecrypt(key: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const length = ciphertext.length;
  if (length === BLOCK) return cbcDecrypt(key, ciphertext);
  const lastLength = length % BLOCK || BLOCK;
  const swapAt = length - lastLength - BLOCK;
  const nextToLast = ciphertext.subarray(swapAt, swapAt + BLOCK);
  // The stolen tail of the shortened block is what the other one decrypts to, before chaining.
  const stolen = cbcDecrypt(key, nextToLast).subarray(lastLength);
  const blocks = Buffer.concat([
    ciphertext.subarray(0, swapAt),
    ciphertext.subarray(swapAt + BLOCK),
    stolen,
    nextToLast,
  ]);
  return cbcDecrypt(key, blocks).subarray(0, length);
}

function cbcDecrypt(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  const decipher = createDecipheriv('aes-256-cbc', key, ZERO_IV).setAutoPadding(false);
  return Buffer.concat([decipher.update(blocks), decipher.final()]);
}
