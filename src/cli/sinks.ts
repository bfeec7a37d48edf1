/** Where a command's bytes go: stdout, or a file of their own. */

import { once } from 'node:events';
import { type FileHandle, open, rm } from 'node:fs/promises';
import type { CommandContext } from './context.js';

/** In order, as fast as the reader takes them. EPIPE: it left. */
export async function writeToStdout(
  { streams, signal }: CommandContext,
  chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
): Promise<void> {
  const { stdout } = streams;
  const closed = once(stdout, 'error', { signal }).then(([error]) =>
    Promise.reject(error as Error),
  );
  closed.catch(() => {});
  for await (const chunk of chunks) {
    if (!stdout.write(chunk)) await Promise.race([once(stdout, 'drain', { signal }), closed]);
  }
  // The reader may still leave before it has read what is in the stream's buffer.
  await Promise.race([new Promise((resolve) => stdout.write('', resolve)), closed]);
}

/** As `rbd`: nothing that exists is overwritten (EEXIST). The file is removed again when it cannot be completed. */
export async function writeNewFile(
  path: string,
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await fill(file);
    await file.close();
  } catch (error) {
    await file.close().catch(() => {});
    await rm(path, { force: true });
    throw error;
  }
}

/** One after the other, from the start of the file. */
export async function writeChunks(
  file: FileHandle,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  let offset = 0;
  for await (const chunk of chunks) {
    await writeFully(file, chunk, offset);
    offset += chunk.length;
  }
}

export async function writeFully(
  file: FileHandle,
  data: Uint8Array,
  offset: number,
): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const { bytesWritten } = await file.write(data, at, data.length - at, offset + at);
    at += bytesWritten;
  }
}
