/** Whole commands, timed. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { packageFile } from '../../src/base/paths.js';

export interface Program {
  readonly name: string;
  readonly argv: readonly [command: string, ...args: string[]];
}

export const PEER: Program = { name: 'rbd', argv: ['rbd'] };
export const OURS: Program = {
  name: 'linger',
  argv: [process.execPath, packageFile('dist/src/cli/main.js')],
};

/** Milliseconds from its start to its end; what it prints is read by nobody. */
export async function timed(program: Program, args: readonly string[], conf: string) {
  const started = performance.now();
  const child = start(program, args, conf, 'ignore');
  const [code] = (await once(child, 'exit')) as [number | null];
  const took = performance.now() - started;
  if (code !== 0) throw new Error(`${program.name} ${args.join(' ')} ended with ${code}`);
  return took;
}

/** What it prints, as its length and checksum. */
export async function printed(
  program: Program,
  args: readonly string[],
  conf: string,
): Promise<string> {
  const child = start(program, args, conf, 'pipe');
  const hash = createHash('sha256');
  let length = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    length += chunk.length;
    hash.update(chunk);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program.name} ${args.join(' ')} ended with ${code}`);
  return `${length} bytes, sha256 ${hash.digest('hex')}`;
}

function start(
  { argv }: Program,
  args: readonly string[],
  conf: string,
  stdout: 'ignore' | 'pipe',
) {
  const [command, ...first] = argv;
  return spawn(command, [...first, ...args], {
    env: { ...process.env, CEPH_CONF: conf, CEPH_ARGS: undefined },
    stdio: ['ignore', stdout, 'inherit'],
  });
}
