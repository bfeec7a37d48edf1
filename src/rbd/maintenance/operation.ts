/** What a maintenance operation is: something that changes an image as a whole, done by the owner of its exclusive lock. */

import type { ErrnoCode } from '../../base/errors.js';
import { HeldBackError } from '../../osd-client/request.js';
import { eachManaged, type Progress } from '../concurrency.js';
import type { AsyncRequestId, NotifyOp, PayloadOf } from '../notify-payloads.js';
import type { OpenImage } from '../open-image.js';

export interface MaintenanceOptions {
  /** Stops between objects; what is done by then stays. When another client does it, only the waiting stops. */
  readonly signal?: AbortSignal;
  /** Never less than before, while the same client is at it. */
  readonly onProgress?: Progress;
}

/** What an operation is run with. */
export interface OperationContext {
  /**
   * To be looked at between objects, and between steps that leave something to resume. Its reason is a `RadosError`:
   * ERESTART, when the lock is to be given back, and ECANCELED.
   */
  readonly signal: AbortSignal;
  onProgress(done: number, total: number): void;
  /**
   * Others may see something of it from now on: what it fails with later, a refusal by the next step too, says nothing any more
   * about whether it happened. Called again, it says nothing new.
   */
  changed(): void;
  /** The same was asked for before, perhaps of another client: what is done already is no error. */
  readonly retried: boolean;
  /** The same whoever it is asked of. */
  readonly requestId: AsyncRequestId | undefined;
}

/**
 * `owner`: it is done by the lock's owner, whoever that is. `anyone`: it needs no lock. `lock`: whoever wants it done takes
 * the lock from its owner first. `free-lock`: and only if no client that lives has it, else `heldError`.
 */
export type Route = 'owner' | 'anyone' | 'lock' | 'free-lock';

/** Invariant: every step is durable before the next, and after each of them the image is whole. */
export interface Operation<Request extends object> {
  /** As messages have it: `resize rbd/vm1: ...`. */
  readonly name: string;
  readonly route: Route | ((image: OpenImage) => Route);
  /** EROFS by default. */
  readonly heldError?: ErrnoCode;
  /** Changes what the others work on, so one at a time: all but what touches only some metadata. */
  readonly exclusive: boolean;
  /** What it fails with, when it was asked for before, because it has been done: if `isDone` has no objection. */
  readonly doneErrors?: ReadonlySet<string>;
  /** Before anybody is asked for the first time: what will not be, by the header as it is. */
  precheck?(image: OpenImage, request: Request): void | Promise<void>;
  /** Whether the header, as it is after it was asked for, shows that it has been done. */
  isDone?(
    image: OpenImage,
    request: Request,
    requestId: AsyncRequestId | undefined,
  ): boolean | Promise<boolean>;
  /** With a fresh header, and past the exclusive lock if the image has one. */
  run(image: OpenImage, request: Request, context: OperationContext): Promise<void>;
}

/** A request as it is asked of the owner, but for the id. */
export type RequestOf<Op extends NotifyOp> = Omit<PayloadOf<Op>, 'id'>;

/**
 * The part of an operation that takes long: `step` for each item, so many at a time as do not get in the way of I/O. Stops
 * between them when it is to stop, and settles when those that were begun have settled. A step of which something was held back,
 * because the header had changed by the time that it was to be sent, is taken again. Once one was begun, something may have changed.
 */
export async function eachObject<T>(
  image: OpenImage,
  context: OperationContext,
  items: Iterable<T>,
  total: number,
  step: (item: T) => Promise<unknown>,
): Promise<void> {
  const { signal } = context;
  const stepByFreshHeader = async (item: T): Promise<void> => {
    context.changed();
    for (;;) {
      try {
        await step(item);
        return;
      } catch (error) {
        if (!(error instanceof HeldBackError)) throw error;
        await image.passObject(signal);
      }
    }
  };
  await eachManaged(items, total, stepByFreshHeader, {
    signal,
    onProgress: (done) => context.onProgress(done, total),
    admit: () => image.passObject(signal),
  });
}

/** For a part of the operation: from one share of its progress to another. */
export function portion(context: OperationContext, from: number, to: number): OperationContext {
  return {
    ...context,
    onProgress: (done, total) =>
      context.onProgress(Math.floor(total * from + done * (to - from)), total),
  };
}

/** That many object numbers from the first on. */
export function* objectNumbers(first: number, count: number): Generator<number> {
  for (let objectNo = first; objectNo < first + count; objectNo++) yield objectNo;
}
