/** An image of the floor below, as the block device wants it. */

import { RadosError } from '../base/errors.js';
import { NOSNAP } from '../encoding/types.js';
import type { RadosClient } from '../rados/rados-client.js';
import type { Image } from '../rbd/image.js';
import type { DeviceAttributes } from './attributes.js';
import type { BackendEvent, BlockBackend, ImageSpec } from './backend.js';
import { formatMapOptions, type MapOptions } from './map-options.js';

export interface ImageBackendOptions {
  client: RadosClient;
  image: Image;
  spec: ImageSpec;
  options: MapOptions;
  emit: (event: BackendEvent) => void;
  /** Lets go of the client. */
  release: () => Promise<void>;
}

export class ImageBackend implements BlockBackend {
  readonly #client: RadosClient;
  readonly #image: Image;
  readonly #spec: ImageSpec;
  readonly #options: MapOptions;
  readonly #emit: (event: BackendEvent) => void;
  readonly #release: () => Promise<void>;

  constructor({ client, image, spec, options, emit, release }: ImageBackendOptions) {
    this.#client = client;
    this.#image = image;
    this.#spec = spec;
    this.#options = options;
    this.#emit = emit;
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
    const { length } = await this.#image.read(offset, into.length, into);
    this.#expect('read', offset, length, into.length);
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.#expect('write', offset, await this.#image.write(offset, data), data.length);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#expect('discard', offset, await this.#image.discard(offset, length), length);
  }

  async writeZeroes(
    offset: number,
    length: number,
    options: { noUnmap?: boolean } = {},
  ): Promise<void> {
    const done = options.noUnmap
      ? await this.#writeZeroBytes(offset, length)
      : await this.#image.writeZeroes(offset, length);
    this.#expect('write-zeroes', offset, done, length);
  }

  async writeSame(offset: number, length: number, pattern: Uint8Array): Promise<void> {
    this.#expect(
      'write-same',
      offset,
      await this.#image.writeSame(offset, length, pattern),
      length,
    );
  }

  async compareAndWrite(offset: number, compare: Uint8Array, data: Uint8Array): Promise<void> {
    await this.#image.compareAndWrite(offset, compare, data);
  }

  flush(): Promise<void> {
    return this.#image.flush();
  }

  async resize(size: number): Promise<void> {
    await this.#image.resize(size, { allowShrink: true });
    this.#emit({ type: 'resize', size: this.#image.size });
  }

  async close(): Promise<void> {
    await this.#image.close();
    await this.#release();
  }

  /** Zeros that keep their space: the OSDs write them (a single zero byte repeated costs nothing to send). */
  #writeZeroBytes(offset: number, length: number): Promise<number> {
    return this.#image.writeSame(offset, length, new Uint8Array(1));
  }

  /** The device asks only for what lies within the image: less means that it shrank under us. krbd says EIO. */
  #expect(op: string, offset: number, done: number, length: number): void {
    if (done === length) return;
    throw new RadosError(
      'EIO',
      `${op} ${this.#image.target}: ${offset}~${length} is beyond the end of the image`,
      {
        op,
        target: this.#image.target,
      },
    );
  }
}
