// Goal: a cluster that is killed has everything that it acknowledged when it is started again, by the judgement of librbd
// and Ceph's commands. The cluster is a process of its own, and ends by SIGKILL under librbd's writes.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { describeCeph } from './support/ceph-cluster.js';
import { runLinger } from './support/linger-cli.js';
import { runOrThrow, stopInPlace } from './support/processes.js';

const BLOCK_BYTES = 4096;
const BLOCKS = 1024;

/**
 * Fills blocks with their write's number, from four threads, and tells of each before it begins and when it is acknowledged.
 * Halfway it waits for a line, so that it is never done before it is told to go on.
 */
const WRITER = `
import struct, sys, threading
import rados, rbd
cluster = rados.Rados(conffile=sys.argv[1], rados_id='admin')
cluster.conf_set('rbd_cache', 'false')
cluster.connect()
image = rbd.Image(cluster.open_ioctx('rbd'), 'image')
first, last = int(sys.argv[2]), int(sys.argv[3])
telling = threading.Lock()
waiting = threading.Lock()
told_to_go_on = False

def tell(*words):
    with telling:
        print(*words, flush=True)

def wait_for_line():
    global told_to_go_on
    with waiting:
        if not told_to_go_on:
            sys.stdin.readline()
            told_to_go_on = True

def write(thread):
    for number in range(first + thread, last, 4):
        if number >= (first + last) / 2: wait_for_line()
        block = number * 7919 % ${BLOCKS}
        tell('begun', block, number)
        image.write(struct.pack('<I', number) * ${BLOCK_BYTES / 4}, block * ${BLOCK_BYTES})
        tell('acknowledged', block, number)

threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
image.close()
`;

/** What the writers told. */
class Written {
  readonly acknowledged = new Map<number, number>();
  /** Numbers that a block may have as well: nobody knows how these writes ended. */
  readonly begun = new Map<number, Set<number>>();
  acknowledgements = 0;
  /** Begun, and not acknowledged. */
  get underWay(): number {
    return [...this.begun.values()].reduce((sum, { size }) => sum + size, 0);
  }

  note(line: string): void {
    const [what, block = Number.NaN, number = Number.NaN] = line
      .split(' ')
      .map((word, i) => (i > 0 ? Number(word) : word)) as [string, number, number];
    if (what === 'begun') {
      const begun = this.begun.get(block) ?? new Set();
      this.begun.set(block, begun.add(number));
    } else {
      this.acknowledgements++;
      this.begun.get(block)?.delete(number);
      this.acknowledged.set(block, number);
    }
  }

  /** Of an image's content: blocks that have neither what was acknowledged nor what was under way. */
  wrongIn(content: Buffer): string[] {
    const wrong: string[] = [];
    for (let block = 0; block < BLOCKS; block++) {
      const bytes = content.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
      const number = bytes.readUInt32LE(0);
      const expected = this.acknowledged.get(block) ?? 0;
      const known = number === expected || this.begun.get(block)?.has(number);
      const whole = bytes.equals(Buffer.alloc(BLOCK_BYTES, bytes.subarray(0, 4)));
      if (!known || !whole) wrong.push(`block ${block}: ${number}, not ${expected}`);
    }
    return wrong;
  }
}

describeCeph('a cluster with its data in a directory', () => {
  let base: string;
  let data: string;
  let env: NodeJS.ProcessEnv;
  let pid: number;
  let source: Buffer;
  const writers: ChildProcess[] = [];

  const sh = async (command: string) =>
    (await runOrThrow('bash', ['-c', `set -e -o pipefail; ${command}`], { env })).stdout;
  const json = async <T>(command: string) => JSON.parse(await sh(`${command} --format json`)) as T;
  const started = async (): Promise<void> => {
    const args = ['cluster', 'start', '--data', data, '--format', 'json'];
    const result = await runLinger('/nonexistent', args);
    expect(result.code, result.stderr).toBe(0);
    ({ pid } = JSON.parse(result.stdout) as { pid: number });
  };
  /** While writes are under way: those of a writer that may have to be told to go on. */
  const killed = async (written: Written, writer: ChildProcess): Promise<void> => {
    // What is begun from here on is not acknowledged.
    await stopInPlace(pid);
    writer.stdin?.write('\n');
    await until(() => written.underWay > 0);
    process.kill(pid, 'SIGKILL');
    while (await isAlive(pid)) await sleep(5);
  };
  const writing = (written: Written, first: number, last: number): ChildProcess => {
    const args = ['-c', WRITER, join(data, 'ceph.conf'), String(first), String(last)];
    const child = spawn('/usr/bin/python3', args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    writers.push(child);
    createInterface({ input: child.stdout }).on('line', (line) => written.note(line));
    return child;
  };
  const exported = async (spec: string): Promise<Buffer> => {
    const path = join(base, 'exported');
    await rm(path, { force: true });
    await sh(`rbd export --no-progress ${spec} ${path}`);
    return readFile(path);
  };

  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'linger-embedded-data-'));
    data = join(base, 'data');
    env = { CEPH_CONF: join(data, 'ceph.conf'), CEPH_ARGS: '' };
    await started();
    // 6 MiB with holes and an odd end.
    source = Buffer.alloc(6 * 1024 * 1024 + 4096);
    for (let at = 0; at < source.length; at += 3 * 65_536) {
      source.fill(1 + at / 65_536, at, Math.min(at + 65_536, source.length));
    }
    await writeFile(join(base, 'source'), source);
  });

  afterAll(async () => {
    for (const writer of writers) writer.kill('SIGKILL');
    await runLinger('/nonexistent', ['cluster', 'stop', '--dir', data]);
    await rm(base, { recursive: true, force: true });
  });

  it('has everything that it acknowledged before it was killed with its client', async () => {
    const features = '--image-feature layering,exclusive-lock,object-map,fast-diff,deep-flatten';
    await sh(`rbd create --size ${(BLOCKS * BLOCK_BYTES) / 1024 ** 2}M ${features} image`);
    await sh(`rbd import --no-progress ${base}/source imported; rbd snap create imported@base`);
    await sh('rbd snap protect imported@base; rbd clone imported@base child');
    await sh('rbd bench --io-type write --io-size 4096 --io-total 64K --io-pattern rand child');
    await sh('ceph osd pool create second 8; ceph osd set noout');
    await sh(`ceph auth get-or-create client.vm mon 'profile rbd' osd 'profile rbd' > ${base}/vm`);
    await copyFile(join(data, 'keyring'), join(base, 'keyring'));
    const written = new Written();
    const writer = writing(written, 1, 1_000_000);
    await until(() => written.acknowledgements > 100);
    await sh('rbd snap create image@under-load');
    const before = {
      snapshot: await exported('image@under-load'),
      child: await exported('child'),
      snaps: await json('rbd snap ls image'),
    };
    const enough = written.acknowledgements + 200;
    await until(() => written.acknowledgements > enough);
    await killed(written, writer);
    writer.kill('SIGKILL');
    await once(writer, 'close');

    await started();
    expect(written.wrongIn(await exported('image'))).toEqual([]);
    // The lock's dead owner is taken for alive by its watch, which is there again; nobody waits for its end.
    const { watchers } = await json<{ watchers: { address: string }[] }>('rbd status image');
    expect(watchers).toHaveLength(1);
    await sh(`ceph osd blocklist add ${watchers[0]?.address}`);
    await sh('rbd object-map check image');
    expect((await json<{ flags: string[] }>('rbd info image')).flags).toEqual([]);
    expect(await json('rbd snap ls image')).toEqual(before.snaps);
    expect((await exported('image@under-load')).equals(before.snapshot)).toBe(true);
    expect((await exported('imported')).equals(source)).toBe(true);
    expect((await exported('child')).equals(before.child)).toBe(true);
    const map = await json<{ flags: string; pools: { pool_name: string }[] }>('ceph osd dump');
    expect(map.flags).toContain('noout');
    expect(map.pools.map(({ pool_name }) => pool_name)).toEqual(['rbd', 'second']);
    // Keys that were given out are good, and no others were made.
    expect(await sh(`rbd -n client.vm --keyring ${base}/vm ls`)).toContain('child');
    expect(await readFile(join(data, 'keyring'))).toEqual(await readFile(join(base, 'keyring')));
  });

  it('is the same cluster for a client that was writing while it was killed, and goes on', async () => {
    const written = new Written();
    // The blocks are as the test before left them, and are written all over.
    const writer = writing(written, 2_000_000, 2_000_000 + BLOCKS);
    const closed = once(writer, 'close');
    await until(() => written.acknowledgements > 100);
    await killed(written, writer);
    expect(written.acknowledgements).toBeLessThan(BLOCKS);
    await started();
    expect(await closed).toEqual([0, null]);
    expect(written.acknowledgements).toBe(BLOCKS);
    expect(written.wrongIn(await exported('image'))).toEqual([]);
  });

  it('ends in order too', async () => {
    await sh('rbd rm --no-progress child');
    const stopped = await runLinger('/nonexistent', ['cluster', 'stop', '--dir', data]);
    expect([stopped.code, stopped.stderr]).toEqual([0, '']);
    await started();
    expect(await json('rbd ls')).toEqual(['image', 'imported']);
    expect((await exported('imported')).equals(source)).toBe(true);
  });
});

describeCeph('a cluster whose disk is full', () => {
  let dir: string;
  let cluster: EmbeddedCluster;
  let freeBytes = Number.MAX_SAFE_INTEGER;

  const sh = async (command: string) => {
    const env = { CEPH_CONF: cluster.confPath, CEPH_ARGS: '' };
    return (await runOrThrow('bash', ['-c', `set -e -o pipefail; ${command}`], { env })).stdout;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'linger-full-disk-'));
    const environment = nodeEnvironment();
    const disk = { ...environment.disk, freeBytes: async () => freeBytes };
    cluster = await EmbeddedCluster.start({
      dataDir: join(dir, 'data'),
      environment: { ...environment, disk },
      inThread: true,
      pools: ['rbd'],
    });
  });
  afterAll(async () => {
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('has librbd wait, or remove what is there, and go on when there is room', async () => {
    const source = join(dir, 'source');
    await writeFile(source, Buffer.alloc(9_000_000, 'full'));
    await sh(`rbd import --no-progress ${source} first`);
    // librbd removes by way of the trash, an object that must be there: a full pool takes no new one.
    await sh('rbd create --size 1M other; rbd rm --no-progress other');
    freeBytes = 0;
    // It is noticed within a second that others took the room.
    await sleep(1000);
    let done = false;
    const importing = sh(
      `rbd create --size 1M other; rbd import --no-progress ${source} second`,
    ).finally(() => {
      done = true;
    });
    await until(async () => (await cluster.status()).health === 'HEALTH_ERR');
    expect(await sh('ceph health')).toMatch(/^HEALTH_ERR \d full osd\(s\); 1 pool\(s\) full$/m);
    const { flags_names } = (
      JSON.parse(await sh('ceph osd dump --format json')) as { pools: { flags_names: string }[] }
    ).pools[0] as { flags_names: string };
    expect(flags_names).toContain('full');
    const same = (image: string) =>
      sh(`rbd export --no-progress ${image} - | cmp - ${source} && echo same`);
    expect(await same('first')).toBe('same\n');
    expect(done).toBe(false);
    await sh('rbd rm --no-progress first');
    freeBytes = Number.MAX_SAFE_INTEGER;
    await importing;
    expect(await same('second')).toBe('same\n');
    await until(async () => (await cluster.status()).health === 'HEALTH_OK');
  });
});

async function until(
  satisfied: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await satisfied())) {
    if (Date.now() > deadline) throw new Error(`not so after ${timeoutMs} ms: ${satisfied}`);
    await sleep(20);
  }
}

/** A process that has ended counts as gone, even while nobody has asked for its exit code. */
async function isAlive(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
  return !state.slice(state.lastIndexOf(')')).startsWith(') Z');
}
