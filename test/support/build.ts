/**
 * vitest global setup: builds what tests load from `dist/` (the kernels, and the workers and commands, which Node
 * cannot run from TypeScript), each only when its sources changed since it was last built.
 *
 * `LINGER_TEST_BUILD=kernels` leaves `dist/`'s JavaScript as it is: for work on one folder while
 * another does not compile.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { link, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { packageFile } from '../../src/base/paths.js';

interface Step {
  name: string;
  /** Files and folders that the result depends on. */
  sources: readonly string[];
  /** Missing results are rebuilt whatever the stamp says. */
  results: readonly string[];
  /** Removed before a rebuild, so that the tool does not trust what is no longer there. */
  forget: readonly string[];
  /** The tool's own entry in node_modules, then its arguments. */
  command: readonly string[];
}

const LOCK = 'dist/.build-lock';

const kernels: Step = {
  name: 'kernels',
  sources: ['assembly', 'asconfig.json', 'package-lock.json'],
  results: ['dist/wasm/kernels.wasm'],
  forget: [],
  command: [
    'node_modules/assemblyscript/bin/asc.js',
    '--config',
    'asconfig.json',
    '--target',
    'release',
  ],
};

const typescript: Step = {
  name: 'typescript',
  sources: [
    'src',
    'workers',
    'bench',
    'tsconfig.json',
    'tsconfig.build.json',
    'package.json',
    'package-lock.json',
  ],
  results: ['dist/src', 'dist/.tsbuildinfo'],
  forget: ['dist/.tsbuildinfo'],
  command: ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
};

const bundle: Step = {
  name: 'bundle',
  sources: [...typescript.sources, 'rolldown.config.js'],
  results: ['dist/bundle'],
  forget: [],
  command: ['node_modules/rolldown/bin/cli.mjs', '--config'],
};

export async function setup(): Promise<void> {
  const steps =
    process.env['LINGER_TEST_BUILD'] === 'kernels' ? [kernels] : [kernels, typescript, bundle];
  if ((await findStale(steps)).length === 0) return;
  await withLock(async () => {
    // Asked again: another run may have built while this one waited for the lock.
    for (const step of await findStale(steps)) await build(step);
  });
}

async function findStale(steps: readonly Step[]): Promise<Step[]> {
  const stale: Step[] = [];
  for (const step of steps) if (await isStale(step)) stale.push(step);
  return stale;
}

async function isStale(step: Step): Promise<boolean> {
  if (!step.results.every((result) => existsSync(packageFile(result)))) return true;
  const stamp = await stat(stampOf(step)).catch(() => undefined);
  if (stamp === undefined) return true;
  for (const source of step.sources) {
    if ((await newestMtimeMs(packageFile(source))) > stamp.mtimeMs) return true;
  }
  return false;
}

/** Folders count too: removing or renaming a file changes only its folder's time. */
async function newestMtimeMs(path: string): Promise<number> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return 0;
  let newest = info.mtimeMs;
  if (info.isDirectory()) {
    for (const name of await readdir(path)) {
      newest = Math.max(newest, await newestMtimeMs(join(path, name)));
    }
  }
  return newest;
}

function stampOf(step: Step): string {
  return packageFile(`dist/.built-${step.name}`);
}

async function build(step: Step): Promise<void> {
  // The stamp carries the time before the build, so that an edit during it is not missed.
  const startedAt = new Date();
  if (!step.results.every((result) => existsSync(packageFile(result)))) {
    for (const path of step.forget) await rm(packageFile(path), { force: true });
  }
  const [script = '', ...args] = step.command;
  try {
    await promisify(execFile)(process.execPath, [packageFile(script), ...args], {
      cwd: packageFile('.'),
      maxBuffer: 64 * 1024 * 1024,
    });
  } catch (error) {
    // Without the cause: what the compiler printed is the message, the rest would bury it.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const output = `${stdout}${stderr}`.trim();
    throw new Error(`building ${step.name} failed:\n${output === '' ? String(error) : output}`);
  }
  await writeFile(stampOf(step), '');
  await utimes(stampOf(step), startedAt, startedAt);
}

/** One builder at a time: two runs started together would load each other's half-written files. */
async function withLock(work: () => Promise<void>): Promise<void> {
  const path = packageFile(LOCK);
  await mkdir(packageFile('dist'), { recursive: true });
  while (!(await tryLock(path))) {
    const owner = Number(await readFile(path, 'utf8').catch(() => ''));
    if (owner > 0 && !isAlive(owner)) await rm(path, { force: true });
    else await sleep(100);
  }
  try {
    await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** Linked into place with its owner already written, so that the lock is never there unowned. */
async function tryLock(path: string): Promise<boolean> {
  const own = `${path}.${process.pid}`;
  await writeFile(own, String(process.pid));
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
