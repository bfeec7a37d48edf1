// Our images as one of those who take turns in a model run.

import type { RadosClient } from '../../../src/rados/rados-client.js';
import { cloneImage } from '../../../src/rbd/clone.js';
import { diffBatches } from '../../../src/rbd/diff/diff.js';
import { Image } from '../../../src/rbd/image.js';
import { removeImage } from '../../../src/rbd/remove.js';
import type { Extent } from '../../support/image-model.js';
import type { DiffAsked, DiffExtent, ImageActor } from './image-model-run.js';

const POOL = { pool: 'rbd', namespace: '' };

export class LingerImages implements ImageActor {
  readonly name = 'linger';
  readonly #client: RadosClient;
  readonly #open = new Map<string, Image>();

  constructor(client: RadosClient) {
    this.#client = client;
  }

  async open(image: string): Promise<void> {
    this.#open.set(image, await Image.open(this.#client, { ...POOL, name: image }));
  }

  async close(image: string): Promise<void> {
    await this.#of(image).close();
    this.#open.delete(image);
  }

  async size(image: string): Promise<number> {
    // As librbd's, which looks whether the header is known to be stale.
    await this.#of(image).refreshIfStale();
    return this.#of(image).size;
  }

  async read(image: string, { offset, length }: Extent): Promise<Buffer> {
    return Buffer.from(await this.#of(image).read(offset, length));
  }

  async readAt(image: string, snapshot: string, { offset, length }: Extent): Promise<Buffer> {
    await using at = await this.#at(image, snapshot);
    return Buffer.from(await at.read(offset, length));
  }

  async write(image: string, offset: number, data: Buffer): Promise<void> {
    await this.#of(image).write(offset, data);
  }

  async discard(image: string, { offset, length }: Extent): Promise<void> {
    await this.#of(image).discard(offset, length);
  }

  async zero(image: string, { offset, length }: Extent): Promise<void> {
    await this.#of(image).writeZeroes(offset, length);
  }

  async resize(image: string, size: number): Promise<void> {
    await this.#of(image).resize(size, { allowShrink: true });
  }

  async snapCreate(image: string, snapshot: string): Promise<void> {
    await this.#of(image).snapshots.create(snapshot);
  }

  async snapRemove(image: string, snapshot: string): Promise<void> {
    await this.#of(image).snapshots.remove(snapshot);
  }

  async snapList(image: string): Promise<string[]> {
    await this.#of(image).refreshIfStale();
    const { snapshots } = this.#of(image).header;
    return snapshots.filter(({ namespace }) => namespace.type === 'user').map(({ name }) => name);
  }

  async rollback(image: string, snapshot: string): Promise<void> {
    await this.#of(image).snapshots.rollback(snapshot);
  }

  async clone(image: string, snapshot: string, child: string): Promise<void> {
    const parent = { ...POOL, name: image, snap: snapshot };
    await cloneImage(this.#client, parent, { ...POOL, name: child });
  }

  async flatten(image: string): Promise<void> {
    await this.#of(image).flatten();
  }

  async remove(image: string): Promise<void> {
    await removeImage(this.#client, { ...POOL, name: image });
  }

  async diff(image: string, { from, to, wholeObject }: DiffAsked): Promise<DiffExtent[]> {
    await using at = await this.#at(image, to);
    const extents: DiffExtent[] = [];
    for await (const batch of diffBatches(at, { from: from ?? undefined, wholeObject })) {
      for (const { offset, length, exists } of batch) extents.push({ offset, length, exists });
    }
    return extents;
  }

  async closeAll(): Promise<void> {
    for (const image of this.#open.values()) await image.close();
    this.#open.clear();
  }

  #of(image: string): Image {
    const open = this.#open.get(image);
    if (!open) throw new Error(`${image} is not open`);
    return open;
  }

  #at(image: string, snapshot: string | undefined): Promise<Image> {
    const spec = { ...POOL, name: image, ...(snapshot === undefined ? {} : { snap: snapshot }) };
    return Image.open(this.#client, spec, { readOnly: true });
  }
}
