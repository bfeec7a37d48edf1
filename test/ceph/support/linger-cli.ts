// The built `linger` command beside the real `rbd`.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { packageFile } from '../../../src/base/paths.js';
import { main } from '../../../src/cli/program.js';
import { type RunOptions, type RunResult, runProcess } from './processes.js';

export const LINGER = packageFile('dist/bundle/linger.js');

/** Runs `linger ARGS` with the given ceph.conf. */
export function runLinger(
  confPath: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const env = { CEPH_CONF: confPath, ...options.env };
  return runProcess(process.execPath, [LINGER, ...args], { ...options, env });
}

/** As `runLinger`, in this process: without the time that a process takes to start, and without its stdin. */
export async function callLinger(confPath: string, args: readonly string[]): Promise<RunResult> {
  const texts = { stdout: '', stderr: '' };
  const sink = (name: keyof typeof texts) =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        texts[name] += chunk.toString();
        done();
      },
    });
  const streams = { stdin: Readable.from([]), stdout: sink('stdout'), stderr: sink('stderr') };
  const { signal } = new AbortController();
  const code = await main(args, streams, { CEPH_CONF: confPath }, signal);
  return { ...texts, code };
}

/** The last of the lines that the program itself wrote, without its name: progress aside. rbd runs `WITHOUT_LOG`. */
export function lastWords(program: 'rbd' | 'linger', { stderr }: RunResult): string {
  const prefix = `${program}: `;
  const lines = stderr.split(/[\r\n]/);
  const own = lines.filter((line) => line.startsWith(prefix)).at(-1) ?? '';
  return own.slice(prefix.length);
}

/** Runs `linger ARGS`, and sends it a signal when `ready` settles. Resolves with how it ended. */
export async function interruptLinger(
  confPath: string,
  args: readonly string[],
  { when, input, signal = 'SIGINT' }: Interruption,
): Promise<RunResult> {
  const child = spawn(process.execPath, [LINGER, ...args], {
    env: { ...process.env, CEPH_CONF: confPath },
  });
  const texts = { stdout: '', stderr: '' };
  let bytesOut = 0;
  child.stdout.on('data', (chunk: Buffer) => (bytesOut += chunk.length));
  child.stderr.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
  child.stdin.on('error', () => {});
  if (input) child.stdin.write(input);
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const state = { stderr: () => texts.stderr, bytesOut: () => bytesOut };
  while (child.exitCode === null && !(await when(state))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill(signal);
  const [code, by] = await ended;
  if (code === null) throw new Error(`linger was ended by ${by}`);
  return { ...texts, code };
}

export interface Interruption {
  /** Asked until it is so. */
  when: (state: { stderr: () => string; bytesOut: () => number }) => boolean | Promise<boolean>;
  /** For stdin, which then stays open. */
  input?: Uint8Array;
  signal?: NodeJS.Signals;
}
