// The main job, as `npm start` runs it.

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageFile } from '../../src/base/paths.js';

describe('first light', () => {
  let base: string;
  /** The temporary directory of the job: what it leaves there, it left behind. */
  let temporary: string;
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'linger-test-'));
    temporary = await mkdtemp(join(base, 'tmp-'));
  });
  afterAll(() => rm(base, { recursive: true, force: true }));

  function start(...args: string[]) {
    const job = packageFile('dist/bundle/first-light.js');
    const child = spawn(process.execPath, [job, ...args], {
      env: { ...process.env, TMPDIR: temporary },
    });
    const texts = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
    const ended = once(child, 'close').then(([code]) => ({
      code: code as number | null,
      ...texts,
    }));
    return { child, texts, ended };
  }

  it('brings a file into an image and back, shows where it lies, and leaves nothing', async () => {
    const path = join(base, 'file');
    const bytes = randomBytes(9_000_001);
    await writeFile(path, bytes);
    const { code, stdout, stderr } = await start(path).ended;
    expect([code, stderr]).toEqual([0, '']);
    const digest = createHash('sha256').update(bytes).digest('hex');
    expect(stdout).toContain(`sha256     ${digest.slice(0, 40)}...: the same\n`);
    expect(stdout).toMatch(/Every byte came back\.\n$/);
    // 3 objects in 2 copies each, and every one has one primary.
    const osds = [...stdout.matchAll(/^ {2}osd\.\d +(\d+) +(\d+) /gm)];
    const sum = (column: number) => osds.reduce((total, match) => total + Number(match[column]), 0);
    expect([sum(1), sum(2)]).toEqual([6, 3]);
    expect(await readdir(temporary)).toEqual([]);
  });

  it('makes a disk of its own when it is given no file', async () => {
    const { code, stdout } = await start().ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/a disk of 96 MiB with ext4, made by mkfs\.ext4|Node's own binary/);
    expect(await readdir(temporary)).toEqual([]);
  });

  it.each([
    ['/nonexistent/file', 'no such file'],
    ['/dev/zero', '/dev/zero is no file with bytes in it'],
  ])('does not begin with %s', async (path, message) => {
    const { code, stderr } = await start(path).ended;
    expect(code).toBe(1);
    expect(stderr).toContain(`first light failed: `);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/\bat .*\.js/);
    expect(await readdir(temporary)).toEqual([]);
  });

  it.each(['source', 'cluster', 'create', 'write'])(
    'leaves nothing when it is interrupted after "%s"',
    async (step) => {
      const { child, texts, ended } = start();
      while (!texts.stdout.includes(`\n  ${step} `)) {
        await new Promise((resolve) => setTimeout(resolve, 2));
        if (child.exitCode !== null) throw new Error(`ended before ${step}: ${texts.stderr}`);
      }
      child.kill('SIGINT');
      expect((await ended).code).toBe(130);
      expect(await readdir(temporary)).toEqual([]);
    },
  );
});
