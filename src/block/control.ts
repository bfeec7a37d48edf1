/**
 * The control path between main and a worker: comlink, with what it lacks.
 *
 * comlink passes only name, message and stack of an error, and a call to a worker that has ended never
 * settles (both measured). Here errors keep `code`, `errno` and the rest, and every call is raced with
 * the worker's end and with a deadline. Only plain data and ports cross.
 */

import type { MessagePort, Worker } from 'node:worker_threads';
import * as Comlink from 'comlink';

import type { Environment } from '../base/environment.js';
import { abortError, isRadosError, RadosError } from '../base/errors.js';
import { errorFromPlain, errorToPlain, type PlainError } from './error-transfer.js';

interface Thrown {
  value: unknown;
}
type ThrowHandler = Comlink.TransferHandler<Thrown, unknown>;

const RADOS_ERROR_KEY = 'lingerError';

/**
 * Teaches comlink our errors. Other errors go comlink's own way, so an application that uses comlink too
 * notices nothing.
 */
function installThrowHandler(): void {
  const original = Comlink.transferHandlers.get('throw') as ThrowHandler & { knowsRados?: true };
  if (original.knowsRados) return;
  const handler: ThrowHandler & { knowsRados: true } = {
    knowsRados: true,
    canHandle: (value): value is Thrown => original.canHandle(value),
    serialize(thrown) {
      if (!isRadosError(thrown.value)) return original.serialize(thrown);
      return [{ [RADOS_ERROR_KEY]: errorToPlain(thrown.value) }, []];
    },
    deserialize(serialized) {
      const plain = (serialized as Record<string, unknown>)[RADOS_ERROR_KEY];
      if (plain === undefined) return original.deserialize(serialized);
      throw errorFromPlain(plain as PlainError);
    },
  };
  Comlink.transferHandlers.set('throw', handler as Comlink.TransferHandler<unknown, unknown>);
}

type Listener = (event: { data: unknown }) => void;

/** A port of Node's as comlink wants it: with events in the DOM's manner. */
function endpointOf(port: MessagePort | Worker): Comlink.Endpoint {
  const listeners = new Map<unknown, (data: unknown) => void>();
  const endpoint = {
    postMessage: (message: unknown, transfer?: MessagePort[]) =>
      port.postMessage(message, transfer),
    addEventListener(_type: string, listener: Listener) {
      const onMessage = (data: unknown) => listener({ data });
      port.on('message', onMessage);
      listeners.set(listener, onMessage);
    },
    removeEventListener(_type: string, listener: Listener) {
      const onMessage = listeners.get(listener);
      if (onMessage) port.off('message', onMessage);
      listeners.delete(listener);
    },
  };
  return endpoint as unknown as Comlink.Endpoint;
}

/** What can be called from the other side: asynchronous methods with plain arguments. */
export type ControlInterface<T> = {
  [K in keyof T]: (...args: never[]) => Promise<unknown>;
};

/** The worker's side: answers calls of `target`'s methods. */
export function exposeControl<T extends ControlInterface<T>>(target: T, port: MessagePort): void {
  installThrowHandler();
  Comlink.expose(target, endpointOf(port));
}

/** Marks an argument or result whose ports move with it. */
export function withPorts<T extends object>(value: T, ports: MessagePort[]): T {
  return Comlink.transfer(value, ports as unknown as Parameters<typeof Comlink.transfer>[1]);
}

export interface CallOptions {
  /** 0 waits for ever: for what the caller bounds otherwise. */
  deadlineMs: number;
  signal?: AbortSignal | undefined;
}

/** Main's side. */
export class ControlClient<T extends ControlInterface<T>> {
  readonly #env: Environment;
  readonly #remote: Comlink.Remote<T>;
  readonly #pending = new Set<(error: RadosError) => void>();
  #failure: RadosError | undefined;

  constructor(env: Environment, worker: Worker) {
    installThrowHandler();
    this.#env = env;
    this.#remote = Comlink.wrap<T>(endpointOf(worker));
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Calls a method. Rejects with its error, ETIMEDOUT after the deadline, ECANCELED, or the worker's end. */
  call<K extends keyof T & string>(
    method: K,
    args: Parameters<T[K]>,
    { deadlineMs, signal }: CallOptions,
  ): Promise<Awaited<ReturnType<T[K]>>> {
    return new Promise((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      if (signal?.aborted) {
        reject(abortError(signal, { op: method }));
        return;
      }
      const settle = () => {
        this.#pending.delete(fail);
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      const fail = (error: RadosError) => {
        settle();
        reject(error);
      };
      const onAbort = () => fail(abortError(signal!, { op: method }));
      const timer =
        deadlineMs > 0
          ? this.#env.timers.after(deadlineMs, () => {
              const message = `${method}: the osd-client worker did not answer in ${deadlineMs / 1000} s`;
              fail(new RadosError('ETIMEDOUT', message, { op: method, retryable: true }));
            })
          : undefined;
      this.#pending.add(fail);
      signal?.addEventListener('abort', onAbort, { once: true });
      const remote = this.#remote[method] as unknown as (...args: unknown[]) => Promise<unknown>;
      remote(...args).then(
        (value) => {
          settle();
          resolve(value as Awaited<ReturnType<T[K]>>);
        },
        (error: RadosError) => fail(error),
      );
    });
  }

  /** The worker ended: all calls reject, now and later. */
  fail(error: RadosError): void {
    this.#failure ??= error;
    for (const fail of [...this.#pending]) fail(this.#failure);
  }
}
