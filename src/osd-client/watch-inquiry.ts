/** A watch's question to its OSD (register, reconnect, unwatch): one at a time, asked until it is answered. */

import type { OsdOp } from '../messages/osd-op.js';
import { LaggySessionCheck } from './laggy-session.js';
import type { LingerTransport } from './linger-op.js';
import type { OpRequest } from './op-request.js';
import type { ObjectTarget } from './request.js';
import type { OsdSession } from './session.js';
import type { WatchTimes } from './watch-times.js';

export interface InquiryHooks {
  /** Whether a registration may go now; others always may. */
  admit: (request: OpRequest) => boolean;
  /** A registration lives on this session from now on. */
  onRegistering: (session: OsdSession) => void;
  onSent: () => void;
}

export interface Question {
  /** Made anew each time that it is asked. */
  op: () => OsdOp;
  registers: boolean;
  onOk: (sentAt: number) => void;
  onError: (error: Error) => void;
}

export class WatchInquiry {
  readonly #transport: LingerTransport;
  readonly #target: ObjectTarget;
  readonly #hooks: InquiryHooks;
  /** Undefined: there is nothing to be answered. */
  #question: Question | undefined;
  #request: OpRequest | undefined;
  /** `clock.monotonic()`; until it was sent, when it was asked. */
  #sentAt = 0;
  readonly #laggy: LaggySessionCheck;

  constructor(
    transport: LingerTransport,
    target: ObjectTarget,
    times: WatchTimes,
    hooks: InquiryHooks,
  ) {
    this.#transport = transport;
    this.#target = target;
    this.#hooks = hooks;
    this.#laggy = new LaggySessionCheck(transport, times.laggyMs);
  }

  get open(): boolean {
    return this.#question !== undefined;
  }

  /** The map has no place for it: there is no primary, or no pool. */
  get homeless(): boolean {
    return this.#request?.parked === 'homeless';
  }

  /** Instead of what was asked before. */
  ask(question: Question): void {
    this.cancel();
    this.#question = question;
    this.#submit(question);
  }

  cancel(): void {
    const request = this.#request;
    this.#laggy.stop();
    this.#question = undefined;
    this.#request = undefined;
    if (request) this.#transport.cancel(request);
  }

  /** Whether it was sent by an older map. */
  sentBefore(epoch: number): boolean {
    const request = this.#request;
    return request !== undefined && request.attempts > 0 && request.sentEpoch < epoch;
  }

  repeat(): void {
    if (this.#question) this.ask(this.#question);
  }

  /** Dates back what was sent before the machine slept. */
  shift(sleptMs: number): void {
    this.#sentAt -= sleptMs;
  }

  #submit(question: Question): void {
    const { clock } = this.#transport.env;
    this.#sentAt = clock.monotonic();
    let isOver = false;
    const over = () => {
      isOver = true;
      this.#laggy.stop();
      this.#question = undefined;
      this.#request = undefined;
    };
    const request = this.#transport.submit(this.#target, question.op(), {
      admit: (held) => !question.registers || this.#hooks.admit(held),
      onSent: (session) => {
        this.#sentAt = clock.monotonic();
        this.#laggy.start(session);
        if (question.registers) this.#hooks.onRegistering(session);
        this.#hooks.onSent();
      },
      onResult: () => {
        over();
        question.onOk(this.#sentAt);
      },
      onFailed: (error) => {
        over();
        question.onError(error);
      },
      onUnanswered: () => {
        over();
        this.ask(question);
      },
    });
    // What cannot be sent at all fails within `submit`.
    if (!isOver) this.#request = request;
  }
}
