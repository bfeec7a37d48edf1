/**
 * The directory of a cluster that outlives its process:
 *
 *   cluster-data.json    which cluster it is, and what it is made of
 *   mon/, osd.0/, ...    a store for each daemon
 *   lock.<n>             who uses it
 */

import type { Disk, DiskLock, Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { readSmallFile, writeAtomically } from '../base/small-files.js';

const DESCRIPTION_FILE = 'cluster-data.json';
const FORMAT = 'linger-cluster';
const FORMAT_VERSION = 1;

/** What a cluster keeps over a restart beside its daemons' data. */
export interface StoredCluster {
  fsid: string;
  osds: number;
  /** Copies of new pools. */
  size: number;
  auth: 'cephx' | 'none';
  /** Where the monitor listened: clients that were connected look for it there. */
  monPort: number;
}

export class DataDirectory {
  readonly path: string;
  readonly #disk: Disk;
  readonly #lock: DiskLock;
  #stored: StoredCluster | undefined;
  #released: Promise<void> | undefined;

  /**
   * Takes the directory, which is made when missing. EBUSY: another process has it; EINVAL: what is in it is not a
   * cluster, or one of a newer linger.
   */
  static async open({ disk }: Environment, path: string): Promise<DataDirectory> {
    await disk.mkdir(path);
    const lock = await disk.lock(path);
    try {
      return new DataDirectory(disk, path, { lock, stored: await readDescription(disk, path) });
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private constructor(
    disk: Disk,
    path: string,
    { lock, stored }: { lock: DiskLock; stored: StoredCluster | undefined },
  ) {
    this.#disk = disk;
    this.path = path;
    this.#lock = lock;
    this.#stored = stored;
  }

  /** Undefined when there is no cluster in it yet. */
  get stored(): StoredCluster | undefined {
    return this.#stored;
  }

  async store(cluster: StoredCluster): Promise<void> {
    const text = JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, ...cluster }, null, 2);
    await writeAtomically(this.#disk, this.path, DESCRIPTION_FILE, Buffer.from(`${text}\n`));
    this.#stored = cluster;
  }

  /** Safe to call twice. */
  release(): Promise<void> {
    this.#released ??= this.#lock.release();
    return this.#released;
  }
}

async function readDescription(disk: Disk, path: string): Promise<StoredCluster | undefined> {
  const names = await disk.list(path);
  if (!names.includes(DESCRIPTION_FILE)) {
    if (!names.includes('mon')) return undefined;
    throw unknown(path, `has data, but no ${DESCRIPTION_FILE}`);
  }
  const bytes = await readSmallFile(disk, `${path}/${DESCRIPTION_FILE}`);
  let found: Partial<StoredCluster> & { format?: unknown; version?: unknown };
  try {
    found = JSON.parse(Buffer.from(bytes).toString()) as typeof found;
  } catch {
    throw unknown(path, `has a ${DESCRIPTION_FILE} that is not JSON`);
  }
  const { format, version, fsid, osds, size, auth, monPort } = found;
  if (format !== FORMAT || typeof version !== 'number') {
    throw unknown(path, `has a ${DESCRIPTION_FILE} that does not describe a cluster`);
  }
  if (version > FORMAT_VERSION) {
    throw unknown(
      path,
      `has format ${version}, written by a newer linger; this one reads up to ${FORMAT_VERSION}`,
    );
  }
  const numbers = [osds, size, monPort];
  const valid =
    typeof fsid === 'string' &&
    numbers.every(Number.isSafeInteger) &&
    (auth === 'cephx' || auth === 'none');
  if (!valid) throw unknown(path, `has a ${DESCRIPTION_FILE} that does not describe a cluster`);
  return { fsid, osds, size, auth, monPort } as StoredCluster;
}

function unknown(path: string, reason: string): RadosError {
  return new RadosError('EINVAL', `the data directory ${path} ${reason}`, { target: path });
}
