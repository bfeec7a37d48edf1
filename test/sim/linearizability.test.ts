import { describe, expect, it } from 'vitest';
import { Draw, seededRandom } from '../../src/sim/random.js';
import type { Op, OpEnd, OpKind } from '../../src/sim/checkers/history.js';
import { checkSectors } from '../../src/sim/checkers/linearizability.js';

/** `[kind, start, end, value]`: a write's number is its place in the list, from 1; a read's value is what it returned. */
type Line = [OpKind, number, number | undefined, number?, OpEnd?];

function history(lines: Line[]): Op[] {
  return lines.map(([kind, startedAs, endedAs, value, end], i) => ({
    id: i + 1,
    client: 'client.1',
    image: 'vm',
    kind,
    firstSector: 0,
    sectors: 1,
    startedAt: startedAs,
    startedAs,
    end: end ?? (endedAs === undefined ? 'unknown' : 'ok'),
    ...(endedAs === undefined ? {} : { endedAt: endedAs, endedAs }),
    ...(kind === 'read' ? { values: Uint32Array.of(value ?? 0) } : {}),
  }));
}

const judge = (lines: Line[]) => checkSectors(history(lines), 1);

describe('a history of one sector is one of a register', () => {
  it.each<[string, Line[]]>([
    ['when nothing happened', []],
    ['when a read finds what nobody wrote yet', [['read', 1, 2, 0]]],
    [
      'when a read finds the write before it',
      [
        ['write', 1, 2],
        ['read', 3, 4, 1],
      ],
    ],
    [
      'when a read beside a write finds the old',
      [
        ['write', 1, 4],
        ['read', 2, 3, 0],
      ],
    ],
    [
      'when a read beside a write finds the new',
      [
        ['write', 1, 4],
        ['read', 2, 3, 1],
      ],
    ],
    [
      'when a write of unknown outcome is found late',
      [
        ['write', 1, undefined],
        ['read', 2, 3, 0],
        ['read', 4, 5, 1],
      ],
    ],
    [
      'when a write of unknown outcome is found after another one',
      [
        ['write', 1, undefined],
        ['write', 2, 3],
        ['read', 4, 5, 2],
        ['read', 6, 7, 1],
      ],
    ],
    [
      'when a discard left it alone',
      [
        ['write', 1, 2],
        ['discard', 3, 4],
        ['read', 5, 6, 1],
      ],
    ],
    [
      'when a discard emptied it',
      [
        ['write', 1, 2],
        ['discard', 3, 4],
        ['read', 5, 6, 0],
      ],
    ],
    [
      'when a refused write is nowhere to be found',
      [
        ['write', 1, 2, 0, 'failed'],
        ['read', 3, 4, 0],
      ],
    ],
    [
      'when two writes at a time are found in either order',
      [
        ['write', 1, 5],
        ['write', 2, 6],
        ['read', 7, 8, 1],
      ],
    ],
  ])('%s', (_, lines) => {
    expect(judge(lines)).toBeUndefined();
  });
});

describe('a history of one sector is none of a register', () => {
  it.each<[string, Line[]]>([
    [
      'when a write was lost',
      [
        ['write', 1, 2],
        ['read', 3, 4, 0],
      ],
    ],
    [
      'when a read finds what was overwritten',
      [
        ['write', 1, 2],
        ['write', 3, 4],
        ['read', 5, 6, 1],
      ],
    ],
    [
      'when a write is found and then not any more',
      [
        ['write', 1, 6],
        ['read', 2, 3, 1],
        ['read', 4, 5, 0],
      ],
    ],
    [
      'when a read finds a write that came later',
      [
        ['read', 1, 2, 2],
        ['write', 3, 4],
      ],
    ],
    [
      'when a refused write is found',
      [
        ['write', 1, 2, 0, 'failed'],
        ['read', 3, 4, 1],
      ],
    ],
    [
      'when zeros were written and are not there',
      [
        ['write', 1, 2],
        ['writeZeroes', 3, 4],
        ['read', 5, 6, 1],
      ],
    ],
    [
      'when what a discard emptied comes back',
      [
        ['write', 1, 2],
        ['discard', 3, 4],
        ['read', 5, 6, 0],
        ['read', 7, 8, 1],
      ],
    ],
    [
      'when two readers see two writes in different orders',
      [
        ['write', 1, 10],
        ['write', 2, 11],
        ['read', 3, 4, 1],
        ['read', 5, 6, 2],
        ['read', 7, 8, 1],
      ],
    ],
  ])('%s', (_, lines) => {
    expect(judge(lines)).toMatchObject({ checker: 'linearizability' });
  });
});

/** A register that does each operation at some instant between its beginning and its end. */
function realHistory(draw: Draw, clients: number, ops: number): Op[] {
  const lines: Line[] = [];
  const free = Array.from({ length: clients }, () => 0);
  const planned: { at: number; line: Line; id: number }[] = [];
  for (let i = 0; i < ops; i++) {
    const client = draw.int(0, clients - 1);
    const start = (free[client] as number) + draw.int(1, 20) + client / 100;
    const end = start + draw.int(1, 40) + client / 1000;
    free[client] = end;
    const kind = draw.pick([
      'write',
      'write',
      'read',
      'read',
      'read',
      'writeZeroes',
      'discard',
    ] as const);
    const isUnknown = kind === 'write' && draw.chance(0.1);
    const line: Line = [kind, start, isUnknown ? undefined : end];
    lines.push(line);
    const never = isUnknown && draw.chance(0.5);
    if (!never)
      planned.push({ at: start + (end - start) * (draw.int(1, 99) / 100), line, id: i + 1 });
  }
  let value = 0;
  for (const { line, id } of planned.sort((a, b) => a.at - b.at)) {
    if (line[0] === 'write') value = id;
    if (line[0] === 'writeZeroes') value = 0;
    if (line[0] === 'discard' && draw.chance(0.5)) value = 0;
    if (line[0] === 'read') line[3] = value;
  }
  return history(lines);
}

it('what does the same at the same time is tried in one order', () => {
  const zeroes = Array.from({ length: 30 }, (_, i): Line => ['writeZeroes', 3 + i, 1000 - i]);
  const lines = (last: number): Line[] => [
    ...[['write', 1, 2] as Line, ...zeroes],
    ...([
      ['write', 100, 101],
      ['read', 102, 103, 32],
      ['read', 104, 105, last],
    ] as Line[]),
  ];
  expect(judge(lines(0))).toBeUndefined();
  expect(judge(lines(1))).toMatchObject({ checker: 'linearizability' });
});

describe('histories at random', () => {
  it('of a real register are recognised, however many clients there are', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const draw = new Draw(seededRandom(seed));
      const ops = realHistory(draw, draw.int(1, 6), draw.int(1, 80));
      expect(checkSectors(ops, 1), `seed ${seed}`).toBeUndefined();
    }
  });

  it('in which one read returns an old write are told from them, when no order explains it', () => {
    let caught = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const draw = new Draw(seededRandom(seed));
      const ops = realHistory(draw, 2, 60);
      const read = draw.pick(ops.filter(({ kind }) => kind === 'read'));
      // Writes that were over, and overwritten, before the read began.
      const over = ops.filter(
        (op) => op.kind === 'write' && (op.endedAs ?? Infinity) < read.startedAs,
      );
      const [old] = over;
      if (!old || over.length < 3) continue;
      read.values = Uint32Array.of(old.id);
      const overwritten = over.some((op) => op.startedAs > (old.endedAs as number));
      if (!overwritten) continue;
      expect(checkSectors(ops, 1), `seed ${seed}`).toBeDefined();
      caught++;
    }
    expect(caught).toBeGreaterThan(100);
  });
});

it('a fenced client may see what was there when it was fenced, and nothing older', () => {
  const fencedAs = (place: number) => ({ seenSince: () => place });
  const ops = history([
    ['write', 1, 2],
    ['write', 5, 6],
    ['read', 7, 8, 1],
  ]);
  expect(checkSectors(ops, 1)).toMatchObject({ checker: 'linearizability' });
  expect(checkSectors(ops, 1, fencedAs(4))).toBeUndefined();
  expect(checkSectors(ops, 1, fencedAs(6))).toMatchObject({ checker: 'linearizability' });
});
