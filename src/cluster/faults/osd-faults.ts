/**
 * What an OSD asks before it acts: the points at which a fault may change what it does.
 *
 * While no fault of a kind is armed its hook is undefined, and costs the OSD one branch.
 */

import type { Environment } from '../../base/environment.js';
import { ERRNO, type ErrnoCode } from '../../base/errors.js';
import { OP, type OsdOp, WATCH_OP } from '../../messages/osd-op.js';
import type { ClientRequest } from '../osd/client-request.js';
import type { OpClass } from '../osd/op-class.js';
import type { ObjectId } from '../store/object-id.js';
import type { ArmedFault } from './armed-fault.js';
import type { ClientIdentity, ClientMatcher } from './client-match.js';
import type { NotifyMessage, OpKind } from './fault-spec.js';
import { HeldActs } from './held-acts.js';
import { OpPoints } from './op-points.js';
import { StorePoints } from './store-points.js';

/** A message of a notify on its way. */
export interface NotifyEvent {
  readonly message: NotifyMessage;
  readonly object: ObjectId;
  /** The watcher, or of a completion the notifier. */
  readonly client: ClientIdentity;
}

export interface OsdFaults {
  /** An errno (positive) to answer with in place of executing, or 0. */
  readonly failOp: ((client: ClientRequest, opClass: OpClass) => number) | undefined;
  /** Takes a reply over: `send` is called later, or never. */
  readonly passReply:
    | ((client: ClientRequest, opClass: OpClass, send: () => void) => void)
    | undefined;
  /** Takes a message of a notify over: `deliver` is called now, later, twice, or never. */
  readonly passNotify: ((event: NotifyEvent, deliver: () => void) => void) | undefined;
  /** At the events of the request pipeline. */
  readonly points: OpPoints;
  /** Where stores acknowledge changes. */
  readonly stores: StorePoints;
}

/** Of which objects and whose. */
export interface ObjectFilter {
  readonly pool: number | undefined;
  readonly namespace: string | undefined;
  readonly object: string | undefined;
  readonly prefix: string | undefined;
  readonly client: ClientMatcher | undefined;
}

export interface OpFilter extends ObjectFilter {
  readonly ops: readonly OpKind[] | undefined;
}

export interface NotifyFilter extends ObjectFilter {
  readonly message: NotifyMessage;
}

type Fate = { what: 'drop' } | { what: 'duplicate' } | { what: 'hold'; ms: number | undefined };

interface Rule<Filter> {
  readonly filter: Filter;
  readonly fault: ArmedFault;
  readonly fate: Fate;
  readonly held: HeldActs;
}

export class OsdFaultRules implements OsdFaults {
  failOp: OsdFaults['failOp'];
  passReply: OsdFaults['passReply'];
  passNotify: OsdFaults['passNotify'];
  readonly points: OpPoints;
  readonly stores: StorePoints;
  readonly #env: Environment;
  readonly #failing = new Set<{ filter: OpFilter; fault: ArmedFault; errno: number }>();
  readonly #replies = new Set<Rule<OpFilter>>();
  readonly #notifies = new Set<Rule<NotifyFilter>>();

  constructor(env: Environment) {
    this.#env = env;
    this.points = new OpPoints(env);
    this.stores = new StorePoints(env);
  }

  /** Each returns what disarms it. */

  fail(fault: ArmedFault, filter: OpFilter, code: ErrnoCode): () => void {
    const rule = { filter, fault, errno: ERRNO[code] };
    this.#failing.add(rule);
    this.#update();
    return () => {
      this.#failing.delete(rule);
      this.#update();
    };
  }

  replies(fault: ArmedFault, filter: OpFilter, fate: Fate): () => void {
    return this.#arm(this.#replies, { filter, fault, fate, held: new HeldActs(this.#env) });
  }

  notifies(fault: ArmedFault, filter: NotifyFilter, fate: Fate): () => void {
    return this.#arm(this.#notifies, { filter, fault, fate, held: new HeldActs(this.#env) });
  }

  /** The cluster ends: what is held stays undone. */
  close(): void {
    for (const { held } of [...this.#replies, ...this.#notifies]) held.discard();
    this.points.close();
    this.stores.close();
    this.#failing.clear();
    this.#replies.clear();
    this.#notifies.clear();
    this.#update();
  }

  #arm<Filter>(rules: Set<Rule<Filter>>, rule: Rule<Filter>): () => void {
    rules.add(rule);
    this.#update();
    return () => {
      rules.delete(rule);
      this.#update();
      rule.held.release();
    };
  }

  #update(): void {
    this.failOp = this.#failing.size === 0 ? undefined : (...request) => this.#fail(...request);
    this.passReply = this.#replies.size === 0 ? undefined : (...reply) => this.#reply(...reply);
    this.passNotify =
      this.#notifies.size === 0
        ? undefined
        : (event, deliver) => {
            const rule = [...this.#notifies].find(
              ({ filter, fault }) =>
                filter.message === event.message &&
                isAbout(filter, event.object, event.client) &&
                fault.fire(),
            );
            undergo(rule, deliver);
          };
  }

  #fail(client: ClientRequest, opClass: OpClass): number {
    for (const { filter, fault, errno } of this.#failing) {
      if (isRequest(filter, client, opClass) && fault.fire()) return errno;
    }
    return 0;
  }

  #reply(client: ClientRequest, opClass: OpClass, send: () => void): void {
    const rule = [...this.#replies].find(
      ({ filter, fault }) => isRequest(filter, client, opClass) && fault.fire(),
    );
    undergo(rule, send);
  }
}

function undergo(rule: Rule<unknown> | undefined, act: () => void): void {
  switch (rule?.fate.what) {
    case undefined:
      act();
      return;
    case 'drop':
      return;
    case 'duplicate':
      act();
      act();
      return;
    case 'hold':
      rule?.held.hold(act, rule.fate.ms);
  }
}

function isAbout(
  filter: ObjectFilter,
  object: Pick<ObjectId, 'pool' | 'nspace' | 'oid'>,
  client: ClientIdentity,
): boolean {
  return isObject(filter, object) && (filter.client === undefined || filter.client(client));
}

export function isObject(
  filter: Omit<ObjectFilter, 'client'>,
  { pool, nspace, oid }: Pick<ObjectId, 'pool' | 'nspace' | 'oid'>,
): boolean {
  return (
    (filter.pool === undefined || filter.pool === pool) &&
    (filter.namespace === undefined || filter.namespace === nspace) &&
    (filter.object === undefined || filter.object === oid) &&
    (filter.prefix === undefined || oid.startsWith(filter.prefix))
  );
}

export function isRequest(
  filter: OpFilter,
  { request, session }: ClientRequest,
  opClass: OpClass,
): boolean {
  const object = {
    pool: request.pg.pool,
    nspace: request.locator.nspace,
    oid: request.oid,
  };
  if (!isAbout(filter, object, session)) return false;
  return (
    filter.ops === undefined ||
    request.ops.some((op) => filter.ops?.includes(kindOf(op, opClass.mayWrite)))
  );
}

const WATCH_KINDS = new Map<number, OpKind>([
  [WATCH_OP.UNWATCH, 'unwatch'],
  [WATCH_OP.LEGACY_WATCH, 'watch'],
  [WATCH_OP.WATCH, 'watch'],
  [WATCH_OP.RECONNECT, 'reconnect'],
  [WATCH_OP.PING, 'ping'],
]);

/** `write` when the vector as a whole may: an assertion beside a write belongs to it. */
function kindOf({ code, arg }: OsdOp, mayWrite: boolean): OpKind {
  if (arg.kind === 'watch') return WATCH_KINDS.get(arg.op) ?? 'watch';
  if (code === OP.NOTIFY) return 'notify';
  if (code === OP.NOTIFY_ACK) return 'notify-ack';
  if (code === OP.CALL) return 'call';
  return mayWrite ? 'write' : 'read';
}
