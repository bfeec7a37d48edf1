/** An image of the floor below, as the block device wants it. */

import { RadosError } from '../base/errors.js';
import { NOSNAP } from '../encoding/types.js';
import type { RadosClient } from '../rados/rados-client.js';
import { diffBatches, type DiffExtent, type DiffOptions } from '../rbd/diff/diff.js';
import type { Image } from '../rbd/image.js';
import { openHeader } from '../rbd/open.js';
import type { DeviceAttributes } from './attributes.js';
import type { BlockBackend, ImageSpec } from './backend.js';
import type { ImageEvents } from './image-events.js';
import { formatMapOptions, type MapOptions } from './map-options.js';

export interface ImageBackendOptions {
  client: RadosClient;
  image: Image;
  spec: ImageSpec;
  options: MapOptions;
  events: ImageEvents;
  /** Lets go of the client. */
  release: () => Promise<void>;
}

export class ImageBackend implements BlockBackend {
  readonly #client: RadosClient;
  readonly #image: Image;
  readonly #spec: ImageSpec;
  readonly #options: MapOptions;
  readonly #events: ImageEvents;
  readonly #release: () => Promise<void>;

  constructor({ client, image, spec, options, events, release }: ImageBackendOptions) {
    this.#client = client;
    this.#image = image;
    this.#spec = spec;
    this.#options = options;
    this.#events = events;
    this.#release = release;
  }

  get size(): number {
    return this.#image.size;
  }

  get readOnly(): boolean {
    return this.#image.readOnly;
  }

  get objectSize(): number {
    return this.#image.objectSize;
  }

  attributes(): DeviceAttributes {
    const image = this.#image;
    const { snapshot, ioctx } = image;
    return {
      size: image.size,
      features: image.features,
      pool: ioctx.pool.name,
      poolId: ioctx.pool.id,
      poolNs: ioctx.nspace,
      name: image.name ?? this.#spec.image,
      imageId: image.id,
      currentSnap: snapshot?.name ?? '-',
      snapId: snapshot?.id ?? NOSNAP,
      clientAddr: this.#client.clientAddr,
      clientId: `client${this.#client.globalId}`,
      clusterFsid: this.#client.fsid,
      configInfo: formatMapOptions(this.#options),
      parents: [],
      readOnly: image.readOnly,
      objectSize: image.objectSize,
      stripeUnit: image.stripeUnit,
      stripeCount: image.stripeCount,
      allocSize: this.#options.allocSize,
    };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    this.#checkWithin('read', offset, into.length, this.#image.size);
    const { length } = await this.#image.read(offset, into.length, into);
    // It shrank while the read waited: the rest of `into` is what was in that memory before.
    this.#checkWithin('read', offset, into.length, offset + length);
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.#checkWritable('write', offset, data.length);
    await this.#image.write(offset, data);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#checkWritable('discard', offset, length);
    await this.#image.discard(offset, length);
  }

  async writeZeroes(
    offset: number,
    length: number,
    options: { noUnmap?: boolean } = {},
  ): Promise<void> {
    this.#checkWritable('write-zeroes', offset, length);
    if (options.noUnmap) await this.#writeZeroBytes(offset, length);
    else await this.#image.writeZeroes(offset, length);
  }

  async writeSame(offset: number, length: number, pattern: Uint8Array): Promise<void> {
    this.#checkWritable('write-same', offset, length);
    await this.#image.writeSame(offset, length, pattern);
  }

  async compareAndWrite(offset: number, compare: Uint8Array, data: Uint8Array): Promise<void> {
    this.#checkWritable('compare-and-write', offset, data.length);
    await this.#image.compareAndWrite(offset, compare, data);
  }

  flush(): Promise<void> {
    return this.#image.flush();
  }

  async resize(size: number): Promise<void> {
    await this.#image.resize(size, { allowShrink: true });
    this.#events.onRefreshed();
  }

  /** By a header of its own: one that is open for reading only may be of before the snapshots that are asked for. */
  async *diff(options: DiffOptions): AsyncGenerator<DiffExtent[], void, undefined> {
    const { context, ioctx, id, snapshot } = this.#image;
    await this.#image.flush();
    const at = snapshot ? { snapId: snapshot.id } : {};
    const spec = { pool: ioctx.pool.name, namespace: ioctx.nspace, id, ...at };
    yield* diffBatches(await openHeader(context, spec, { readOnly: true }), options);
  }

  async close(): Promise<void> {
    await this.#image.close();
    await this.#release();
  }

  /** Zeros that keep their space: the OSDs write them (a single zero byte repeated costs nothing to send). */
  #writeZeroBytes(offset: number, length: number): Promise<number> {
    return this.#image.writeSame(offset, length, new Uint8Array(1));
  }

  #checkWritable(op: string, offset: number, length: number): void {
    this.#checkWithin(op, offset, length, this.#image.writableSize);
  }

  /** The device asks only for what lies within the image: what does not, was cut off meanwhile. krbd says EIO. */
  #checkWithin(op: string, offset: number, length: number, size: number): void {
    if (offset + length <= size) return;
    const { target } = this.#image;
    const message = `${op} ${target}: ${offset}~${length} is beyond the end of the image, now ${size}`;
    const outcome = op === 'read' ? undefined : 'not-applied';
    throw new RadosError('EIO', message, { op, target, outcome });
  }
}
