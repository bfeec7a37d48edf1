/**
 * What images hold by the rules alone: bytes in memory, their snapshots, and what each operation makes of them. No
 * cluster, no objects, no maps; a clone is a copy. Whatever a client does, reads of an image must equal this.
 */

/** Clients shrink a discard inwards to multiples of this within each object (`rbd_discard_granularity_bytes`). */
const DISCARD_UNIT = 65_536;

export interface Extent {
  readonly offset: number;
  readonly length: number;
}

export class ModelSnapshot {
  constructor(
    readonly name: string,
    readonly bytes: Buffer,
    /** Clones that still need it. */
    public children = 0,
  ) {}
}

export class ModelImage {
  readonly name: string;
  readonly objectSize: number;
  bytes: Buffer;
  /** Oldest first. */
  readonly snapshots: ModelSnapshot[] = [];
  /** The snapshot that it is a clone of, until it is flattened. */
  parent: { readonly image: ModelImage; readonly snapshot: ModelSnapshot } | undefined;

  constructor(name: string, size: number, objectSize: number) {
    this.name = name;
    this.objectSize = objectSize;
    this.bytes = Buffer.alloc(size);
  }

  get size(): number {
    return this.bytes.length;
  }

  snapshot(name: string): ModelSnapshot {
    const found = this.snapshots.find((each) => each.name === name);
    if (!found) throw new Error(`the model of ${this.name} has no snapshot ${name}`);
    return found;
  }

  /**
   * Whether the image was smaller in a snapshot between the two (null: the beginning; undefined: the head). By object maps, librbd forgets
   * what was beyond its end then.
   */
  wasCutBetween(from: string | null, to: string | undefined): boolean {
    const index = (name: string) => this.snapshots.indexOf(this.snapshot(name));
    const sizes = [...this.snapshots.map(({ bytes }) => bytes.length), this.size];
    const start = from === null ? -1 : index(from);
    const end = to ? index(to) : sizes.length - 1;
    const ends = Math.min(sizes[start] ?? Infinity, sizes[end] ?? 0);
    return sizes.slice(start + 1, end).some((size) => size < ends);
  }

  read({ offset, length }: Extent): Buffer {
    return this.bytes.subarray(offset, offset + length);
  }

  write(offset: number, data: Uint8Array): void {
    this.bytes.set(data, offset);
  }

  zero({ offset, length }: Extent): void {
    this.bytes.fill(0, offset, offset + length);
  }

  discard({ offset, length }: Extent): void {
    for (let at = offset; at < offset + length; ) {
      const objectEnd = (Math.floor(at / this.objectSize) + 1) * this.objectSize;
      const end = Math.min(offset + length, objectEnd);
      const from = Math.ceil(at / DISCARD_UNIT) * DISCARD_UNIT;
      const to = Math.floor(end / DISCARD_UNIT) * DISCARD_UNIT;
      if (to > from) this.bytes.fill(0, from, to);
      at = end;
    }
  }

  resize(size: number): void {
    const bytes = Buffer.alloc(size);
    this.bytes.copy(bytes);
    this.bytes = bytes;
  }

  snapCreate(name: string): void {
    this.snapshots.push(new ModelSnapshot(name, Buffer.from(this.bytes)));
  }

  snapRemove(name: string): void {
    this.snapshots.splice(this.snapshots.indexOf(this.snapshot(name)), 1);
  }

  rollback(name: string): void {
    this.bytes = Buffer.from(this.snapshot(name).bytes);
  }

  clone(snapName: string, name: string): ModelImage {
    const snapshot = this.snapshot(snapName);
    const child = new ModelImage(name, 0, this.objectSize);
    child.bytes = Buffer.from(snapshot.bytes);
    child.parent = { image: this, snapshot };
    snapshot.children++;
    return child;
  }

  /** Its parent is needed no more: flattened, or the image is removed. */
  detach(): void {
    if (this.parent) this.parent.snapshot.children--;
    this.parent = undefined;
  }

  /** The bytes at a snapshot; without a name those of the head, with `null` those before the image was written. */
  at(name: string | null | undefined): Buffer {
    if (name === null) return Buffer.alloc(0);
    return name === undefined ? this.bytes : this.snapshot(name).bytes;
  }

  /** What a diff has to cover: the bytes of `to` that differ from those of `from`, as extents. */
  changes(from: string | null, to: string | undefined): Extent[] {
    const before = this.at(from);
    const after = this.at(to);
    const then = Buffer.alloc(after.length);
    before.copy(then);
    const found: { offset: number; length: number }[] = [];
    for (let sector = 0; sector < after.length; sector += 512) {
      const end = Math.min(sector + 512, after.length);
      if (after.compare(then, sector, end, sector, end) === 0) continue;
      for (let at = sector; at < end; at++) {
        if (after[at] === then[at]) continue;
        const last = found.at(-1);
        if (last && last.offset + last.length === at) last.length++;
        else found.push({ offset: at, length: 1 });
      }
    }
    return found;
  }
}

/** The parts of `wanted` that no extent of `given` covers. `given` ascends and does not overlap. */
export function uncovered(wanted: readonly Extent[], given: readonly Extent[]): Extent[] {
  const missing: Extent[] = [];
  for (const { offset, length } of wanted) {
    let at = offset;
    const end = offset + length;
    for (const each of given) {
      if (each.offset + each.length <= at) continue;
      if (each.offset >= end) break;
      if (each.offset > at) missing.push({ offset: at, length: each.offset - at });
      at = each.offset + each.length;
      if (at >= end) break;
    }
    if (at < end) missing.push({ offset: at, length: end - at });
  }
  return missing;
}
