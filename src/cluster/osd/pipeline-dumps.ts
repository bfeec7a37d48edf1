/**
 * What an OSD is at, as its admin socket tells: operations in flight, where they are and what holds them up.
 *
 * Operations are shown as Ceph shows them (`OpRequest::_dump`), and beside it by phase.
 */

import {
  type EntityAddr,
  formatAddr,
  formatEntityName,
  entityTypeName,
} from '../../encoding/entity.js';
import { formatPgId, utimeFromMs } from '../../encoding/types.js';
import type { Json } from '../mon/formatter.js';
import { formatTime } from '../mon/times.js';
import { formatHobject } from '../../osdmap/hobject-order.js';
import type { Backoff } from './backoffs.js';
import type { ClientOp } from './client-op.js';
import { COMPLAINT_MS, type FinishedOp, HISTORY_MAX } from './op-tracker.js';
import { type Phase, WAIT_LIMITS_MS } from './pipeline/phase.js';
import type { PipelineWorld } from './pipeline/world.js';
import type { Watch } from './watches.js';

/** Seconds, to a microsecond. */
export const seconds = (ms: number) => Math.round(ms * 1000) / 1e6;

/** `osd_op_history_duration`; what is kept here is not so old or as many. */
const HISTORY_DURATION_S = 600;
/** `osd_op_history_slow_op_threshold` */
const SLOW_THRESHOLD_S = 10;

export function dumpOp(op: ClientOp, now: number, age = now - op.since): { [key: string]: Json } {
  const { request, receivedMs, session, tid } = op.client;
  const passages = op.passages();
  const { block } = op;
  return {
    description: op.description,
    initiated_at: formatTime(utimeFromMs(receivedMs)),
    age: seconds(age),
    duration: seconds(now - op.since),
    type_data: {
      flag_point: block ? 'delayed' : op.submitted ? 'waiting for sub ops' : flagPoint(op),
      client_info: {
        client: formatEntityName(session.name),
        client_addr: formatAddr(session.addr),
        tid,
      },
      events: dumpEvents(op, now),
    },
    op_type: 'client_request',
    id: op.id,
    instance: op.instance,
    domain: {
      conn: op.connection,
      pg: formatPgId(request.pg),
      object: request.oid,
    },
    current: {
      phase: op.phase?.name ?? passages.at(-1)?.name ?? '',
      ...(block
        ? {
            blocked_on: {
              type: block.type,
              detail: block.detail,
              since: seconds(block.since - op.since),
            },
          }
        : {}),
    },
    phases: passages.map(({ name, enter, entered }, i) => {
      const left = passages[i + 1]?.enter ?? now;
      const blocked = op.blocks
        .filter(({ phase, since }) => phase === name && since >= enter && since <= left)
        .map(({ type, detail, since, until }) => ({
          type,
          ...(detail === '' ? {} : { detail }),
          for: seconds((until ?? now) - since),
        }));
      return {
        name,
        wait: seconds((entered ?? left) - enter),
        in: seconds(entered === undefined ? 0 : left - entered),
        ...(blocked.length > 0 ? { blocked } : {}),
      };
    }),
    instances: op.earlier.map(({ no, interval, ended }) => ({ no, interval, ended })),
    flag_point: block ? `waiting_for_${block.type}` : op.submitted ? 'submitted' : 'started',
  };
}

/** `OpRequest::state_string` */
function flagPoint(op: ClientOp): string {
  const phase = op.phase?.name ?? '';
  if (phase.startsWith('C') || phase.startsWith('S')) return 'queued for pg';
  return phase.startsWith('G') ? 'reached pg' : 'started';
}

/** The phases at which Ceph's own events happen. */
const EVENT_OF_PHASE: Readonly<Record<string, string>> = {
  'C3.get_pg_mapping': 'dispatched',
  'S1.create_or_wait_pg': 'queued_for_pg',
  'G1.wait_pg_ready': 'reached_pg',
  'G1.wait_for_active': 'reached_pg',
  'O1.process': 'started',
  pg_process: 'started',
};

function dumpEvents(op: ClientOp, now: number): Json {
  const events: { event: string; at: number }[] = [{ event: 'initiated', at: op.since }];
  for (const { name, enter, entered } of op.passages()) {
    const event = EVENT_OF_PHASE[name];
    if (event && entered !== undefined) events.push({ event, at: entered });
    if (name !== 'O3.send_reply' || !op.committed) continue;
    events.push({ event: 'op_commit', at: enter });
    if (entered !== undefined) events.push({ event: 'commit_sent', at: entered });
  }
  for (const { type, since } of op.blocks) events.push({ event: `waiting for ${type}`, at: since });
  events.sort((a, b) => a.at - b.at);
  if (op.ended) events.push({ event: 'done', at: now });
  const { receivedMs } = op.client;
  return events.map(({ event, at }, i) => ({
    event,
    time: formatTime(utimeFromMs(receivedMs + at - op.since)),
    duration: seconds(event === 'done' ? at - op.since : (events[i + 1]?.at ?? now) - at),
  }));
}

export function dumpOps(ops: readonly ClientOp[], now: number, complaints: number): Json {
  return { ops: ops.map((op) => dumpOp(op, now)), num_ops: ops.length, complaints };
}

export function dumpBlockedOps(ops: readonly ClientOp[], now: number): Json {
  return {
    ops: ops.map((op) => dumpOp(op, now)),
    complaint_time: COMPLAINT_MS / 1000,
    num_blocked_ops: ops.length,
  };
}

const dumpFinished = (finished: readonly FinishedOp[], now: number): Json =>
  finished.map(({ op, ended, how }) => ({ ...dumpOp(op, ended, now - op.since), ended: how }));

export function dumpHistory(finished: readonly FinishedOp[], now: number): Json {
  return { size: HISTORY_MAX, duration: HISTORY_DURATION_S, ops: dumpFinished(finished, now) };
}

/** Only those that took long. */
export function dumpSlowHistory(finished: readonly FinishedOp[], now: number): Json {
  const slow = finished.filter(({ op, ended }) => ended - op.since >= SLOW_THRESHOLD_S * 1000);
  return {
    'num to keep': HISTORY_MAX,
    'threshold to keep': SLOW_THRESHOLD_S,
    Ops: dumpFinished(slow, now),
  };
}

export function dumpPipelines(world: PipelineWorld, busy: readonly Phase[]): Json {
  return {
    phases: busy.map((phase) => {
      const tickets = phase.tickets();
      const idsOf = (admitted: boolean) =>
        tickets
          .filter((ticket) => ticket.admitted === admitted)
          .map(({ owner }) => (owner as ClientOp).id);
      const { name, domain, kind } = phase;
      return { name, domain, kind, occupants: idsOf(true), queue: idsOf(false) };
    }),
    waits: [...world.stats].map(([name, { entered, waited, sumMs, maxMs, histogram }]) => ({
      name,
      entered,
      waited,
      avg: seconds(waited === 0 ? 0 : sumMs / waited),
      max: seconds(maxMs),
      histogram: histogram.map((count, i) => ({
        // The last has no limit.
        ...(WAIT_LIMITS_MS[i] === undefined ? {} : { up_to: seconds(WAIT_LIMITS_MS[i]) }),
        count,
      })),
    })),
  };
}

export function dumpAddr({ type, host, port, nonce }: EntityAddr): Json {
  return { type: ADDR_NAMES[type] ?? '???', addr: `${host}:${port}`, nonce };
}

const ADDR_NAMES: Readonly<Record<number, string>> = {
  0: 'none',
  1: 'v1',
  2: 'v2',
  3: 'any',
  4: 'cidr',
};

/** Of every session: what its client was asked to wait with, and for what. */
export function dumpBackoffs(backoffs: readonly Backoff[]): Json {
  return {
    backoffs: backoffs.map(({ session, pg, id, range, state, blocker: { type, detail } }) => ({
      client: formatEntityName(session.name),
      client_addr: formatAddr(session.addr),
      pgid: formatPgId(pg),
      id,
      begin: formatHobject(range.begin),
      end: formatHobject(range.end),
      state,
      waits_for: detail === '' ? type : `${type} (${detail})`,
    })),
    num_backoffs: backoffs.length,
  };
}

/** As `OSDService` lists them, and whether their connection stands. */
export function dumpWatchers(watches: readonly Watch[]): Json {
  return watches.map(({ object, record, connected }) => ({
    namespace: object.nspace,
    object: object.oid,
    entity_name: { type: entityTypeName(record.entity.type), num: record.entity.num },
    cookie: record.cookie,
    timeout: record.timeoutS,
    entity_addr_t: dumpAddr(record.addr),
    connected,
  }));
}
