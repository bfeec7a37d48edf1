/**
 * How requests get to an image's data: past the exclusive lock and the gate, cut to the size, and counted.
 *
 *     begin -> lock.enter -> gate.pass -> within the size? -> object operations, each past lock and gate again -> lock.leave
 *
 * What waits here has begun, so a flush waits for it too; but a shrink waits only for what was let through, because what
 * waits will find the new size.
 */

import { isRadosError, RadosError } from '../base/errors.js';
import type { SnapContext } from '../encoding/types.js';
import { HeldBackError } from '../osd-client/request.js';
import { WriteTracker } from './concurrency.js';
import { imageError, ofUnknownOutcome } from './errors.js';
import type { ExclusiveLock } from './exclusive-lock.js';
import type { FreshnessGate } from './freshness-gate.js';
import type { ReadContext, WriteContext } from './object-request.js';
import { unlessAborted } from './waiting.js';

/** The image, as it is now. */
export interface AdmittedImage {
  readonly target: string;
  /** Bytes that can be read, and bytes that writes may go to. */
  readonly size: number;
  readonly writableSize: number;
  readonly snapId: bigint | undefined;
  readonly snapContext: SnapContext;
  readonly lock: ExclusiveLock | undefined;
  /** Throws when the image has come to have a feature that this version does not write. */
  assertFeatures(): void;
}

type Signal = AbortSignal | undefined;

/** The change begins anew: what it had passed is not what it would have to pass now. */
const LOCK_REPLACED = new Error('the image has another exclusive lock');

export class Admission {
  readonly #image: AdmittedImage;
  readonly #gate: FreshnessGate;
  /** Changes that have begun, and those of them that were let through. */
  readonly #begun = new WriteTracker();
  readonly #sent = new WriteTracker();
  #quiesced: Quiescence | undefined;

  constructor(image: AdmittedImage, gate: FreshnessGate) {
    this.#image = image;
    this.#gate = gate;
  }

  /** Resolves when every change that has begun so far has settled. */
  settled(): Promise<void> {
    return this.#begun.drain();
  }

  /** Resolves when every change that was let through so far has settled. */
  drained(): Promise<void> {
    return this.#sent.drain();
  }

  /** Lets no change through until the function that it resolves with was called; resolves when none is under way. */
  async quiesce(): Promise<() => void> {
    this.#quiesced ??= new Quiescence();
    const quiesced = this.#quiesced;
    quiesced.count++;
    await this.drained();
    return once(() => {
      if (--quiesced.count > 0) return;
      this.#quiesced = undefined;
      quiesced.end();
    });
  }

  /** Lets a read through: with how many bytes there are, 0 at the very end. */
  async read<T>(
    offset: number,
    length: number,
    signal: Signal,
    read: (clipped: number, context: ReadContext) => Promise<T>,
  ): Promise<T> {
    const { lock } = this.#image;
    if (!lock?.lockOnRead) return this.#readBehindLock(offset, length, undefined, signal, read);
    const entry = lock.enter(signal);
    if (entry) await this.#waitFor(entry, 'read');
    try {
      return await this.#readBehindLock(offset, length, lock, signal, read);
    } finally {
      lock.leave();
    }
  }

  /** Lets a change through, and resolves with how much of it was done: less than `length` at the end of the image. */
  change(
    op: string,
    offset: number,
    length: number,
    signal: Signal,
    change: (clipped: number, context: WriteContext) => Promise<void>,
  ): Promise<number> {
    return this.#begun.track(this.#change(op, offset, length, signal, change));
  }

  async #readBehindLock<T>(
    offset: number,
    length: number,
    lock: ExclusiveLock | undefined,
    signal: Signal,
    read: (clipped: number, context: ReadContext) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      const wait = this.#gate.pass(signal);
      if (wait) await this.#waitFor(wait, 'read');
      const clipped = this.#clip('read', offset, length, this.#image.size);
      try {
        return await read(clipped, {
          snapId: this.#image.snapId,
          signal,
          admit: () => this.#admitObject('read', offset + clipped, lock, signal),
          gate: this.#gate,
        });
      } catch (error) {
        if (error instanceof HeldBackError) continue;
        // A buffer that is too small is the caller's own mistake.
        throw error instanceof RangeError ? error : imageError(error, 'read', this.#image.target);
      }
    }
  }

  async #change(
    op: string,
    offset: number,
    length: number,
    signal: Signal,
    change: (clipped: number, context: WriteContext) => Promise<void>,
  ): Promise<number> {
    const image = this.#image;
    const done = new Set<number>();
    try {
      for (;;) {
        const { lock } = image;
        const entry = lock?.enter(signal);
        if (entry && !(await this.#enters(entry, lock, op))) continue;
        try {
          let waited = entry !== undefined;
          for (let wait = this.#mayStart(signal); wait; wait = this.#mayStart(signal)) {
            await this.#waitFor(wait, op);
            waited = true;
          }
          if (waited) this.#assertUnchanged(op, lock);
          const clipped = this.#clip(op, offset, length, image.writableSize);
          if (clipped === 0) return 0;
          const context = this.#writeContext(op, offset + clipped, { lock, signal, done });
          await this.#sent.track(change(clipped, context));
          return clipped;
        } catch (error) {
          if (error === LOCK_REPLACED || error instanceof HeldBackError) continue;
          if (isRadosError(error) && error.target === image.target) throw error;
          throw imageError(error, op, image.target);
        } finally {
          lock?.leave();
        }
      }
    } catch (error) {
      // It may have begun anew, and the rest of it failed.
      throw done.size > 0 ? ofUnknownOutcome(error) : error;
    }
  }

  /** Whether it is past the lock; not when the image has come to have no lock, or another, while it waited. */
  async #enters(entry: Promise<void>, lock: ExclusiveLock | undefined, op: string) {
    try {
      await entry;
      return true;
    } catch (error) {
      if (lock !== this.#image.lock) return false;
      throw imageError(error, op, this.#image.target);
    }
  }

  /** After it waited: the image may have come to have features that this version lacks, or a lock that it is not past. */
  #assertUnchanged(op: string, lock: ExclusiveLock | undefined): void {
    if (op !== 'read') this.#image.assertFeatures();
    if (this.#isReplaced(op, lock)) throw LOCK_REPLACED;
  }

  #isReplaced(op: string, lock: ExclusiveLock | undefined): boolean {
    const now = this.#image.lock;
    return now !== lock && now !== undefined && op !== 'read';
  }

  /** The header that a change goes by must be fresh when nothing keeps it back any more. */
  #mayStart(signal: Signal): Promise<void> | undefined {
    return this.#quiesced
      ? unlessAborted(this.#quiesced.over, signal, this.#image.target)
      : this.#gate.pass(signal);
  }

  #writeContext(
    op: string,
    end: number,
    { lock, signal, done }: { lock: ExclusiveLock | undefined; signal: Signal; done: Set<number> },
  ): WriteContext {
    const image = this.#image;
    return {
      ...{ signal, done },
      admit: () => this.#admitObject(op, end, lock, signal),
      gate: this.#gate,
      get snapContext() {
        return image.snapContext;
      },
      // The lock's owner is the only one to write, and knows the newest: an older one on the object is another's mistake.
      ...(lock === undefined && { onOldSnapContext: () => this.#gate.stale() }),
    };
  }

  /** Each object operation passes lock and gate again: a request over many objects takes its time. */
  #admitObject(
    op: string,
    end: number,
    lock: ExclusiveLock | undefined,
    signal: Signal,
  ): Promise<void> | undefined {
    const wait = lock?.passObject(signal) ?? this.#gate.pass(signal);
    if (wait) return this.#admitLater(wait, op, end, lock, signal);
    return this.#isReplaced(op, lock) ? Promise.reject(LOCK_REPLACED) : undefined;
  }

  /** Both must be open at once. The size may have shrunk meanwhile. */
  async #admitLater(
    first: Promise<void>,
    op: string,
    end: number,
    lock: ExclusiveLock | undefined,
    signal: Signal,
  ): Promise<void> {
    const image = this.#image;
    for (let wait: Promise<void> | undefined = first; wait; ) {
      await wait;
      wait = lock?.passObject(signal) ?? this.#gate.pass(signal);
    }
    this.#assertUnchanged(op, lock);
    if (end > image.size)
      throw this.#error('EIO', op, `the image shrank to ${image.size} meanwhile`);
  }

  /** What keeps it waiting for ever is told as this call's error. */
  async #waitFor(gate: Promise<void>, op: string): Promise<void> {
    try {
      await gate;
    } catch (error) {
      throw imageError(error, op, this.#image.target);
    }
  }

  /** How much of a range lies within the image. */
  #clip(op: string, offset: number, length: number, end: number): number {
    const isRange =
      Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0;
    if (!isRange) {
      throw new RangeError(`${op}: offset ${offset} and length ${length} are not byte counts`);
    }
    if (length === 0 || (op === 'read' && offset === end)) return 0;
    if (offset >= end)
      throw this.#error('EINVAL', op, `offset ${offset} is beyond the size ${end}`);
    return Math.min(length, end - offset);
  }

  #error(code: 'EINVAL' | 'EIO', op: string, why: string): RadosError {
    const { target } = this.#image;
    const message = `${op} ${target}: ${why}`;
    return new RadosError(code, message, { op, target, outcome: 'not-applied' });
  }
}

/** The time in which no change goes, for as long as somebody wants that. */
class Quiescence {
  count = 0;
  end!: () => void;
  readonly over = new Promise<void>((resolve) => {
    this.end = resolve;
  });
}

function once(step: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    step();
  };
}
