/** What placement needs of CRUSH, whoever computes it: the WebAssembly kernel or its TypeScript twin. */

import { RadosError } from '../base/errors.js';
import type { CrushMap } from './crush-map.js';

export interface DoRuleInput {
  /** Index into the rules of the map. */
  rule: number;
  /** The placement seed (pps of a PG). */
  x: number;
  /** How many items are wanted at most: the pool's size. */
  resultMax: number;
  /**
   * 16.16 reweight of each OSD; OSDs beyond its end are out. Taken as immutable: a changed vector must be a new
   * object.
   */
  weights: Uint32Array;
  /** Which choose_args of the map apply; `undefined` for none. */
  chooseArgs: number | undefined;
}

/** Runs rules of one CRUSH map. */
export interface CrushMapper {
  /** The chosen items. firstn rules leave out what they cannot find, indep rules have CRUSH_ITEM_NONE there. */
  doRule(input: DoRuleInput): Int32Array;
}

/** Finds or makes the mapper of a CRUSH map. */
export type CrushMappers = (crush: CrushMap) => CrushMapper;

/**
 * How many items one call of `doRule` may weigh before it gives up. Tries are numbers of the map, and with a map made
 * for it a rule would search for hours; a million is what a bad day with 10,000 OSDs in one bucket takes.
 */
export const CRUSH_WORK_LIMIT = 1 << 26;

/** The rule did not end within `CRUSH_WORK_LIMIT`. */
export function crushWorkError(rule: number): RadosError {
  return new RadosError('EDOM', `CRUSH rule ${rule} did not come to an end`, { op: 'crush rule' });
}

/** Results are at most as long as a pool's size can say (u8), and rules as long as anybody needs. */
export const CRUSH_RESULT_MAX = 255;
