/** The table of planted bugs and what caught them, as docs/planted-bugs.md has it. */

import type { Result } from './hunt.js';
import type { PlantedBug } from './planted-bug.js';

const HEAD = '| bug | area | what it does | what does not hold | caught by | seeds |';
const RULE = '|---|---|---|---|---|---|';
const NOT_RUN = '- | not run yet |';
/** What a row says of a bug that was caught. */
const CAUGHT = /\| (\d+) \|$/;

/** The part of a row that follows from the bug alone. */
export function rowHead({ name, area, does, breaks }: PlantedBug): string {
  return `| \`${name}\` | ${area} | ${does} | ${breaks} |`;
}

export function formatResults(results: readonly Result[]): string {
  return [HEAD, RULE, ...results.map(rowOf)].join('\n');
}

function rowOf({ bug, checkers, seeds, tried }: Result): string {
  const outcome =
    seeds === undefined ? `- | not within ${tried} |` : `${checkers.join(', ')} | ${seeds} |`;
  return `${rowHead(bug)} ${outcome}`;
}

/** The table of all of `bugs`, with what was measured now, and what `text` has of those that were not run. */
export function updateTable(
  text: string,
  bugs: readonly PlantedBug[],
  results: readonly Result[],
): string {
  const lines = text.split('\n');
  const rows = bugs.map((bug) => {
    const result = results.find((each) => each.bug === bug);
    if (result) return rowOf(result);
    const head = `${rowHead(bug)} `;
    return lines.find((line) => line.startsWith(head)) ?? head + NOT_RUN;
  });
  const seeds = rows.flatMap((row) => {
    const [, caught] = CAUGHT.exec(row) ?? [];
    return caught === undefined ? [] : [Number(caught)];
  });
  const summary = `${bugs.length} bugs, ${seeds.length} caught, after ${medianOf(seeds)} seeds in the median.`;
  return [HEAD, RULE, ...rows, '', summary].join('\n');
}

/** Undefined when there are none. */
export function medianOf(numbers: readonly number[]): number | undefined {
  if (numbers.length === 0) return undefined;
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return ((low as number) + (high as number)) / 2;
}
