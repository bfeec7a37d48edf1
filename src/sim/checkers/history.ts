/** What clients asked of images and what came of it: what the checkers judge. Times are virtual milliseconds. */

/** What touches sectors; the others change an image as a whole. */
export type IoKind = 'write' | 'writeZeroes' | 'discard' | 'compareAndWrite' | 'read';

export type OpKind =
  | IoKind
  | 'resize'
  | 'snapCreate'
  | 'snapRemove'
  | 'snapRename'
  | 'snapProtect'
  | 'snapUnprotect'
  | 'rollback'
  | 'clone'
  | 'flatten'
  | 'removeImage'
  | 'rename'
  | 'metadataSet'
  | 'metadataGet'
  | 'sizeGet'
  | 'rebuildObjectMap'
  | 'sparsify';

/**
 * `unknown`: it may have taken effect, or may still, or never; a client that died leaves such ones behind. `failed`: it
 * certainly did not and never will.
 */
export type OpEnd = 'ok' | 'failed' | 'unknown';

export interface Op {
  readonly id: number;
  /** Who asked: `client.1`. */
  readonly client: string;
  readonly kind: OpKind;
  /** Which image, by a name that it keeps for the whole run whatever it is renamed to. */
  readonly image: string;
  /** Which snapshot of it, likewise; of a read: what is read is the snapshot. */
  readonly snap?: string;
  readonly firstSector: number;
  /** Of what changes the size: all that there are afterwards. */
  readonly sectors: number;
  /** The new name, the key: for people. */
  readonly detail?: string;
  /** Of a compare-and-write: the writes whose sectors it expects to find. */
  readonly expected?: Uint32Array;
  readonly startedAt: number;
  /** Order of all beginnings and ends: what ended before another began is before it, at the same millisecond too. */
  readonly startedAs: number;
  endedAt?: number;
  endedAs?: number;
  end?: OpEnd;
  /** Of a read that succeeded, and of a rollback: the write that each sector is of, 0 for zeros. */
  values?: Uint32Array;
  /** Of an operation that did not. */
  error?: string;
}

export type OpInput = Pick<
  Op,
  | 'client'
  | 'kind'
  | 'image'
  | 'snap'
  | 'firstSector'
  | 'sectors'
  | 'detail'
  | 'expected'
  | 'values'
>;

/** What an image was when it came to be: all zeros, or of a clone what its snapshot held. */
export interface ImageOrigin {
  readonly image: string;
  readonly sectors: number;
  /** The write that each sector is of. */
  readonly values?: Uint32Array;
  /**
   * Without an exclusive lock a client that has lost its watch goes by the old header for as long as the gate allows: what
   * is done to the image as a whole may take effect so many milliseconds after its end.
   */
  readonly lagMs: number;
}

export class History {
  readonly ops: Op[] = [];
  readonly origins: ImageOrigin[] = [];
  readonly #now: () => number;
  #order = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  begin(op: OpInput): Op {
    const begun = {
      ...op,
      id: this.ops.length + 1,
      startedAt: this.#now(),
      startedAs: ++this.#order,
    };
    this.ops.push(begun);
    return begun;
  }

  end(op: Op, end: OpEnd, more: Pick<Op, 'values' | 'error'> = {}): void {
    Object.assign(op, { end, endedAt: this.#now(), endedAs: ++this.#order }, more);
  }

  /** The place of what began or ended last. */
  get order(): number {
    return this.#order;
  }

  get pending(): Op[] {
    return this.ops.filter(({ end }) => end === undefined);
  }

  /** The place in the order up to which everything had happened by then. */
  orderAt(ms: number): number {
    let last = 0;
    for (const { startedAt, startedAs, endedAt, endedAs } of this.ops) {
      if (startedAt <= ms) last = Math.max(last, startedAs);
      if (endedAt !== undefined && endedAt <= ms) last = Math.max(last, endedAs as number);
    }
    return last;
  }
}

export function describeOp(op: Op): string {
  const { id, client, kind, image, snap, firstSector, sectors, detail } = op;
  const { startedAt, endedAt, end, error } = op;
  const target = snap === undefined ? image : `${image}@${snap}`;
  const range = `${firstSector}+${sectors}${detail === undefined ? '' : ` ${detail}`}`;
  const time = `${startedAt.toFixed(1)}-${endedAt === undefined ? '' : endedAt.toFixed(1)} ms`;
  return `#${id} ${client} ${kind} ${target} ${range} ${time} ${end ?? 'pending'}${error ? ` (${error})` : ''}`;
}
