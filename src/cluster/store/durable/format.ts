/**
 * A store's directory:
 *
 *   store.json    what it is, and the version of its format
 *   wal.<n>       the log: every transaction, until a checkpoint has it
 *   data          the objects' bytes, in blocks of 4 KiB
 *   checkpoint    everything else, as it was at some time: all objects with their maps, and the blocks' checksums
 *
 * docs/store-format.md has the details.
 */

import type { Disk } from '../../../base/environment.js';
import { RadosError } from '../../../base/errors.js';
import { readSmallFile, writeAtomically } from '../../../base/small-files.js';

/** Of what this code writes. It reads this one and older ones. 2: missing objects, backfills. 3: PGs that were split. 4: digests of objects. */
export const FORMAT_VERSION = 4;

/** Not 0, so that a block of zeros, which is what a disk has lost most often, has a checksum of its own. */
export const CHECKSUM_SEED = 0xffff_ffff;

export const STORE_FILE = 'store.json';
export const DATA_FILE = 'data';
export const CHECKPOINT_FILE = 'checkpoint';

const FORMAT = 'linger-object-store';

export interface StoreIdentity {
  /** Random: what belongs to another store does not pass for this one's. */
  readonly id: string;
}

/** Known to nobody but the store: of what begins with it, nothing comes from a client. */
export function storeSalt(id: string): number {
  return Buffer.from(id.replaceAll('-', ''), 'hex').readUInt32LE(0);
}

/** What a store that cannot be opened says: EIO for damage, EINVAL for what this code does not know. */
export function unusable(dir: string, reason: string, code: 'EIO' | 'EINVAL' = 'EIO'): RadosError {
  return new RadosError(code, `the store in ${dir} ${reason}`, { op: 'open', target: dir });
}

/** Reads `store.json`, or writes it into a directory that has no store. */
export async function identifyStore(
  disk: Disk,
  dir: string,
  generateId: () => string,
): Promise<StoreIdentity> {
  await disk.mkdir(dir);
  const names = await disk.list(dir);
  if (names.includes(STORE_FILE)) {
    const found = parseIdentity(dir, await readSmallFile(disk, `${dir}/${STORE_FILE}`));
    // Before anything is written that an older linger would not understand.
    if (found.version < FORMAT_VERSION) await writeIdentity(disk, dir, found);
    return { id: found.id };
  }
  // It is written before everything else.
  const remains = names.find((name) => name === CHECKPOINT_FILE || name.startsWith('wal.'));
  if (remains) throw unusable(dir, `has a file '${remains}' but no ${STORE_FILE}`);
  const identity = { id: generateId() };
  await writeIdentity(disk, dir, identity);
  return identity;
}

function writeIdentity(disk: Disk, dir: string, { id }: StoreIdentity): Promise<void> {
  const text = JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, id }, null, 2);
  return writeAtomically(disk, dir, STORE_FILE, Buffer.from(`${text}\n`));
}

function parseIdentity(dir: string, bytes: Uint8Array): StoreIdentity & { version: number } {
  let found: { format?: unknown; version?: unknown; id?: unknown } | null;
  try {
    found = JSON.parse(Buffer.from(bytes).toString()) as typeof found;
  } catch {
    throw unusable(dir, `has a ${STORE_FILE} that is not JSON`);
  }
  const { format, version, id } = found ?? {};
  if (format !== FORMAT || typeof version !== 'number' || !isId(id)) {
    throw unusable(dir, `has a ${STORE_FILE} that does not describe one`);
  }
  if (version > FORMAT_VERSION) {
    const reason = `has format ${version}, written by a newer linger; this one reads up to ${FORMAT_VERSION}`;
    throw unusable(dir, reason, 'EINVAL');
  }
  return { id, version };
}

function isId(id: unknown): id is string {
  return typeof id === 'string' && /^[0-9a-f-]{36}$/.test(id);
}
