/**
 * A client's request at an active PG, from the door to the answer:
 *
 *   get_obc      caps, validation; it takes its place in the lane of its object
 *   process      fence, recovery, duplicates, blockers, uncommitted writes; then it executes and is submitted
 *   wait_repop   until all members have committed
 *   send_reply   effects beside the object, the answer
 *
 * Whatever an operation waits for in `process`, it looks at everything again afterwards: what executes is kept by nothing at
 * that moment.
 */

import { ERRNO, isRadosError } from '../../base/errors.js';
import { formatPgId, type PgId } from '../../encoding/types.js';
import { OSD_FLAG, type OsdReply } from '../../messages/osd-messages.js';
import { atSnap, formatObject, type ObjectId } from '../store/object-id.js';
import { type ClientOp } from './client-op.js';
import type { ClientRequest } from './client-request.js';
import type { CopySources } from './copy-sources.js';
import { errorReply, type Outcome } from './executor.js';
import { noBlockers, type ObjectBlockers } from './object-blockers.js';
import type { ObjectRecovery } from './object-recovery.js';
import type { OpClass } from './op-class.js';
import type { PgView } from './op-context.js';
import { OsdCaps } from './osd-caps.js';
import type { PgChange } from './osd-peer.js';
import type { PgHost } from './pg-host.js';
import { executePgOps } from './pg-listing.js';
import type { PgStorage } from './pg-storage.js';
import type { PgWatches } from './pg-watches.js';
import { snapSetOf } from './snapshots.js';
import { Blocker } from './pipeline/blocker.js';
import type { ScrubListing } from './scrub/scrub-listing.js';
import type { ObjectLane, PgPipeline } from './pipeline/pg-pipeline.js';

export interface RequestPathOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  readonly pipeline: PgPipeline;
  readonly view: PgView;
  readonly watches: PgWatches;
  readonly recovery: ObjectRecovery;
  readonly copySources: CopySources;
  readonly scrubs: () => ScrubListing;
  /** Applies a change at all members; `done` runs when they have it, unless the interval ended first. */
  readonly commit: (object: ObjectId, change: PgChange, done: () => void) => void;
}

type Commit = Extract<Outcome, { kind: 'commit' }>;

const NO_APPLICATIONS: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map();

export class RequestPath {
  readonly blockers: ObjectBlockers = noBlockers();
  readonly #options: RequestPathOptions;
  readonly #host: PgHost;
  readonly #pipeline: PgPipeline;
  readonly #view: PgView;
  readonly #recovery: ObjectRecovery;

  constructor(options: RequestPathOptions) {
    this.#options = options;
    this.#host = options.host;
    this.#pipeline = options.pipeline;
    this.#view = options.view;
    this.#recovery = options.recovery;
  }

  /** Of an operation whose turn to leave G1 comes next. */
  start(op: ClientOp): void {
    const { recoverMissing } = this.#pipeline;
    if (recoverMissing) op.enter(recoverMissing, this.#recoverMissing);
    else op.enter(this.#pipeline.door, this.#door);
  }

  // ---- the door ----

  readonly #recoverMissing = (op: ClientOp): void => {
    if (this.#leftToClient(op)) return;
    const blocker = op.opClass.pgOp ? undefined : this.#recoveryOf(op, this.#lane(op));
    if (blocker) op.waitFor(blocker, this.#recoverMissing);
    else op.enter(this.#pipeline.door, this.#door);
  };

  readonly #door = (op: ClientOp): void => {
    const { client, opClass } = op;
    const allowed = opClass.errno !== 0 || this.#allowed(client, opClass);
    if (!allowed) op.errno = -ERRNO.EPERM;
    else if (!opClass.pgOp || opClass.errno !== 0) {
      op.errno = this.#host.executor.validate(this.#view, client, opClass);
    }
    if (opClass.pgOp) op.enter(this.#pipeline.pgProcess, this.#processPgOp);
    else op.enter(this.#lane(op).process, this.#process);
  };

  #lane(op: ClientOp): ObjectLane {
    return op.lane ?? op.takeLane(this.#pipeline);
  }

  #allowed({ session, request }: ClientRequest, { needs, calls }: OpClass): boolean {
    const { pool: poolId } = this.#options.pg;
    const { poolName, pools } = this.#host.view.map;
    const target = {
      poolName: poolName.get(poolId) ?? '',
      nspace: request.locator.nspace,
      oid: request.oid,
      applications: pools.get(poolId)?.applicationMetadata ?? NO_APPLICATIONS,
      host: session.addr.host,
    };
    return OsdCaps.parse(session.caps).allows(target, needs, calls);
  }

  readonly #processPgOp = (op: ClientOp): void => {
    const whole = op.errno === 0 ? this.#recovery.wholeBlocker() : undefined;
    if (whole) {
      void whole.then(() => op.unblock());
      op.wait('missing', 'objects of the PG', this.#processPgOp);
      return;
    }
    op.reply =
      op.errno === 0
        ? executePgOps(this.#view, op.client, this.#options.scrubs())
        : errorReply(this.#view, op.client, op.errno);
    op.pass('reply', this.#send);
  };

  // ---- process ----

  readonly #process = (op: ClientOp): void => {
    const { client, opClass } = op;
    if (op.errno !== 0) {
      this.#answerError(op, op.errno);
      return;
    }
    if (client.session.closed && op.instance === 1) {
      op.drop('session closed');
      return;
    }
    if (this.#leftToClient(op)) return;
    if (this.#host.view.map.isBlocklisted(client.session.addr)) {
      this.#answerError(op, -ERRNO.EBLOCKLISTED);
      return;
    }
    const lane = op.lane as ObjectLane;
    const recovery = this.#recoveryOf(op, lane);
    if (recovery) {
      op.waitFor(recovery, this.#process);
      return;
    }
    const logged = op.key !== undefined ? this.#options.storage.duplicates.find(op.key) : undefined;
    if (logged) {
      op.context = op.submittedBefore;
      this.#answer(op, errorReply(this.#view, client, logged.result, logged));
      return;
    }
    // What was done before is not what fails: an error would say that it had not been.
    const failOp = this.#host.faults?.failOp;
    const injected = failOp ? failOp(client, opClass) : 0;
    if (injected !== 0) {
      this.#answerError(op, -injected);
      return;
    }
    const blocker = this.#blocker(op, lane);
    if (blocker) op.waitFor(blocker, this.#process);
    else if (!op.sources && client.request.ops.some(isCopy)) this.#fetchSources(op);
    else op.pass('submit', this.#execute, this.#process);
  };

  #blocker(op: ClientOp, lane: ObjectLane): Blocker | undefined {
    const { head, opClass } = op;
    return (
      this.blockers.scrub(head, opClass) ??
      this.blockers.metalock(head, opClass) ??
      (op.reads && lane.uncommitted > 0 ? lane.commits : undefined)
    );
  }

  /** Its object is one that nobody has: the client keeps it until somebody does. False: it is here to stay. */
  #leftToClient(op: ClientOp): boolean {
    if (op.heldBack) {
      op.drop('held back');
      return true;
    }
    const { backoffs } = op.session;
    const unfound = op.opClass.pgOp ? undefined : this.#recovery.unfoundBlocker(this.#lane(op).key);
    if (!unfound || !backoffs) return false;
    const { position } = op;
    const sent = backoffs.block(this.#options.pg, { begin: position, end: position }, unfound);
    if (sent) op.drop('sent away');
    return sent;
  }

  /** Recovers the object, when the operation cannot do without. Operations that are in `process` together share it. */
  #recoveryOf(op: ClientOp, lane: ObjectLane): Blocker | undefined {
    op.pinned = false;
    const recovery = this.#recovery;
    let blocker = lane.recovery;
    if (!blocker) {
      // With nowhere else to wait it waits here for somebody to turn up.
      const orUnfound = recovery.unfoundBlocker(lane.key) === undefined;
      const pending = recovery.blocker(lane.key, op.opClass.mayWrite, orUnfound);
      if (!pending) return undefined;
      const type = recovery.isMissing(lane.key) ? 'missing' : 'degraded';
      const current = new Blocker(type, op.client.request.oid);
      const lift = () => {
        if (lane.recovery === current) lane.recovery = undefined;
        current.lift();
      };
      pending.then(lift, lift);
      lane.recovery = current;
      blocker = current;
    }
    op.pinned = true;
    return blocker;
  }

  #fetchSources(op: ClientOp): void {
    op.wait('copy_source', '', this.#process);
    void this.#options.copySources.fetch(this.#view, op.client).then((fetched) => {
      if (op.ended) return;
      if ('sources' in fetched) op.sources = fetched.sources;
      else {
        op.errno = fetched.failed.errno;
        op.unfinished = fetched.failed.index;
      }
      op.unblock();
    });
  }

  readonly #execute = (op: ClientOp): void => {
    op.world.log?.add('execute', op);
    const outcome = this.#host.executor.execute(this.#view, op);
    switch (outcome.kind) {
      case 'drop':
        op.drop('the pool is full');
        return;
      case 'reply':
        op.context = outcome.context;
        this.#answer(op, outcome.reply);
        return;
      case 'damaged':
        this.#damaged(op, outcome.reply);
        return;
      case 'commit':
        this.#submit(op, outcome);
    }
  };

  /**
   * The disk has lost something of the object: another member's copy takes its place, and the operation executes again
   * (`PrimaryLogPG::rep_repair_primary_object`). Where there is no other, the client is told. That is no result of a write
   * that a resend would have to get again: the copy may come with a member.
   */
  #damaged(op: ClientOp, reply: OsdReply): void {
    const lane = op.lane as ObjectLane;
    // Others' copies may be older than this one until then.
    if (lane.uncommitted > 0) op.waitFor(lane.commits, this.#process);
    else if (this.#replaceDamaged(op)) this.#process(op);
    else this.#answer(op, reply);
  }

  /** Once for each operation. False: no other member has a copy. */
  #replaceDamaged(op: ClientOp): boolean {
    if (op.repaired) return false;
    op.repaired = true;
    const { storage, pg } = this.#options;
    const { store, log } = this.#host;
    const { head } = op;
    const { clones } = snapSetOf(store, storage.collection, head);
    const damaged = [head, ...clones.map(({ id }) => atSnap(head, id))].filter(
      (id) => store.dump(storage.collection, id)?.damaged,
    );
    for (const id of damaged) {
      log.error({ pg: formatPgId(pg), object: formatObject(id) }, 'a copy of an object is damaged');
    }
    return this.#recovery.replace(damaged);
  }

  #submit(op: ClientOp, { ops, entry, reply, context }: Commit): void {
    const change = { ops, entry };
    if (!this.#options.storage.hasRoomFor(change)) {
      this.#refuseForRoom(op);
      return;
    }
    try {
      this.#options.commit(op.head, change, () => {
        op.committed = true;
        op.unblock();
      });
    } catch (error) {
      // Nothing has changed: a damaged block of which a part would have to be kept.
      if (!isRadosError(error)) throw error;
      const failed = errorReply(this.#view, op.client, error.errno);
      if (error.code === 'EIO') this.#damaged(op, failed);
      else this.#answer(op, failed);
      return;
    }
    op.submitted = true;
    op.context = context;
    op.world.log?.add('submit', op);
    this.#answer(op, reply);
  }

  /**
   * As `PrimaryLogPG` has it when a pool is full: who asked for the answer gets it; from others the request comes again when
   * a map comes without the flag, which is why they must hear of the one that has it.
   */
  #refuseForRoom(op: ClientOp): void {
    const { session, request } = op.client;
    const known = this.#host.reportFull();
    if (request.flags & (OSD_FLAG.FULL_TRY | OSD_FLAG.FULL_FORCE)) {
      this.#answerError(op, -ERRNO.ENOSPC);
      return;
    }
    op.drop('no room');
    known.then(
      () => this.#host.shareMap(session),
      (error: unknown) => this.#host.log.warn({ err: error }, 'the monitor does not take a report'),
    );
  }

  #answerError(op: ClientOp, errno: number): void {
    const reply = errorReply(this.#view, op.client, errno);
    // The operation that was waiting for something when the vector was given up.
    const waiting = op.unfinished === undefined ? undefined : reply.ops[op.unfinished];
    if (waiting) waiting.rval = -ERRNO.EINPROGRESS;
    this.#answer(op, reply);
  }

  // ---- the answer ----

  #answer(op: ClientOp, reply: OsdReply): void {
    op.reply = reply;
    op.enter((op.lane as ObjectLane).waitRepop, this.#waitRepop);
  }

  readonly #waitRepop = (op: ClientOp): void => {
    if (op.submitted && !op.committed) op.wait('repop', '', this.#committed);
    else op.enter((op.lane as ObjectLane).sendReply, this.#sendReply);
  };

  readonly #committed = (op: ClientOp): void => {
    op.world.log?.add('commit', op);
    op.pass('commit', this.#toReply);
  };

  readonly #toReply = (op: ClientOp): void =>
    op.enter((op.lane as ObjectLane).sendReply, this.#sendReply);

  readonly #sendReply = (op: ClientOp): void => op.pass('reply', this.#send);

  readonly #send = (op: ClientOp): void => {
    const { client, context } = op;
    op.live?.leave();
    if (context) this.#options.watches.apply(context, client.session);
    op.answer(this.#host.faults);
  };
}

function isCopy({ arg }: { arg: { kind: string } }): boolean {
  return arg.kind === 'copyFrom';
}
