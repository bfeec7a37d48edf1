/** An image in a `FakeObjects`: answers the methods that opening, resizing and removing call, from plain values. */

import { RadosError } from '../../src/base/errors.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { type Encoder, encode } from '../../src/encoding/encoder.js';
import { NOSNAP } from '../../src/encoding/types.js';
import type { FakeObjects, FakeRequest } from './fake-objects.js';

export interface FakeSnapshot {
  id: bigint;
  name: string;
  size: number;
  namespace?: number;
  overlap?: number;
  protection?: number;
}

export class FakeImage {
  id = '1016abc';
  name = 'vm1';
  size = 10 << 20;
  order = 16;
  features = 1n;
  opFeatures = 0n;
  flags = 0n;
  dataPool = -1;
  stripeUnit = 65_536;
  stripeCount = 1;
  snapSeq = 0n;
  snapshots: FakeSnapshot[] = [];
  parent: { pool: number; nspace: string; id: string; snap: bigint; overlap: number } | undefined;

  constructor(objects: FakeObjects, fields: Partial<FakeImage> = {}) {
    Object.assign(this, fields);
    const onId = this.#on(`rbd_id.${this.name}`);
    const onHeader = this.#on(`rbd_header.${this.id}`);
    // For watches, which are on objects.
    for (const nspace of ['', 'ns']) objects.put(`1/${nspace}/rbd_header.${this.id}`, '');
    const snapshot = (input: Uint8Array) => {
      const id = new Decoder(input).u64();
      const found = this.snapshots.find((each) => each.id === id);
      if (id !== NOSNAP && !found) throw RadosError.fromErrno(-2, {});
      return found;
    };
    const methods: Record<string, (input: Uint8Array) => (e: Encoder) => unknown> = {
      get_size: (input) => (e) => e.u8(this.order).u64n(snapshot(input)?.size ?? this.size),
      get_object_prefix: () => (e) => e.string(`rbd_data.${this.id}`),
      get_features: (input) => (e) =>
        e.u64(this.features).u64(input[8] ? this.features & 0x883n : this.features),
      get_data_pool: () => (e) => e.s64n(this.dataPool),
      get_stripe_unit_count: () => (e) => e.u64n(this.stripeUnit).u64n(this.stripeCount),
      get_flags: () => (e) => e.u64(this.flags),
      op_features_get: () => (e) => e.u64(this.opFeatures),
      get_create_timestamp: () => (e) => e.u32(1).u32(0),
      get_access_timestamp: () => (e) => e.u32(2).u32(0),
      get_modify_timestamp: () => (e) => e.u32(3).u32(0),
      get_snapcontext: () => (e) => {
        const ids = this.snapshots.map(({ id }) => id).sort((a, b) => Number(b - a));
        e.u64(this.snapSeq).u32(ids.length);
        for (const id of ids) e.u64(id);
      },
      parent_get: () => (e) => {
        const { pool = -1, nspace = '', id = '', snap = NOSNAP } = this.parent ?? {};
        e.struct(1, 1, () => e.s64n(pool).string(nspace).string(id).u64(snap));
      },
      parent_overlap_get: (input) => (e) => {
        const found = snapshot(input);
        const overlap = found ? found.overlap : this.parent?.overlap;
        e.bool(overlap !== undefined);
        if (overlap !== undefined) e.u64n(overlap);
      },
      snapshot_get: (input) => (e) => {
        const { id, name, size, namespace = 0 } = snapshot(input) as FakeSnapshot;
        e.struct(1, 1, () => {
          e.u64(id).struct(1, 1, () => e.u32(namespace));
          e.string(name).u64n(size).u32(9).u32(0).u32(0);
        });
      },
      get_protection_status: (input) => (e) => e.u8(snapshot(input)?.protection ?? 0),
      set_size: (input) => {
        this.size = new Decoder(input).u64n();
        return () => {};
      },
    };
    const answer = (method: string, run: (input: Uint8Array) => (e: Encoder) => unknown) =>
      objects.methods.set(`rbd.${method}`, (input, request) => {
        onHeader(request);
        return encode(run(input));
      });
    for (const [method, run] of Object.entries(methods)) answer(method, run);
    objects.methods.set('rbd.get_id', (_, request) => {
      onId(request);
      return encode((e) => e.string(this.id));
    });
    objects.methods.set('lock.get_info', () =>
      encode((e) => e.struct(1, 1, () => e.u32(0).u8(0).string(''))),
    );
  }

  #on(oid: string) {
    return (request: FakeRequest) => {
      if (request.oid !== oid) throw RadosError.fromErrno(-2, { target: request.oid });
    };
  }
}
