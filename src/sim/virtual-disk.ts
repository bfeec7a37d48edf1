/**
 * A disk in memory that forgets what was never made to last, tears what was being written, and fills up.
 *
 *     const disk = new VirtualDisk(world);
 *     disk.stopAt(17);                    // the machine dies at the 17th operation from now
 *     ...
 *     const later = disk.afterCrash({ keep: 'some', random });    // what the next start finds
 *
 * Of a write that was neither `durable` nor followed by `sync`, and of one that was under way, each sector of 512 bytes
 * is after a crash what it was before, or what any write since made of it. Of names made, changed and removed without
 * `syncDir`, the first few are so after a crash, and the others are not. That is what file systems with a journal do, at
 * their worst.
 */

import type { Disk, DiskFile, DiskLock, Random } from '../base/environment.js';
import type { VirtualWorld } from './virtual-world.js';

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
const LATENCY_MS = 0.1;

type Pending = { seq: number } & ({ at: number; bytes: Buffer } | { truncate: number });

function diskError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

class Inode {
  /** As programs see it. */
  content: Buffer = Buffer.alloc(0);
  /** As it is on the platters. */
  stable: Buffer = Buffer.alloc(0);
  /** What happened to the content that the platters may not have, in order. */
  pending: Pending[] = [];
  /** Pages that take room. */
  pages = new Set<number>();
  /** Of the newest change. */
  seq = 0;
  /** How often its machine died. Who had it open then is gone. */
  crashes = 0;

  write(at: number, bytes: Uint8Array): void {
    const end = at + bytes.length;
    if (end > this.content.length) this.content = resized(this.content, end);
    this.content.set(bytes, at);
    for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < end; page++) {
      this.pages.add(page);
    }
    this.pending.push({ seq: ++this.seq, at, bytes: Buffer.from(bytes) });
  }

  truncate(size: number): void {
    this.content = resized(this.content, size);
    for (const page of this.pages) if (page * PAGE_BYTES >= size) this.pages.delete(page);
    this.pending.push({ seq: ++this.seq, truncate: size });
  }

  /** The changes up to this one reached the platters. */
  settle(seq: number): void {
    const done = this.pending.filter((each) => each.seq <= seq);
    this.pending = this.pending.filter((each) => each.seq > seq);
    for (const each of done) this.stable = applied(this.stable, each);
  }

  /** A range reached the platters, as it is; and with it the file's length, that is every cut before. */
  settleRange(at: number, length: number): void {
    const lastCut = this.pending.findLast((each) => 'truncate' in each);
    if (lastCut) this.settle(lastCut.seq);
    const end = at + length;
    if (end > this.stable.length) this.stable = resized(this.stable, end);
    this.stable.set(this.content.subarray(at, end), at);
    this.pending = this.pending.flatMap((each): Pending[] => {
      if ('truncate' in each) return [each];
      const { seq } = each;
      const before = each.bytes.subarray(0, Math.max(0, at - each.at));
      const from = Math.max(each.at, end);
      const after = each.bytes.subarray(from - each.at);
      return [
        { seq, at: each.at, bytes: before },
        { seq, at: from, bytes: after },
      ].filter(({ bytes }) => bytes.length > 0);
    });
  }

  crash(options: CrashOptions): void {
    const { content, stable, pages } = this.afterCrash(options);
    Object.assign(this, { content, stable, pages, pending: [], crashes: this.crashes + 1 });
  }

  afterCrash({ keep, random }: CrashOptions): Inode {
    const reached = keep === 'all' ? this.pending.length : keep === 'none' ? 0 : undefined;
    const lengthAfter = reached ?? Math.floor(random.float() * (this.pending.length + 1));
    let length = this.stable.length;
    let current: Buffer = Buffer.from(this.stable);
    let result: Buffer = Buffer.from(this.stable);
    for (const [i, each] of this.pending.entries()) {
      current = applied(current, each);
      if ('truncate' in each) {
        if (i < lengthAfter) result = resized(result, each.truncate);
      } else {
        if (current.length > result.length) result = resized(result, current.length);
        const first = Math.floor(each.at / SECTOR_BYTES);
        for (let at = first * SECTOR_BYTES; at < each.at + each.bytes.length; at += SECTOR_BYTES) {
          const persists = reached === undefined ? random.float() < 0.5 : i < reached;
          if (persists) result.set(current.subarray(at, at + SECTOR_BYTES), at);
        }
      }
      if (i < lengthAfter) length = current.length;
    }
    const inode = new Inode();
    inode.stable = resized(result, length);
    inode.content = Buffer.from(inode.stable);
    for (let page = 0; page * PAGE_BYTES < length; page++) inode.pages.add(page);
    return inode;
  }
}

/** In place, where the size allows. */
function applied(content: Buffer, each: Pending): Buffer {
  if ('truncate' in each) return resized(content, each.truncate);
  const end = each.at + each.bytes.length;
  const result = end > content.length ? resized(content, end) : content;
  result.set(each.bytes, each.at);
  return result;
}

function resized(content: Buffer, length: number): Buffer {
  const result = Buffer.alloc(length);
  result.set(content.subarray(0, length));
  return result;
}

/** Every write to a path that it matches fails so, and every sync. */
export interface DiskFailure {
  readonly path: RegExp;
  readonly code: string;
  /** Only these. */
  readonly only?: 'write' | 'sync';
  /** Programs see what was to be written nevertheless, until a crash: it got as far as the cache. */
  readonly cached?: boolean;
  /** Hears of each. */
  readonly onFailed?: () => void;
}

export interface CrashOptions {
  /** What the disk has of writes that nobody waited for. */
  keep: 'none' | 'some' | 'all';
  random: Random;
}

type Names = Map<string, Inode>;

export class VirtualDisk implements Disk {
  readonly #world: VirtualWorld;
  #names: Names = new Map();
  #stableNames: Names = new Map();
  #pendingNames: { seq: number; change: (names: Names) => void }[] = [];
  #namesSeq = 0;
  readonly #locks = new Set<string>();
  #stopAt = Number.POSITIVE_INFINITY;
  #waitingAtStop: (() => void)[] = [];
  /** Operations that changed something, so far. */
  operations = 0;
  /** Writes for which there was no room, so far. */
  refusals = 0;
  /** Room for the files' contents. */
  capacityBytes = Number.POSITIVE_INFINITY;
  failing: DiskFailure | undefined;

  constructor(world: VirtualWorld) {
    this.#world = world;
  }

  // ---- faults ----

  /** The `count`th operation from now never ends, nor does any after it. */
  stopAt(count: number): void {
    this.#stopAt = this.operations + count;
  }

  get stopped(): boolean {
    return this.operations >= this.#stopAt;
  }

  /** Resolves when it has stopped. */
  get stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.stopped) resolve();
      else this.#waitingAtStop.push(resolve);
    });
  }

  /** What a new start finds. */
  afterCrash(options: CrashOptions): VirtualDisk {
    const { keep, random } = options;
    const disk = new VirtualDisk(this.#world);
    disk.capacityBytes = this.capacityBytes;
    const names = new Map(this.#stableNames);
    const reached = { none: 0, all: this.#pendingNames.length, some: undefined }[keep];
    const count = reached ?? Math.floor(random.float() * (this.#pendingNames.length + 1));
    for (const { change } of this.#pendingNames.slice(0, count)) change(names);
    const inodes = new Map<Inode, Inode>();
    for (const [name, inode] of names) {
      const found = inodes.get(inode) ?? inode.afterCrash(options);
      inodes.set(inode, found);
      disk.#names.set(name, found);
      disk.#stableNames.set(name, found);
    }
    return disk;
  }

  /**
   * One machine of several lost its power: the files below a directory are as `afterCrash` has it, their names as they are.
   * What was under way there fails, and so does all that is done with files that were open: nobody is there to do it.
   */
  loseUnsynced(directory: string, options: CrashOptions): void {
    for (const [path, inode] of this.#names) {
      if (path.startsWith(`${directory}/`)) inode.crash(options);
    }
  }

  flipBit(path: string, bit: number): void {
    const { content, stable } = this.#inode(path);
    const at = Math.floor(bit / 8);
    for (const bytes of [content, stable]) {
      if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << (bit % 8));
    }
  }

  contentOf(path: string): Buffer {
    return this.#inode(path).content;
  }

  get usedBytes(): number {
    const inodes = new Set(this.#names.values());
    return [...inodes].reduce((sum, { pages }) => sum + pages.size * PAGE_BYTES, 0);
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (!inode) throw diskError('ENOENT', path);
    return inode;
  }

  // ---- operations ----

  /** Begins at once, and ends a little later; or never, when the machine dies meanwhile. */
  #perform<T>(begin: () => T, end: () => void = () => {}): Promise<T> {
    if (this.stopped) return new Promise(() => {});
    this.operations++;
    let value: T;
    try {
      value = begin();
    } catch (error) {
      return Promise.reject(error as Error);
    }
    if (this.stopped) {
      for (const resolve of this.#waitingAtStop.splice(0)) resolve();
      return new Promise(() => {});
    }
    return new Promise((resolve, reject) => {
      this.#world.after(LATENCY_MS * (0.5 + this.#world.random.float()), () => {
        // Died before it was done: what was begun is pending.
        if (this.stopped) return;
        try {
          end();
          resolve(value);
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  #changeNames(change: (names: Names) => void): void {
    change(this.#names);
    this.#pendingNames.push({ seq: ++this.#namesSeq, change });
  }

  open(path: string, options: { create?: boolean; durable?: boolean } = {}): Promise<DiskFile> {
    if (options.create && !this.#names.has(path)) {
      return this.#perform(() => {
        const inode = new Inode();
        this.#changeNames((names) => names.set(path, inode));
        return this.#handle(path, inode, options.durable ?? false);
      });
    }
    if (this.stopped) return new Promise(() => {});
    try {
      return Promise.resolve(this.#handle(path, this.#inode(path), options.durable ?? false));
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #handle(path: string, inode: Inode, durable: boolean): DiskFile {
    const { crashes } = inode;
    const isGone = () => inode.crashes !== crashes;
    const assertThere = () => {
      if (isGone()) throw diskError('EIO', path);
    };
    return {
      read: (into, position) => {
        const bytes = inode.content.subarray(position, position + into.length);
        into.set(bytes);
        return bytes.length;
      },
      write: (buffers, position) => {
        const bytes = Buffer.concat(buffers);
        return this.#perform(
          () => {
            assertThere();
            const failure = this.#failureOf(path, 'write');
            if (failure && !this.failing?.cached) throw failure;
            this.#requireRoom(inode, position, bytes.length);
            inode.write(position, bytes);
            if (failure) throw failure;
          },
          () => {
            assertThere();
            if (durable) inode.settleRange(position, bytes.length);
          },
        );
      },
      sync: () => {
        const { seq } = inode;
        return this.#perform(
          () => {
            assertThere();
            const failure = this.#failureOf(path, 'sync');
            if (failure) throw failure;
          },
          () => {
            assertThere();
            inode.settle(seq);
          },
        );
      },
      truncate: (size) => {
        if (this.stopped || isGone()) return;
        this.operations++;
        inode.truncate(size);
      },
      size: () => Promise.resolve(inode.content.length),
      close: () => Promise.resolve(),
    };
  }

  #failureOf(path: string, what: 'write' | 'sync'): Error | undefined {
    const { failing } = this;
    if (!failing?.path.test(path) || (failing.only ?? what) !== what) return undefined;
    failing.onFailed?.();
    return diskError(failing.code, path);
  }

  #requireRoom(inode: Inode, at: number, length: number): void {
    let pages = 0;
    for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < at + length; page++) {
      if (!inode.pages.has(page)) pages++;
    }
    if (pages === 0) return;
    if (this.usedBytes + pages * PAGE_BYTES > this.capacityBytes) {
      this.refusals++;
      throw diskError('ENOSPC', 'no space left on device');
    }
  }

  async list(path: string): Promise<string[]> {
    const prefix = `${path}/`;
    const names = [...this.#names.keys()].filter((name) => name.startsWith(prefix));
    return [...new Set(names.map((name) => name.slice(prefix.length).split('/')[0] ?? ''))].sort();
  }

  async mkdir(): Promise<void> {}

  rename(from: string, to: string): Promise<void> {
    return this.#perform(() => {
      const inode = this.#inode(from);
      this.#changeNames((names) => {
        names.delete(from);
        names.set(to, inode);
      });
    });
  }

  remove(path: string): Promise<void> {
    const doomed = [...this.#names.keys()].filter(
      (name) => name === path || name.startsWith(`${path}/`),
    );
    if (doomed.length === 0) return Promise.resolve();
    return this.#perform(() => {
      this.#changeNames((names) => {
        for (const name of doomed) names.delete(name);
      });
    });
  }

  syncDir(): Promise<void> {
    const seq = this.#namesSeq;
    return this.#perform(
      () => {},
      () => {
        const done = this.#pendingNames.filter((each) => each.seq <= seq);
        this.#pendingNames = this.#pendingNames.filter((each) => each.seq > seq);
        for (const { change } of done) change(this.#stableNames);
      },
    );
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(this.capacityBytes - this.usedBytes);
  }

  async lock(path: string): Promise<DiskLock> {
    if (this.#locks.has(path)) throw diskError('EBUSY', path);
    this.#locks.add(path);
    return {
      release: async () => {
        this.#locks.delete(path);
      },
    };
  }
}
