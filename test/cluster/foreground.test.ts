import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { packageFile } from '../../src/base/paths.js';
import {
  type ClusterState,
  readClusterState,
  runForeground,
  signalCluster,
} from '../../src/cluster/foreground.js';

const env = nodeEnvironment();
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'linger-test-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Runs a cluster in `dir` of this process; resolves when it is ready. */
async function start(): Promise<{
  state: ClusterState;
  ended: Promise<void>;
  stop: AbortController;
}> {
  const stop = new AbortController();
  let ended: Promise<void> = Promise.resolve();
  const state = await new Promise<ClusterState>((resolve, reject) => {
    ended = runForeground({ dir, inThread: true, signal: stop.signal, onReady: resolve });
    ended.catch(reject);
  });
  return { state, ended, stop };
}

describe('a cluster in a directory', () => {
  it('is known by its state file while it runs, and leaves its conf and keyring', async () => {
    const { state, ended, stop } = await start();
    expect(state).toMatchObject({ pid: process.pid, osds: 3, conf: join(dir, 'ceph.conf') });
    expect(await readClusterState(env, dir)).toEqual(state);
    stop.abort();
    await ended;
    expect(await readClusterState(env, dir)).toBeUndefined();
    expect(existsSync(join(dir, 'cluster.json'))).toBe(false);
    expect(await readFile(join(dir, 'ceph.conf'), 'utf8')).toContain(state.fsid);
  });

  it('has the directory for itself', async () => {
    const { ended, stop } = await start();
    await expect(runForeground({ dir, inThread: true })).rejects.toMatchObject({ code: 'EEXIST' });
    expect(existsSync(join(dir, 'cluster.json'))).toBe(true);
    stop.abort();
    await ended;
  });

  it('whose process died is not taken for a running one', async () => {
    const gone = spawn(process.execPath, ['-e', '0']);
    await new Promise((resolve) => gone.on('exit', resolve));
    await writeFile(join(dir, 'cluster.json'), JSON.stringify({ pid: gone.pid }));
    expect(await readClusterState(env, dir)).toBeUndefined();
    const { ended, stop } = await start();
    stop.abort();
    await ended;
  });

  it('with a damaged state file is not guessed about', async () => {
    await writeFile(join(dir, 'cluster.json'), '{"pid":');
    await expect(readClusterState(env, dir)).rejects.toMatchObject({ code: 'EIO' });
    await writeFile(join(dir, 'cluster.json'), '{"pid":-1}');
    await expect(readClusterState(env, dir)).rejects.toMatchObject({ code: 'EIO' });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends in order with %s', async (signal) => {
    const module = packageFile('dist/src/cluster/foreground.js');
    const script = `
      import { runForeground } from ${JSON.stringify(module)};
      await runForeground({
        dir: ${JSON.stringify(dir)},
        onReady: (state) => console.log(JSON.stringify(state)),
      });
      console.log('ended');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    let output = '';
    let errors = '';
    child.stderr.on('data', (chunk) => (errors += chunk));
    const ready = new Promise<void>((resolve, reject) => {
      child.stdout.on('data', (chunk) => {
        output += chunk;
        if (output.includes('\n')) resolve();
      });
      child.on('exit', () => reject(new Error(`ended before it was ready: ${errors}`)));
    });
    await ready;
    const state = await readClusterState(env, dir);
    expect(state?.pid).toBe(child.pid);
    const exit = new Promise((resolve) => child.on('exit', resolve));
    if (signal === 'SIGTERM') signalCluster(state as ClusterState, signal);
    else child.kill(signal);
    expect(await exit).toBe(0);
    expect(output).toContain('ended');
    expect(existsSync(join(dir, 'cluster.json'))).toBe(false);
  });
});
