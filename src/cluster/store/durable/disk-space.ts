/**
 * How much room the file system has left for the stores in it.
 *
 * A store must never find out in the middle of a change that the disk is full: what it has acknowledged it must be able
 * to write down. So it says beforehand what it may still need, and new data are refused while that would be touched.
 */

import type { Clock, Disk } from '../../../base/environment.js';

export interface SpaceUser {
  /** What its files have now, as far as they are written. */
  writtenBytes(): number;
  /** What they will have when everything is written that was accepted. */
  acceptedBytes(): number;
  /** What it needs beyond that to go on without new data: the log, a checkpoint. */
  reservedBytes(): number;
  /** Room within its data file; undefined for a store without data, which the monitor's is. */
  reusableBytes(): number | undefined;
}

/** What the stores take is known at any time; others, who use the same disk, are only noticed so often. */
const LOOK_AFTER_MS = 1000;
const LOOK_AFTER_MS_WHILE_SHORT = 100;

export class DiskSpace {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #users = new Set<SpaceUser>();
  #freeBytes = Number.POSITIVE_INFINITY;
  /** What the users' files had when the free bytes were counted. */
  #writtenThen = 0;
  #lookedMs = 0;
  #looking: Promise<void> | undefined;

  constructor(disk: Disk, dir: string, clock: Clock) {
    this.#disk = disk;
    this.#dir = dir;
    this.#clock = clock;
  }

  add(user: SpaceUser): void {
    this.#users.add(user);
  }

  remove(user: SpaceUser): void {
    this.#users.delete(user);
  }

  /** No room for new data, as far as is known now. */
  get isShort(): boolean {
    let accepted = 0;
    let reserved = 0;
    for (const user of this.#users) {
      accepted += user.acceptedBytes();
      reserved += user.reservedBytes();
    }
    const short = this.#freeBytes - (accepted - this.#writtenThen) < reserved;
    const agedMs = this.#clock.monotonic() - this.#lookedMs;
    if (agedMs > (short ? LOOK_AFTER_MS_WHILE_SHORT : LOOK_AFTER_MS)) void this.look();
    return short;
  }

  /** What every store could still take with nothing more of the file system: a change goes to several of them. */
  get reusableBytes(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const user of this.#users) least = Math.min(least, user.reusableBytes() ?? least);
    return least;
  }

  /** Counts the free bytes anew. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    let written = 0;
    for (const user of this.#users) written += user.writtenBytes();
    try {
      this.#freeBytes = await this.#disk.freeBytes(this.#dir);
      this.#writtenThen = written;
    } catch {
      // A file system that does not say: the writes themselves will.
      this.#freeBytes = Number.POSITIVE_INFINITY;
    }
    this.#lookedMs = this.#clock.monotonic();
  }
}
