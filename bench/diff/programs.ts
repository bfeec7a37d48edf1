/** Whole commands, timed. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { packageFile } from '../../src/base/paths.js';
import { execute } from '../clients.js';

export interface Program {
  readonly name: string;
  readonly argv: readonly [command: string, ...args: string[]];
}

export const PEER: Program = { name: 'rbd', argv: ['rbd'] };
export const OURS: Program = {
  name: 'linger',
  argv: [process.execPath, packageFile('dist/bundle/linger.js')],
};

/** In milliseconds. */
export interface Time {
  /** From its start to its end. */
  readonly wall: number;
  /** User and system time, of all its threads. */
  readonly cpu: number;
}

/** What it prints is read by nobody. */
export async function timed(
  { argv }: Program,
  args: readonly string[],
  conf: string,
): Promise<Time> {
  // bash's `time` knows the user and system time of the child.
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null';
  const env = { CEPH_CONF: conf };
  const { stderr } = await execute('bash', ['-c', script, 'bash', ...argv, ...args], env);
  const [wall = 0, user = 0, system = 0] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number);
  return { wall: 1000 * wall, cpu: 1000 * (user + system) };
}

/** What it prints, as its length and checksum. */
export async function printed(
  { name, argv }: Program,
  args: readonly string[],
  conf: string,
): Promise<string> {
  const [command, ...first] = argv;
  const child = spawn(command, [...first, ...args], {
    env: { ...process.env, CEPH_CONF: conf, CEPH_ARGS: undefined },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const hash = createHash('sha256');
  let length = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length;
    hash.update(chunk);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${name} ${args.join(' ')} ended with ${code}`);
  return `${length} bytes, sha256 ${hash.digest('hex')}`;
}
