import { describe, expect, it } from 'vitest';
import type { ClientOp } from '../../src/cluster/osd/client-op.js';
import { WATCH_OP, watchOp } from '../../src/messages/osd-op.js';
import { mayRely, WatchHearings } from '../../src/sim/checkers/watch-hearings.js';

const HEADER = 'rbd_header.1';

/** As an OSD answers it. */
function answered(op: number, { nonce = 7, oid = HEADER, result = 0 } = {}): ClientOp {
  const request = { oid, ops: [watchOp(op, 1n)] };
  return { client: { session: { addr: { nonce } }, request }, reply: { result } } as never;
}

describe('an OSD has heard of a watch', () => {
  it.each([WATCH_OP.WATCH, WATCH_OP.RECONNECT, WATCH_OP.PING])('by operation %i', (op) => {
    const hearings = new WatchHearings(() => 5);
    hearings.onReply(answered(op));
    expect(hearings.heardAt(7, HEADER)).toBe(5);
    expect(hearings.heardAt(7, 'rbd_header.2')).toBeUndefined();
    expect(hearings.heardAt(8, HEADER)).toBeUndefined();
  });

  it('not when it is given up, or refused', () => {
    const hearings = new WatchHearings(() => 5);
    hearings.onReply(answered(WATCH_OP.UNWATCH));
    hearings.onReply(answered(WATCH_OP.PING, { result: -107 }));
    expect(hearings.heardAt(7, HEADER)).toBeUndefined();
  });
});

it('what began within 22 s after that, or before, may rely on it', () => {
  expect(mayRely(1000, 500)).toBe(true);
  expect(mayRely(1000, 23_000)).toBe(true);
  expect(mayRely(1000, 23_001)).toBe(false);
});
