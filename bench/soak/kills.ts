/** `npm run soak:kill`: the trial of store-kills.ts. */

import { parseArgs } from 'node:util';
import { killAgainAndAgain } from './store-kills.js';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    size: { type: 'string', default: '2' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(`npm run soak:kill -- [options]
  --kills N    how often the process is killed (200; the full trial: 1000)
  --seed N     what decides when, and what is written (1)
  --size N     copies of each object (2)
Exits with 1 when anything that was acknowledged is missing, or anything is there by halves.
`);
} else {
  const report = await killAgainAndAgain({
    kills: Number(values.kills),
    seed: Number(values.seed),
    size: Number(values.size),
    onProgress: (line) => process.stderr.write(`${line}\n`),
  });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  process.exitCode = report.problems.length > 0 ? 1 : 0;
}
