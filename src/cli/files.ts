/** Where a command's bytes come from and go to: stdin and stdout, or files. */

import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { ByteReader } from '../rbd/diff/byte-reader.js';
import type { CommandContext } from './context.js';

/**
 * What a stream brings, until it ends. The interrupt is thrown at once, though nothing comes and the stream stays open:
 * whoever opened it destroys it, and a stdin that is still read would keep the process.
 */
export async function* chunksOf(
  context: CommandContext,
  stream: Readable,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  for (;;) {
    const next = await context.interruptible(chunks.next());
    if (next.done) return;
    yield next.value;
  }
}

/** Reads a file, or stdin for `-`; `bytes` is the size of a file. It is closed whatever happens. */
export async function withInput<T>(
  context: CommandContext,
  path: string,
  action: (stream: ByteReader, bytes: number | undefined) => Promise<T>,
): Promise<T> {
  if (path === '-')
    return readThrough(context, context.streams.stdin, (stream) => action(stream, undefined));
  const file = await open(path, 'r').catch((error: unknown) => {
    context.note(`linger: error opening ${path}\n`);
    throw error;
  });
  try {
    const { size } = await file.stat();
    const bytes = createReadStream('', { fd: file, autoClose: false, start: 0 });
    return await readThrough(context, bytes, (stream) => action(stream, size));
  } finally {
    await file.close();
  }
}

async function readThrough<T>(
  context: CommandContext,
  stream: Readable,
  action: (stream: ByteReader) => Promise<T>,
): Promise<T> {
  try {
    return await action(new ByteReader(chunksOf(context, stream)));
  } finally {
    stream.destroy();
  }
}

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

/** To a new file, or to stdout for `-`. */
export function writeOutput(
  context: CommandContext,
  path: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  return path === '-'
    ? writeToStdout(context, chunks)
    : writeNewFile(path, (file) => writeChunks(file, chunks));
}

/** One after the other, from the start of the file. */
async function writeChunks(file: FileHandle, chunks: AsyncIterable<Uint8Array>): Promise<void> {
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
