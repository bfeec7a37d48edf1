// Operations of clients that never were, with whatever has become of them, to show checkers what they should refuse.

import { ClientOp } from '../../../../../src/cluster/osd/client-op.js';
import type { ClientRequest } from '../../../../../src/cluster/osd/client-request.js';
import { Interval } from '../../../../../src/cluster/osd/interval.js';
import type { OpClass } from '../../../../../src/cluster/osd/op-class.js';
import { OpTracker } from '../../../../../src/cluster/osd/op-tracker.js';
import { PgPipeline } from '../../../../../src/cluster/osd/pipeline/pg-pipeline.js';
import { BLANK_ADDR } from '../../../../../src/encoding/entity.js';
import { NOSNAP } from '../../../../../src/encoding/types.js';
import type { OsdReply } from '../../../../../src/messages/osd-messages.js';
import type { OsdOp } from '../../../../../src/messages/osd-op.js';
import { World } from './lane-world.js';

export interface PlantedOp {
  tid?: number;
  retryAttempt?: number;
  oid?: string;
  epoch?: number;
  write?: boolean;
  submitted?: boolean;
  committed?: boolean;
  version?: bigint;
  userVersion?: bigint;
  result?: number;
  ops?: readonly OsdOp[];
  /** Of the operations of the answer. */
  rvals?: readonly number[];
}

const PG = { pool: 1, seed: 0 };

/** One PG of one OSD, in one interval. */
export class Planted {
  readonly world = new World();
  readonly interval = new Interval({ epoch: 5, isKnown: true });
  readonly pipeline = new PgPipeline(this.world, 'object', '1.0');
  readonly #tracker = new OpTracker();
  readonly session = {
    ...{ name: { type: 8, num: 7n }, addr: BLANK_ADDR, caps: '', closed: false },
    backoffs: undefined,
    close: () => {},
    send: () => {},
  };

  op(planted: PlantedOp = {}, before?: ClientOp): ClientOp {
    const { tid = 1, retryAttempt = 0, oid = 'o', epoch = 5, write = true } = planted;
    const request = {
      ...{ pg: PG, shard: -1, hash: 0, epoch, flags: 0, oid, ops: planted.ops ?? [], retryAttempt },
      ...{ mtime: { sec: 0, nsec: 0 }, snapid: NOSNAP, snapContext: { seq: 0n, snaps: [] } },
      locator: { pool: 1, key: '', nspace: '', hash: -1 },
      ...{ features: 0n, reqid: { type: 0, num: 0n, tid: 0, inc: 0 }, clientInc: 0 },
    };
    const client = { session: this.session, request, tid, release: () => {} };
    const opClass: OpClass = {
      ...{ mayWrite: write, pgOp: false, ordered: false, needs: 0, calls: [], errno: 0 },
    };
    const op = new ClientOp(
      {
        ...{ world: this.world, tracker: this.#tracker, opClass },
        client: client as unknown as ClientRequest,
      },
      before,
    );
    op.interval = this.interval;
    op.takeLane(this.pipeline);
    op.submitted = planted.submitted ?? write;
    op.committed = planted.committed ?? write;
    op.reply = {
      replayVersion: { version: planted.version ?? (write ? 10n : 0n), epoch: 5 },
      userVersion: planted.userVersion ?? 10n,
      result: planted.result ?? 0,
      ops: (planted.rvals ?? []).map((rval) => ({ rval })),
    } as OsdReply;
    return op;
  }
}
