/**
 * `npm run sim:bugs [-- --bug NAME --area AREA --max-seeds N --jobs 2 --write]`: plants each bug and runs seeds until a
 * checker catches it. Exit status 1 when one is not caught, or does not apply any more. `--write` puts what it found into
 * the table of docs/planted-bugs.md.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { packageFile } from '../../../src/base/paths.js';
import { PLANTED_BUGS } from './bugs/index.js';
import { hunt, type Result } from './hunt.js';
import type { PlantedBug } from './planted-bug.js';
import { formatResults, medianOf, updateTable } from './table.js';

const MAX_SEEDS = 1000;
const JOBS = 2;

const { values } = parseArgs({
  options: {
    bug: { type: 'string', multiple: true },
    area: { type: 'string' },
    'max-seeds': { type: 'string', default: `${MAX_SEEDS}` },
    jobs: { type: 'string', default: `${JOBS}` },
    write: { type: 'boolean', default: false },
  },
});

function chosen(): PlantedBug[] {
  const { bug: names, area } = values;
  const unknown = names?.find((name) => PLANTED_BUGS.every((bug) => bug.name !== name));
  if (unknown !== undefined) throw new Error(`there is no planted bug '${unknown}'`);
  return PLANTED_BUGS.filter(
    (bug) => (!names || names.includes(bug.name)) && (!area || bug.area === area),
  );
}

async function huntAll(bugs: readonly PlantedBug[]): Promise<Result[]> {
  const results = new Map<PlantedBug, Result>();
  const queue = [...bugs];
  const work = async () => {
    for (let bug = queue.shift(); bug; bug = queue.shift()) {
      const began = performance.now();
      const result = await hunt(bug, Number(values['max-seeds']));
      results.set(bug, result);
      const seconds = Math.round((performance.now() - began) / 1000);
      const outcome =
        result.seeds === undefined
          ? 'NOT CAUGHT'
          : `caught by ${result.checkers.join(', ')} with seed ${result.seeds}`;
      console.log(`${bug.name}: ${outcome} (${seconds} s) ${result.message.slice(0, 160)}`);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, work));
  return bugs.map((bug) => results.get(bug) as Result);
}

const results = await huntAll(chosen());
const caught = results.flatMap(({ seeds }) => seeds ?? []);
console.log(`\n${formatResults(results)}\n`);
console.log(`${results.length} bugs, ${caught.length} caught; median ${medianOf(caught)} seeds`);
if (values.write) {
  const path = packageFile('docs/planted-bugs.md');
  const text = readFileSync(path, 'utf8');
  const marked = /(<!-- bugs -->\n)[^]*(\n<!-- \/bugs -->)/;
  const table = updateTable(text, PLANTED_BUGS, results);
  writeFileSync(
    path,
    text.replace(marked, (_, head, tail) => head + table + tail),
  );
}
if (caught.length < results.length) process.exitCode = 1;
