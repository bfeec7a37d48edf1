/**
 * The parent of a clone: the image and snapshot whose bytes show through where the clone has no objects of its own, and how
 * far. Which one that is may change whenever the header is read: it is gone once the clone was flattened.
 */

import { RadosError } from '../base/errors.js';
import { eachLimited } from './concurrency.js';
import type { RbdContext } from './context.js';
import type { ImageHeader, ImageSnapshot } from './header.js';
import type { Layout } from './layout.js';
import type { ImageSpec } from './spec.js';

/** librbd and krbd refuse longer chains (`RBD_MAX_PARENT_CHAIN_LEN`, drivers/block/rbd.c). */
const CHAIN_MAX = 16;
/** Pieces of one object, which a striped clone has many of, that are read at a time. */
const PIECES_MAX = 16;

/** What shows through. Replaced as a whole when the image has another parent, or sees less of it. */
export interface ParentBytes {
  /** Bytes from the start of the image that it still backs. */
  readonly overlap: number;
  /** Fills `into` from the byte `offset` on; resolves with how many bytes there were. */
  read(offset: number, into: Uint8Array, signal: AbortSignal | undefined): Promise<number>;
}

/** Fills `into` with what shows through in a clone's object from `offset` on, all of it within the overlap. */
export async function readParent(
  parent: ParentBytes,
  layout: Layout,
  objectNo: number,
  offset: number,
  into: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  let done = 0;
  const pieces = layout.imageExtents(objectNo, offset, into.length).map((extent) => {
    const part = into.subarray(done, done + extent.length);
    done += extent.length;
    return { offset: extent.offset, part };
  });
  await eachLimited(pieces, PIECES_MAX, async ({ offset: at, part }) => {
    const read = await parent.read(at, part, signal);
    // Shorter than its overlap, which a snapshot cannot become: whoever wrote that meant zeros.
    part.fill(0, read);
  });
}

/** An image that is open at a snapshot, as far as its clones need it. */
export interface ParentSource {
  read(
    offset: number,
    length: number,
    into: Uint8Array,
    options: { signal?: AbortSignal },
  ): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens an image at a snapshot; `depth` images have been followed to get there. */
export type OpenParent = (spec: ImageSpec, depth: number) => Promise<ParentSource>;

interface Wanted {
  readonly key: string;
  readonly spec: ImageSpec;
  readonly overlap: number;
}

export class Parents {
  readonly #context: RbdContext;
  readonly #open: OpenParent;
  readonly #snapshot: ImageSnapshot | undefined;
  readonly #depth: number;
  readonly #target: string;
  #opened: { key: string; source: SharedSource } | undefined;
  /** Headers are followed one after the other. */
  #following: Promise<unknown> = Promise.resolve();
  #bytes: (ParentBytes & { readonly key: string }) | undefined;

  /** For an image whose head or `snapshot` is open. */
  constructor(options: {
    context: RbdContext;
    open: OpenParent;
    snapshot: ImageSnapshot | undefined;
    depth: number;
    /** The clone, for messages. */
    target: string;
  }) {
    this.#context = options.context;
    this.#open = options.open;
    this.#snapshot = options.snapshot;
    this.#depth = options.depth;
    this.#target = options.target;
  }

  /** What shows through by a header that was just read: opens the parent when it is another one than before. */
  follow(header: ImageHeader): Promise<ParentBytes | undefined> {
    const followed = this.#following.then(() => this.#follow(header));
    this.#following = followed.catch(() => undefined);
    return followed;
  }

  async #follow(header: ImageHeader): Promise<ParentBytes | undefined> {
    const wanted = this.#wanted(header);
    if (wanted?.key !== this.#opened?.key) {
      const source = wanted && new SharedSource(await this.#openParent(wanted));
      void this.#opened?.source.release();
      this.#opened = wanted && source && { key: wanted.key, source };
    }
    const { source } = this.#opened ?? {};
    if (!wanted || !source) this.#bytes = undefined;
    else if (this.#bytes?.key !== wanted.key || this.#bytes.overlap !== wanted.overlap) {
      const { key, overlap } = wanted;
      this.#bytes = { key, overlap, read: (...how) => source.read(...how) };
    }
    return this.#bytes;
  }

  async close(): Promise<void> {
    const source = this.#opened?.source;
    this.#opened = undefined;
    await source?.release();
  }

  #wanted({ parent }: ImageHeader): Wanted | undefined {
    const overlap = this.#snapshot ? this.#snapshot.parentOverlap : (parent?.overlap ?? 0);
    if (!parent || overlap === 0) return undefined;
    const { poolId, namespace, imageId, snapId } = parent;
    const pool = this.#context.poolById(poolId)?.name;
    if (pool === undefined) {
      throw this.#error('ENOENT', `its parent's pool ${poolId} does not exist`);
    }
    return {
      key: [poolId, namespace, imageId, snapId].join('/'),
      spec: { pool, namespace, id: imageId, snapId },
      overlap,
    };
  }

  #openParent({ spec }: Wanted): Promise<ParentSource> {
    if (this.#depth >= CHAIN_MAX) {
      throw this.#error('EINVAL', `it has more than ${CHAIN_MAX} images behind it`);
    }
    return this.#open(spec, this.#depth + 1);
  }

  #error(code: 'EINVAL' | 'ENOENT', why: string): RadosError {
    return new RadosError(code, `${this.#target}: ${why}`, { op: 'open', target: this.#target });
  }
}

/** Closed when it is needed no more and the last read has settled. */
class SharedSource {
  readonly #source: ParentSource;
  #reading = 0;
  #released: (() => void) | undefined;

  constructor(source: ParentSource) {
    this.#source = source;
  }

  async read(offset: number, into: Uint8Array, signal: AbortSignal | undefined): Promise<number> {
    this.#reading++;
    try {
      const options = signal ? { signal } : {};
      return (await this.#source.read(offset, into.length, into, options)).length;
    } finally {
      if (--this.#reading === 0) this.#released?.();
    }
  }

  async release(): Promise<void> {
    if (this.#reading > 0) {
      await new Promise<void>((resolve) => {
        this.#released = resolve;
      });
    }
    await this.#source.close();
  }
}
