// Phases and handles by themselves: who may be in, who goes first, what giving up does to the others.

import { describe, expect, it } from 'vitest';
import type { LogEvent } from '../../../../src/cluster/osd/pipeline/event-log.js';
import { Handle } from '../../../../src/cluster/osd/pipeline/handle.js';
import { ExclusivePhase, type Phase, Ticket } from '../../../../src/cluster/osd/pipeline/phase.js';
import { PipelineWorld } from '../../../../src/cluster/osd/pipeline/world.js';
import { random, TestOp, World } from './support/lane-world.js';

/** `npm run soak:pipeline` has many more. */
const SCHEDULES = Number(process.env['LINGER_SCHEDULES'] ?? 5000);

const ids = (events: readonly LogEvent[], ev: string, phase: string) =>
  events.filter((event) => event.ev === ev && event.phase === phase).map(({ op }) => op);

/** Delivers what is due and lets operations go on, as the seed has it, until nothing is left. */
function run(world: World, stopped: (() => void)[], draw: (below: number) => number): void {
  for (;;) {
    const { ready } = world.held;
    const choices = ready.length + stopped.length;
    if (choices === 0) return;
    const at = draw(choices);
    if (at < ready.length) world.held.deliver(at);
    else stopped.splice(at - ready.length, 1)[0]?.();
  }
}

describe('an exclusive phase', () => {
  it('has one occupant; the others come in the order in which they asked', () => {
    const world = new World();
    const phase = world.exclusive('x', 'd');
    const stopped: (() => void)[] = [];
    for (let id = 1; id <= 5; id++) {
      new TestOp(world, id).passAll([phase], (_, go) => stopped.push(go));
    }
    expect(stopped).toHaveLength(1);
    run(world, stopped, () => 0);
    expect(ids(world.events, 'entered', 'x')).toEqual([1, 2, 3, 4, 5]);
  });

  it('is not held up by who gives up, in it or in its queue', () => {
    const world = new World();
    const phase = world.exclusive('x', 'd');
    const stopped: (() => void)[] = [];
    const ops = [1, 2, 3, 4].map((id) => new TestOp(world, id));
    for (const op of ops) op.passAll([phase], (_, go) => stopped.push(go));
    ops[1]?.abort();
    ops[0]?.abort();
    run(world, stopped.splice(1), () => 0);
    expect(ids(world.events, 'entered', 'x')).toEqual([1, 3]);
    expect(phase.size).toBe(2);
  });
});

describe('an ordered-concurrent phase', () => {
  it('takes everybody, and lets them go in the order in which they came', () => {
    const world = new World();
    const phases = [world.ordered('oc', 'd'), world.exclusive('x', 'd')];
    const stopped: (() => void)[] = [];
    for (let id = 1; id <= 4; id++) {
      new TestOp(world, id).passAll(phases, (_, go) => stopped.push(go));
    }
    expect(stopped).toHaveLength(4);
    stopped.reverse();
    run(world, stopped, () => 0);
    expect(ids(world.events, 'leave', 'oc')).toEqual([1, 2, 3, 4]);
    expect(ids(world.events, 'entered', 'x')).toEqual([1, 2, 3, 4]);
  });

  it('lets the others go when the first gives up, and nobody overtakes the second', () => {
    const world = new World();
    const phase = world.ordered('oc', 'd');
    const gates = new Map<number, () => void>();
    const ops = [1, 2, 3].map((id) => new TestOp(world, id));
    for (const op of ops) op.passAll([phase], ({ id }, go) => gates.set(id, go));
    gates.get(3)?.();
    ops[0]?.abort();
    run(world, [], () => 0);
    expect(ids(world.events, 'leave', 'oc')).toEqual([]);
    gates.get(2)?.();
    run(world, [], () => 0);
    expect(ids(world.events, 'leave', 'oc')).toEqual([2, 3]);
  });
});

describe('a read-write phase', () => {
  it('takes reads that follow one another together, writes alone, and lets nobody overtake', () => {
    const world = new World();
    const phase = world.readWrite('rw', 'd');
    const inside: number[] = [];
    const gates = new Map<number, () => void>();
    const kinds = ['R', 'R', 'W', 'R', 'RWORDERED', 'R', 'R'] as const;
    kinds.forEach((kind, i) =>
      new TestOp(world, i + 1, 0, kind).passAll([phase], (op, go) => {
        inside.push(op.id);
        gates.set(op.id, go);
      }),
    );
    const leave = (...gone: number[]) => {
      for (const id of gone) gates.get(id)?.();
      run(world, [], () => 0);
      return inside.splice(0);
    };
    expect(inside.splice(0)).toEqual([1, 2]);
    expect(leave(2)).toEqual([]);
    expect(leave(1)).toEqual([3]);
    expect(leave(3)).toEqual([4]);
    expect(leave(4)).toEqual([5]);
    expect(leave(5)).toEqual([6, 7]);
    expect(leave(6, 7)).toEqual([]);
    expect(ids(world.events, 'leave', 'rw')).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

/** P2, P3, P4 over a run. */
function brokenRule(events: readonly LogEvent[], gaveUp: ReadonlySet<number>): string | undefined {
  const phases = new Map<string, { kind: string; events: LogEvent[] }>();
  for (const event of events) {
    if (!['enter', 'entered', 'leave'].includes(event.ev)) continue;
    const known = phases.get(event.phase) ?? { kind: event.kind, events: [] };
    phases.set(event.phase, known);
    known.events.push(event);
  }
  for (const [name, { kind, events: own }] of phases) {
    const order = (ev: string) =>
      own.filter((event) => event.ev === ev && !gaveUp.has(event.op)).map(({ op }) => op);
    const enter = order('enter');
    if (kind === 'X' && order('entered').join() !== enter.join()) return `P3 in ${name}`;
    if (order('leave').join() !== enter.join()) return `P4 in ${name}`;
    let inside = 0;
    for (const { ev, op } of own) {
      if (gaveUp.has(op)) continue;
      if (ev === 'entered') inside++;
      if (ev === 'leave') inside--;
      if (kind === 'X' && inside > 1) return `P2 in ${name}`;
    }
  }
  return undefined;
}

/** The order of the tickets in one phase is that in the phase before. */
function overtaken(events: readonly LogEvent[], names: readonly string[]): string | undefined {
  const [first, ...rest] = names.map((name) => ids(events, 'enter', name));
  for (const [i, order] of rest.entries()) {
    const expected = (first as number[]).filter((op) => order.includes(op));
    if (order.join() !== expected.join()) return `${names[i + 1]}: ${order} after ${expected}`;
  }
  return undefined;
}

describe('operations on their way', () => {
  it(`P7: are never overtaken between two phases, in ${SCHEDULES} schedules`, () => {
    const failures: string[] = [];
    for (let seed = 1; seed <= SCHEDULES; seed++) {
      const draw = random(seed);
      const world = new World();
      const phases: Phase[] = [
        world.ordered('ready', 'd'),
        world.exclusive('door', 'd'),
        seed % 2 ? world.exclusive('process', 'd') : world.readWrite('process', 'd'),
        world.ordered('repop', 'd'),
        world.exclusive('reply', 'd'),
      ];
      const stopped: (() => void)[] = [];
      const ops = Array.from({ length: 2 + draw(4) }, (_, i) => {
        const kind = draw(2) ? 'R' : 'W';
        return new TestOp(world, i + 1, draw(2), kind);
      });
      const gaveUp = new Set<number>();
      for (const op of ops) op.passAll(phases, (_, go) => stopped.push(go));
      if (draw(4) === 0) {
        // One of them gives up on its way.
        const op = ops[draw(ops.length)] as TestOp;
        const at = draw(10);
        for (let i = 0; i < at && world.held.ready.length + stopped.length > 0; i++) {
          const choice = draw(world.held.ready.length + stopped.length);
          if (choice < world.held.ready.length) world.held.deliver(choice);
          else stopped.splice(choice - world.held.ready.length, 1)[0]?.();
        }
        if (!op.done) {
          op.abort();
          gaveUp.add(op.id);
        }
      }
      run(world, stopped, draw);
      const names = phases.map(({ name }) => name);
      const broken = brokenRule(world.events, gaveUp) ?? overtaken(world.events, names);
      const stuck = ops.find((op) => !op.done && !gaveUp.has(op.id));
      const left = phases.find(({ size }) => size > 0);
      if (broken || stuck || left) failures.push(`seed ${seed}: ${broken ?? 'stuck'}`);
    }
    expect(failures).toEqual([]);
  });

  it('would be, if the slot were given up before the ticket is taken', () => {
    const caught = new Set<string>();
    for (let seed = 1; seed <= 200; seed++) {
      const draw = random(seed);
      const world = new World();
      const [a, b] = [world.ordered('ready', 'd'), world.exclusive('door', 'd')];
      const stopped: (() => void)[] = [];
      for (let id = 1; id <= 3; id++) {
        const op = new TestOp(world, id);
        // Leaves for good and comes back as somebody new: two steps with a gap.
        op.passAll([a], (_, go) =>
          stopped.push(() => {
            go();
            const again = new TestOp(world, id);
            stopped.push(() => again.passAll([b], (__, on) => stopped.push(on)));
          }),
        );
      }
      run(world, stopped, draw);
      if (overtaken(world.events, ['ready', 'door'])) caught.add('overtaken');
    }
    expect([...caught]).toEqual(['overtaken']);
  });

  it('P1: hold one slot at most, and are in one phase from the first to the last', () => {
    for (let seed = 1; seed <= 500; seed++) {
      const draw = random(seed);
      const world = new World();
      const phases = [
        world.exclusive('a', 'd'),
        world.ordered('b', 'd'),
        world.exclusive('c', 'd'),
      ];
      const places = new Map<number, string[]>();
      world.log?.listen(({ op, ev, phase }) => {
        const held = places.get(op) ?? [];
        places.set(op, held);
        if (ev === 'enter') held.push(phase);
        if (ev === 'leave') held.splice(held.indexOf(phase), 1);
        // Between the ticket and the release both are its.
        expect(held.length).toBeLessThanOrEqual(2);
      });
      const stopped: (() => void)[] = [];
      const ops = Array.from({ length: 4 }, (_, i) => new TestOp(world, i + 1));
      for (const op of ops) op.passAll(phases, (_, go) => stopped.push(go));
      run(world, stopped, (below) => {
        for (const op of ops) if (!op.done) expect(places.get(op.id)).toHaveLength(1);
        return draw(below);
      });
    }
  });

  it('P17: whose interval has ended do not go on while one after the other is aborted', () => {
    const interval = { ended: false };
    class PgOp extends TestOp {
      protected override get over(): boolean {
        return interval.ended;
      }
    }
    const world = new PipelineWorld({ now: () => 0, monotonic: () => 0 });
    const phase = world.exclusive('process', 'd');
    const began: number[] = [];
    const ops = [1, 2, 3].map((id) => new PgOp(world, id));
    for (const op of ops) op.passAll([phase], ({ id }) => began.push(id));
    interval.ended = true;
    for (const op of ops) op.abort();
    expect(began).toEqual([1]);
    expect(phase.size).toBe(0);
  });

  it('go on in the same turn where nothing holds them up, however many wait', () => {
    const world = new PipelineWorld({ now: () => 0, monotonic: () => 0 });
    const phases = [world.ordered('a', 'd'), world.exclusive('b', 'd')];
    let open: (() => void) | undefined;
    const first = new TestOp(world, 0);
    first.passAll(phases, (_, go) => {
      if (open) go();
      else open = go;
    });
    // A chain of wake-ups as long as this would be the end of the stack, were each within the one before.
    const ops = Array.from({ length: 50_000 }, (_, i) => new TestOp(world, i + 1));
    for (const op of ops) op.passAll(phases, (_, go) => go());
    expect(ops.some(({ done }) => done)).toBe(false);
    open?.();
    expect(ops.every(({ done }) => done)).toBe(true);
  });
});

describe('a ticket', () => {
  it('can be used again', () => {
    const world = new World();
    const phase = new ExclusivePhase({
      scheduler: world.held,
      name: 'x',
      domain: 'd',
      stats: world.statsOf('x'),
    });
    const owner = new TestOp(world, 1);
    expect(owner).toBeInstanceOf(Handle);
    const ticket = new Ticket(owner);
    for (let i = 0; i < 3; i++) {
      expect(phase.take(ticket)).toBe(true);
      phase.release(ticket);
      expect(phase.size).toBe(0);
    }
  });
});
