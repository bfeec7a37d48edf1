#!/usr/bin/env node
/**
 * First light: a cluster, an image, and a real file that goes in and comes back.
 *
 *     npm start [-- FILE]
 *
 * The embedded cluster is started, a file is written to an image by one client and read back by another one, and the
 * bytes are compared. Without FILE it is a disk image with an ext4 file system made for the occasion, or Node's own
 * binary where there is no mkfs.ext4. Everything is gone afterwards. The exit code is 0 only if all of it held.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import { createReadStream as openFile } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { freemem, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { nodeEnvironment } from '../base/node-environment.js';
import { packageFile } from '../base/paths.js';
import { connect } from '../block/cluster.js';
import { createReadStream, createWriteStream } from '../block/streams.js';
import { EmbeddedCluster } from '../cluster/embedded-cluster.js';
import type { Interrupt } from './errors.js';
import { interruptSignal } from './interrupt.js';
import { surveyImage } from './placement-survey.js';
import { formatSize } from './sizes.js';

const MIB = 1024 * 1024;
const POOL = 'rbd';
const IMAGE = 'first-light';
const OSDS = 3;
const COPIES = 2;
const DISK_BYTES = 96 * MIB;
/** What no compression and no run of zeroes makes any easier. */
const RANDOM_BYTES = 32 * MIB;
/** Times a file's size that must be free: its copies, and some room to work in. */
const MEMORY_FACTOR = COPIES + 0.5;

interface Source {
  path: string;
  size: number;
  description: string;
}

class Failure extends Error {}

async function firstLight(path: string | undefined, signal: AbortSignal): Promise<void> {
  const { clock, random } = nodeEnvironment();
  const print = (text: string) => process.stdout.write(text);
  const timed = async <T>(action: Promise<T>): Promise<[T, number]> => {
    const start = clock.monotonic();
    const result = await action;
    signal.throwIfAborted();
    return [result, clock.monotonic() - start];
  };
  const line = (what: string, text: string, ms: number, bytes?: number) => {
    const rate = bytes === undefined ? '' : `${formatSize((bytes / ms) * 1000)}/s`;
    const time = `${Math.round(ms)} ms`.padStart(8);
    print(`${`  ${what.padEnd(11)}${text.padEnd(56)}${time}  ${rate}`.trimEnd()}\n`);
  };
  print('First light: real bytes through the real protocol, on this machine alone.\n\n');

  const directory = await mkdtemp(join(tmpdir(), 'linger-first-light-'));
  try {
    const [source, sourceMs] = await timed(
      path === undefined ? makeSource(directory, random, signal) : givenSource(path),
    );
    line('source', source.description, sourceMs);

    const [expected, hashMs] = await timed(sha256(openFile(source.path), signal));
    line('sha256', shorten(expected), hashMs, source.size);

    const [cluster, clusterMs] = await timed(
      EmbeddedCluster.start({ osds: OSDS, size: COPIES, pools: [POOL] }),
    );
    await using _cluster = cluster;
    line('cluster', `a monitor and ${OSDS} OSDs in a thread of their own, cephx`, clusterMs);

    const [writer, connectMs] = await timed(connect(cluster));
    await using _writer = writer;
    line('connect', `client 1, to ${cluster.monHost}`, connectMs);

    const { images } = writer.pool(POOL);
    const [id, createMs] = await timed(images.create(IMAGE, { size: source.size, signal }));
    line('create', `${POOL}/${IMAGE}, ${formatSize(source.size)}, id ${id}`, createMs);

    const [, writeMs] = await timed(writeImage());
    line('write', 'all but zeroes, and a flush', writeMs, source.size);

    const [reader, reconnectMs] = await timed(connect(cluster));
    await using _reader = reader;
    line('connect', 'client 2, a thread and sessions of its own', reconnectMs);

    const [found, readMs] = await timed(readImage());
    line('read', 'everything', readMs, source.size);
    if (found !== expected) {
      throw new Failure(`the bytes differ: wrote sha256 ${expected}, read ${found}`);
    }
    print(`  sha256     ${shorten(found)}: the same\n`);

    const [survey, surveyMs] = await timed(
      surveyImage(cluster.connectOptions, { pool: POOL, name: IMAGE }, signal),
    );
    line('placement', `${survey.objects} objects, by the monitor's and the OSDs' word`, surveyMs);
    print(`\n${survey.text}\n`);
    const copied = survey.osds.reduce((sum, { objects }) => sum + objects, 0);
    if (copied !== survey.objects * COPIES) {
      throw new Failure(`${survey.objects} objects have ${copied} copies, not ${COPIES} each`);
    }

    const [, removeMs] = await timed(reader.pool(POOL).images.remove(IMAGE, { signal }));
    line('remove', `${POOL}/${IMAGE}`, removeMs);
    print('\nEvery byte came back.\n');

    async function writeImage(): Promise<void> {
      await using device = await writer.map(`${POOL}/${IMAGE}`);
      const into = createWriteStream(device, { skipZeroBlocks: 4096, signal });
      await pipeline(openFile(source.path, { highWaterMark: MIB }), into, { signal });
    }

    async function readImage(): Promise<string> {
      await using device = await reader.map(`${POOL}/${IMAGE}`, { readOnly: true });
      return await sha256(createReadStream(device, { signal }), signal);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const shorten = (digest: string) => `${digest.slice(0, 40)}...`;

async function sha256(bytes: Readable, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(bytes, hash, { signal });
  return hash.digest('hex');
}

async function givenSource(path: string): Promise<Source> {
  const info = await stat(path).catch((error: Error) => {
    throw new Failure(error.message);
  });
  if (!info.isFile() || info.size === 0) throw new Failure(`${path} is no file with bytes in it`);
  const needed = info.size * MEMORY_FACTOR;
  if (needed > freemem()) {
    throw new Failure(
      `${path} has ${formatSize(info.size)}: its copies need ${formatSize(needed)} of memory, and ${formatSize(freemem())} are free`,
    );
  }
  return { path, size: info.size, description: `${basename(path)}, ${formatSize(info.size)}` };
}

/** A disk with a file system on it, as users of block devices have them. */
async function makeSource(
  directory: string,
  random: { bytes(length: number): Uint8Array },
  signal: AbortSignal,
): Promise<Source> {
  const content = join(directory, 'content');
  const path = join(directory, 'disk.img');
  await mkdir(content);
  await cp(packageFile('dist'), join(content, 'linger'), { recursive: true });
  await writeFile(join(content, 'random'), random.bytes(RANDOM_BYTES), { signal });
  const args = ['-q', '-F', '-L', IMAGE, '-d', content, path, `${DISK_BYTES / 1024}k`];
  if (await runTool('mkfs.ext4', args, signal)) {
    const size = formatSize(DISK_BYTES);
    return {
      path,
      size: DISK_BYTES,
      description: `a disk of ${size} with ext4, made by mkfs.ext4`,
    };
  }
  const node = await givenSource(process.execPath);
  return { ...node, description: `Node's own binary, ${formatSize(node.size)}` };
}

/** False where the tool is missing or does not do it. */
async function runTool(name: string, args: string[], signal: AbortSignal): Promise<boolean> {
  // Debian has it where users without privileges do not look.
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const child = spawn(name, args, { stdio: 'ignore', env: { ...process.env, PATH: path }, signal });
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return code === 0;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

const signal = interruptSignal();
setMaxListeners(0, signal);
try {
  await firstLight(process.argv[2], signal);
} catch (error) {
  if (signal.aborted) {
    process.exit((signal.reason as Interrupt).exitCode);
  }
  process.stderr.write(`\nfirst light failed: ${(error as Error).message}\n`);
  if (!(error instanceof Failure)) process.stderr.write(`${(error as Error).stack}\n`);
  process.exitCode = 1;
}
