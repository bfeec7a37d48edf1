/**
 * A notification under way: sent to the primary, completed by a message when all watchers have answered or the time is over.
 *
 * The primary keeps it in memory only. When its connection or interval ends, it is sent again, under another id and with
 * the time that is left, and watchers may see it twice; whoever notified is told once (`Objecter::_send_linger`). An OSD
 * that is not the primary any more forgets it without a word: what takes long asks the monitors for newer maps, because
 * nothing else may go on that would tell (`Objecter::tick` asks for them while anything lingers).
 */

import type { Timer } from '../base/environment.js';
import { abortError, type Outcome, RadosError } from '../base/errors.js';
import { decodeFirst } from '../encoding/codec.js';
import { Decoder } from '../encoding/decoder.js';
import { notifyOp } from '../messages/osd-op.js';
import { type NotifyReplies, notifyReplies, type WatchNotify } from '../messages/watch-notify.js';
import type { LingerTransport } from './linger-op.js';
import type { MapUpdate } from './map-follower.js';
import type { OpRequest } from './op-request.js';
import type { ObjectTarget, OperateResult } from './request.js';
import type { OsdSession } from './session.js';
import { SessionPin } from './session-pin.js';
import { intervalOf } from './target.js';
import { NOTIFY_GRACE_MS, NOTIFY_TIMEOUT_S } from './watch-times.js';
import type { NotifyOptions, NotifyResult } from './watch-types.js';

export interface NotifyContext {
  transport: LingerTransport;
  /** A cookie that was never used, which from here on leads to the notification. */
  nextCookie: (notification: LingerNotify) => bigint;
  retire: (cookie: bigint) => void;
}

/** Most are over long before. */
const ASK_FOR_MAPS_MS = 1_000;
const NO_REPLIES: NotifyReplies = { replies: [], missed: [] };

export class LingerNotify {
  readonly promise: Promise<NotifyResult>;
  readonly #target: ObjectTarget;
  readonly #payload: Uint8Array;
  readonly #options: NotifyOptions;
  readonly #context: NotifyContext;
  readonly #endsAt: number;
  #resolve!: (result: NotifyResult) => void;
  #reject!: (error: Error) => void;
  #release: (() => void)[] = [];
  #done = false;
  #everSent = false;
  #timer: Timer | undefined;
  #mapTimer: Timer | undefined;
  #wantsMaps = false;
  /** The NOTIFY operation until it is answered. */
  #request: OpRequest | undefined;
  #cookie = 0n;
  readonly #pin: SessionPin;
  #interval: string | undefined;

  constructor(
    target: ObjectTarget,
    payload: Uint8Array,
    options: NotifyOptions,
    context: NotifyContext,
  ) {
    this.#target = target;
    this.#payload = payload;
    this.#options = options;
    this.#context = context;
    const { env } = context.transport;
    this.#pin = new SessionPin(env.clock);
    const timeoutMs = 1000 * (options.timeoutSeconds || NOTIFY_TIMEOUT_S);
    this.#endsAt = env.clock.monotonic() + timeoutMs;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#timer = env.timers.after(timeoutMs + NOTIFY_GRACE_MS, () => {
      // When this thread was busy, the completion may have arrived and not been read yet.
      this.#timer = env.timers.nextTurn(() => this.end(this.#lateError()));
    });
    this.#mapTimer = env.timers.after(ASK_FOR_MAPS_MS, () => {
      this.#wantsMaps = true;
      context.transport.wantNewerMap();
    });
    const { signal } = options;
    if (signal) {
      const onAbort = () => this.end(abortError(signal, this.#about));
      signal.addEventListener('abort', onAbort, { once: true });
      this.#release.push(() => signal.removeEventListener('abort', onAbort));
    }
  }

  send(): void {
    if (this.#done) return;
    this.#cancel();
    const { transport } = this.#context;
    const { map } = transport;
    this.#interval = map && intervalOf(map, this.#target);
    this.#cookie = this.#context.nextCookie(this);
    const op = notifyOp(this.#cookie, this.#timeoutSeconds, this.#payload);
    let answered = false;
    const over = () => {
      answered = true;
      this.#request = undefined;
    };
    const request = transport.submit(this.#target, op, {
      admit: () => true,
      onSent: (session) => {
        this.#everSent = true;
        this.#pin.moveTo(session);
      },
      onResult: (result) => {
        over();
        this.#onTaken(result);
      },
      onFailed: (error) => {
        over();
        this.end(error);
      },
      onUnanswered: () => {
        over();
        this.send();
      },
    });
    if (!answered && !this.#done) this.#request = request;
  }

  /** All have answered, or the OSD's time is over. With no watchers this comes before the operation's own answer. */
  onComplete(event: WatchNotify, data: Uint8Array): void {
    if (this.#done) return;
    const { replies, missed } = data.length > 0 ? decodeFirst(notifyReplies, data) : NO_REPLIES;
    this.#finish();
    this.#resolve({ notifyId: event.notifyId, replies, missed });
  }

  onSessionGone(session: OsdSession): void {
    if (this.#pin.session !== session) return;
    this.#pin.moveTo(undefined);
    // An operation that is not answered is sent again by itself.
    if (!this.#request) this.send();
  }

  onMapUpdate({ map, passed, skipped }: MapUpdate): void {
    if (this.#wantsMaps) this.#context.transport.wantNewerMap();
    const known = this.#interval;
    this.#interval = intervalOf(map, this.#target);
    if (!skipped && passed.every((each) => intervalOf(each, this.#target) === known)) return;
    const request = this.#request;
    if (!request || (request.attempts > 0 && request.sentEpoch < map.epoch)) this.send();
  }

  end(error: Error): void {
    if (this.#done) return;
    this.#finish();
    this.#reject(error);
  }

  /** What the OSD is to wait: of the caller's time, what is left. */
  get #timeoutSeconds(): number {
    if (!this.#everSent) return this.#options.timeoutSeconds ?? 0;
    const leftMs = this.#endsAt - this.#context.transport.env.clock.monotonic();
    return Math.max(1, Math.floor(leftMs / 1000));
  }

  #onTaken({ ops }: OperateResult): void {
    const id = ops[0]?.outdata ?? new Uint8Array(0);
    const { env, describe } = this.#context.transport;
    const notifyId = id.length >= 8 ? String(new Decoder(id).u64()) : undefined;
    env.log.objecter.debug({ object: describe(this.#target), notifyId }, 'notify');
  }

  #finish(): void {
    this.#done = true;
    this.#timer?.cancel();
    this.#mapTimer?.cancel();
    for (const release of this.#release) release();
    this.#cancel();
  }

  #cancel(): void {
    const request = this.#request;
    this.#request = undefined;
    if (request) this.#context.transport.cancel(request);
    this.#context.retire(this.#cookie);
    this.#pin.moveTo(undefined);
  }

  get #about(): { op: string; target: string; outcome: Outcome } {
    return {
      op: 'notify',
      target: this.#context.transport.describe(this.#target),
      outcome: this.#everSent ? 'unknown' : 'not-applied',
    };
  }

  #lateError(): RadosError {
    const about = this.#about;
    const what = this.#everSent ? 'did not complete' : 'could not be sent';
    return new RadosError('ETIMEDOUT', `notify ${about.target}: ${what} in time`, {
      ...about,
      retryable: true,
    });
  }
}
