// Two kinds of clients that pass an image's exclusive lock round: ours, of the lock, the image's watcher and plain object
// writes; and librbd, in a process of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Environment } from '../../../src/base/environment.js';
import type { RadosError } from '../../../src/base/errors.js';
import { writeOp } from '../../../src/messages/osd-op.js';
import { executeOne } from '../../../src/rados/class-call.js';
import { getId } from '../../../src/rados/cls-rbd.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import { ExclusiveLock } from '../../../src/rbd/exclusive-lock.js';
import { ImageWatcher, type ImageWatchHandler } from '../../../src/rbd/image-watcher.js';
import type { LockHost, LockLossReason, LockOptions } from '../../../src/rbd/lock-host.js';
import { readOwner } from '../../../src/rbd/lock-owner.js';
import { headerObject } from '../../../src/rbd/names.js';
import type { ClientId } from '../../../src/rbd/notify-payloads.js';

export class LockHolder implements LockHost, ImageWatchHandler {
  readonly lock: ExclusiveLock;
  readonly events: string[] = [];
  /** How often an owner said that it gives us the lock. */
  granted = 0;
  #watcher: ImageWatcher | undefined;

  static async open(
    client: RadosClient,
    name: string,
    options: LockOptions = {},
  ): Promise<LockHolder> {
    const ioctx = await client.ioctx('rbd');
    const id = await executeOne(ioctx, `rbd_id.${name}`, getId());
    const holder = new LockHolder(client, ioctx, id, options);
    await holder.watch();
    holder.lock.initialize();
    return holder;
  }

  private constructor(
    readonly client: RadosClient,
    readonly ioctx: IoContext,
    readonly id: string,
    options: LockOptions,
  ) {
    this.lock = new ExclusiveLock(this, {
      ...options,
      listener: {
        onAcquired: () => this.events.push('acquired'),
        onLost: (reason: LockLossReason) => this.events.push(`lost: ${reason}`),
      },
    });
  }

  /** Registers the watch; once more, under another cookie, it is as if the OSD had dropped the first one. */
  async watch(): Promise<void> {
    const previous = this.#watcher;
    this.#watcher = await ImageWatcher.open({
      context: this.ioctx,
      environment: this.env,
      oid: this.headerOid,
      gid: this.globalId,
      handler: this,
    });
    await previous?.close();
  }

  get env(): Environment {
    return this.client.environment;
  }
  get headerOid(): string {
    return headerObject(this.id);
  }
  /** The image's first object. */
  get dataObject(): string {
    return `rbd_data.${this.id}.${'0'.repeat(16)}`;
  }
  get target(): string {
    return `rbd/id ${this.id}`;
  }
  get globalId(): bigint {
    return this.client.globalId;
  }
  get clientAddr(): string {
    return this.client.clientAddr;
  }
  get watcher(): ImageWatcher {
    return this.#watcher as ImageWatcher;
  }

  /** Writes to the image's first object, as an image does it. */
  async write(offset: number, data: Uint8Array): Promise<void> {
    const entry = this.lock.enter();
    if (entry) await entry;
    try {
      await this.#gate();
      await this.ioctx.operate(this.dataObject, [writeOp(offset, data)]);
    } finally {
      this.lock.leave();
    }
  }

  /** As `write`, and whose the lock is by the OSD's own word while the write is under way. */
  async writeAndAsk(offset: number, data: Uint8Array): Promise<boolean> {
    const entry = this.lock.enter();
    if (entry) await entry;
    try {
      await this.#gate();
      const isOurs = async () => (await readOwner(this))?.name.num === this.globalId;
      const before = await isOurs();
      await this.ioctx.operate(this.dataObject, [writeOp(offset, data)]);
      return before && (await isOurs());
    } finally {
      this.lock.leave();
    }
  }

  async #gate(): Promise<void> {
    for (;;) {
      const wait = this.lock.passObject() ?? this.watchReady();
      if (!wait) return;
      await wait;
    }
  }

  async close(): Promise<void> {
    await this.lock.shutdown();
    await this.#watcher?.close();
  }

  // The lock's host.

  cookie(): bigint {
    return this.watcher.watch.cookie;
  }
  watchReady(): Promise<void> | undefined {
    const { watch } = this.watcher;
    const good = ['connected', 'pinging', 'suspect'].includes(watch.state);
    return good ? undefined : watch.verify();
  }
  async requestLock(): Promise<number | undefined> {
    const result = await this.watcher.requestLock();
    if (result === 0) this.granted++;
    return result;
  }
  announceAcquired(): Promise<void> {
    return this.watcher.announceAcquired();
  }
  announceReleased(): Promise<void> {
    return this.watcher.announceReleased();
  }
  blocklist(addr: string, expireSeconds: number | undefined): Promise<void> {
    this.events.push(`fenced ${addr}`);
    return this.client.blocklistAdd(addr, expireSeconds);
  }
  async refresh(): Promise<void> {}
  beforeRelease(): void {}

  async postAcquire(): Promise<void> {}
  async preRelease(): Promise<void> {}

  // The watcher's handler.

  onHeaderUpdate(): void {}
  onAcquiredLock(client: ClientId | undefined): void {
    this.lock.onAcquiredLock(client);
  }
  onReleasedLock(client: ClientId | undefined): void | Promise<void> {
    return this.lock.onReleasedLock(client);
  }
  onRequestLock(client: ClientId | undefined): number | undefined {
    return this.lock.onRequestLock(client);
  }
  acceptRequest(): undefined {
    return undefined;
  }
  onStale(): void {}
  onLost(): void {}
  onReregistered(): Promise<void> {
    return this.lock.reregistered();
  }
  onFailed(error: RadosError): void {
    this.lock.fail(error);
  }
}

/** Reads commands from its standard input and answers each with a line: a value, or the errno that it failed with. */
const LIBRBD = `
import json, sys, threading
import rados, rbd
cluster = rados.Rados(conffile=sys.argv[1], rados_id='admin')
cluster.connect()
io = cluster.open_ioctx('rbd')
image = rbd.Image(io, sys.argv[2])
stopped = threading.Event()
written = {}
failure = []

def stamp(block, seq):
    return ('librbd.%d.%d' % (block, seq)).encode().ljust(512)

def lane(blocks):
    seq = 0
    try:
        while not stopped.is_set():
            seq += 1
            for block in blocks:
                image.write(stamp(block, seq), 512 * block)
                written[block] = stamp(block, seq).decode()
    except Exception as error:
        failure.append(error)

def start(first, count):
    global threads
    threads = [threading.Thread(target=lane, args=([block],)) for block in range(first, first + count)]
    for thread in threads:
        thread.start()

def stop():
    stopped.set()
    for thread in threads:
        thread.join()
    if failure:
        raise failure[0]
    return written

COMMANDS = {
    'close': lambda: image.close(),
    'write': lambda offset, text: image.write(text.encode(), offset),
    'acquire': lambda: image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE),
    'release': lambda: image.lock_release(),
    'owner': lambda: image.is_exclusive_lock_owner(),
    'start': start,
    'stop': stop,
}
print('{"value": 0}', flush=True)
for line in sys.stdin:
    name, *args = json.loads(line)
    try:
        answer = {'value': COMMANDS[name](*args)}
    except (rbd.Error, rados.Error, OSError) as error:
        answer = {'errno': getattr(error, 'errno', None) or -1, 'text': str(error)}
    print(json.dumps(answer), flush=True)
`;

/** A process that has an image open in librbd. */
const IT_ENDED = '{"errno": -1, "text": "it ended"}';

export class LibrbdClient {
  readonly #child: ChildProcess;
  #hasEnded = false;
  readonly #waiting: ((line: string) => void)[] = [];

  static async open(confPath: string, image: string): Promise<LibrbdClient> {
    const client = new LibrbdClient(confPath, image);
    await client.#answer();
    return client;
  }

  private constructor(confPath: string, image: string) {
    this.#child = spawn('/usr/bin/python3', ['-c', LIBRBD, confPath, image], {
      env: { ...process.env, CEPH_CONF: confPath, CEPH_ARGS: undefined },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => this.#waiting.shift()?.(line));
    this.#child.on('exit', () => {
      this.#hasEnded = true;
      for (const done of this.#waiting.splice(0)) done(IT_ENDED);
    });
  }

  call<T>(...command: [name: string, ...args: unknown[]]): Promise<T> {
    const answer = this.#answer<T>();
    if (!this.#hasEnded) this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    return answer;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  async #answer<T>(): Promise<T> {
    const line = await new Promise<string>((resolve) => {
      // librbd aborts now and then, and whoever calls it afterwards would wait for ever.
      if (this.#hasEnded) resolve(IT_ENDED);
      else this.#waiting.push(resolve);
    });
    const answer = JSON.parse(line) as { value: T } | { errno: number; text: string };
    if ('errno' in answer) throw Object.assign(new Error(answer.text), { errno: answer.errno });
    return answer.value;
  }
}
