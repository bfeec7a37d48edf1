// Faults of the embedded cluster as librados sees them: a client that nobody here wrote loses its watch, or keeps it.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { describeCeph } from './support/ceph-cluster.js';

/** Debian's Python, which has the binding. */
const PYTHON = '/usr/bin/python3';
const POOL = 'rbd';
/** librados pings its watches with every tick: by default every 5 s. */
const TICK_S = 1;

/** Watches, says what happens, and does what it is told on stdin. */
const SCRIPT = `
import rados, sys
conf, pool, oid = sys.argv[1:]
cluster = rados.Rados(conffile=conf, conf={'objecter_tick_interval': '${TICK_S}'})
cluster.connect()
ioctx = cluster.open_ioctx(pool)
ioctx.write_full(oid, b'data')
say = lambda *words: print(*words, flush=True)
on_notify = lambda notify_id, notifier, watch_id, data: say('notify', data.decode())
on_error = lambda *args: say('error', *args)
watch = ioctx.watch(oid, on_notify, on_error)
say('watching', cluster.get_instance_id())
for line in sys.stdin:
    command = line.strip()
    try:
        if command == 'check':
            watch.check()
            say('check ok')
        if command == 'again':
            watch.close()
            watch = ioctx.watch(oid, on_notify, on_error)
            say('watching again')
        if command == 'notify':
            ioctx.notify(oid, 'news')
            say('notified')
    except rados.Error as error:
        say(command, 'failed', error.errno)
watch.close()
cluster.shutdown()
`;

class LibradosWatcher {
  readonly lines: string[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  #stderr = '';

  constructor(confPath: string, oid: string) {
    this.#child = spawn(PYTHON, ['-u', '-c', SCRIPT, confPath, POOL, oid]);
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.lines.push(line));
  }

  tell(command: string): void {
    this.#child.stdin.write(`${command}\n`);
  }

  /** The first line that begins so, which is then taken. */
  async said(start: string, timeoutMs = 20_000): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const at = this.lines.findIndex((line) => line.startsWith(start));
      if (at >= 0) return this.lines.splice(at, 1)[0] as string;
      if (Date.now() > deadline || this.#child.exitCode !== null) {
        throw new Error(`it did not say '${start}', but: ${this.lines.join('; ')} ${this.#stderr}`);
      }
      await sleep(20);
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describeCeph('librados on an embedded cluster with faults', () => {
  let cluster: EmbeddedCluster;
  let watcher: LibradosWatcher;
  let client: string;
  /** A new one for each test: the watch of a watcher that was killed stays for a while. */
  let oid: string;
  let objects = 0;

  beforeAll(async () => {
    cluster = await EmbeddedCluster.start({ pools: [{ name: POOL, pgNum: 8 }] });
  });
  afterAll(() => cluster?.stop());

  const start = async () => {
    oid = `watched.${++objects}`;
    watcher = new LibradosWatcher(cluster.confPath, oid);
    client = `client.${(await watcher.said('watching')).split(' ')[1]}`;
  };
  afterEach(async () => {
    watcher.kill();
    await cluster.faults.clear();
  });

  const watch = async () => {
    const watches = await cluster.faults.watches({ pool: POOL, object: oid });
    return watches.find((each) => each.client === client);
  };

  it('loses a dropped watch: its error callback says ENOTCONN, and it may watch again', async () => {
    await start();
    const fault = await cluster.faults.dropWatch({ pool: POOL, object: oid, client });
    expect(await fault.fired()).toBe(1);
    expect(await watcher.said('error')).toMatch(/^error \d+ -107$/);
    watcher.tell('check');
    expect(await watcher.said('check')).toBe('check failed 107');
    watcher.tell('again');
    await watcher.said('watching again');
    watcher.tell('notify');
    expect(await watcher.said('notify')).toBe('notify news');
  });

  it('keeps its watch when its connection is reset: it reconnects, and nobody hears of an error', async () => {
    await start();
    const osd = (await watch())?.osd ?? -1;
    const fault = await cluster.faults.resetConnections({ client, osd });
    await fault.untilFired();
    await expect.poll(watch, { timeout: 20_000 }).toMatchObject({ connected: true });
    await sleep(3 * TICK_S * 1000);
    watcher.tell('check');
    expect(await watcher.said('check')).toBe('check ok');
    watcher.tell('notify');
    expect(await watcher.said('notify')).toBe('notify news');
    expect(watcher.lines.filter((line) => line.startsWith('error'))).toEqual([]);
    expect(await fault.fired()).toBe(1);
  });

  it('hears nothing in a black hole, and everything when it is over', async () => {
    await start();
    const fault = await cluster.faults.blackHole({ client });
    watcher.tell('notify');
    await fault.untilFired();
    await sleep(1000);
    expect(watcher.lines).toEqual([]);
    await fault.stop();
    expect(await watcher.said('notify news')).toBe('notify news');
    await watcher.said('notified');
    watcher.tell('check');
    expect(await watcher.said('check')).toBe('check ok');
  });

  it('is fenced by a blocklist entry: its watch ends with an error', async () => {
    await start();
    const fault = await cluster.faults.blocklist({ client });
    expect(await fault.fired()).toBe(1);
    expect(await watcher.said('error')).toMatch(/^error \d+ -(107|108)$/);
    expect(await watch()).toBeUndefined();
  });
});
