// The rules of requests and of their order: each is shown a run that breaks it, and one that does not.

import { describe, expect, it } from 'vitest';
import type { ClientOp } from '../../../../src/cluster/osd/client-op.js';
import type { LogEvent, LogEventKind } from '../../../../src/cluster/osd/pipeline/event-log.js';
import { Blocker } from '../../../../src/cluster/osd/pipeline/blocker.js';
import { type Backoff, SessionBackoffs } from '../../../../src/cluster/osd/backoffs.js';
import { EventLog } from '../../../../src/cluster/osd/pipeline/event-log.js';
import { MemoryStore } from '../../../../src/cluster/store/memory-store.js';
import { EMPTY_SNAPSET, NEW_OBJECT_INFO } from '../../../../src/cluster/store/object-meta.js';
import { NO_SHARD, NOSNAP } from '../../../../src/encoding/types.js';
import {
  CMP,
  cmpXattrOp,
  getXattrOp,
  setXattrOp,
  writeOp,
} from '../../../../src/messages/osd-op.js';
import { SessionRules } from '../../../../src/sim/checkers/session-rules.js';
import { VectorRules } from '../../../../src/sim/checkers/vector-rules.js';
import { PhaseRules } from '../../../../src/sim/checkers/phase-rules.js';
import { type OsdSight, RequestRules } from '../../../../src/sim/checkers/request-rules.js';
import { Planted } from './support/planted.js';

const event = (
  ev: LogEventKind,
  handle: ClientOp | undefined,
  phase = '',
  kind = '',
): LogEvent => ({
  ...{ t: 0, op: handle?.id ?? 0, inst: handle?.instance ?? 0, ev, phase, domain: 'd', kind },
  ...{ detail: '', handle },
});

const names = (violations: readonly string[]) => violations.map((text) => text.split(':')[0]);

type Line = [LogEventKind, ClientOp];

function ofRequests(lines: readonly Line[], sight: Partial<OsdSight> = {}) {
  const rules = new RequestRules();
  const seen: OsdSight = {
    ...{ epoch: 5, isBlocklisted: () => false, membersHave: () => [] },
    ...sight,
  };
  for (const [ev, op] of lines) rules.feed(event(ev, op), seen);
  return names(rules.violations);
}

describe('what becomes of requests', () => {
  const has = (version: bigint) => ({ membersHave: () => [{ osd: 1, version }] });

  it('P10: an attempt is answered once', () => {
    const planted = new Planted();
    const [op, again] = [planted.op(), planted.op()];
    expect(
      ofRequests([
        ['reply', op],
        ['reply', again],
      ]),
    ).toEqual(['P10']);
    expect(
      ofRequests([
        ['reply', op],
        ['reply', planted.op({ retryAttempt: 1 })],
      ]),
    ).toEqual([]);
  });

  it('P11: a write is answered when all members have it', () => {
    const planted = new Planted();
    expect(ofRequests([['reply', planted.op({ committed: false })]])).toEqual(['P11']);
    expect(ofRequests([['reply', planted.op({ version: 10n })]], has(9n))).toEqual(['P11']);
    expect(ofRequests([['reply', planted.op({ version: 10n })]], has(10n))).toEqual([]);
    // One that was recognised as done before is not made again.
    expect(ofRequests([['reply', planted.op({ submitted: false })]], has(9n))).toEqual([]);
  });

  it('P12, P13: every attempt has the same answer', () => {
    const planted = new Planted();
    const first = () => planted.op({ version: 10n, userVersion: 3n });
    const next = (change: object) =>
      planted.op({ retryAttempt: 1, version: 10n, userVersion: 3n, ...change });
    const both = (change: object): Line[] => [
      ['reply', first()],
      ['reply', next(change)],
    ];
    expect(ofRequests(both({ version: 11n }))).toEqual(['P12']);
    expect(ofRequests(both({ userVersion: 4n }))).toEqual(['P12']);
    expect(ofRequests(both({ result: -2 }))).toEqual(['P13']);
    expect(ofRequests(both({ tid: 2, version: 11n }))).toEqual([]);
    expect(ofRequests(both({}))).toEqual([]);
  });

  it('P14: nothing is read of a write that is not committed', () => {
    const planted = new Planted();
    const read = planted.op({ tid: 2, write: false });
    const write = planted.op({ committed: false });
    expect(
      ofRequests([
        ['submit', write],
        ['execute', read],
      ]),
    ).toEqual(['P14']);
    const other = planted.op({ tid: 3, write: false, oid: 'other' });
    expect(
      ofRequests([
        ['submit', write],
        ['execute', other],
      ]),
    ).toEqual([]);
    const done = planted.op({ committed: true });
    expect(
      ofRequests([
        ['submit', done],
        ['execute', read],
      ]),
    ).toEqual([]);
    expect(
      ofRequests([
        ['submit', write],
        ['interrupt', write],
        ['execute', read],
      ]),
    ).toEqual([]);
  });

  it('P15: nothing is executed by a map older than the request’s', () => {
    const op = new Planted().op({ epoch: 6 });
    expect(ofRequests([['execute', op]], { epoch: 5 })).toEqual(['P15']);
    expect(ofRequests([['execute', op]], { epoch: 6 })).toEqual([]);
  });

  it('P16: nothing is executed of a fenced client', () => {
    const op = new Planted().op();
    expect(ofRequests([['execute', op]], { isBlocklisted: () => true })).toEqual(['P16']);
  });

  it('P19: an operation has one end', () => {
    const planted = new Planted();
    const op = planted.op();
    expect(
      ofRequests([
        ['drop', op],
        ['reply', op],
      ]),
    ).toEqual(['P19']);
    expect(
      ofRequests([
        ['reply', op],
        ['drop', op],
      ]),
    ).toEqual(['P19']);
    expect(
      ofRequests([
        ['drop', planted.op()],
        ['reply', planted.op()],
      ]),
    ).toEqual([]);
  });

  it('P26: nothing is executed of an object that is being recovered', () => {
    const op = new Planted().op();
    if (op.lane) op.lane.recovery = new Blocker('missing');
    expect(ofRequests([['execute', op]])).toEqual(['P26']);
  });
});

describe('the order of requests', () => {
  const ofPhases = (events: readonly LogEvent[]) => {
    const rules = new PhaseRules();
    for (const each of events) rules.feed(each);
    return names(rules.violations);
  };
  /** It leaves at once, so that the phases themselves have nothing to say. */
  const through = (op: ClientOp, phase: string, kind = 'X') => [
    event('enter', op, phase, kind),
    event('entered', op, phase, kind),
    event('leave', op, phase, kind),
  ];

  it('P5: those of a connection come to their PG as they were received', () => {
    const planted = new Planted();
    const [a, b] = [planted.op(), planted.op({ tid: 2 })];
    const at = (op: ClientOp) => through(op, 'G1.wait_pg_ready', 'OC');
    expect(ofPhases([...at(b), ...at(a)])).toEqual(['P5']);
    expect(ofPhases([...at(a), ...at(b)])).toEqual([]);
  });

  it('P6, P9: those of an object come to its lane as they came to the PG, and so they are answered', () => {
    const planted = new Planted();
    const [a, b] = [planted.op(), planted.op({ tid: 2 })];
    const begun = [
      ...through(a, 'G1.wait_pg_ready', 'OC'),
      ...through(b, 'G1.wait_pg_ready', 'OC'),
    ];
    const lane = (op: ClientOp) => through(op, 'O1.process');
    expect(ofPhases([...begun, ...lane(b), ...lane(a)])).toEqual(['P6']);
    const inLane = [...begun, ...lane(a), ...lane(b)];
    expect(ofPhases([...inLane, event('reply', b), event('reply', a)])).toEqual(['P9']);
    expect(ofPhases([...inLane, event('reply', a), event('reply', b)])).toEqual([]);
  });

  it('P8: those of a connection are worked on as they were received', () => {
    const planted = new Planted();
    const [a, b] = [planted.op(), planted.op({ tid: 2 })];
    const at = (op: ClientOp) => through(op, 'C1.await_active');
    expect(ofPhases([...at(b), ...at(a)])).toEqual(['P8']);
    expect(ofPhases([...at(a), ...at(b)])).toEqual([]);
  });

  it('P17: nothing is done in the name of an interval that is over', () => {
    const planted = new Planted();
    const op = planted.op();
    expect(ofPhases([event('submit', op)])).toEqual([]);
    planted.interval.end();
    expect(ofPhases([event('submit', op)])).toEqual(['P17']);
    expect(ofPhases([event('reply', op)])).toContain('P17');
  });

  it('P18: those that were interrupted start again in their order', () => {
    const planted = new Planted();
    const [a, b] = [planted.op(), planted.op({ tid: 2 })];
    const at = (op: ClientOp) => through(op, 'G1.wait_pg_ready', 'OC');
    const [a2, b2] = [planted.op({}, a), planted.op({ tid: 2 }, b)];
    expect(ofPhases([...at(a), ...at(b), ...at(b2), ...at(a2)])).toEqual(['P18']);
    expect(ofPhases([...at(a), ...at(b), ...at(a2), ...at(b2)])).toEqual([]);
  });

  it('P20: whoever is first in a phase is in it', () => {
    const { world } = new Planted();
    const rules = new PhaseRules();
    const phase = world.exclusive('x', 'd');
    rules.settled([phase, { name: 'y', domain: 'd', stuck: true } as typeof phase]);
    expect(names(rules.violations)).toEqual(['P20']);
  });
});

describe('what a vector does to its object', () => {
  const PG = '1.0';
  const id = { pool: 1, nspace: '', oid: 'o', key: '', hash: 0, snap: NOSNAP };
  const bytes = (text: string) => Buffer.from(text);

  async function stored(version: bigint): Promise<MemoryStore> {
    const store = new MemoryStore();
    const info = { ...NEW_OBJECT_INFO, version: { epoch: 5, version } };
    await store.apply({
      collection: PG,
      ops: [
        { op: 'touch', id },
        { op: 'setXattr', id, name: 'a', value: bytes('1') },
        { op: 'setMeta', id, meta: { info, snapSet: EMPTY_SNAPSET } },
      ],
    });
    return store;
  }
  const sightOf = (store: MemoryStore) => ({ stored: () => store.get(PG, id) });
  const guarded = [setXattrOp('a', bytes('2')), cmpXattrOp('a', CMP.EQ, bytes('1'))];

  it('P21: one that fails does nothing of it', async () => {
    const op = new Planted().op({ ops: guarded, result: -125, rvals: [0, -125], submitted: false });
    const run = async (during: (store: MemoryStore) => Promise<void>) => {
      const store = await stored(1n);
      const rules = new VectorRules();
      rules.feed(event('execute', op), sightOf(store));
      await during(store);
      rules.feed(event('enter', op, 'O2.wait_repop', 'OC'), sightOf(store));
      return names(rules.violations);
    };
    const half = { op: 'setXattr', id, name: 'b', value: bytes('2') } as const;
    expect(await run((store) => store.apply({ collection: PG, ops: [half] }))).toContain('P21');
    const mismatch = new Planted().op({ ops: guarded, submitted: false });
    expect(mismatch.submitted).toBe(false);
    expect((await run(async () => {})).includes('P21')).toBe(false);
  });

  it('P21: what a disk has is a whole write', async () => {
    const op = new Planted().op({ ops: [writeOp(0, bytes('x'))] });
    const rules = new VectorRules();
    const store = await stored(7n);
    rules.feed(event('execute', op), sightOf(store));
    rules.feed(event('submit', op), sightOf(store));
    const same = (await stored(7n)).get(PG, id);
    if (same) rules.found(same);
    expect(rules.violations).toEqual([]);
    const torn = await stored(7n);
    await torn.apply({ collection: PG, ops: [{ op: 'truncate', id, size: 9 }] });
    const found = torn.get(PG, id);
    if (found) rules.found(found);
    expect(names(rules.violations)).toEqual(['P21']);
  });

  it('P22: what it compares and reads is from before it', async () => {
    const of = async (planted: object) => {
      const rules = new VectorRules();
      const op = new Planted().op(planted);
      const store = await stored(1n);
      rules.feed(event('execute', op), sightOf(store));
      rules.feed(event('submit', op), sightOf(store));
      return names(rules.violations);
    };
    expect(await of({ ops: guarded, rvals: [0, 1] })).toEqual([]);
    expect(await of({ ops: guarded, rvals: [0, -125], result: -125 })).toEqual(['P22']);
    const read = [setXattrOp('new', bytes('2')), getXattrOp('new')];
    expect(await of({ ops: read, rvals: [0, 0] })).toEqual(['P22']);
    expect(await of({ ops: read, rvals: [0, -61], result: -61 })).toEqual([]);
  });
});

describe('what is done with a session', () => {
  const place = { key: '', oid: 'o', snap: NOSNAP, hash: 0, max: 0, nspace: '', pool: 1n };
  const range = { begin: place, end: place };
  const PG = { pool: 1, seed: 0 };

  function of(
    act: (planted: Planted, backoffs: SessionBackoffs, feed: (e: LogEvent) => void) => void,
  ) {
    const planted = new Planted();
    const rules = new SessionRules();
    const feed = (each: LogEvent) => rules.feed(each, { watchesOn: () => watches });
    const log = new EventLog(() => 0);
    log.listen(feed);
    const { session } = planted;
    act(planted, new SessionBackoffs({ session, epoch: () => 5, log: () => log }), feed);
    return names(rules.violations);
  }
  let watches = 0;
  const ack = (backoff: Backoff) => ({
    ...{ pg: { pg: backoff.pg, shard: NO_SHARD }, epoch: 5, op: 2, id: backoff.id },
    ...backoff.range,
  });

  it('P23: what a client knows that it has to wait with is not executed', () => {
    const blocked = (then: (backoffs: SessionBackoffs, blocker: Blocker) => void, oid = 'o') =>
      of((planted, backoffs, feed) => {
        const blocker = new Blocker('missing');
        backoffs.block(PG, range, blocker);
        then(backoffs, blocker);
        feed(event('execute', planted.op({ oid })));
      });
    const acked = (backoffs: SessionBackoffs) =>
      backoffs.all().forEach((backoff) => backoffs.acknowledge(ack(backoff)));
    expect(blocked(() => {})).toEqual(['P23']);
    expect(blocked(acked)).toEqual(['P23']);
    expect(blocked(acked, 'other')).toEqual([]);
    expect(blocked((_, blocker) => blocker.lift())).toEqual(['P23']);
    expect(
      blocked((backoffs, blocker) => {
        acked(backoffs);
        blocker.lift();
      }),
    ).toEqual([]);
    expect(blocked((backoffs) => backoffs.clear())).toEqual([]);
  });

  it('P23: a backoff goes from new to acknowledged and on as it may', () => {
    const events = (...what: string[]) =>
      of((_, backoffs, feed) => {
        backoffs.block(PG, range, new Blocker('missing'));
        const [backoff] = backoffs.all() as [Backoff];
        for (const detail of what) {
          feed({ ...event('backoff', undefined), domain: '1.0', detail, backoff });
        }
      });
    expect(events('ack', 'unblock')).toEqual(['P23']);
    expect(events('block')).toEqual(['P23']);
    expect(events('close')).toEqual([]);
    expect(events('close', 'unblock')).toEqual(['P23']);
  });

  it('P27: with its end its watches are disconnected, and nothing is sent to it any more', () => {
    const told = (ev: 'notify' | 'session closed', closed: boolean, left = 0) =>
      of((planted, _, feed) => {
        watches = left;
        planted.session.closed = closed;
        feed({ ...event(ev, undefined), session: planted.session });
      });
    expect(told('notify', false)).toEqual([]);
    expect(told('notify', true)).toEqual(['P27']);
    expect(told('session closed', true)).toEqual([]);
    expect(told('session closed', true, 1)).toEqual(['P27']);
  });
});

it('P24: nobody waits for more others at an object than were there as it came', () => {
  const planted = new Planted();
  const [a, b, c] = [planted.op(), planted.op({ tid: 2 }), planted.op({ tid: 3 })];
  const ofPhase = (events: readonly LogEvent[]) => {
    const rules = new PhaseRules();
    for (const each of events) rules.feed(each);
    return names(rules.violations);
  };
  const at = (ev: LogEventKind, op: ClientOp) => event(ev, op, 'x', 'OC');
  const orderly = [at('enter', a), at('entered', a), at('enter', b), at('leave', a)];
  expect(ofPhase([...orderly, at('entered', b), at('enter', c), at('leave', b)])).toEqual([]);
  const overtaken = [at('enter', a), at('enter', b), at('entered', b), at('enter', c)];
  expect(ofPhase([...overtaken, at('entered', c), at('entered', a)])).toEqual(['P24']);
});
