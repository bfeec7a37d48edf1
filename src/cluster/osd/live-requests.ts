/**
 * The requests of a PG from arrival to answer, in the order of arrival.
 *
 * They outlive intervals: what was not answered in one starts again in the next.
 */

import type { ClassRegistry } from '../classes/class-registry.js';
import { type ClientRequest, requestId, requestIdKey } from './client-request.js';
import { classify, type OpClass } from './op-class.js';

export interface LiveRequest {
  /** The newest attempt: a resend takes the place of the attempt before. */
  client: ClientRequest;
  readonly opClass: OpClass;
  /** Of writes only: what a resend is recognised by. */
  readonly key: string | undefined;
}

export class LiveRequests {
  readonly #classes: ClassRegistry;
  readonly #all = new Set<LiveRequest>();
  readonly #writes = new Map<string, LiveRequest>();

  constructor(classes: ClassRegistry) {
    this.#classes = classes;
  }

  /** A copy: answering removes. */
  all(): LiveRequest[] {
    return [...this.#all];
  }

  /**
   * Takes a request. Undefined for a resend of a write that is still under way: it happens once, and answers the newest
   * attempt.
   */
  add(client: ClientRequest): LiveRequest | undefined {
    const opClass = classify(this.#classes, client.request.ops);
    const key = opClass.mayWrite ? requestIdKey(requestId(client)) : undefined;
    const earlier = key === undefined ? undefined : this.#writes.get(key);
    if (earlier) {
      earlier.client.release();
      earlier.client = client;
      return undefined;
    }
    const live: LiveRequest = { client, opClass, key };
    this.#all.add(live);
    if (key !== undefined) this.#writes.set(key, live);
    return live;
  }

  remove(live: LiveRequest): void {
    this.#all.delete(live);
    if (live.key !== undefined) this.#writes.delete(live.key);
  }

  /** All of them, which then are no more. */
  takeAll(): LiveRequest[] {
    const taken = this.all();
    this.#all.clear();
    this.#writes.clear();
    return taken;
  }
}
