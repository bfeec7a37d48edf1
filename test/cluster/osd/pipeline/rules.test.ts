// The checkers see what they are there to see: each is shown a run that breaks its rule.

import { describe, expect, it } from 'vitest';
import type { LogEvent } from '../../../../src/cluster/osd/pipeline/event-log.js';
import { PhaseRules } from '../../../../src/sim/checkers/phase-rules.js';
import { TestOp, World } from './support/lane-world.js';

type Line = [ev: LogEvent['ev'], op: number, phase: string, kind?: string];

function violations(lines: readonly Line[], kinds: readonly ('R' | 'W')[] = []): string[] {
  const world = new World();
  const ops = [0, 1, 2, 3].map((id) => new TestOp(world, id, 0, kinds[id] ?? 'W'));
  const rules = new PhaseRules();
  for (const [ev, op, phase, kind = 'X'] of lines) {
    const handle = ops[op];
    rules.feed({ t: 0, op, inst: 1, ev, phase, domain: 'd', kind, detail: '', handle });
  }
  return rules.violations.map((violation) => violation.split(':')[0] ?? '');
}

describe('a run', () => {
  it.each<[string, Line[], ('R' | 'W')[]?]>([
    ['P1', [['entered', 1, 'a']]],
    [
      'P2, P3',
      [
        ['enter', 1, 'a'],
        ['enter', 2, 'a'],
        ['entered', 2, 'a'],
      ],
    ],
    [
      'P3',
      [
        ['enter', 1, 'a', 'RW'],
        ['entered', 1, 'a', 'RW'],
        ['enter', 2, 'a', 'RW'],
        ['entered', 2, 'a', 'RW'],
      ],
      ['W', 'R', 'W'],
    ],
    [
      'P4',
      [
        ['enter', 1, 'a', 'OC'],
        ['entered', 1, 'a', 'OC'],
        ['enter', 2, 'a', 'OC'],
        ['entered', 2, 'a', 'OC'],
        ['leave', 2, 'a', 'OC'],
      ],
    ],
    [
      'P7',
      [
        ['enter', 1, 'a'],
        ['entered', 1, 'a'],
        ['enter', 1, 'b'],
        ['enter', 2, 'b'],
      ],
    ],
  ])('that breaks %s is found out', (rule, lines, kinds) => {
    expect(violations(lines, kinds)).toEqual([rule]);
  });

  it('that keeps them all is not', () => {
    const lines: Line[] = [
      ['enter', 1, 'a'],
      ['entered', 1, 'a'],
      ['enter', 2, 'a'],
      ['enter', 1, 'b', 'OC'],
      ['leave', 1, 'a'],
      ['entered', 1, 'b', 'OC'],
      ['interrupt', 1, 'b', 'OC'],
      ['entered', 2, 'a'],
      ['leave', 2, 'a'],
    ];
    expect(violations(lines)).toEqual([]);
  });
});
