/**
 * The runs of a campaign in a file, as they end: what was run is not run again, after whatever ended the campaign.
 *
 * Lines of JSON: the first says of what the runs are, `{"run": ...}` is one of them, `{"campaign": ...}` what a campaign came
 * to that ended in order. Runs of another build, or by other options, do not get among them.
 */

import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { CampaignReport, MeasuredRun } from '../sim/campaign.js';
import type { PlanOptions } from '../sim/plan.js';
import { buildId } from './build-id.js';
import { CommandError, EXIT_USAGE } from './errors.js';
import { version } from './version.js';

type Line = { readonly run: MeasuredRun } | { readonly campaign: CampaignReport };

export class CampaignFile {
  /** Of all seeds that were run before, each once. */
  readonly runs: readonly MeasuredRun[];
  readonly #file: number;

  /** Makes it where there is none. */
  static open(path: string, options: PlanOptions): CampaignFile {
    const head = JSON.stringify({ linger: version(), build: buildId(), options });
    const file = openSync(path, 'a+');
    try {
      const text = readFileSync(file, 'utf8');
      // What ended the campaign may have cut its last line short.
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      const [first = '', ...lines] = whole.split('\n').filter((line) => line !== '');
      if (first !== '' && first !== head) {
        throw new CommandError(EXIT_USAGE, `${path} is of other runs: ${first}, not ${head}`);
      }
      if (whole.length < text.length) ftruncateSync(file, Buffer.byteLength(whole));
      const kept = new CampaignFile(file, runsOf(path, lines));
      if (first === '') kept.#write(head);
      return kept;
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  private constructor(file: number, runs: MeasuredRun[]) {
    this.#file = file;
    this.runs = runs;
  }

  add(run: MeasuredRun): void {
    this.#write(JSON.stringify({ run }));
  }

  end(campaign: CampaignReport): void {
    this.#write(JSON.stringify({ campaign }));
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
  }
}

function runsOf(path: string, lines: readonly string[]): MeasuredRun[] {
  const runs = new Map<number, MeasuredRun>();
  for (const [i, text] of lines.entries()) {
    const line = parse(text);
    if (!line) throw new CommandError(EXIT_USAGE, `${path}:${i + 2}: this is no run`);
    if ('run' in line) runs.set(line.run.report.seed, line.run);
  }
  return [...runs.values()];
}

/** Undefined: it is nothing that a campaign writes. */
function parse(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Line;
    const isRun = 'run' in line && Number.isSafeInteger(line.run.report.seed);
    return isRun || 'campaign' in line ? line : undefined;
  } catch {
    return undefined;
  }
}
