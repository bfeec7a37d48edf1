/** A process that performs runs of the simulation, one after the other, for another (src/cli/sim-jobs.ts). */

import type { PlanOptions } from '../src/sim/plan.js';
import { HERE } from '../src/sim/campaign.js';

process.on('message', ({ seed, options }: { seed: number; options: PlanOptions }) => {
  void HERE.run(seed, options).then((measured) => process.send?.(measured));
});
// A terminal interrupts both: whoever asks for runs takes this one's result, and asks for no more.
process.on('SIGINT', () => {});
// Whoever asks for runs has ended.
process.on('disconnect', () => process.exit());
