/**
 * A client's operation: one instance of it, from its arrival to its answer or to the end of the interval, which makes it go
 * on as the next instance.
 */

import type { Place } from '../../base/linked-list.js';
import { formatAddr, formatEntityName } from '../../encoding/entity.js';
import type { Hobject } from '../../encoding/types.js';
import { OSD_FLAG, type OsdReply } from '../../messages/osd-messages.js';
import type { OsdFaults } from '../faults/osd-faults.js';
import {
  type ClientRequest,
  type ClientSession,
  headOf,
  requestId,
  requestIdKey,
  sendReply,
} from './client-request.js';
import type { Interval } from './interval.js';
import type { OpClass } from './op-class.js';
import type { CopySource, OpContext } from './op-context.js';
import { describeRequest } from './op-description.js';
import type { OpTracker } from './op-tracker.js';
import { Handle } from './pipeline/handle.js';
import { headKey, type ObjectId } from '../store/object-id.js';
import type { ObjectLane, PgPipeline } from './pipeline/pg-pipeline.js';
import type { PipelineWorld } from './pipeline/world.js';

/** How an instance ended. */
export interface InstanceEnd {
  readonly no: number;
  readonly interval: number;
  readonly ended: string;
}

export interface OpOrigin {
  readonly world: PipelineWorld;
  readonly tracker: OpTracker;
  readonly client: ClientRequest;
  readonly opClass: OpClass;
}

export class ClientOp extends Handle {
  readonly id: number;
  readonly instance: number;
  readonly opClass: OpClass;
  /** Monotonic: when the first instance arrived. */
  readonly since: number;
  readonly earlier: readonly InstanceEnd[];
  /** The newest attempt: a resend of what is under way takes the place of the attempt before. */
  client: ClientRequest;
  /** Of writes only, from G1 on: what a resend is recognised by. */
  readonly key: string | undefined;
  interval: Interval | undefined;
  /** Among those of its PG that were not answered, from G1 on. */
  live: Place<ClientOp> | undefined;
  lane: ObjectLane | undefined;
  /** What it will be refused with, known before its object is looked at. */
  errno = 0;
  /** The operation of its vector that was waiting for something when it was given up. */
  unfinished: number | undefined;
  /** A damaged copy has been replaced for it. */
  repaired = false;
  submitted = false;
  /** Something is done to its object for it, in its lane, which it must not leave before that has ended. */
  pinned = false;
  committed = false;
  reply: OsdReply | undefined;
  /** Of a vector that succeeded: its effects come before the reply. */
  context: OpContext | undefined;
  /** Of an instance before it that was submitted: its effects, if the log has its change after all. */
  readonly submittedBefore: OpContext | undefined;
  sources: ReadonlyMap<number, CopySource> | undefined;
  /** Age at which it is complained of next, milliseconds. */
  complainMs = 0;
  readonly #tracker: OpTracker;
  /** Among those in flight: of the operation, whichever its instance. */
  readonly place: Place<ClientOp>;
  #pipeline: PgPipeline | undefined;
  #head: ObjectId | undefined;

  constructor(origin: OpOrigin, before?: ClientOp) {
    super(origin.world);
    this.#tracker = origin.tracker;
    this.client = origin.client;
    this.opClass = origin.opClass;
    if (before) {
      this.id = before.id;
      this.instance = before.instance + 1;
      this.since = before.since;
      this.key = before.key;
      this.complainMs = before.complainMs;
      this.place = before.place;
      this.place.value = this;
      this.submittedBefore = before.submitted ? before.context : before.submittedBefore;
      this.earlier = [
        ...before.earlier,
        { no: before.instance, interval: before.interval?.since ?? 0, ended: 'interrupted' },
      ];
    } else {
      this.id = origin.tracker.nextId();
      this.instance = 1;
      this.since = this.running;
      this.key = origin.opClass.mayWrite ? requestIdKey(requestId(origin.client)) : undefined;
      this.earlier = [];
      this.place = origin.tracker.add(this);
    }
  }

  /** Shares `process` with other reads of its object, where the mode has it so. */
  override get shares(): boolean {
    const { mayWrite, ordered, pgOp } = this.opClass;
    const rwOrdered = (this.client.request.flags & OSD_FLAG.RWORDERED) !== 0;
    return !mayWrite && !ordered && !pgOp && !rwOrdered;
  }

  /** Its client lets any member serve it. */
  get isForAnyMember(): boolean {
    const anyMember = OSD_FLAG.BALANCE_READS | OSD_FLAG.LOCALIZE_READS;
    return !this.opClass.mayWrite && (this.client.request.flags & anyMember) !== 0;
  }

  /** Must see nothing that is not committed. */
  get reads(): boolean {
    return !this.opClass.mayWrite && !this.opClass.ordered;
  }

  protected override get over(): boolean {
    return this.interval?.ended === true;
  }

  /** Where its object stands in the order of its PG: the head, whatever snapshot it is about. */
  get position(): Hobject {
    const { pool, nspace, oid, key, hash, snap } = this.head;
    return { key, oid, snap, hash, max: 0, nspace, pool: BigInt(pool) };
  }

  /** Its client has been asked to wait with it: it will come again. */
  get heldBack(): boolean {
    const { backoffs } = this.session;
    if (!backoffs || backoffs.size === 0) return false;
    return backoffs.holds(this.client.request.pg, this.position);
  }

  get session(): ClientSession {
    return this.client.session;
  }

  /** The object that it names. */
  get head(): ObjectId {
    this.#head ??= headOf(this.client);
    return this.#head;
  }

  /** Comes to its object's lane, whose it is until it ends. */
  takeLane(pipeline: PgPipeline): ObjectLane {
    this.#pipeline = pipeline;
    this.lane = pipeline.enter(headKey(this.head));
    return this.lane;
  }

  /** The interval ended. What goes on is another instance, which has the place of this one in the order of arrival. */
  interrupt(): ClientOp {
    this.happened('interrupt');
    this.abort();
    const { world, client, opClass } = this;
    return new ClientOp({ world, tracker: this.#tracker, client, opClass }, this);
  }

  /** There will be no answer. */
  drop(reason: string): void {
    if (this.ended) return;
    this.world.log?.add('drop', this, reason);
    this.happened('drop');
    this.abort();
    this.live?.leave();
    this.client.release();
    this.#tracker.ended(this, `dropped: ${reason}`);
  }

  /** An earlier attempt is under way and will answer in its place. */
  attached(): void {
    this.world.log?.add('drop', this, 'attached');
    this.abort();
    this.#tracker.ended(this, 'attached to an earlier attempt');
  }

  /** Sends its reply, and is done. */
  answer(faults: OsdFaults | undefined): void {
    // A newer attempt may have come meanwhile: it is the one to answer.
    const { client, opClass } = this;
    const reply = this.reply as OsdReply;
    reply.retryAttempt = client.request.retryAttempt;
    this.world.log?.add('reply', this);
    const passReply = faults?.passReply;
    if (passReply) passReply(client, opClass, () => sendReply(client, reply));
    else sendReply(client, reply);
    this.complete(ClientOp.#gone);
  }

  static readonly #gone = (op: ClientOp): void => {
    op.#leaveLane();
    op.#tracker.ended(op, 'replied');
  };

  override abort(): void {
    if (this.ended) return;
    super.abort();
    this.#leaveLane();
  }

  #leaveLane(): void {
    const { lane } = this;
    this.lane = undefined;
    if (lane) this.#pipeline?.leave(lane);
  }

  get description(): string {
    return describeRequest(this.client);
  }

  /** Whose phases C1 to C3 it goes through. */
  get connection(): string {
    return `${formatEntityName(this.session.name)} ${formatAddr(this.session.addr)}`;
  }
}
