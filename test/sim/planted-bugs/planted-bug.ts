/**
 * A bug that is planted in the built product, to see whether a checker finds it: a text of one file of `dist/src`, and what
 * stands in its place. The product itself knows nothing of it.
 */

import type { PlanOptions } from '../../../src/sim/plan.js';

export const AREAS = [
  'resend',
  'maps',
  'watch',
  'lock',
  'object map',
  'striping',
  'device',
  'osd',
  'auth',
  'messenger',
  'snapshots',
  'clones',
  'resize',
  'maintenance',
  'fast diff',
] as const;

export type Area = (typeof AREAS)[number];

export interface PlantedBug {
  /** `late-pong-believed` */
  readonly name: string;
  readonly area: Area;
  /** What the product does wrong. */
  readonly does: string;
  /** What does not hold any more. */
  readonly breaks: string;
  /** Below `dist/src`: `osd-client/watch.js`. */
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly text: string;
  readonly replacement: string;
  /** What its runs are drawn from, where all workloads and all faults would come to it too seldom. */
  readonly runs?: PlanOptions;
  /** The product is to fail with an error of the program itself; of any other bug it is the text that is out of date. */
  readonly throws?: true;
}

/** The file with the bug in it. Throws when the text is not there exactly once. */
export function plant(bug: PlantedBug, source: string): string {
  const places = source.split(bug.text).length - 1;
  if (places !== 1) {
    throw new Error(
      `the planted bug '${bug.name}' does not apply: its text is ${places} times in ${bug.file}`,
    );
  }
  return source.replace(bug.text, () => bug.replacement);
}
