import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { packageFile } from '../../src/base/paths.js';
import { PLANTED_BUGS } from './planted-bugs/bugs/index.js';
import { hunt } from './planted-bugs/hunt.js';
import { type PlantedBug, plant } from './planted-bugs/planted-bug.js';
import { medianOf, rowHead, updateTable } from './planted-bugs/table.js';

const built = (file: string) => readFileSync(packageFile(`dist/src/${file}`), 'utf8');

describe('a planted bug', () => {
  it.each(PLANTED_BUGS.map((bug) => [bug.name, bug] as const))('%s applies', (_, bug) => {
    const source = built(bug.file);
    expect(plant(bug, source)).not.toBe(source);
  });

  it('whose text is not there, or is there twice, is refused', () => {
    const [bug] = PLANTED_BUGS as [(typeof PLANTED_BUGS)[number]];
    expect(() => plant(bug, 'nothing of it')).toThrow(`'${bug.name}' does not apply`);
    expect(() => plant(bug, bug.text + bug.text)).toThrow(`is 2 times in ${bug.file}`);
  });

  it('has a name of its own', () => {
    expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
  });
});

describe('the hunt', { timeout: 300_000 }, () => {
  const named = (name: string) => PLANTED_BUGS.find((bug) => bug.name === name) as PlantedBug;

  it('catches a bug, by the checker that is there for it', async () => {
    const { seeds, checkers } = await hunt(named('discard-rounds-outward'), 1);
    expect({ seeds, checkers }).toEqual({ seeds: 1, checkers: ['linearizability'] });
  });

  it('takes an error of the program for a catch only of a bug that is one', async () => {
    const bug = named('flush-throws');
    const { throws: _, ...stale } = bug;
    await expect(hunt(stale, 1)).rejects.toThrow("'flush-throws' fails of itself");
    expect(await hunt(bug, 1)).toMatchObject({ seeds: 1, checkers: ['errors'] });
  });
});

describe('the table of planted bugs', () => {
  const [first, second, third] = PLANTED_BUGS as [
    (typeof PLANTED_BUGS)[number],
    (typeof PLANTED_BUGS)[number],
    (typeof PLANTED_BUGS)[number],
  ];

  it('has what was measured now, and else what was before', () => {
    const before = `${rowHead(first)} - | not within 40 |\n${rowHead(second)} sectors | 7 |`;
    const found = { seeds: 3, tried: 3, checkers: ['liveness', 'leak'], message: '' };
    const table = updateTable(before, [first, second, third], [{ bug: first, ...found }]);
    expect(table.split('\n').slice(2)).toEqual([
      `${rowHead(first)} liveness, leak | 3 |`,
      `${rowHead(second)} sectors | 7 |`,
      `${rowHead(third)} - | not run yet |`,
      '',
      '3 bugs, 2 caught, after 5 seeds in the median.',
    ]);
  });

  it('says for how many seeds one was looked for in vain', () => {
    const missed = { seeds: undefined, tried: 60, checkers: [], message: '' };
    const table = updateTable('', [first], [{ bug: first, ...missed }]);
    expect(table).toContain(`${rowHead(first)} - | not within 60 |`);
  });

  it('takes the middle one, or what is between the two in the middle', () => {
    expect([medianOf([]), medianOf([9, 1, 2]), medianOf([1, 4])]).toEqual([undefined, 2, 2.5]);
  });
});
