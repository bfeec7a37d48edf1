/**
 * Holding still while another client creates a snapshot (`librbd/ImageWatcher.cc`, `prepare_quiesce_request`).
 *
 *     quiescing -> quiesced -> (told to go on, or not for too long) -> over
 */

import type { Environment, Timer } from '../base/environment.js';
import { ERRNO, RadosError } from '../base/errors.js';
import { decodeFirst } from '../encoding/codec.js';
import { type AsyncRequestId, describeRequest, responseMessage } from './notify-payloads.js';
import { type Announce, resultOf } from './notify-requests.js';

/** `rbd_quiesce_notification_attempts`. */
const QUIESCE_ATTEMPTS_MAX = 10;

/**
 * At the initiator: has all clients of the image hold still, and asks those that take their time again. Resolves when they
 * do; rejects with the first refusal, or with ETIMEDOUT. Either way they are told to go on afterwards.
 */
export async function quiesceClients(announce: Announce, id: AsyncRequestId): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { replies, missed } = await announce({ op: 'quiesce', id });
    const refusal = replies.map(({ payload }) => answerOf(payload)).find((result) => result < 0);
    if (refusal !== undefined) throw RadosError.fromErrno(refusal, { op: 'quiesce' });
    if (missed.length === 0) return;
    if (attempt === QUIESCE_ATTEMPTS_MAX) {
      const clients = missed.map(({ gid }) => `client.${gid}`).join(', ');
      throw new RadosError('ETIMEDOUT', `${clients} did not hold still for the snapshot`, {
        op: 'quiesce',
        retryable: true,
        outcome: 'not-applied',
      });
    }
  }
}

/** Clients that know nothing of it answer nothing, or that they do not know it: they are not waited for. */
function answerOf(payload: Uint8Array): number {
  if (payload.length === 0) return 0;
  try {
    const { result } = decodeFirst(responseMessage, payload);
    return result === -ERRNO.EOPNOTSUPP ? 0 : result;
  } catch {
    return 0;
  }
}

/** Who quiesced and was not told to go on does so by itself: two notification timeouts, as in librbd. */
const UNQUIESCE_AFTER_MS = 10_000;
const MAX_QUIESCED = 64;

/** How to hold still for a snapshot. */
export interface QuiesceHooks {
  quiesce(id: AsyncRequestId): Promise<void>;
  unquiesce(id: AsyncRequestId): void;
}

interface Quiesced {
  id: AsyncRequestId;
  result: Promise<number>;
  done: boolean;
  /** Told to go on before it stood still. */
  over: boolean;
  timer: Timer | undefined;
}

/** The snapshots that this client holds still for. The initiator asks again while it waits for a client. */
export class QuiesceRequests {
  readonly #env: Environment;
  readonly #hooks: QuiesceHooks;
  readonly #quiesced = new Map<string, Quiesced>();

  constructor(env: Environment, hooks: QuiesceHooks) {
    this.#env = env;
    this.#hooks = hooks;
  }

  get size(): number {
    return this.#quiesced.size;
  }

  /** Resolves with what to answer. */
  quiesce(id: AsyncRequestId): Promise<number> {
    const key = describeRequest(id);
    const known = this.#quiesced.get(key);
    if (known) {
      if (known.done) this.#waitForEnd(known);
      return known.result;
    }
    if (this.#quiesced.size >= MAX_QUIESCED) return Promise.resolve(-ERRNO.EAGAIN);
    const quiesced: Quiesced = {
      id,
      result: resultOf(this.#env, () => this.#hooks.quiesce(id)),
      done: false,
      over: false,
      timer: undefined,
    };
    this.#quiesced.set(key, quiesced);
    void quiesced.result.then(() => {
      quiesced.done = true;
      if (quiesced.over) this.#end(quiesced);
      else this.#waitForEnd(quiesced);
    });
    return quiesced.result;
  }

  unquiesce(id: AsyncRequestId): void {
    const quiesced = this.#quiesced.get(describeRequest(id));
    if (quiesced) this.#goOn(quiesced);
  }

  /** Nobody would tell this client to go on any more. */
  stop(): void {
    for (const quiesced of [...this.#quiesced.values()]) this.#goOn(quiesced);
  }

  #goOn(quiesced: Quiesced): void {
    if (quiesced.done) this.#end(quiesced);
    else quiesced.over = true;
  }

  #waitForEnd(quiesced: Quiesced): void {
    quiesced.timer?.cancel();
    quiesced.timer = this.#env.timers.after(
      UNQUIESCE_AFTER_MS,
      () => {
        this.#env.log.rbd.warn(
          { request: describeRequest(quiesced.id) },
          'quiesced for too long: going on',
        );
        this.#end(quiesced);
      },
      { background: true },
    );
  }

  /** Also when quiescing had failed: part of it may have been done. */
  #end(quiesced: Quiesced): void {
    quiesced.timer?.cancel();
    this.#quiesced.delete(describeRequest(quiesced.id));
    this.#hooks.unquiesce(quiesced.id);
  }
}
