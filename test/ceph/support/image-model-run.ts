// Random operations on a family of images, by two clients in turns, each step compared with the model. A seed draws the run.

import {
  type Extent,
  ModelImage,
  type ModelSnapshot,
  uncovered,
} from '../../support/image-model.js';
import { seededRandom } from '../../../src/sim/random.js';

export interface DiffAsked {
  /** Null: from the beginning. */
  readonly from: string | null;
  /** Absent: the head. */
  readonly to?: string | undefined;
  readonly wholeObject: boolean;
}

export interface DiffExtent extends Extent {
  readonly exists: boolean;
}

/** A client that has images open for writing. Names are those of images; calls reject with what failed. */
export interface ImageActor {
  readonly name: string;
  open(image: string): Promise<void>;
  close(image: string): Promise<void>;
  size(image: string): Promise<number>;
  read(image: string, extent: Extent): Promise<Buffer>;
  readAt(image: string, snapshot: string, extent: Extent): Promise<Buffer>;
  write(image: string, offset: number, data: Buffer): Promise<void>;
  discard(image: string, extent: Extent): Promise<void>;
  zero(image: string, extent: Extent): Promise<void>;
  resize(image: string, size: number): Promise<void>;
  snapCreate(image: string, snapshot: string): Promise<void>;
  snapRemove(image: string, snapshot: string): Promise<void>;
  snapList(image: string): Promise<string[]>;
  rollback(image: string, snapshot: string): Promise<void>;
  clone(image: string, snapshot: string, child: string): Promise<void>;
  flatten(image: string): Promise<void>;
  /** Of an image that nobody has open. */
  remove(image: string): Promise<void>;
  diff(image: string, asked: DiffAsked): Promise<DiffExtent[]>;
}

export interface ModelRunOptions {
  readonly seed: number;
  readonly operations: number;
  readonly actors: readonly [ImageActor, ImageActor];
  /** Exists already, open by nobody, with nothing written. */
  readonly base: { readonly name: string; readonly size: number; readonly objectSize: number };
  /** Looks at an image from outside, with all that was acknowledged done. */
  readonly inspect?: (image: string) => Promise<void>;
  /** Steps between two complete comparisons. */
  readonly every?: number;
}

const IMAGES_MAX = 4;
const SNAPSHOTS_MAX = 5;
const WRITE_MAX = 300_000;
const SAID_MAX = 40;

type Step = (image: ModelImage, actor: ImageActor) => Promise<string | undefined>;

export class ModelRun {
  readonly images: ModelImage[];
  /** How often each kind of step was taken. */
  readonly taken = new Map<string, number>();
  readonly #options: ModelRunOptions;
  readonly #random: () => number;
  readonly #said: string[] = [];
  #names = 0;

  constructor(options: ModelRunOptions) {
    this.#options = options;
    const random = seededRandom(options.seed);
    this.#random = () => random.float();
    const { name, size, objectSize } = options.base;
    this.images = [new ModelImage(name, size, objectSize)];
  }

  async run(): Promise<void> {
    const { actors, base, operations, every = 250 } = this.#options;
    try {
      for (const actor of actors) await actor.open(base.name);
      for (let done = 1; done <= operations; done++) {
        await this.#step();
        if (done % every === 0 || done === operations) await this.#compareAll();
      }
      for (const { name } of this.images) for (const actor of actors) await actor.close(name);
    } catch (error) {
      const steps = this.#said.map((line) => `  ${line}`).join('\n');
      const { seed } = this.#options;
      throw new Error(`seed ${seed}: ${(error as Error).message}\nthe steps before:\n${steps}`, {
        cause: error,
      });
    }
  }

  async #step(): Promise<void> {
    const { actors } = this.#options;
    const image = this.#pick(this.images);
    const actor = this.#pick(actors);
    const [kind, step] = this.#draw();
    this.#say(`${actor.name}: ${kind} ${image.name}`);
    const detail = await step(image, actor);
    if (detail === undefined) return this.#unsay();
    this.#said.push(`${this.#said.pop()} ${detail}`);
    this.taken.set(kind, (this.taken.get(kind) ?? 0) + 1);
  }

  #draw(): [kind: string, step: Step] {
    const all = this.#steps();
    let at = this.#random() * all.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, kind, step] of all) {
      at -= weight;
      if (at < 0) return [kind, step];
    }
    throw new Error('no step drawn');
  }

  #steps(): [weight: number, kind: string, step: Step][] {
    return [
      [34, 'write', (image, actor) => this.#write(image, actor)],
      [24, 'read', (image, actor) => this.#read(image, actor)],
      [9, 'discard', (image, actor) => this.#discard(image, actor)],
      [7, 'zero', (image, actor) => this.#zero(image, actor)],
      [4, 'resize', (image, actor) => this.#resize(image, actor)],
      [5, 'snap create', (image, actor) => this.#snapCreate(image, actor)],
      [4, 'snap remove', (image, actor) => this.#snapRemove(image, actor)],
      [4, 'read at', (image, actor) => this.#readAt(image, actor)],
      [1.5, 'rollback', (image, actor) => this.#rollback(image, actor)],
      [1.5, 'clone', (image, actor) => this.#clone(image, actor)],
      [1, 'flatten', (image, actor) => this.#flatten(image, actor)],
      [1, 'remove', (image, actor) => this.#remove(image, actor)],
      [4, 'diff', (image, actor) => this.#diff(image, actor)],
    ];
  }

  // ---- steps: each resolves with its details, or with nothing when there was nothing to do ----

  async #write(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const extent = this.#extent(image, WRITE_MAX);
    if (!extent) return;
    const data = Buffer.alloc(
      extent.length,
      `${actor.name} ${this.#said.length} ${this.#names++} `,
    );
    await actor.write(image.name, extent.offset, data);
    image.write(extent.offset, data);
    return place(extent);
  }

  async #read(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const extent = this.#extent(image, WRITE_MAX);
    if (!extent) return;
    assertSame(await actor.read(image.name, extent), image.read(extent), extent, actor, image.name);
    return place(extent);
  }

  async #readAt(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const snapshot = this.#snapshotOf(image);
    if (!snapshot || snapshot.bytes.length === 0) return;
    const extent = { offset: 0, length: snapshot.bytes.length };
    const what = `${image.name}@${snapshot.name}`;
    const bytes = await actor.readAt(image.name, snapshot.name, extent);
    assertSame(bytes, snapshot.bytes, extent, actor, what);
    return `@${snapshot.name}`;
  }

  async #discard(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const extent = this.#extent(image, 3 * image.objectSize);
    if (!extent) return;
    await actor.discard(image.name, extent);
    image.discard(extent);
    return place(extent);
  }

  async #zero(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const extent = this.#extent(image, 2 * image.objectSize);
    if (!extent) return;
    await actor.zero(image.name, extent);
    image.zero(extent);
    return place(extent);
  }

  async #resize(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const { base } = this.#options;
    const size = this.#below(Math.floor((1.5 * base.size) / 512)) * 512;
    if (size === image.size) return;
    await actor.resize(image.name, size);
    image.resize(size);
    return `to ${size}`;
  }

  async #snapCreate(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    if (image.snapshots.length >= SNAPSHOTS_MAX) return;
    const name = `s${++this.#names}`;
    await actor.snapCreate(image.name, name);
    image.snapCreate(name);
    return `@${name}`;
  }

  async #snapRemove(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const snapshot = this.#snapshotOf(image);
    if (!snapshot) return;
    await actor.snapRemove(image.name, snapshot.name);
    image.snapRemove(snapshot.name);
    return `@${snapshot.name}`;
  }

  async #rollback(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const snapshot = this.#snapshotOf(image);
    if (!snapshot || image.size === 0) return;
    // Nobody is asked to roll back, nor for the lock: whoever does it has to have it.
    await actor.write(image.name, 0, Buffer.from(image.read({ offset: 0, length: 512 })));
    await actor.rollback(image.name, snapshot.name);
    image.rollback(snapshot.name);
    return `to @${snapshot.name}`;
  }

  async #clone(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const snapshot = this.#snapshotOf(image);
    if (!snapshot || snapshot.bytes.length === 0 || this.images.length >= IMAGES_MAX) return;
    const name = `clone${++this.#names}`;
    await actor.clone(image.name, snapshot.name, name);
    for (const each of this.#options.actors) await each.open(name);
    this.images.push(image.clone(snapshot.name, name));
    return `@${snapshot.name} to ${name}`;
  }

  async #flatten(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    if (!image.parent) return;
    await actor.flatten(image.name);
    image.detach();
    return '';
  }

  async #remove(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    if (image.name === this.#options.base.name) return;
    const hasChildren = this.images.some(({ parent }) => parent?.image === image);
    if (hasChildren || image.snapshots.length > 0) return;
    for (const each of this.#options.actors) await each.close(image.name);
    await actor.remove(image.name);
    image.detach();
    this.images.splice(this.images.indexOf(image), 1);
    return '';
  }

  async #diff(image: ModelImage, actor: ImageActor): Promise<string | undefined> {
    const { actors } = this.#options;
    const until = this.#below(image.snapshots.length + 1);
    const to = image.snapshots[until]?.name;
    const from = image.snapshots.slice(0, until)[this.#below(until + 1)]?.name ?? null;
    const asked = { from, to, wholeObject: this.#random() < 0.5 };
    const [ours, theirs] = [
      await actors[0].diff(image.name, asked),
      await actors[1].diff(image.name, asked),
    ];
    const what = `${from ?? 'the beginning'} to ${to ?? 'the head'}${asked.wholeObject ? ', whole' : ''}`;
    const texts = [ours, theirs].map((extents) => JSON.stringify(extents));
    if (texts[0] !== texts[1] && !image.wasCutBetween(from, to)) {
      throw new Error(
        `diff of ${image.name} from ${what}:\n${actors[0].name} ${texts[0]}\n${actors[1].name} ${texts[1]}`,
      );
    }
    const missing = uncovered(image.changes(from, to), ours);
    if (missing.length > 0) {
      throw new Error(
        `diff of ${image.name} from ${what} by ${actor.name} lacks ${missing.map(place)}`,
      );
    }
    return `from ${what}`;
  }

  // ---- comparison ----

  async #compareAll(): Promise<void> {
    const { actors, inspect } = this.#options;
    for (const image of this.images) {
      for (const actor of actors) {
        const size = await actor.size(image.name);
        if (size !== image.size)
          throw new Error(`${image.name} has ${size} bytes for ${actor.name}, not ${image.size}`);
        const names = await actor.snapList(image.name);
        const wanted = image.snapshots.map(({ name }) => name);
        if (names.join() !== wanted.join())
          throw new Error(`${actor.name} sees snapshots ${names} of ${image.name}, not ${wanted}`);
        const all = { offset: 0, length: size };
        if (size > 0)
          assertSame(await actor.read(image.name, all), image.bytes, all, actor, image.name);
        for (const { name, bytes } of image.snapshots) {
          const whole = { offset: 0, length: bytes.length };
          if (bytes.length === 0) continue;
          const read = await actor.readAt(image.name, name, whole);
          assertSame(read, bytes, whole, actor, `${image.name}@${name}`);
        }
      }
      await inspect?.(image.name);
    }
  }

  // ---- draws ----

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T;
  }

  #snapshotOf(image: ModelImage): ModelSnapshot | undefined {
    return image.snapshots[this.#below(image.snapshots.length)];
  }

  /** Mostly small and aligned to sectors, now and then whole objects, now and then of any bytes. */
  #extent(image: ModelImage, longest: number): Extent | undefined {
    if (image.size === 0) return;
    const shape = this.#random();
    if (shape < 0.25) {
      const objects = Math.max(1, Math.floor(image.size / image.objectSize));
      const offset = this.#below(objects) * image.objectSize;
      return { offset, length: Math.min(image.objectSize, image.size - offset) };
    }
    const unit = shape < 0.9 ? 512 : 1;
    const offset = this.#below(Math.ceil(image.size / unit)) * unit;
    const length = (1 + this.#below(Math.ceil(longest / unit))) * unit;
    return { offset, length: Math.min(length, image.size - offset) };
  }

  #say(line: string): void {
    this.#said.push(line);
    if (this.#said.length > SAID_MAX) this.#said.shift();
  }

  #unsay(): void {
    this.#said.pop();
  }
}

function place({ offset, length }: Extent): string {
  return `${offset}~${length}`;
}

function assertSame(
  read: Buffer,
  wanted: Buffer,
  { offset }: Extent,
  actor: ImageActor,
  what: string,
): void {
  if (read.equals(wanted)) return;
  const at = wanted.findIndex((byte, i) => byte !== read[i]);
  const shown = (bytes: Buffer) => JSON.stringify(bytes.subarray(at, at + 24).toString('latin1'));
  const lengths = read.length === wanted.length ? '' : `, ${read.length} bytes of ${wanted.length}`;
  throw new Error(
    `${actor.name} reads ${what} at ${offset + at}: ${shown(read)}, not ${shown(wanted)}${lengths}`,
  );
}
