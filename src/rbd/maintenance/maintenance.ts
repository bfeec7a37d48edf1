/**
 * Maintenance of an open image: done here by the owner of the exclusive lock, or by any client of an image without one;
 * else by the owner, at this client's request (`librbd/Operations.cc`, `C_InvokeAsyncRequest`).
 *
 *     the lock is ours, or free, or there is none -> done here -> (lock requested by another: looked at again)
 *     another client's -> asked -> the owner's result
 *                               -> ETIMEDOUT, ERESTART: header read, looked at again, asked with the same id
 *                               -> EOPNOTSUPP (krbd): lock requested, done here
 *
 * An owner runs a request once, however often it is asked for by the same id. A new owner knows nothing of it: there the
 * state of the image tells what has been done.
 */

import { sleep } from '../../base/environment.js';
import { abortError, ERRNO, isRadosError, type Outcome, RadosError } from '../../base/errors.js';
import { sharedAborter } from '../../base/shared-aborter.js';
import { imageError } from '../errors.js';
import type { ExclusiveLock } from '../exclusive-lock.js';
import type { ImageWatcher } from '../image-watcher.js';
import type { AsyncRequestId, MaintenancePayload } from '../notify-payloads.js';
import type { MaintenanceJob } from '../notify-requests.js';
import type { OpenImage } from '../open-image.js';
import type { MaintenanceOptions, Operation, Route } from './operation.js';
import { OperationQueue } from './operation-queue.js';
import { operationFor } from './operations.js';

/** Before the owner is looked for again that did not answer: it may be dead, or about to give the lock away. */
const SILENCE_PAUSE_MS = 1000;
/** Attempts without a sign of progress: a dead owner takes five or so, one that is busy with others half a minute each. */
const ATTEMPTS_MAX = 100;

/** An operation that is asked for, by this client's user or by another client. */
interface Call extends MaintenanceOptions {
  retried: boolean;
  requestId: AsyncRequestId | undefined;
  /** It may have had an effect, whatever it fails with: here, or at an owner that was asked. */
  changed(): void;
}

/**
 * `done`; or why to look again who should do it. `interrupted`: another client asked for the lock. `moved`: the owner is
 * another now. `silence`: no owner answered. `unsupported`: the owner does not do this for others. `two-owners` answered.
 */
type Attempt = 'done' | 'interrupted' | 'moved' | 'silence' | 'unsupported' | 'two-owners';

export class Maintenance {
  readonly #image: OpenImage;
  readonly #watcher: ImageWatcher | undefined;
  readonly #queue: OperationQueue;
  /** What runs here, or waits to. */
  readonly #running = new Map<AbortController, Promise<void>>();

  constructor(image: OpenImage, watcher: ImageWatcher | undefined) {
    this.#image = image;
    this.#watcher = watcher;
    this.#queue = new OperationQueue(image.target);
  }

  /**
   * Has it done, and rejects with what it failed with, here or at the owner. ETIMEDOUT: an owner that lives neither did it
   * nor said why not; it may yet. The outcome is that of all attempts: the last one may have been refused when an earlier one
   * did it.
   */
  async run<R extends object>(
    operation: Operation<R>,
    request: R,
    options: MaintenanceOptions = {},
  ): Promise<void> {
    let outcome: Outcome | undefined;
    const call: Call = {
      ...{ ...options, retried: false, requestId: this.#watcher?.newRequestId() },
      changed: () => {
        outcome = 'unknown';
      },
    };
    try {
      await this.#image.refreshIfStale();
      await operation.precheck?.(this.#image, request);
      await this.#attempts(operation, request, call);
    } catch (error) {
      if (!(await this.#saysThatItIsDone(error, operation, request, call))) {
        throw imageError(error, operation.name, this.#image.target, outcome);
      }
    }
  }

  /** What another client asks of the lock's owner. */
  accept(request: MaintenancePayload): number | MaintenanceJob {
    const operation = operationFor(request);
    if (!operation) return -ERRNO.EOPNOTSUPP;
    return (onProgress, signal) => {
      const { lock } = this.#image;
      if (!lock?.tryEnter()) throw this.#restart();
      const call = {
        ...{ onProgress, signal, retried: false, requestId: request.id },
        changed: () => undefined,
      };
      return this.#inside(operation, request, call).finally(() => lock.leave());
    };
  }

  /** The lock is to be given back: what runs ends soon, and is done by others. With a cause, it is not. */
  interrupt(cause?: RadosError): void {
    for (const control of this.#running.keys()) control.abort(cause ?? this.#restart());
  }

  /** Interrupts what runs, and waits for its end. */
  async close(): Promise<void> {
    this.interrupt();
    await Promise.allSettled(this.#running.values());
  }

  async #attempts<R extends object>(
    operation: Operation<R>,
    request: R,
    call: Call,
  ): Promise<void> {
    const image = this.#image;
    let silent = 0;
    let takeLock = this.#routeOf(operation) === 'lock';
    let before: Attempt | undefined;
    const onProgress: MaintenanceOptions['onProgress'] = (done, total) => {
      silent = 0;
      call.onProgress?.(done, total);
    };
    while (++silent <= ATTEMPTS_MAX) {
      const attempt = await this.#attempt(operation, request, { ...call, onProgress }, takeLock);
      if (attempt === 'done') return;
      if (attempt === 'two-owners' && before === attempt) throw this.#twoOwners();
      before = attempt;
      if (attempt === 'unsupported') takeLock = true;
      else call.retried = true;
      // Begun already, and only half done: it is not left to whoever asked for the lock.
      if (attempt === 'interrupted' && this.#routeOf(operation) === 'free-lock') takeLock = true;
      if (attempt === 'silence') await this.#pause(call.signal);
      await image.refresh();
      if (call.retried && (await operation.isDone?.(image, request, call.requestId))) return;
    }
    throw new RadosError('ETIMEDOUT', `no owner of the lock did it in ${ATTEMPTS_MAX} attempts`, {
      retryable: true,
      outcome: 'unknown',
    });
  }

  /** Here if that may be, else by whoever owns the lock. */
  async #attempt<R extends object>(
    operation: Operation<R>,
    request: R,
    call: Call,
    takeLock: boolean,
  ): Promise<Attempt> {
    const { lock } = this.#image;
    if (!lock) return this.#here(operation, request, call, undefined);
    if (lock.tryEnter()) return this.#here(operation, request, call, lock);
    const route = this.#routeOf(operation);
    if (route === 'anyone') return this.#here(operation, request, call, undefined);
    try {
      if (takeLock) await lock.acquire(call.signal ? { signal: call.signal } : {});
      else await lock.tryAcquire();
    } catch (error) {
      // The image has come to have no lock, or another.
      if (lock !== this.#image.lock) return 'moved';
      throw error;
    }
    if (lock.tryEnter()) return this.#here(operation, request, call, lock);
    if (takeLock) return 'moved';
    if (route === 'free-lock') {
      const code = operation.heldError ?? 'EROFS';
      throw new RadosError(code, 'another client owns the exclusive lock', {
        outcome: 'not-applied',
      });
    }
    return this.#ask(request as unknown as MaintenancePayload, call);
  }

  /** Past the lock, when the image has one. */
  async #here<R extends object>(
    operation: Operation<R>,
    request: R,
    call: Call,
    lock: ExclusiveLock | undefined,
  ): Promise<Attempt> {
    try {
      await this.#inside(operation, request, call);
      return 'done';
    } catch (error) {
      if (error instanceof Interruption) return 'interrupted';
      throw error;
    } finally {
      lock?.leave();
    }
  }

  async #inside<R extends object>(operation: Operation<R>, request: R, call: Call): Promise<void> {
    const control = sharedAborter();
    const done = this.#runUntil(control, operation, request, call);
    this.#running.set(control, done);
    try {
      await done;
    } finally {
      this.#running.delete(control);
    }
  }

  async #runUntil<R extends object>(
    control: AbortController,
    operation: Operation<R>,
    request: R,
    { signal: callers, onProgress, retried, requestId, changed }: Call,
  ): Promise<void> {
    const image = this.#image;
    const { signal } = control;
    const onAbort = () => control.abort(abortError(callers as AbortSignal, { op: operation.name }));
    if (callers?.aborted) onAbort();
    callers?.addEventListener('abort', onAbort, { once: true });
    const run = async () => {
      await image.refreshIfStale();
      signal.throwIfAborted();
      await operation.run(image, request, {
        ...{ signal, retried, requestId, changed },
        onProgress: (done, total) => onProgress?.(done, total),
      });
    };
    try {
      await (operation.exclusive ? this.#queue.run(signal, run) : run());
    } catch (error) {
      // The header may have changed all the same, if it is only the answer that is missing.
      await image.reread().catch(() => undefined);
      throw signal.aborted && isRadosError(error, 'ECANCELED') ? signal.reason : error;
    } finally {
      callers?.removeEventListener('abort', onAbort);
    }
  }

  async #ask(
    request: MaintenancePayload,
    { requestId, signal, onProgress, changed }: Call,
  ): Promise<Attempt> {
    if (!this.#watcher || !requestId) throw new TypeError('an image with a lock is watched');
    let result: number;
    try {
      const asked = { ...request, id: requestId };
      result = await this.#watcher.requestMaintenance(asked, { signal, onProgress });
    } catch (error) {
      if (!isRadosError(error) || error.outcome !== 'not-applied') changed();
      if (signal?.aborted) void this.#watcher.cancelMaintenance(requestId);
      // Else it was the notification itself that was not answered.
      if (signal?.aborted || !isRadosError(error, 'ETIMEDOUT')) throw error;
      return 'silence';
    }
    if (result !== -ERRNO.EOPNOTSUPP) changed();
    switch (result) {
      case 0:
        await this.#image.reread();
        return 'done';
      case -ERRNO.ETIMEDOUT:
        return 'silence';
      case -ERRNO.ERESTART:
        return 'moved';
      case -ERRNO.EOPNOTSUPP:
        return 'unsupported';
      case -ERRNO.EIO:
        return 'two-owners';
      default:
        throw RadosError.fromErrno(result, { detail: 'says the owner of the exclusive lock' });
    }
  }

  async #pause(signal: AbortSignal | undefined): Promise<void> {
    try {
      await sleep(this.#image.context.environment, SILENCE_PAUSE_MS, signal);
    } catch {
      throw abortError(signal as AbortSignal);
    }
  }

  #routeOf<R extends object>({ route }: Operation<R>): Route {
    return typeof route === 'string' ? route : route(this.#image);
  }

  async #saysThatItIsDone<R extends object>(
    error: unknown,
    operation: Operation<R>,
    request: R,
    { retried, requestId }: Call,
  ): Promise<boolean> {
    if (!retried || !isRadosError(error) || !operation.doneErrors?.has(error.code)) return false;
    if (!operation.isDone) return true;
    await this.#image.reread();
    return operation.isDone(this.#image, request, requestId);
  }

  #restart(): Interruption {
    return new Interruption(this.#image.target);
  }

  #twoOwners(): RadosError {
    const { context, target } = this.#image;
    context.environment.log.rbd.error(
      { image: target },
      'two clients answered as owners of the lock',
    );
    return new RadosError('EIO', 'two clients answered as owners of the exclusive lock', {
      outcome: 'unknown',
    });
  }
}

/** The lock goes to another client, which goes on with what was begun. */
class Interruption extends RadosError {
  constructor(target: string) {
    super('ERESTART', `${target}: the exclusive lock is given to another client`, {
      retryable: true,
      outcome: 'unknown',
    });
  }
}
