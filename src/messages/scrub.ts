/** What scrubs found, as `rados list-inconsistent-obj` asks for it (`common/scrub_types.cc`). */

import { blob, list, string, struct, u32, u64 } from '../encoding/codec.js';
import { encode } from '../encoding/encoder.js';

/** Of one copy (`err_t`). */
export const SHARD_ERROR = {
  MISSING: 1n << 1n,
  READ: 1n << 3n,
  /** Not what the writes said they made of it. */
  DATA_DIGEST_MISMATCH_INFO: 1n << 9n,
} as const;

/** Among the copies of an object (`obj_err_t`). */
export const OBJECT_ERROR = {
  INFO_INCONSISTENCY: 1n << 1n,
  DATA_DIGEST_MISMATCH: 1n << 4n,
  OMAP_DIGEST_MISMATCH: 1n << 5n,
  SIZE_MISMATCH: 1n << 6n,
  ATTR_VALUE_MISMATCH: 1n << 7n,
  ATTR_NAME_MISMATCH: 1n << 8n,
  SNAPSET_INCONSISTENCY: 1n << 9n,
} as const;

export const scrubLsArg = struct(
  'scrub_ls_arg_t',
  { version: 1, compat: 1 },
  {
    /** The interval of the page before; 0: this is the first. */
    interval: u32,
    getSnapsets: u32,
    name: string,
    nspace: string,
    snap: u64,
    maxReturn: u64,
  },
);

/** The values are encoded each for itself. */
export const scrubLsResult = struct(
  'scrub_ls_result_t',
  { version: 1, compat: 1 },
  { interval: u32, vals: list(blob) },
);

/** One copy, as a scrub saw it. */
export interface InconsistentShard {
  readonly osd: number;
  readonly primary: boolean;
  /** Of SHARD_ERROR. */
  readonly errors: bigint;
  /** Undefined: there is none. */
  readonly object:
    | {
        readonly size: number;
        readonly attrs: ReadonlyMap<string, Uint8Array>;
        /** Absent where nobody looked, or the copy could not be read. */
        readonly dataDigest: number | undefined;
        readonly omapDigest: number | undefined;
      }
    | undefined;
}

export interface InconsistentObject {
  readonly name: string;
  readonly nspace: string;
  readonly locator: string;
  readonly snap: bigint;
  readonly version: bigint;
  /** Of OBJECT_ERROR. */
  readonly errors: bigint;
  readonly shards: readonly InconsistentShard[];
}

/** Of replicated pools: copies have no place of their own among the members. */
const NO_SHARD = 0xff;

/** `inconsistent_obj_wrapper`. */
export function encodeInconsistentObject(object: InconsistentObject): Uint8Array {
  const { name, nspace, locator, snap, version, errors, shards } = object;
  return encode((e) => {
    e.struct(2, 2, () => {
      e.u64(errors);
      e.struct(1, 1, () => e.string(name).string(nspace).string(locator).u64(snap));
      e.u64(version).u32(shards.length);
      for (const shard of shards) {
        e.struct(1, 1, () => e.u32(shard.osd).u8(NO_SHARD));
        e.struct(3, 3, () => {
          e.u64(shard.errors).u8(Number(shard.primary));
          if (!shard.object) return;
          const { attrs, size, omapDigest, dataDigest } = shard.object;
          e.u32(attrs.size);
          for (const [attr, value] of attrs) e.string(attr).blob(value);
          e.u64(BigInt(size));
          e.u8(Number(omapDigest !== undefined)).u32(omapDigest ?? 0);
          e.u8(Number(dataDigest !== undefined)).u32(dataDigest ?? 0);
          // Ceph's object_info_t, of which this copy would be the judge: it has none of that form.
          e.u8(0);
        });
      }
      e.u64(shards.reduce((all, shard) => all | shard.errors, 0n));
    });
  });
}
