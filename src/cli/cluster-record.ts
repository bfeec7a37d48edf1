/**
 * `DIR/cluster.json`: which process runs the embedded cluster of a directory.
 *
 * It is there from before the cluster starts until after it has stopped. Linked into place with its owner already
 * written, so that of two processes that start a cluster in one directory one finds out.
 */

import {
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { toRadosError } from '../base/errors.js';
import {
  isProcessIdentity,
  isRunning,
  ownProcess,
  type ProcessIdentity,
} from '../base/node-process.js';
import { CommandError, commandError } from './errors.js';

export interface ClusterRecord extends ProcessIdentity {
  /** `starting` until clients are served. */
  state: 'starting' | 'ready';
  fsid?: string;
  monHost?: string;
  conf: string;
  keyring: string;
  osds?: number;
  size?: number;
  auth?: string;
}

export class ClusterDirectory {
  /** Absolute. */
  readonly path: string;
  readonly confPath: string;
  readonly keyringPath: string;
  /** What the background process prints. */
  readonly logPath: string;
  readonly #recordPath: string;

  constructor(path: string) {
    this.path = resolve(path);
    this.confPath = join(this.path, 'ceph.conf');
    this.keyringPath = join(this.path, 'keyring');
    this.logPath = join(this.path, 'cluster.log');
    this.#recordPath = join(this.path, 'cluster.json');
  }

  async create(): Promise<void> {
    try {
      await mkdir(this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
      throw commandError(`cannot create ${this.path}`, error);
    }
  }

  /** Undefined when no cluster was started here, or when it was stopped. */
  async read(): Promise<ClusterRecord | undefined> {
    let text: string;
    try {
      text = await readFile(this.#recordPath, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw commandError(`cannot read ${this.#recordPath}`, toRadosError(error));
    }
    const record = parseRecord(text);
    if (!record) throw new CommandError(22, `${this.#recordPath} does not describe a cluster`);
    return record;
  }

  /** Makes this process the directory's. EEXIST: another one runs a cluster here. */
  async claim(record: Omit<ClusterRecord, 'state' | 'pid' | 'began'>): Promise<ClusterRecord> {
    const own: ClusterRecord = {
      state: 'starting',
      ...(await ownProcess()),
      ...record,
    };
    const temporary = `${this.#recordPath}.${process.pid}`;
    try {
      await writeFile(temporary, format(own));
      while (!(await this.#tryLink(temporary))) {
        const found = await this.read();
        if (found && (await isRunning(found))) throw alreadyRunning(this.path, found);
        // Its process is gone without having cleaned up.
        await rm(this.#recordPath, { force: true });
      }
    } catch (error) {
      throw commandError(`cannot write to ${this.path}`, error);
    } finally {
      await rm(temporary, { force: true }).catch(() => {});
    }
    return own;
  }

  async publish(record: ClusterRecord): Promise<void> {
    const temporary = `${this.#recordPath}.${process.pid}`;
    await writeFile(temporary, format(record));
    await rename(temporary, this.#recordPath);
  }

  /** Removes what a cluster wrote here, last of all the record. A log stays if anything is in it. */
  async clear(): Promise<void> {
    const log = await stat(this.logPath).catch(() => undefined);
    if (log?.size === 0) await rm(this.logPath, { force: true });
    // A process that was killed leaves its sockets behind.
    const sockets = (await readdir(this.path).catch(() => [])).filter((name) =>
      /^(osd\.\d+|cluster)\.asok$/.test(name),
    );
    const paths = sockets.map((name) => join(this.path, name));
    for (const path of [...paths, this.confPath, this.keyringPath, this.#recordPath]) {
      await rm(path, { force: true });
    }
  }

  /** The directory, if it is empty: whoever put something there keeps it. */
  async removeIfUnused(): Promise<void> {
    await rmdir(this.path).catch(() => {});
  }

  async #tryLink(temporary: string): Promise<boolean> {
    try {
      await link(temporary, this.#recordPath);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }
}

export function alreadyRunning(path: string, { pid }: ClusterRecord): CommandError {
  return new CommandError(17, `a cluster runs in ${path} already (pid ${pid})`);
}

function format(record: ClusterRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

function parseRecord(text: string): ClusterRecord | undefined {
  try {
    const record: unknown = JSON.parse(text);
    return isProcessIdentity(record) ? (record as ClusterRecord) : undefined;
  } catch {
    return undefined;
  }
}
