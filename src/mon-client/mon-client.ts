/**
 * The line to the monitors: one session at a time, found by hunting, kept alive, and found again when it breaks.
 *
 *     idle -> hunting -> open -> hunting ...        (`mon/MonClient.cc`)
 *                 `---------`----> closed
 *
 * Subscriptions and unanswered requests outlive a session: they are sent again on the next one, with the same tid.
 */

import type { ClusterAuth } from '../auth/method.js';
import type { Timer } from '../base/environment.js';
import { abortError, isRadosError, RadosError, toRadosError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import { ENTITY_TYPE, type EntityAddr, formatAddr, msgr2Addr } from '../encoding/entity.js';
import {
  authMessage,
  authReply,
  configMessage,
  type MonMap,
  monMap,
  monMapMessage,
  monSubscribe,
  NO_PAXOS,
} from '../messages/mon-messages.js';
import { type IncomingMessage, MSG, messageName, outgoing } from '../messages/types.js';
import { Connection, type MessengerContext } from '../msgr/connection.js';
import {
  type CommandResult,
  createSelfManagedSnap,
  getStatfs,
  getVersion,
  removeSelfManagedSnap,
  runCommand,
} from './mon-operations.js';
import { MonRequests, type RequestOptions } from './mon-requests.js';
import { MonSubscriptions } from './mon-subscriptions.js';

export type { CommandResult } from './mon-operations.js';
export type { RequestOptions } from './mon-requests.js';

export interface MonClientOptions extends MessengerContext {
  /** Where monitors may be: the addresses of `mon host`, then those of the monmap. */
  monAddrs: readonly EntityAddr[];
  /** Ways to authenticate, in order of preference: the first that the monitors take is kept. */
  auths: readonly ClusterAuth[];
  /** Connection modes in order of preference. */
  modes: readonly number[];
  /** Names this client instance, with its address: the one that blocklists use. */
  nonce: number;
  /** Deadline of single requests in milliseconds; 0 waits for ever. */
  opTimeoutMs: number;
  /** A MOSDMap came, from this monitor. `front` is valid during the call. */
  onOsdMap: (front: Uint8Array, version: number) => void;
  /** No monitor takes our global id back: from here on we are another client. */
  onIdentityLost?: (error: RadosError) => void;
}

/** How long one monitor may take to accept us before the next is tried; grows while none answers. */
const HUNT_INTERVAL_MS = 3_000;
const HUNT_BACKOFF = 1.5;
const HUNT_INTERVAL_MAX_MS = 30_000;
/** A session that lasted so long was a good one. */
const STABLE_MS = 1_000;
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 30_000;

type State = 'idle' | 'hunting' | 'open' | 'closed';

export class MonClient {
  readonly #options: MonClientOptions;
  readonly #log: Logger;
  #auth: ClusterAuth | undefined;
  /** Whose turn it was last in the handshake that is under way. */
  #tried: ClusterAuth | undefined;
  #state: State = 'idle';
  #connection: Connection | undefined;
  #monMap: MonMap | undefined;
  #candidates: EntityAddr[] = [];
  #huntIntervalMs = HUNT_INTERVAL_MS;
  #huntTimer: Timer | undefined;
  #tick: Timer | undefined;
  #renewal: Timer | undefined;
  #lastAck = 0;
  #openedAt = 0;
  #ticketGeneration = 0;
  /** Monitors in a row that did not take us back. */
  #refusals = 0;
  #globalSeq = 0n;
  #seenAs: EntityAddr | undefined;
  #lastFailure: Error | undefined;
  #config: ReadonlyMap<string, string> = new Map();
  readonly #requests: MonRequests;
  readonly #subscriptions = new MonSubscriptions();
  #started: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(options: MonClientOptions) {
    this.#options = options;
    this.#log = options.env.log.monc;
    this.#subscriptions.want('monmap', 0, { onetime: false });
    this.#requests = new MonRequests({
      env: options.env,
      fsid: () => this.fsid,
      timeoutMs: options.opTimeoutMs,
      transmit: (build) => {
        if (this.#state === 'open') this.#connection?.send(build());
      },
      silent: (timeoutMs) => ({ why: this.#whySilent(timeoutMs), cause: this.#lastFailure }),
    });
  }

  /** What the monitors accepted. */
  get auth(): ClusterAuth {
    if (!this.#auth) throw new RadosError('ENOTCONN', 'not connected to a monitor yet');
    return this.#auth;
  }

  get globalId(): bigint {
    return this.auth.globalId;
  }

  /** Undefined until the first session. */
  get monMap(): MonMap | undefined {
    return this.#monMap;
  }

  get fsid(): string {
    if (!this.#monMap) throw new RadosError('ENOTCONN', 'not connected to a monitor yet');
    return this.#monMap.fsid;
  }

  /** The address that the cluster sees this client at. */
  get seenAs(): EntityAddr | undefined {
    return this.#seenAs;
  }

  get nonce(): number {
    return this.#options.nonce;
  }

  /** Grows whenever a monitor gave new tickets. */
  get ticketGeneration(): number {
    return this.#ticketGeneration;
  }

  /**
   * Opens the first session: authenticated, with the monmap. Rejects at once when the key or the user is refused,
   * with ETIMEDOUT when no monitor could be reached in time (it names the last failure).
   */
  async start(options: RequestOptions = {}): Promise<void> {
    if (this.#state !== 'idle') throw new Error('start was called before');
    const { signal, timeoutMs = 0 } = options;
    signal?.throwIfAborted();
    this.#state = 'hunting';
    let timer: Timer | undefined;
    const onAbort = () =>
      this.#started?.reject(abortError(signal as AbortSignal, { op: 'connect' }));
    try {
      await new Promise<void>((resolve, reject) => {
        this.#started = { resolve, reject };
        signal?.addEventListener('abort', onAbort, { once: true });
        if (timeoutMs > 0) {
          timer = this.#options.env.timers.after(timeoutMs, () =>
            reject(this.#unreachable(timeoutMs)),
          );
        }
        this.#hunt();
      });
    } catch (error) {
      this.close();
      throw error;
    } finally {
      this.#started = undefined;
      timer?.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the session; every unanswered request is rejected. Safe to call twice. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#huntTimer?.cancel();
    this.#tick?.cancel();
    this.#renewal?.cancel();
    this.#connection?.close();
    const error = new RadosError('ENOTCONN', 'the client was closed', { outcome: 'unknown' });
    this.#started?.reject(error);
    this.#requests.close(error);
  }

  // ---- requests ----

  /** The newest and the oldest version of a map: `'osdmap'`, `'monmap'`. */
  getVersion(what: string, options?: RequestOptions) {
    return getVersion(this.#requests, what, options);
  }

  /**
   * A monitor command, as `ceph` sends it: `{prefix: 'osd pool create', pool: 'rbd'}`.
   * Rejects with the command's errno, its status line as the message.
   */
  command(
    command: Record<string, unknown>,
    options?: RequestOptions & { input?: Uint8Array },
  ): Promise<CommandResult> {
    return runCommand(this.#requests, command, options);
  }

  /** Allocates a self-managed snapshot id; `epoch` is the map that knows it. */
  createSelfManagedSnap(pool: number, options?: RequestOptions) {
    return createSelfManagedSnap(this.#requests, pool, options);
  }

  removeSelfManagedSnap(pool: number, snapid: bigint, options?: RequestOptions) {
    return removeSelfManagedSnap(this.#requests, pool, snapid, options);
  }

  /** Space and objects of the cluster, in KiB. */
  statfs(options?: RequestOptions) {
    return getStatfs(this.#requests, options);
  }

  /** The options that the cluster keeps for this client (`ceph config set`), as text. They weigh less than ceph.conf's. */
  async centralConfig(options?: RequestOptions): Promise<ReadonlyMap<string, string>> {
    this.subscribe('config', 0, { onetime: true });
    // Monitors send a session's configuration before they answer what was asked later, unless it has it already.
    await this.getVersion('osdmap', options);
    return this.#config;
  }

  // ---- subscriptions ----

  /** Asks for a map from version `start` on: once, or with every change. */
  subscribe(what: string, start: number, options: { onetime: boolean }): void {
    if (!this.#subscriptions.want(what, start, options)) return;
    if (this.#state === 'open') this.#sendSubscriptions([what]);
  }

  /** Tells that version `have` arrived: a one-time wish is fulfilled, a standing one goes on from there. */
  subscriptionGot(what: string, have: number): void {
    this.#subscriptions.got(what, have);
  }

  /** Renews service tickets now: an OSD refused ours. */
  renewTickets(): void {
    if (
      this.#state !== 'open' ||
      !this.#connection ||
      !this.auth.renewalDue(this.#options.env.clock.now())
    )
      return;
    this.#connection.send(
      outgoing(
        MSG.AUTH,
        encodeWith(authMessage, {
          paxos: NO_PAXOS,
          protocol: this.auth.method,
          payload: this.auth.buildRenewal(),
          monmapEpoch: this.#monMap?.epoch ?? 0,
        }),
      ),
    );
  }

  // ---- session ----

  #hunt(): void {
    if (this.#state === 'closed') return;
    this.#state = 'hunting';
    if (this.#candidates.length === 0) {
      this.#candidates = this.#knownAddrs();
      shuffle(this.#candidates, () => this.#options.env.random.float());
    }
    const target = this.#candidates.shift();
    if (!target) {
      this.#started?.reject(new RadosError('EINVAL', 'no monitor address is known (mon host)'));
      return;
    }
    const name = `mon at ${formatAddr(target)}`;
    this.#log.debug({ mon: name }, 'hunting');
    this.#connection = Connection.connect({
      ...this.#options,
      name,
      target,
      expectedType: ENTITY_TYPE.MON,
      auth: (this.#auth ? [this.#auth] : this.#options.auths).map((auth) => () => {
        this.#tried = auth;
        return auth.monAuth();
      }),
      gid: () => -1n,
      globalSeq: ++this.#globalSeq,
      timeoutMs: this.#huntIntervalMs,
      handler: {
        onReady: (connection) => this.#onReady(connection),
        onMessage: (connection, message) => this.#onMessage(connection, message),
        onClose: (connection, error) => this.#onClose(connection, error),
        onKeepaliveAck: () => {
          this.#lastAck = this.#options.env.clock.monotonic();
        },
      },
    });
  }

  #knownAddrs(): EntityAddr[] {
    const fromMap = this.#monMap
      ? [...this.#monMap.monInfo.values()].map((m) => msgr2Addr(m.publicAddrs))
      : [];
    const known = fromMap.filter((addr) => addr !== undefined);
    return known.length > 0 ? known : [...this.#options.monAddrs];
  }

  #onReady(connection: Connection): void {
    this.#state = 'open';
    this.#ticketGeneration++;
    this.#refusals = 0;
    this.#auth ??= this.#tried;
    this.#openedAt = this.#options.env.clock.monotonic();
    this.#seenAs = connection.peer.seenAs;
    this.#lastAck = this.#options.env.clock.monotonic();
    this.#scheduleTick();
    this.#scheduleRenewal();
    if (!this.#monMap) connection.send(outgoing(MSG.MON_GET_MAP));
    this.#sendSubscriptions(this.#subscriptions.names);
    this.#requests.resend();
  }

  #onClose(connection: Connection, error: Error | undefined): void {
    if (connection !== this.#connection || this.#state === 'closed') return;
    this.#connection = undefined;
    this.#tick?.cancel();
    this.#renewal?.cancel();
    if (error) this.#lastFailure = error;
    if (this.#started && isRadosError(error) && isRefusal(error)) {
      this.#started.reject(error);
      return;
    }
    if (isRadosError(error) && isRefusal(error)) this.#onRefused(error);
    const wasOpen = this.#state === 'open';
    this.#log.info({ mon: connection.name, err: error }, wasOpen ? 'session lost' : 'no session');
    this.#state = 'hunting';
    const stable = wasOpen && this.#options.env.clock.monotonic() - this.#openedAt >= STABLE_MS;
    if (stable) {
      this.#candidates = [];
      this.#huntIntervalMs = HUNT_INTERVAL_MS;
    }
    // The next candidate at once; after a full round without success, wait. A session that broke as soon as it was
    // there is no success: whatever ended it may do so again.
    const delayMs = stable || this.#candidates.length > 0 ? 0 : this.#huntIntervalMs / 3;
    if (delayMs > 0) {
      this.#huntIntervalMs = Math.min(this.#huntIntervalMs * HUNT_BACKOFF, HUNT_INTERVAL_MAX_MS);
    }
    this.#huntTimer = this.#options.env.timers.after(delayMs, () => this.#hunt());
  }

  /**
   * A ticket that went out of date while no monitor could be reached does not entitle to our global id any more. When
   * every monitor has said so, a new identity is the only way on; the old one's locks and watches are lost.
   */
  #onRefused(error: RadosError): void {
    if (!this.#auth || ++this.#refusals < this.#knownAddrs().length) return;
    this.#refusals = 0;
    const id = this.#auth.globalId;
    this.#log.warn({ err: error }, `no monitor takes client.${id} back`);
    this.#auth.reset();
    this.#options.onIdentityLost?.(
      new RadosError('ESTALE', `no monitor takes client.${id} back: ${error.message}`, {
        cause: error,
      }),
    );
  }

  #scheduleTick(): void {
    this.#tick?.cancel();
    this.#tick = this.#options.env.timers.after(PING_INTERVAL_MS, () => {
      const silentMs = this.#options.env.clock.monotonic() - this.#lastAck;
      if (silentMs > PING_TIMEOUT_MS) {
        const name = this.#connection?.name ?? 'mon';
        this.#connection?.close(
          new RadosError('ETIMEDOUT', `${name} did not answer in ${Math.round(silentMs / 1000)} s`),
        );
        return;
      }
      this.#connection?.sendKeepalive();
      this.#scheduleTick();
    });
  }

  #scheduleRenewal(): void {
    this.#renewal?.cancel();
    const { env } = this.#options;
    const auth = this.auth;
    const at = auth.nextRenewal();
    if (at === undefined) return;
    const delayMs = Math.min(Math.max(at - env.clock.now(), 1000), 2 ** 31 - 1);
    this.#renewal = env.timers.after(delayMs, () => {
      if (auth.renewalDue(env.clock.now())) this.renewTickets();
      this.#scheduleRenewal();
    });
  }

  #sendSubscriptions(names: readonly string[]): void {
    const what = this.#subscriptions.encode(names);
    if (what.size === 0) return;
    this.#connection?.send(
      outgoing(
        MSG.MON_SUBSCRIBE,
        encodeWith(monSubscribe, { what, hostname: this.#options.env.hostname }),
        { version: 3 },
      ),
    );
  }

  #onMessage(connection: Connection, message: IncomingMessage): void {
    if (connection !== this.#connection) return;
    switch (message.type) {
      case MSG.MON_MAP:
        this.#onMonMap(message);
        return;
      case MSG.CONFIG:
        this.#config = decodeAll('MConfig', configMessage, message.front).config;
        this.subscriptionGot('config', 0);
        return;
      case MSG.OSD_MAP:
        this.#options.onOsdMap(message.front, message.version);
        return;
      case MSG.AUTH_REPLY: {
        const reply = decodeAll('MAuthReply', authReply, message.front);
        this.auth.onRenewalReply(reply.result, reply.payload);
        this.#ticketGeneration++;
        this.#scheduleRenewal();
        return;
      }
      default:
        if (!this.#requests.onMessage(message)) {
          this.#log.trace({ type: messageName(message.type) }, 'message ignored');
        }
    }
  }

  #onMonMap(message: IncomingMessage): void {
    const { monmap } = decodeAll('MMonMap', monMapMessage, message.front);
    const map = decodeAll('MonMap', monMap, monmap);
    if (this.#monMap && map.fsid !== this.#monMap.fsid) {
      throw new RadosError('EPROTO', `the monitor belongs to another cluster (${map.fsid})`);
    }
    this.#monMap = map;
    this.subscriptionGot('monmap', map.epoch);
    this.#log.debug({ epoch: map.epoch, mons: map.monInfo.size }, 'monmap');
    this.#started?.resolve();
  }

  #whySilent(timeoutMs: number): string {
    return this.#connection && this.#state === 'open'
      ? `${this.#connection.name} did not answer in ${timeoutMs} ms`
      : `no monitor could be reached in ${timeoutMs} ms`;
  }

  #unreachable(timeoutMs: number): RadosError {
    const tried = this.#knownAddrs().map(formatAddr).join(', ');
    const last = this.#lastFailure ? `; last: ${toRadosError(this.#lastFailure).message}` : '';
    return new RadosError(
      'ETIMEDOUT',
      `no monitor of ${tried} answered in ${Math.round(timeoutMs / 1000)} s${last}`,
      { op: 'connect', retryable: true, cause: this.#lastFailure },
    );
  }
}

/** Trying another monitor does not help against these. */
function isRefusal(error: RadosError): boolean {
  return ['EACCES', 'EPERM', 'EKEYREJECTED', 'EOPNOTSUPP'].includes(error.code);
}

function shuffle<T>(items: T[], random: () => number): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j] as T, items[i] as T];
  }
}
