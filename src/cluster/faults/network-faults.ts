/** The cluster's network, on which connections can be made to fail: by daemon, by client, those of now and those to come. */

import type { Environment, Network, SocketAddress, Stream } from '../../base/environment.js';
import type { ClientIdentity, ClientMatcher } from './client-match.js';
import { FaultyStream } from './faulty-stream.js';
import type { Shaper } from './lane.js';

export interface ConnectionFilter {
  /** `osd.1`, `mon.a`; undefined for all. */
  readonly daemon: string | undefined;
  /** Matches from when the client has authenticated. */
  readonly client: ClientMatcher | undefined;
}

export interface ConnectionRule {
  readonly filter: ConnectionFilter;
  readonly open: boolean;
  readonly later: boolean;
  readonly act:
    | { readonly what: 'reset'; readonly fire: () => boolean }
    | {
        readonly what: 'shape';
        readonly toCluster: Shaper | undefined;
        readonly toClient: Shaper | undefined;
      };
}

interface Accepted {
  readonly daemon: string;
  readonly remote: string;
  readonly stream: FaultyStream;
  client: ClientIdentity | undefined;
}

function keyOf({ host, port }: SocketAddress): string {
  return `${host}:${port}`;
}

export class NetworkFaults {
  readonly #env: Pick<Environment, 'clock' | 'timers' | 'random' | 'network'>;
  readonly #accepted = new Map<FaultyStream, Accepted>();
  readonly #rules = new Set<ConnectionRule>();

  constructor(env: Pick<Environment, 'clock' | 'timers' | 'random' | 'network'>) {
    this.#env = env;
  }

  /** The network as one daemon has it. */
  of(daemon: string): Network {
    const { network } = this.#env;
    return {
      lookup: (host) => network.lookup(host),
      connect: (target, handler, onConnect) => network.connect(target, handler, onConnect),
      listen: (at, accept) =>
        network.listen(at, (stream) => {
          const faulty = this.#accept(daemon, stream);
          return faulty.attach(accept(faulty));
        }),
    };
  }

  /** A daemon knows who is at the other end. */
  identify(daemon: string, remote: SocketAddress, client: ClientIdentity): void {
    const key = keyOf(remote);
    for (const accepted of this.#accepted.values()) {
      if (accepted.daemon !== daemon || accepted.remote !== key || accepted.client) continue;
      accepted.client = client;
      for (const rule of [...this.#rules]) {
        if (rule.later && rule.filter.client && matches(rule, accepted))
          this.#apply(rule, accepted);
      }
    }
  }

  /** Clients that have authenticated, one for each connection. */
  clients(): { daemon: string; client: ClientIdentity }[] {
    return [...this.#accepted.values()].flatMap(({ daemon, client }) =>
      client ? [{ daemon, client }] : [],
    );
  }

  /** Returns what disarms it: connections then go on with what was held back. */
  arm(rule: ConnectionRule): () => void {
    this.#rules.add(rule);
    if (rule.open) this.applyToOpen(rule);
    return () => {
      if (!this.#rules.delete(rule) || rule.act.what !== 'shape') return;
      const { toCluster, toClient } = rule.act;
      for (const { stream } of [...this.#accepted.values()]) stream.unshape(toCluster, toClient);
    };
  }

  /** Again, for what acts once on each connection. */
  applyToOpen(rule: ConnectionRule): void {
    for (const accepted of [...this.#accepted.values()]) {
      if (matches(rule, accepted)) this.#apply(rule, accepted);
    }
  }

  #accept(daemon: string, inner: Stream): FaultyStream {
    const stream = new FaultyStream(inner, this.#env, (gone) => this.#accepted.delete(gone));
    const accepted: Accepted = {
      daemon,
      remote: keyOf(inner.remoteAddress),
      stream,
      client: undefined,
    };
    this.#accepted.set(stream, accepted);
    for (const rule of [...this.#rules]) {
      if (!rule.later || rule.filter.client || !matches(rule, accepted)) continue;
      this.#apply(rule, accepted);
    }
    return stream;
  }

  #apply({ act }: ConnectionRule, { stream }: Accepted): void {
    if (act.what === 'shape') stream.shape(act.toCluster, act.toClient);
    // Not from within the call that accepts it, or that found out who it is.
    else if (act.fire()) this.#env.timers.nextTurn(() => stream.reset('by a fault'));
  }
}

function matches({ filter }: ConnectionRule, { daemon, client }: Accepted): boolean {
  if (filter.daemon !== undefined && filter.daemon !== daemon) return false;
  return filter.client === undefined || (client !== undefined && filter.client(client));
}
