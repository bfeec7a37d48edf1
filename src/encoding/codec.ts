/**
 * Wire structures declared once, as data.
 *
 * A `Codec` is a type's decoder, encoder, smallest size and generator of samples in one value. `struct()` builds
 * one from a list of fields; the decoder, the encoder, the bounds checks and the property tests all come from it:
 *
 *     const snapInfo = struct('pool_snap_info_t', { version: 2, compat: 2 }, {
 *       snapid: u64, stamp: utime, name: string,
 *     });
 *     type SnapInfo = Infer<typeof snapInfo>;
 */

import { DecodeError, Decoder } from './decoder.js';
import { Encoder } from './encoder.js';

/** A source of numbers for samples: uniform in [0, bound). */
export type Draw = (bound: number) => number;

export interface Codec<T> {
  decode(decoder: Decoder): T;
  encode(encoder: Encoder, value: T): void;
  /** No value takes fewer bytes: what makes a lying count detectable before the loop. */
  readonly minBytes: number;
  /** A random valid value, for property tests and fuzzing. */
  sample(draw: Draw): T;
}

export type Infer<C> = C extends Codec<infer T> ? T : never;

function primitive<T>(
  minBytes: number,
  decode: (decoder: Decoder) => T,
  encode: (encoder: Encoder, value: T) => unknown,
  sample: (draw: Draw) => T,
): Codec<T> {
  return { minBytes, decode, encode: (encoder, value) => void encode(encoder, value), sample };
}

const sampleBytes = (draw: Draw, length: number) => Uint8Array.from({ length }, () => draw(256));
/** Mostly printable ASCII; now and then what takes two to four bytes, NUL, and the byte order mark. */
const sampleCharacter = (draw: Draw) =>
  draw(8) > 0
    ? String.fromCharCode(32 + draw(95))
    : (['ü', '€', '𝛑', '\0', '\ufeff'][draw(5)] ?? '');
const sampleU64 = (draw: Draw) => (BigInt(draw(2 ** 32)) << 32n) | BigInt(draw(2 ** 32));

export const u8 = primitive(
  1,
  (d) => d.u8(),
  (e, v: number) => e.u8(v),
  (draw) => draw(256),
);
export const s8 = primitive(
  1,
  (d) => d.s8(),
  (e, v: number) => e.s8(v),
  (draw) => draw(256) - 128,
);
export const bool = primitive(
  1,
  (d) => d.bool(),
  (e, v: boolean) => e.bool(v),
  (draw) => draw(2) === 1,
);
export const u16 = primitive(
  2,
  (d) => d.u16(),
  (e, v: number) => e.u16(v),
  (draw) => draw(2 ** 16),
);
export const s16 = primitive(
  2,
  (d) => d.s16(),
  (e, v: number) => e.s16(v),
  (draw) => draw(2 ** 16) - 2 ** 15,
);
export const u32 = primitive(
  4,
  (d) => d.u32(),
  (e, v: number) => e.u32(v),
  (draw) => draw(2 ** 32),
);
export const s32 = primitive(
  4,
  (d) => d.s32(),
  (e, v: number) => e.s32(v),
  (draw) => draw(2 ** 32) - 2 ** 31,
);
/** An id as `bigint`. */
export const u64 = primitive(
  8,
  (d) => d.u64(),
  (e, v: bigint) => e.u64(v),
  sampleU64,
);
export const s64 = primitive(
  8,
  (d) => d.s64(),
  (e, v: bigint) => e.s64(v),
  (draw) => BigInt.asIntN(64, sampleU64(draw)),
);
/** A size, offset or counter as a safe integer. */
export const u64n = primitive(
  8,
  (d) => d.u64n(),
  (e, v: number) => e.u64n(v),
  (draw) => draw(2 ** 53),
);
/** A pool id and the like: signed, as a safe integer. */
export const s64n = primitive(
  8,
  (d) => d.s64n(),
  (e, v: number) => e.s64n(v),
  (draw) => draw(2 ** 53) - 2 ** 52,
);
export const f32 = primitive(
  4,
  (d) => d.f32(),
  (e, v: number) => e.f32(v),
  (draw) => Math.fround(draw(1000) / 7),
);
export const f64 = primitive(
  8,
  (d) => d.f64(),
  (e, v: number) => e.f64(v),
  (draw) => draw(1000) / 7,
);
export const string = primitive(
  4,
  (d) => d.string(),
  (e, v: string) => e.string(v),
  (draw) => Array.from({ length: draw(12) }, () => sampleCharacter(draw)).join(''),
);
/**
 * u32 length + bytes. Decodes to a copy: control structures outlive the frame that they came in.
 * (`slice` would not do: on a Buffer it makes a view.)
 */
export const blob = primitive(
  4,
  (d) => new Uint8Array(d.blob()),
  (e, v: Uint8Array) => e.blob(v),
  (draw) => sampleBytes(draw, draw(40)),
);

/** A fixed number of raw bytes (a uuid has 16), copied. */
export function fixed(length: number): Codec<Uint8Array> {
  return primitive(
    length,
    (d) => new Uint8Array(d.view(length)),
    (e, v: Uint8Array) => {
      if (v.length !== length) throw new RangeError(`expected ${length} bytes, got ${v.length}`);
      e.raw(v);
    },
    (draw) => sampleBytes(draw, length),
  );
}

/** u32 count + elements: `vector`, `list`, and `set` when the caller keeps them in order. */
export function list<T>(item: Codec<T>): Codec<T[]> {
  return {
    minBytes: 4,
    decode(decoder) {
      const count = decoder.count(item.minBytes);
      const values: T[] = [];
      for (let i = 0; i < count; i++) values.push(item.decode(decoder));
      return values;
    },
    encode(encoder, values) {
      encoder.u32(values.length);
      for (const value of values) item.encode(encoder, value);
    },
    sample: (draw) => Array.from({ length: draw(4) }, () => item.sample(draw)),
  };
}

/** u32 count + key and value pairs. Encodes in the map's own order: keep keys ascending, as Ceph's `std::map` is. */
export function map<K, V>(key: Codec<K>, value: Codec<V>): Codec<Map<K, V>> {
  return {
    minBytes: 4,
    decode(decoder) {
      const count = decoder.count(key.minBytes + value.minBytes);
      const values = new Map<K, V>();
      for (let i = 0; i < count; i++) {
        const k = key.decode(decoder);
        values.set(k, value.decode(decoder));
      }
      return values;
    },
    encode(encoder, values) {
      encoder.u32(values.size);
      for (const [k, v] of values) {
        key.encode(encoder, k);
        value.encode(encoder, v);
      }
    },
    sample: (draw) =>
      new Map(
        Array.from({ length: draw(4) }, () => [key.sample(draw), value.sample(draw)] as const),
      ),
  };
}

/** u8 present + value when present. */
export function optional<T>(item: Codec<T>): Codec<T | undefined> {
  return {
    minBytes: 1,
    decode: (decoder) => (decoder.bool() ? item.decode(decoder) : undefined),
    encode(encoder, value) {
      encoder.bool(value !== undefined);
      if (value !== undefined) item.encode(encoder, value);
    },
    sample: (draw) => (draw(2) ? item.sample(draw) : undefined),
  };
}

export function tuple<A, B>(first: Codec<A>, second: Codec<B>): Codec<[A, B]> {
  return {
    minBytes: first.minBytes + second.minBytes,
    decode: (decoder) => [first.decode(decoder), second.decode(decoder)],
    encode(encoder, [a, b]) {
      first.encode(encoder, a);
      second.encode(encoder, b);
    },
    sample: (draw) => [first.sample(draw), second.sample(draw)],
  };
}

/** u32 length + the inner value alone in it (Ceph wraps maps and messages in a bufferlist). */
export function wrapped<T>(name: string, item: Codec<T>): Codec<T> {
  return {
    minBytes: 4,
    decode: (decoder) => decodeAll(name, item, decoder.blob()),
    encode(encoder, value) {
      encoder.blob(encodeWith(item, value));
    },
    sample: item.sample,
  };
}

/** A field that older writers did not have: absent below struct version `since`, and then `fallback`. */
export interface SinceField<T> {
  readonly since: number;
  readonly codec: Codec<T>;
  readonly fallback: () => T;
}

export function since<T>(version: number, codec: Codec<T>, fallback: () => T): SinceField<T> {
  return { since: version, codec, fallback };
}

type Field = Codec<never> | SinceField<never>;
// biome-ignore lint: the field list is heterogeneous by nature.
type Fields = Record<string, Codec<any> | SinceField<any>>; // eslint-disable-line @typescript-eslint/no-explicit-any

export type FieldsOf<F> = {
  -readonly [K in keyof F]: F[K] extends Codec<infer T>
    ? T
    : F[K] extends SinceField<infer T>
      ? T
      : never;
};

const isSince = (field: Field | SinceField<unknown> | Codec<unknown>): field is SinceField<never> =>
  'since' in field;

function fieldsCodec<F extends Fields>(name: string, fields: F) {
  const entries = Object.entries(fields);
  // Every structure comes by here, field by field.
  const keys = entries.map(([key]) => key);
  const since = entries.map(([, field]) => (isSince(field) ? field.since : 0));
  const codecs = entries.map(
    ([, field]) => (isSince(field) ? field.codec : field) as Codec<unknown>,
  );
  /** A copy of it has its shape from the beginning. */
  const blank: Record<string, unknown> = Object.fromEntries(keys.map((key) => [key, undefined]));
  return {
    minBytes: entries.reduce(
      (sum, [, f]) => sum + (isSince(f) ? 0 : (f as Codec<unknown>).minBytes),
      0,
    ),
    decode(decoder: Decoder, version: number): FieldsOf<F> {
      const value = { ...blank };
      let i = 0;
      try {
        for (; i < codecs.length; i++) {
          const key = keys[i] as string;
          const isKnown = version >= (since[i] as number);
          value[key] = isKnown
            ? (codecs[i] as Codec<unknown>).decode(decoder)
            : (fields[key] as SinceField<unknown>).fallback();
        }
      } catch (error) {
        throw error instanceof DecodeError ? error.within(keys[i] as string) : error;
      }
      return value as FieldsOf<F>;
    },
    encode(encoder: Encoder, value: FieldsOf<F>, version: number): void {
      for (let i = 0; i < codecs.length; i++) {
        if ((since[i] as number) > version) continue;
        const field = (value as Record<string, unknown>)[keys[i] as string];
        (codecs[i] as Codec<unknown>).encode(encoder, field);
      }
    },
    sample(draw: Draw, version: number): FieldsOf<F> {
      return Object.fromEntries(
        entries.map(([key, field]) => {
          if (!isSince(field)) return [key, (field as Codec<unknown>).sample(draw)];
          return [key, field.since > version ? field.fallback() : field.codec.sample(draw)];
        }),
      ) as FieldsOf<F>;
    },
    name,
  };
}

/** Fields one after the other, without a version header (Ceph's raw C structs and legacy structures). */
export function record<F extends Fields>(name: string, fields: F): Codec<FieldsOf<F>> {
  const body = fieldsCodec(name, fields);
  return {
    minBytes: body.minBytes,
    decode(decoder) {
      try {
        return body.decode(decoder, Number.MAX_SAFE_INTEGER);
      } catch (error) {
        throw error instanceof DecodeError ? error.within(name) : error;
      }
    },
    encode: (encoder, value) => body.encode(encoder, value, Number.MAX_SAFE_INTEGER),
    sample: (draw) => body.sample(draw, Number.MAX_SAFE_INTEGER),
  };
}

/**
 * A structure with Ceph's version header (`ENCODE_START(version, compat)`): writes `version`, reads any version whose
 * `compat` we meet, skips what it does not know. Where we read newer versions than we write, `reads` is the newest
 * version whose fields are declared; fields that came after `version` are then read and never written.
 */
export function struct<F extends Fields>(
  name: string,
  header: { version: number; compat: number; reads?: number },
  fields: F,
): Codec<FieldsOf<F>> {
  const body = fieldsCodec(name, fields);
  return {
    minBytes: 6,
    decode: (decoder) =>
      decoder.struct(name, header.reads ?? header.version, (version) =>
        body.decode(decoder, version),
      ),
    encode(encoder, value) {
      encoder.struct(header.version, header.compat, () =>
        body.encode(encoder, value, header.version),
      );
    },
    sample: (draw) => body.sample(draw, header.version),
  };
}

/** Converts between the wire value and a handier one. */
export function mapped<W, T>(wire: Codec<W>, from: (wire: W) => T, to: (value: T) => W): Codec<T> {
  return {
    minBytes: wire.minBytes,
    decode: (decoder) => from(wire.decode(decoder)),
    encode: (encoder, value) => wire.encode(encoder, to(value)),
    sample: (draw) => from(wire.sample(draw)),
  };
}

/** Decodes a whole buffer: bytes left over are an error. */
export function decodeAll<T>(name: string, codec: Codec<T>, bytes: Uint8Array): T {
  const decoder = new Decoder(bytes);
  let value: T;
  try {
    value = codec.decode(decoder);
  } catch (error) {
    throw error instanceof DecodeError ? error.within(name) : error;
  }
  decoder.finish(name);
  return value;
}

/** Decodes the start of a buffer and ignores what follows (class-call replies may carry more). */
export function decodeFirst<T>(codec: Codec<T>, bytes: Uint8Array): T {
  return codec.decode(new Decoder(bytes));
}

export function encodeWith<T>(codec: Codec<T>, value: T): Uint8Array {
  const encoder = new Encoder();
  codec.encode(encoder, value);
  return encoder.bytes;
}
