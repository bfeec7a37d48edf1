// Monitor commands through librados (its Python binding), so that every byte of the answers shows.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MonAnswer, MonCommand } from '../../support/mon-command-list.js';
import { runOrThrow } from './processes.js';

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'mon-commands.py');

/** Debian's Python, which has the binding; another one may come first in the path. */
const PYTHON = '/usr/bin/python3';

export interface RunCommandsOptions {
  /** Default client.admin. */
  name?: string;
  keyring?: string;
}

export async function runMonCommands(
  confPath: string,
  commands: readonly MonCommand[],
  options: RunCommandsOptions = {},
): Promise<MonAnswer[]> {
  const args = [SCRIPT, confPath, options.name ?? 'client.admin'];
  if (options.keyring) args.push(`keyring=${options.keyring}`);
  const input = commands.map((cmd) => `${formatCommand(cmd)}\n`).join('');
  const { stdout } = await runOrThrow(PYTHON, args, { input });
  const [, ...lines] = stdout.trimEnd().split('\n');
  return lines.map((line) => {
    const { r, rs, out } = JSON.parse(line) as MonAnswer;
    return { r, rs, out: Buffer.from(out, 'base64').toString('latin1') };
  });
}

/** Real monitors tell 1 from 1.0 and want the latter for a CephFloat: JavaScript writes both as 1. */
function formatCommand(cmd: MonCommand): string {
  return JSON.stringify({ cmd }).replace(/"(weight|expire)":(-?\d+)(?=[,}])/g, '"$1":$2.0');
}
