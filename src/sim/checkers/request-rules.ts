/**
 * The rules of what becomes of requests, over what the OSDs of a cluster say of their operations:
 *
 *   P10  an attempt is answered once at most
 *   P11  a write is answered when all members of its PG have it
 *   P12  whoever answers a write, and how often: the same version, and the same user version
 *   P13  the same result too, whatever has become of the object
 *   P14  nothing is read of a write that is not committed
 *   P15  nothing is executed by a map that is older than the request's
 *   P16  nothing is executed of a client that is fenced
 *   P19  an operation has one end: an answer, or none for a reason
 *   P26  nothing is executed of an object that is being recovered
 */

import { ClientOp } from '../../cluster/osd/client-op.js';
import type { ClientSession } from '../../cluster/osd/client-request.js';
import type { LogEvent } from '../../cluster/osd/pipeline/event-log.js';
import type { PipelineWorld } from '../../cluster/osd/pipeline/world.js';
import type { EntityAddr } from '../../encoding/entity.js';
import type { PgId } from '../../encoding/types.js';
import type { OsdReply } from '../../messages/osd-messages.js';

/** What can be seen of the OSD that speaks, and of its peers. */
export interface OsdSight {
  readonly epoch: number;
  isBlocklisted(addr: EntityAddr): boolean;
  /** The newest version that each live member of a PG has. */
  membersHave(pg: PgId): readonly { osd: number; version: bigint }[];
}

interface Answered {
  readonly version: bigint;
  readonly userVersion: bigint;
  readonly result: number;
}

const VIOLATIONS_MAX = 20;
/** Writes whose answers are remembered. */
const ANSWERED_MAX = 20_000;
/** Of one request on one connection; more are told from one another no more. */
const ATTEMPTS_MAX = 1024;
/** Of one operation, likewise. */
const INSTANCES_MAX = 1024;

/** Of one cluster: a write may be answered by one OSD and again by another. */
export class RequestRules {
  readonly violations: string[] = [];
  /** By pool, and by whose request it was. */
  readonly #answered = new Map<number, Map<string, Answered>>();
  /** Of each connection, by transaction and attempt. */
  readonly #attempts = new WeakMap<ClientSession, Set<number>>();
  /** Submitted and not answered, by object. */
  readonly #writing = new Map<string, Set<ClientOp>>();
  /** The objects that they write. */
  readonly #objects = new Map<ClientOp, string>();
  /** The instances of each OSD's operations that have ended. Numbers: of all operations of a run they would be a burden to the garbage collector. */
  readonly #over = new WeakMap<PipelineWorld, Set<number>>();

  feed({ ev, handle }: LogEvent, sight: OsdSight): void {
    if (!(handle instanceof ClientOp)) return;
    if (ev === 'execute') this.#execute(handle, sight);
    else if (ev === 'submit') this.#submit(handle);
    else if (ev === 'reply') this.#reply(handle, sight);
    else if (ev === 'drop') this.#end(handle);
    if (ev === 'reply' || ev === 'drop' || ev === 'interrupt') this.#settle(handle);
  }

  #execute(op: ClientOp, sight: OsdSight): void {
    const { session, request } = op.client;
    this.#check('P15', sight.epoch >= request.epoch, op);
    this.#check('P16', !sight.isBlocklisted(session.addr), op);
    this.#check('P26', op.lane?.recovery === undefined, op);
    if (!op.reads || this.#writing.size === 0) return;
    const writers = [...(this.#writing.get(objectOf(op)) ?? [])];
    const dirty = writers.some(({ committed, ended }) => !committed && !ended);
    this.#check('P14', !dirty, op);
  }

  #reply(op: ClientOp, sight: OsdSight): void {
    this.#end(op);
    const reply = op.reply as OsdReply;
    this.#checkAttempt(op);
    const version = reply.replayVersion.version;
    if (!op.opClass.mayWrite || version === 0n) return;
    if (op.submitted) this.#checkMembers(op, version, sight);
    this.#checkSame(op, { version, userVersion: reply.userVersion, result: reply.result });
  }

  #checkAttempt(op: ClientOp): void {
    const { session, tid, request } = op.client;
    const attempts = this.#attempts.get(session) ?? new Set();
    this.#attempts.set(session, attempts);
    const attempt = tid * ATTEMPTS_MAX + request.retryAttempt;
    this.#check('P10', !attempts.has(attempt), op);
    attempts.add(attempt);
    if (attempts.size > ANSWERED_MAX) attempts.clear();
  }

  #checkMembers(op: ClientOp, version: bigint, sight: OsdSight): void {
    const late = sight.membersHave(op.client.request.pg).find((member) => member.version < version);
    this.#check('P11', op.committed && !late, op);
  }

  #checkSame(op: ClientOp, answer: Answered): void {
    const { pool } = op.client.request.pg;
    const answered = this.#answered.get(pool) ?? new Map<string, Answered>();
    this.#answered.set(pool, answered);
    const key = op.key as string;
    const before = answered.get(key);
    if (before) {
      const isSame = before.version === answer.version && before.userVersion === answer.userVersion;
      // A write that failed changed nothing that would have a version: who asks again is told where the PG is by then.
      this.#check('P12', isSame || answer.result < 0, op);
      this.#check('P13', before.result === answer.result, op);
    } else {
      if (answered.size > ANSWERED_MAX) answered.clear();
      answered.set(key, answer);
    }
  }

  #end(op: ClientOp): void {
    const { world, id, instance } = op;
    const over = this.#over.get(world) ?? new Set();
    this.#over.set(world, over);
    const key = id * INSTANCES_MAX + instance;
    this.#check('P19', !over.has(key), op);
    over.add(key);
    if (over.size > ANSWERED_MAX) over.clear();
  }

  #submit(op: ClientOp): void {
    const object = objectOf(op);
    const writers = this.#writing.get(object) ?? new Set();
    this.#writing.set(object, writers);
    writers.add(op);
    this.#objects.set(op, object);
  }

  /** It writes no more. */
  #settle(op: ClientOp): void {
    const object = this.#objects.get(op);
    if (object === undefined) return;
    this.#objects.delete(op);
    const writers = this.#writing.get(object);
    writers?.delete(op);
    if (writers?.size === 0) this.#writing.delete(object);
  }

  #check(rule: string, holds: boolean, op: ClientOp): void {
    if (holds || this.violations.length >= VIOLATIONS_MAX) return;
    this.violations.push(
      `${rule}: osd.${op.world.osd}, instance ${op.instance} of ${op.description}`,
    );
  }
}

function objectOf({ world, client: { request } }: ClientOp): string {
  const { pg, locator, oid } = request;
  return `${world.osd} ${pg.pool}.${pg.seed} ${locator.nspace}/${oid}`;
}
