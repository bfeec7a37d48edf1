/**
 * Goal: no I/O passes by a header that may be out of date, nothing waits without need, and whatever waits is told in
 * the end. The watch is a fake whose state and age the tests set.
 */
import { describe, expect, it } from 'vitest';

import { RadosError } from '../../src/base/errors.js';
import type { Watch, WatchState } from '../../src/osd-client/watch-types.js';
import { FreshnessGate, GATE_WORDS } from '../../src/rbd/freshness-gate.js';

const MAX_AGE_MS = 22_000;

function deferred() {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Lets everything happen that needs no time. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

class Scene {
  now = 1_000_000;
  readonly refreshes: ReturnType<typeof deferred>[] = [];
  readonly words = new Int32Array(new SharedArrayBuffer(GATE_WORDS * 4));
  readonly gate: FreshnessGate;
  readonly verifications: ReturnType<typeof deferred>[] = [];
  readonly watch = {
    state: 'connected' as WatchState,
    validThru: this.now,
    verify: () => {
      const verification = deferred();
      this.verifications.push(verification);
      return verification.promise;
    },
  };

  constructor() {
    this.gate = new FreshnessGate({
      clock: { now: () => this.now, monotonic: () => this.now },
      refresh: () => {
        const refresh = deferred();
        this.refreshes.push(refresh);
        return refresh.promise;
      },
      watchMaxAgeMs: MAX_AGE_MS,
      words: this.words,
      target: 'rbd/vm1',
    });
  }

  watched(): this {
    this.gate.watchedBy(this.watch as unknown as Watch);
    return this;
  }

  /** Begins to pass, and tells how that went. */
  begin(signal?: AbortSignal): { outcome: 'through' | 'waiting' | Error } {
    const io: { outcome: 'through' | 'waiting' | Error } = { outcome: 'waiting' };
    const wait = this.gate.pass(signal);
    if (!wait) io.outcome = 'through';
    else {
      wait.then(
        () => {
          io.outcome = 'through';
        },
        (error: Error) => {
          io.outcome = error;
        },
      );
    }
    return io;
  }
}

describe('a gate whose header is fresh', () => {
  it('lets I/O through at once, without a promise', () => {
    const scene = new Scene().watched();
    expect(scene.gate.pass()).toBeUndefined();
    expect(scene.refreshes).toHaveLength(0);
  });

  it('needs no watch when the image has none', () => {
    const scene = new Scene();
    scene.now += 3_600_000;
    expect(scene.gate.pass()).toBeUndefined();
  });
});

describe('a gate whose header is stale', () => {
  it('refreshes once for all that wait, and lets them through together', async () => {
    const scene = new Scene().watched();
    scene.gate.stale();
    const ios = [scene.begin(), scene.begin(), scene.begin()];
    await settle();
    expect(scene.refreshes).toHaveLength(1);
    expect(scene.gate.parked).toBe(3);
    expect(ios.map((io) => io.outcome)).toEqual(['waiting', 'waiting', 'waiting']);
    scene.refreshes[0]?.resolve();
    await settle();
    expect(ios.map((io) => io.outcome)).toEqual(['through', 'through', 'through']);
    expect(scene.gate.parked).toBe(0);
    expect(scene.gate.appliedSeq).toBe(scene.gate.refreshSeq);
  });

  it('reads nothing while nobody asks', async () => {
    const scene = new Scene().watched();
    for (let i = 0; i < 1000; i++) scene.gate.stale();
    await settle();
    expect(scene.refreshes).toHaveLength(0);
    const io = scene.begin();
    await settle();
    expect(scene.refreshes).toHaveLength(1);
    scene.refreshes[0]?.resolve();
    await settle();
    expect(io.outcome).toBe('through');
  });

  it('reads again when it became stale while it was read', async () => {
    const scene = new Scene().watched();
    scene.gate.stale();
    const io = scene.begin();
    await settle();
    scene.gate.stale();
    scene.refreshes[0]?.resolve();
    await settle();
    expect(io.outcome).toBe('waiting');
    expect(scene.refreshes).toHaveLength(2);
    scene.refreshes[1]?.resolve();
    await settle();
    expect(io.outcome).toBe('through');
  });

  it('fails what waits when the header cannot be read, and tries again for the next', async () => {
    const scene = new Scene().watched();
    scene.gate.stale();
    const first = scene.begin();
    await settle();
    scene.refreshes[0]?.reject(new RadosError('ENOENT', 'no header'));
    await settle();
    expect(first.outcome).toMatchObject({ code: 'ENOENT' });
    const second = scene.begin();
    await settle();
    expect(scene.refreshes).toHaveLength(2);
    scene.refreshes[1]?.resolve();
    await settle();
    expect(second.outcome).toBe('through');
  });

  it('lets one that is aborted go, and the others wait on', async () => {
    const scene = new Scene().watched();
    scene.gate.stale();
    const abort = new AbortController();
    const aborted = scene.begin(abort.signal);
    const other = scene.begin();
    await settle();
    abort.abort();
    await settle();
    expect(aborted.outcome).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
    expect(other.outcome).toBe('waiting');
    expect(scene.gate.parked).toBe(1);
    scene.refreshes[0]?.resolve();
    await settle();
    expect(other.outcome).toBe('through');
  });

  it('admits what was made by the header of now, and counts what is sent all the same', async () => {
    const { gate, watch, refreshes } = new Scene().watched();
    const madeAt = gate.seq;
    const sends = () => {
      gate.onSent(madeAt);
      return [gate.admits(madeAt), gate.staleSends];
    };
    expect(sends()).toEqual([true, 0]);
    watch.validThru -= MAX_AGE_MS + 1;
    expect(sends()).toEqual([false, 1]);
    watch.validThru += MAX_AGE_MS + 1;
    gate.stale();
    expect(sends()).toEqual([false, 2]);
    const refreshed = gate.refreshIfStale();
    refreshes[0]?.resolve();
    await refreshed;
    // The header is fresh again, but another than it was made by.
    expect(sends()).toEqual([false, 3]);
    expect(gate.admits(gate.seq)).toBe(true);
  });

  it('shows its numbers in shared memory', async () => {
    const scene = new Scene().watched();
    scene.gate.stale();
    scene.begin();
    await settle();
    expect([...scene.words.subarray(0, 4)]).toEqual([1, 0, 0, 1]);
    scene.refreshes[0]?.resolve();
    await settle();
    expect([...scene.words.subarray(0, 4)]).toEqual([1, 1, 0, 0]);
  });
});

describe('a gate whose watch is in doubt', () => {
  it.each<WatchState>(['connected', 'pinging', 'suspect'])(
    'lets I/O through while the watch is %s and was answered lately',
    (state) => {
      const scene = new Scene().watched();
      scene.watch.state = state;
      scene.now += MAX_AGE_MS;
      expect(scene.gate.pass()).toBeUndefined();
    },
  );

  it('W43: asks the OSD when the last answer was sent too long ago, however late it came', async () => {
    const scene = new Scene().watched();
    scene.now += MAX_AGE_MS + 1;
    const io = scene.begin();
    await settle();
    expect(scene.verifications).toHaveLength(1);
    expect(io.outcome).toBe('waiting');
    scene.watch.validThru = scene.now;
    scene.verifications[0]?.resolve();
    await settle();
    expect(io.outcome).toBe('through');
    expect(scene.refreshes).toHaveLength(0);
  });

  it.each<WatchState>(['reconnecting', 'homeless', 'error', 'backoff', 'reregistering'])(
    'holds I/O back while the watch is %s, and refreshes once it is good again',
    async (state) => {
      const scene = new Scene().watched();
      scene.watch.state = state;
      const io = scene.begin();
      await settle();
      expect(io.outcome).toBe('waiting');
      expect(scene.refreshes).toHaveLength(0);
      scene.gate.stale();
      scene.watch.state = 'connected';
      scene.verifications[0]?.resolve();
      await settle();
      expect(io.outcome).toBe('waiting');
      expect(scene.refreshes).toHaveLength(1);
      scene.refreshes[0]?.resolve();
      await settle();
      expect(io.outcome).toBe('through');
    },
  );

  it('goes back to waiting for the watch when it is lost during a refresh', async () => {
    const scene = new Scene().watched();
    scene.gate.stale();
    const io = scene.begin();
    await settle();
    scene.watch.state = 'error';
    scene.gate.stale();
    scene.refreshes[0]?.resolve();
    await settle();
    expect(io.outcome).toBe('waiting');
    expect(scene.verifications).toHaveLength(1);
  });
});

describe('a gate that was closed for good', () => {
  it('W17: fails what waits and what comes with what ended the watch', async () => {
    const scene = new Scene().watched();
    scene.watch.state = 'reconnecting';
    const waiting = scene.begin();
    await settle();
    const fenced = new RadosError('EBLOCKLISTED', 'the client is blocklisted');
    scene.gate.fail(fenced);
    scene.watch.state = 'blocklisted';
    scene.verifications[0]?.reject(new RadosError('EBADF', 'the watch has ended'));
    await settle();
    expect(waiting.outcome).toBe(fenced);
    const later = scene.begin();
    await settle();
    expect(later.outcome).toBe(fenced);
    expect(scene.gate.parked).toBe(0);
    expect(scene.words[2]).toBe(1);
  });
});
