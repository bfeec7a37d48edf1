// librbd in a process of its own, with any number of images open, one command at a time: each is a line of JSON, and so is
// its answer. Bytes travel as base64.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { DiffAsked, DiffExtent, ImageActor } from './image-model-run.js';
import type { Extent } from '../../support/image-model.js';

const LIBRBD = `
import base64, json, sys
import rados, rbd
cluster = rados.Rados(conffile=sys.argv[1], rados_id='admin')
cluster.connect()
io = cluster.open_ioctx(sys.argv[2])
images = {}

def fresh(name):
    # What a write is cut to is the size that was read last; asking for the size reads a stale header again.
    images[name].size()
    return images[name]

def extents(image, **how):
    found = []
    image.diff_iterate(iterate_cb=lambda o, l, exists: found.append([o, l, bool(exists)]), **how)
    return found

def read_at(name, snap, offset, length):
    with rbd.Image(io, name, snap, read_only=True) as image:
        return base64.b64encode(image.read(offset, length)).decode()

def rebuild_all(name):
    # A rebuild is of the head alone, or of the one snapshot.
    image = images[name]
    for snap in [s['name'] for s in image.list_snaps()] + [None]:
        image.set_snap(snap)
        image.rebuild_object_map()

COMMANDS = {
    'open': lambda name: images.__setitem__(name, rbd.Image(io, name)),
    'close': lambda name: images.pop(name).close(),
    'size': lambda name: images[name].size(),
    'read': lambda name, o, l: base64.b64encode(fresh(name).read(o, l)).decode(),
    'readAt': read_at,
    'write': lambda name, o, data: fresh(name).write(base64.b64decode(data), o),
    'discard': lambda name, o, l: fresh(name).discard(o, l),
    'zero': lambda name, o, l: fresh(name).write_zeroes(o, l),
    'resize': lambda name, size: images[name].resize(size, True),
    'snapCreate': lambda name, snap: images[name].create_snap(snap),
    'snapRemove': lambda name, snap: images[name].remove_snap(snap),
    'snapList': lambda name: [s['name'] for s in images[name].list_snaps() if s['namespace'] == 0],
    'lock': lambda name: images[name].lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE),
    'unlock': lambda name: images[name].lock_release(),
    'rollback': lambda name, snap: images[name].rollback_to_snap(snap),
    'clone': lambda name, snap, child: rbd.RBD().clone(io, name, snap, io, child),
    'flatten': lambda name: images[name].flatten(),
    'remove': lambda name: rbd.RBD().remove(io, name),
    'flags': lambda name: images[name].flags(),
    'features': lambda name, features, enabled: images[name].update_features(features, enabled),
    'rebuild': lambda name: images[name].rebuild_object_map(),
    'rebuildAll': rebuild_all,
    'diff': lambda name, start, end, whole: extents(
        images[name] if end is None else rbd.Image(io, name, end, read_only=True),
        offset=0, length=2 ** 62, from_snapshot=start, whole_object=whole),
}
print('{"value": null}', flush=True)
for line in sys.stdin:
    name, *args = json.loads(line)
    try:
        answer = {'value': COMMANDS[name](*args)}
    except Exception as error:
        answer = {'errno': getattr(error, 'errno', None) or -1, 'text': '%s: %s' % (name, error)}
    print(json.dumps(answer), flush=True)
`;

const IT_ENDED = '{"errno": -1, "text": "it ended"}';

export class LibrbdActor implements AsyncDisposable {
  #hasEnded = false;
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  static async start(confPath: string, pool = 'rbd'): Promise<LibrbdActor> {
    const actor = new LibrbdActor(confPath, pool);
    await actor.#answer();
    return actor;
  }

  private constructor(confPath: string, pool: string) {
    this.#child = spawn('/usr/bin/python3', ['-c', LIBRBD, confPath, pool], {
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

  /** Rejects with librbd's own message, and its errno (positive) as `errno`. */
  call<T = null>(...command: [name: string, ...args: unknown[]]): Promise<T> {
    const answer = this.#answer<T>();
    if (!this.#hasEnded) this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await exit;
    clearTimeout(timer);
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

/** librbd as one of those who take turns in a model run. */
export class LibrbdImages implements ImageActor {
  readonly #librbd: LibrbdActor;

  constructor(
    librbd: LibrbdActor,
    readonly name = 'librbd',
  ) {
    this.#librbd = librbd;
  }

  async open(image: string): Promise<void> {
    await this.#librbd.call('open', image);
  }
  async close(image: string): Promise<void> {
    await this.#librbd.call('close', image);
  }
  size(image: string): Promise<number> {
    return this.#librbd.call('size', image);
  }
  async read(image: string, { offset, length }: Extent): Promise<Buffer> {
    return bytesOf(await this.#librbd.call<string>('read', image, offset, length));
  }
  async readAt(image: string, snapshot: string, { offset, length }: Extent): Promise<Buffer> {
    return bytesOf(await this.#librbd.call<string>('readAt', image, snapshot, offset, length));
  }
  async write(image: string, offset: number, data: Buffer): Promise<void> {
    await this.#librbd.call('write', image, offset, data.toString('base64'));
  }
  async discard(image: string, { offset, length }: Extent): Promise<void> {
    await this.#librbd.call('discard', image, offset, length);
  }
  async zero(image: string, { offset, length }: Extent): Promise<void> {
    await this.#librbd.call('zero', image, offset, length);
  }
  async resize(image: string, size: number): Promise<void> {
    await this.#librbd.call('resize', image, size);
  }
  async snapCreate(image: string, snapshot: string): Promise<void> {
    await this.#librbd.call('snapCreate', image, snapshot);
  }
  async snapRemove(image: string, snapshot: string): Promise<void> {
    await this.#librbd.call('snapRemove', image, snapshot);
  }
  snapList(image: string): Promise<string[]> {
    return this.#librbd.call('snapList', image);
  }
  async rollback(image: string, snapshot: string): Promise<void> {
    await this.#librbd.call('rollback', image, snapshot);
    // It marks clean what is as in the snapshot, and its own check takes that for damage: for the OSDs all is written anew.
    await this.#librbd.call('rebuild', image);
  }
  async clone(image: string, snapshot: string, child: string): Promise<void> {
    await this.#librbd.call('clone', image, snapshot, child);
  }
  async flatten(image: string): Promise<void> {
    await this.#librbd.call('flatten', image);
  }
  async remove(image: string): Promise<void> {
    await this.#librbd.call('remove', image);
  }
  async diff(image: string, { from, to, wholeObject }: DiffAsked): Promise<DiffExtent[]> {
    const answer = this.#librbd.call<[number, number, boolean][]>(
      ...(['diff', image, from, to ?? null, wholeObject] as const),
    );
    return (await answer).map(([offset, length, exists]) => ({ offset, length, exists }));
  }
}

const bytesOf = (base64: string) => Buffer.from(base64, 'base64');
