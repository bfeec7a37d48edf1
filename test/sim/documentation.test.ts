import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { packageFile } from '../../src/base/paths.js';
import { PLANTED_BUGS } from './planted-bugs/bugs/index.js';
import { rowHead } from './planted-bugs/table.js';
import { FAULT_CATALOGUE } from '../../src/sim/faults/catalogue.js';
import { WORKLOADS } from '../../src/sim/workloads/catalogue.js';

function workloadTable(): string {
  const rows = Object.entries(WORKLOADS).map(
    ([name, { summary, onRequest }]) =>
      `| \`${name}\`${onRequest ? ' (*on request*)' : ''} | ${summary} |`,
  );
  return ['| workload | what clients do |', '|---|---|', ...rows].join('\n');
}

function faultTable(): string {
  const rows = Object.entries(FAULT_CATALOGUE).map(([name, { holds, maxMs, minMs, onRequest }]) => {
    const least = minMs === undefined ? 'up to' : `${minMs / 1000} to`;
    const length = maxMs === 0 ? 'an instant' : `${least} ${maxMs / 1000} s`;
    const mark = onRequest ? ' (*on request*)' : '';
    return `| \`${name}\`${mark} | ${length} | ${holds} |`;
  });
  return ['| fault | for | what must hold |', '|---|---|---|', ...rows].join('\n');
}

it.each([
  ['workloads', workloadTable()],
  ['faults', faultTable()],
])('docs/simulation.md has the table of the %s that there are', (mark, table) => {
  const text = readFileSync(packageFile('docs/simulation.md'), 'utf8');
  const found = new RegExp(`<!-- ${mark} -->\n([^]*)<!-- /${mark} -->`).exec(text)?.[1];
  expect(found?.trim(), `put this there:\n${table}`).toBe(table);
});

it('docs/planted-bugs.md has every planted bug', () => {
  const text = readFileSync(packageFile('docs/planted-bugs.md'), 'utf8');
  const lacking = PLANTED_BUGS.filter((bug) => !text.includes(`${rowHead(bug)} `));
  expect(lacking.map((bug) => rowHead(bug))).toEqual([]);
});
