// Images with a random past, made by librbd, and what librbd finds changed in them.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { packageFile } from '../../../src/base/paths.js';

const PYTHON = '/usr/bin/python3';

/** Requests and operations as `librbd-history.py` has them. */
export type HistoryOp = readonly [op: string, ...args: (string | number)[]];

/** From, to (null: the beginning, the head), as whole objects, with the parent. */
export type DiffPair = readonly [
  from: string | null,
  to: string | null,
  wholeObject: boolean,
  includeParent: boolean,
];
export type DiffTuple = readonly [offset: number, length: number, exists: boolean];

export interface ImageRequest {
  readonly image: string;
  readonly features: number;
  readonly order?: number;
  readonly stripe?: readonly [unit: number, count: number] | undefined;
  readonly dataPool?: string | undefined;
  readonly ops?: readonly HistoryOp[];
}

/** One life of the process that does with librbd what it is told. */
class PeerProcess {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  constructor(confPath: string) {
    const script = packageFile('test/ceph/support/librbd-history.py');
    this.#process = spawn(PYTHON, [script, confPath], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
    this.#ended = once(this.#process, 'exit');
    // One that has ended reads no more, which its end tells.
    this.#process.stdin?.on('error', () => {});
  }

  /** Once it is gone: the signal that ended it. */
  get signal(): NodeJS.Signals | null {
    return this.#process.signalCode;
  }

  /** No answer: it ended. How far it had come by then is told in any case. */
  async ask(request: object): Promise<{ answer?: Answer; begun: boolean; done: boolean }> {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`);
    let reached = { begun: false, done: false };
    for (;;) {
      const next = await this.#answers.next();
      if (next.done) {
        await this.#ended;
        return reached;
      }
      const line = JSON.parse(next.value) as Answer | Partial<typeof reached>;
      if ('begun' in line || 'done' in line) reached = { ...reached, ...line };
      else return { answer: line as Answer, begun: true, done: true };
    }
  }

  async close(): Promise<void> {
    this.#process.stdin?.end();
    await this.#ended;
  }
}

interface Request extends Record<string, unknown> {
  readonly do: 'create' | 'clone' | 'apply' | 'digests' | 'diffs';
}

interface Answer {
  readonly ok?: unknown;
  readonly error?: string;
}

const CRASHES_BORNE = 20;

/**
 * Does with librbd what it is told. librbd 16.2 uses memory that it has freed as images close, and then ends its process now
 * and then, whatever the cluster. What was done by then counts; what was not begun, and questions, are asked again.
 */
export class LibrbdPeer {
  readonly #confPath: string;
  #process: PeerProcess;

  constructor(confPath: string) {
    this.#confPath = confPath;
    this.#process = new PeerProcess(confPath);
  }

  async create(request: ImageRequest & { readonly size: number }): Promise<void> {
    await this.#ask({ do: 'create', ...request });
  }

  async clone(request: ImageRequest & { readonly parent: string; readonly snap: string }) {
    await this.#ask({ do: 'clone', ...request });
  }

  async apply(image: string, ...ops: readonly HistoryOp[]): Promise<void> {
    await this.#ask({ do: 'apply', image, ops });
  }

  /** sha256 of all that is in an image, at its snapshots and its head (null). */
  async digests(image: string, snaps: readonly (string | null)[]): Promise<string[]> {
    return (await this.#ask({ do: 'digests', image, snaps })) as string[];
  }

  async diffs(image: string, pairs: readonly DiffPair[]): Promise<DiffTuple[][]> {
    return (await this.#ask({ do: 'diffs', image, pairs })) as DiffTuple[][];
  }

  async close(): Promise<void> {
    await this.#process.close();
  }

  async #ask(request: Request): Promise<unknown> {
    const isQuestion = request.do === 'digests' || request.do === 'diffs';
    for (let attempt = 1; ; attempt++) {
      const { answer, begun, done } = await this.#process.ask(request);
      if (answer) {
        if (answer.error === undefined) return answer.ok;
        throw new Error(`${answer.error}, of ${JSON.stringify(request)}`);
      }
      const { signal } = this.#process;
      const isBorne = signal !== null && (isQuestion || done || !begun) && attempt < CRASHES_BORNE;
      if (!isBorne) throw new Error(`librbd ended (${signal}), of ${JSON.stringify(request)}`);
      console.warn(`librbd ended by ${signal}, after ${request.do}`);
      this.#process = new PeerProcess(this.#confPath);
      if (done) return undefined;
    }
  }
}

export interface History {
  /** Of the image when it is created. */
  readonly size: number;
  readonly ops: readonly HistoryOp[];
  /** Snapshots that are there at the end, oldest first. */
  readonly snapshots: readonly string[];
  /** Theirs, and the head's. */
  readonly sizes: readonly number[];
}

export const HISTORY_ORDER = 16;
const OBJECT_BYTES = 2 ** HISTORY_ORDER;
const SNAPSHOTS_MAX = 5;

/** Uniform in [0, bound), from a seed. */
export function randomNumbers(seed: number): (bound: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return (bound) => {
    // xorshift32: small, and good enough to scatter writes.
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Writes, discards, sizes and snapshots in any order, in objects of 64 KiB; with `startSize`, on an image of that size. */
export function randomHistory(seed: number, startSize?: number): History {
  const draw = randomNumbers(seed);
  const randomSize = (objects: number) =>
    OBJECT_BYTES * (1 + draw(objects)) + (draw(2) ? 0 : draw(OBJECT_BYTES));
  const size = startSize ?? randomSize(6);
  const ops: HistoryOp[] = [];
  const sizes = new Map<string, number>();
  let now = size;
  for (let left = 10 + draw(30); left > 0; left--) {
    const offset = draw(now);
    const length = 1 + draw(Math.min(now - offset, draw(2) ? 3000 : 2 * OBJECT_BYTES));
    const snapshot = [...sizes.keys()][draw(Math.max(1, sizes.size))];
    const kind = draw(20);
    if (kind < 8) ops.push(['write', offset, length, draw(2 ** 31)]);
    else if (kind < 11) ops.push(['discard', offset, length]);
    else if (kind < 12) ops.push(['zeroes', offset, length]);
    else if (kind < 13) ops.push(['resize', (now = randomSize(7))]);
    else if (kind < 14 && snapshot !== undefined && draw(2) === 0) {
      ops.push(['rollback', snapshot]);
      now = sizes.get(snapshot) ?? now;
    } else if (kind < 15 && snapshot !== undefined && draw(2) === 0) {
      ops.push(['unsnap', snapshot]);
      sizes.delete(snapshot);
    } else if (kind >= 15 && sizes.size < SNAPSHOTS_MAX) {
      const name = `s${ops.length}`;
      ops.push(['snap', name]);
      sizes.set(name, now);
    }
  }
  return { size, ops, snapshots: [...sizes.keys()], sizes: [...sizes.values(), now] };
}

/**
 * Whether the image was smaller in a snapshot between the two. By object maps, librbd forgets what was beyond its end then:
 * that it was there at the start, and is gone or another now, is not in its diff.
 */
export function wasCutBetween({ snapshots, sizes }: History, [from, to]: DiffPair): boolean {
  const start = from === null ? -1 : snapshots.indexOf(from);
  const end = to === null ? snapshots.length : snapshots.indexOf(to);
  const ends = Math.min(sizes[start] ?? Infinity, sizes[end] ?? 0);
  return sizes.slice(start + 1, end).some((size) => size < ends);
}

/** Every diff that there is between the snapshots, the beginning and the head. */
export function allPairs({ snapshots }: History): DiffPair[] {
  const ends = [null, ...snapshots, null];
  return ends.flatMap((from, i) =>
    ends
      .slice(i + 1)
      .flatMap((to) => [false, true].map((whole): DiffPair => [from, to, whole, true])),
  );
}
