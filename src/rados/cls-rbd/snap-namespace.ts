/** What kind of snapshot one is (`cls/rbd/cls_rbd_types.h`, `SnapshotNamespace`). */

import {
  type Codec,
  type Infer,
  list,
  map,
  record,
  s64n,
  string,
  u8,
  u32,
  u64,
} from '../../encoding/codec.js';
import { DecodeError } from '../../encoding/decoder.js';

/** Of a snapshot of a group of images: which group, and which of its snapshots. */
const group = record('GroupSnapshotNamespace', {
  poolId: s64n,
  groupId: string,
  groupSnapshotId: string,
});

/** Of a removed snapshot that clones still need: what it was before. */
const trash = record('TrashSnapshotNamespace', { originalName: string, originalType: u32 });

/** Of a snapshot that mirroring made: how far it got, and where it belongs. */
const mirror = record('MirrorSnapshotNamespace', {
  state: u8,
  complete: u8,
  peerUuids: list(string),
  primaryUuid: string,
  primarySnapId: u64,
  lastCopiedObjectNo: u64,
  snapSeqs: map(u64, u64),
});

export type SnapNamespace =
  | { type: 'user' }
  | ({ type: 'group' } & Infer<typeof group>)
  | ({ type: 'trash' } & Infer<typeof trash>)
  | ({ type: 'mirror' } & Infer<typeof mirror>)
  /** Of a client that is newer than this one: read, never written. */
  | { type: 'unknown'; code: number };

export const USER_NAMESPACE: SnapNamespace = { type: 'user' };

export const SNAP_NAMESPACE = {
  USER: 'user',
  GROUP: 'group',
  TRASH: 'trash',
  MIRROR: 'mirror',
} as const;
type Type = (typeof SNAP_NAMESPACE)[keyof typeof SNAP_NAMESPACE];
/** By their numbers. */
const TYPES: readonly Type[] = ['user', 'group', 'trash', 'mirror'];

/** What a snapshot in the trash was before: `'user'`. */
export const snapNamespaceType = (code: number): Type | 'unknown' => TYPES[code] ?? 'unknown';

const BODIES: Record<Type, Codec<object>> = {
  user: record('UserSnapshotNamespace', {}) as Codec<object>,
  group: group as Codec<object>,
  trash: trash as Codec<object>,
  mirror: mirror as Codec<object>,
};

export const snapNamespace: Codec<SnapNamespace> = {
  minBytes: 10,
  decode: (decoder) =>
    decoder.struct('SnapshotNamespace', 1, () => {
      const code = decoder.u32();
      const type = TYPES[code];
      if (!type) return { type: 'unknown', code };
      try {
        return { type, ...BODIES[type].decode(decoder) } as SnapNamespace;
      } catch (error) {
        // An image is none the worse for a snapshot that another release made in its own way.
        if (error instanceof DecodeError) return { type: 'unknown', code };
        throw error;
      }
    }),
  encode(encoder, namespace) {
    const { type, ...body } = namespace;
    if (type === 'unknown')
      throw new TypeError('a snapshot namespace of unknown type is not written');
    encoder.struct(1, 1, () => {
      encoder.u32(TYPES.indexOf(type));
      BODIES[type].encode(encoder, body);
    });
  },
  sample(draw) {
    const type = TYPES[draw(TYPES.length)] ?? 'user';
    return { type, ...BODIES[type].sample(draw) } as SnapNamespace;
  },
};
