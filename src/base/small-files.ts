/** Small files that describe something, on a `Disk`. */

import type { Disk } from './environment.js';

export async function readSmallFile(disk: Disk, path: string): Promise<Uint8Array> {
  const file = await disk.open(path);
  try {
    const bytes = Buffer.alloc(await file.size());
    return bytes.subarray(0, file.read(bytes, 0));
  } finally {
    await file.close();
  }
}

/** Whatever happens, the file is there whole, or as it was before; and durable when this resolves. */
export async function writeAtomically(
  disk: Disk,
  dir: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const temporary = `${dir}/${name}.new`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, { create: true });
  try {
    await file.write([bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, `${dir}/${name}`);
  await disk.syncDir(dir);
}
