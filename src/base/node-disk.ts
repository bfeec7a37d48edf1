/** Node's files as a `Disk`. */

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import type { Disk, DiskFile, DiskLock } from './environment.js';
import { RadosError } from './errors.js';
import { isProcessIdentity, isRunning, ownProcess, type ProcessIdentity } from './node-process.js';

const { O_CREAT, O_DSYNC, O_RDWR } = fs.constants;

/** `IOV_MAX`: more buffers than this go out in several calls. */
const BUFFERS_MAX = 1024;

/**
 * Over the descriptor itself: a promise of `fs/promises` costs 10 us more per write than a callback does, and reading
 * what the page cache has takes less time than handing the read to another thread.
 */
class NodeFile implements DiskFile {
  readonly #descriptor: number;
  #closed = false;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Once it is closed, another file may have the number. */
  get #fd(): number {
    if (this.#closed) throw new RadosError('EBADF', 'the file is closed');
    return this.#descriptor;
  }

  read(into: Uint8Array, position: number): number {
    let done = 0;
    while (done < into.length) {
      const count = fs.readSync(this.#fd, into, done, into.length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const [first, second] = buffers;
      if (first && !second) this.#writeOne(first, 0, position, resolve, reject);
      else this.#writeMany(buffers, position, resolve, reject);
    });
  }

  /** A write may be cut short, by a signal or a disk that is almost full: what is left is tried again. */
  #writeOne(
    bytes: Uint8Array,
    from: number,
    position: number,
    resolve: () => void,
    reject: (error: Error) => void,
  ): void {
    const length = bytes.length - from;
    fs.write(this.#fd, bytes, from, length, position, (error, written) => {
      if (error) reject(error);
      else if (written === length) resolve();
      else this.#writeOne(bytes, from + written, position + written, resolve, reject);
    });
  }

  #writeMany(
    buffers: readonly Uint8Array[],
    position: number,
    resolve: () => void,
    reject: (error: Error) => void,
  ): void {
    if (buffers.length === 0) {
      resolve();
      return;
    }
    fs.writev(this.#fd, buffers.slice(0, BUFFERS_MAX), position, (error, written) => {
      if (error) {
        reject(error);
        return;
      }
      const left: Uint8Array[] = [];
      let skip = written;
      for (const buffer of buffers) {
        if (skip < buffer.length) left.push(skip > 0 ? buffer.subarray(skip) : buffer);
        skip = Math.max(0, skip - buffer.length);
      }
      this.#writeMany(left, position + written, resolve, reject);
    });
  }

  sync(): Promise<void> {
    return settle((done) => fs.fdatasync(this.#fd, done));
  }

  truncate(bytes: number): void {
    fs.ftruncateSync(this.#fd, bytes);
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, { size } = { size: 0 } as fs.Stats) =>
        error ? reject(error) : resolve(size),
      );
    });
  }

  close(): Promise<void> {
    return settle((done) => {
      const fd = this.#fd;
      this.#closed = true;
      fs.close(fd, done);
    });
  }
}

function settle(start: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}

export const nodeDisk: Disk = {
  open: (path, options = {}) =>
    new Promise((resolve, reject) => {
      const flags = O_RDWR | (options.create ? O_CREAT : 0) | (options.durable ? O_DSYNC : 0);
      // For its owner only: it holds everybody's data, and the monitor's keys.
      fs.open(path, flags, 0o600, (error, fd) =>
        error ? reject(error) : resolve(new NodeFile(fd)),
      );
    }),
  list: async (path) => (await readdir(path)).sort(),
  async mkdir(path) {
    await mkdir(path, { recursive: true });
  },
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { recursive: true, force: true }),
  async syncDir(path) {
    const directory = await open(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
  async freeBytes(path) {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
  lock: (path) => lockDirectory(path),
};

const LOCK_NAME = /^lock\.(\d{1,15})$/;

/**
 * `lock.<n>` in the directory, of which the highest number counts; it names its owner. Whoever finds that owner gone
 * makes the next number, which only one of several can. A released lock stays, without an owner, and only the owner of a
 * higher number removes it: numbers never fall, so nobody takes over from somebody who was not there any more.
 */
async function lockDirectory(path: string): Promise<DiskLock> {
  const own = await ownProcess();
  for (;;) {
    const older = await lockNumbers(path);
    const highest = Math.max(0, ...older);
    const owner = highest > 0 ? await lockOwner(lockPath(path, highest)) : undefined;
    if (owner && (await isRunning(owner))) {
      throw new RadosError('EBUSY', `${path} is in use by process ${owner.pid}`, { target: path });
    }
    const mine = lockPath(path, highest + 1);
    if (!(await tryLink(mine, own))) continue;
    // What was looked at may have been long ago: others may have come, gone, and removed this very number.
    if (Math.max(...(await lockNumbers(path))) > highest + 1) {
      await rm(mine, { force: true });
      continue;
    }
    for (const number of older) await rm(lockPath(path, number), { force: true });
    return { release: () => releaseLock(mine) };
  }
}

async function lockNumbers(path: string): Promise<number[]> {
  const names = await readdir(path);
  return names.flatMap((name) => {
    const digits = LOCK_NAME.exec(name)?.[1];
    return digits === undefined ? [] : [Number(digits)];
  });
}

/** Makes the file with its whole content at once; false when somebody was faster. */
async function tryLink(path: string, owner: ProcessIdentity): Promise<boolean> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, `${JSON.stringify(owner)}\n`);
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

async function releaseLock(mine: string): Promise<void> {
  const temporary = `${mine}.released`;
  await writeFile(temporary, '{}\n');
  await rename(temporary, mine);
}

function lockPath(directory: string, number: number): string {
  return join(directory, `lock.${number}`);
}

/** Undefined when it was released, or when the machine stopped before its text was written. */
async function lockOwner(path: string): Promise<ProcessIdentity | undefined> {
  try {
    const owner: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isProcessIdentity(owner) ? owner : undefined;
  } catch {
    return undefined;
  }
}
