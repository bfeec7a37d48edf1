#!/usr/bin/env node
/**
 * `npm start`: the whole way once, on a cluster of our own. A real file goes into an image through one client and comes
 * back through another, and is the same. Exit code 0 only if everything held.
 */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Cluster, connect } from '../block/cluster.js';
import type { BlockDevice } from '../block/device.js';
import { createWriteStream, readExtents } from '../block/streams.js';
import { EmbeddedCluster } from '../cluster/embedded-cluster.js';
import { packageFile } from '../base/paths.js';
import { dataObject } from '../rbd/layout.js';
import { formatTable } from './output.js';
import { formatSize } from './sizes.js';

const MIB = 1024 * 1024;
const DISK_BYTES = 128 * MIB;
const CHUNK_BYTES = 4 * MIB;
const POOL = 'rbd';
const IMAGE = 'first-light';

const run = promisify(execFile);
const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());
process.once('SIGTERM', () => interrupt.abort());

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** Resources to give back, in reverse, however it ends. */
const cleanUp: (() => Promise<unknown>)[] = [];
try {
  await main(process.argv[2]);
} catch (error) {
  const interrupted = interrupt.signal.aborted;
  process.stderr.write(interrupted ? 'interrupted\n' : `failed: ${(error as Error).message}\n`);
  process.exitCode = interrupted ? 130 : 1;
} finally {
  for (const give of cleanUp.reverse())
    await give().catch((error: Error) => say(`while cleaning up: ${error.message}`));
}

async function main(given: string | undefined): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'linger-'));
  cleanUp.push(() => rm(work, { recursive: true, force: true }));
  const source = given ?? (await makeDisk(work));
  const { size } = await stat(source);
  say(`file       ${source}, ${formatSize(size)}`);

  const started = performance.now();
  const ceph = await EmbeddedCluster.start({ osds: 3, size: 2, pools: [POOL] });
  cleanUp.push(() => ceph.stop());
  say(
    `cluster    ${ceph.fsid}: 1 monitor, 3 OSDs, 2 copies, up in ${Math.round(performance.now() - started)} ms`,
  );
  say(`           any Ceph client can use it now: rbd -c ${ceph.confPath} ls`);

  const writer = await connectTo(ceph);
  await writer.pool(POOL).images.create(IMAGE, { size });
  const written = await importFile(writer, source, size);
  say(`import     ${rate(size, written.ms)}  sha256 ${written.sha256}`);

  const reader = await connectTo(ceph);
  const read = await readBack(reader, size);
  say(`read back  ${rate(size, read.ms)}  sha256 ${read.sha256}, by a second client`);

  await showPlaces(reader);
  if (read.sha256 !== written.sha256) throw new Error('what came back is not what went in');
  say('\nThe file came back as it went in.');
}

async function connectTo(ceph: EmbeddedCluster): Promise<Cluster> {
  const cluster = await connect(ceph, { mountTimeoutMs: 20_000, osdOpTimeoutMs: 20_000 });
  cleanUp.push(() => cluster.close());
  interrupt.signal.throwIfAborted();
  return cluster;
}

/** A disk with an ext4 file system that holds this package's own code; where there is no mkfs.ext4, the node binary. */
async function makeDisk(work: string): Promise<string> {
  const disk = join(work, 'disk.img');
  const content = join(work, 'content');
  try {
    await mkdir(content);
    await writeFile(join(content, 'README'), 'written by linger\n');
    await run('cp', ['-r', packageFile('dist/src'), content]);
    await writeFile(disk, '');
    await truncate(disk, DISK_BYTES);
    await run('mkfs.ext4', ['-q', '-F', '-d', content, disk], {
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    });
    return disk;
  } catch {
    return process.execPath;
  }
}

async function importFile(
  cluster: Cluster,
  source: string,
  size: number,
): Promise<{ sha256: string; ms: number }> {
  await using device = await cluster.map(`${POOL}/${IMAGE}`);
  const hash = createHash('sha256');
  const output = createWriteStream(device, {
    chunkBytes: CHUNK_BYTES,
    skipZeroBlocks: 4096,
    signal: interrupt.signal,
  });
  const file = await open(source);
  const started = performance.now();
  try {
    for (let at = 0; at < size; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - at));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
      if (bytesRead === 0) throw new Error(`${source} became shorter while it was read`);
      const bytes = chunk.subarray(0, bytesRead);
      hash.update(bytes);
      await new Promise<void>((resolve, reject) => {
        output.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
      at += bytesRead;
    }
    await new Promise<void>((resolve, reject) => {
      output.once('error', reject);
      output.end(resolve);
    });
  } finally {
    await file.close();
  }
  return { sha256: hash.digest('hex'), ms: performance.now() - started };
}

async function readBack(cluster: Cluster, size: number): Promise<{ sha256: string; ms: number }> {
  await using device: BlockDevice = await cluster.map(`${POOL}/${IMAGE}`, { readOnly: true });
  if (device.size !== size) throw new Error(`the image has ${device.size} bytes, not ${size}`);
  const hash = createHash('sha256');
  const started = performance.now();
  const range = { chunkBytes: CHUNK_BYTES, concurrency: 4, signal: interrupt.signal };
  for await (const { data } of readExtents(device, range)) hash.update(data);
  return { sha256: hash.digest('hex'), ms: performance.now() - started };
}

/** Asks the monitor where each object of the image lies. */
async function showPlaces(cluster: Cluster): Promise<void> {
  const { objects, blockNamePrefix } = await cluster.pool(POOL).images.info(IMAGE);
  const byOsd = new Map<number, { primary: number; copies: number }>();
  const pgs = new Set<string>();
  for (let objectNo = 0; objectNo < objects; objectNo++) {
    const { output } = await cluster.command({
      prefix: 'osd map',
      pool: POOL,
      object: dataObject(blockNamePrefix, objectNo),
      format: 'json',
    });
    const place = JSON.parse(Buffer.from(output).toString()) as {
      pgid: string;
      acting: number[];
      acting_primary: number;
    };
    pgs.add(place.pgid);
    for (const osd of place.acting) {
      const count = byOsd.get(osd) ?? { primary: 0, copies: 0 };
      byOsd.set(osd, count);
      if (osd === place.acting_primary) count.primary++;
      count.copies++;
    }
  }
  say(`places     ${objects} objects of ${blockNamePrefix} in ${pgs.size} placement groups\n`);
  const rows = [...byOsd]
    .sort(([a], [b]) => a - b)
    .map(([osd, { primary, copies }]) => [`osd.${osd}`, String(primary), String(copies - primary)]);
  const table = formatTable(
    [
      { title: '           OSD', align: 'left' },
      { title: 'objects', align: 'right' },
      { title: 'second copies', align: 'right' },
    ],
    rows.map(([osd, ...rest]) => [`           ${osd}`, ...rest]),
  );
  process.stdout.write(table);
}

function rate(bytes: number, ms: number): string {
  return `${Math.round(bytes / 1e3 / ms)} MB/s`.padEnd(9);
}
