// Runs the command line in this process, with streams that are kept.

import { PassThrough, Readable } from 'node:stream';
import { main } from '../../src/cli/program.js';

export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

export function linger(...args: string[]): Promise<CliResult> {
  return lingerReading('', ...args);
}

/** With something on stdin. */
export async function lingerReading(input: string, ...args: string[]): Promise<CliResult> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const texts = { stdout: '', stderr: '' };
  stdout.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
  stderr.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
  const streams = {
    stdin: Readable.from(input === '' ? [] : [Buffer.from(input)]),
    stdout,
    stderr,
  };
  const code = await main(args, streams, {}, new AbortController().signal);
  await Promise.all([stdout, stderr].map((stream) => new Promise((end) => stream.end(end))));
  return { code, ...texts };
}
