/**
 * A cluster on disk whose process is killed again and again, under load and while it starts: after each time everything
 * that was acknowledged must be there, and nothing by halves, without anybody's help.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageFile } from '../../src/base/paths.js';
import { seededRandom } from '../../src/sim/random.js';

export interface KillTrial {
  readonly kills: number;
  readonly seed: number;
  /** Copies of each object. */
  readonly size: number;
  /** Of a process that serves, at most. */
  readonly lifeMs?: number;
  readonly onProgress?: (line: string) => void;
  /** What happens to the data after each kill: for the test of the trial. */
  readonly afterKill?: (dataDir: string, kills: number) => Promise<void>;
}

export interface KillReport {
  seed: number;
  kills: number;
  /** Of which before the cluster served. */
  killsWhileStarting: number;
  acknowledged: number;
  /** Objects that were read back and compared. */
  verified: number;
  problems: string[];
}

const OBJECTS = 24;
const PROBLEMS_MAX = 20;
/** Part of the kills that come before the process is ready. */
const EARLY = 0.25;
/** Nothing takes so long; what does is a problem. */
const PATIENCE_MS = 120_000;

export async function killAgainAndAgain(trial: KillTrial): Promise<KillReport> {
  const dir = await mkdtemp(join(tmpdir(), 'linger-kills-'));
  try {
    return await new Trial(trial, dir).run();
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

class Trial {
  readonly #trial: KillTrial;
  readonly #dir: string;
  readonly #random;
  /** By object: the newest change that was acknowledged, and the newest that was begun. */
  readonly #objects: [acknowledged: number, begun: number][] = Array.from(
    { length: OBJECTS },
    () => [0, 0],
  );
  readonly #report: KillReport;
  /** How long the last start took: early kills come before that. */
  #startMs = 500;

  constructor(trial: KillTrial, dir: string) {
    this.#trial = trial;
    this.#dir = dir;
    this.#random = seededRandom(trial.seed);
    this.#report = {
      seed: trial.seed,
      kills: 0,
      killsWhileStarting: 0,
      acknowledged: 0,
      verified: 0,
      problems: [],
    };
  }

  async run(): Promise<KillReport> {
    const report = this.#report;
    while (report.kills < this.#trial.kills && report.problems.length < PROBLEMS_MAX) {
      await this.#life({ early: this.#random.float() < EARLY });
      if (report.kills % 25 === 0) {
        const { kills, acknowledged, verified } = report;
        this.#trial.onProgress?.(
          `${kills} kills, ${acknowledged} acknowledged, ${verified} verified`,
        );
      }
    }
    // The last one only has to be well.
    await this.#life({ early: false });
    return report;
  }

  async #life({ early }: { early: boolean }): Promise<void> {
    const report = this.#report;
    const { lifeMs = 600, size } = this.#trial;
    const seed = this.#random.u32() % 1_000_000;
    const argument = JSON.stringify({ seed, size, objects: this.#objects });
    const child = spawn(
      process.execPath,
      [packageFile('dist/bench/soak/kill-child.js'), this.#dir, argument],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const started = performance.now();
    let isReady = false;
    const kill = () => child.kill('SIGKILL');
    let timer = setTimeout(
      () => {
        if (!early) this.#problem(`not ready after ${PATIENCE_MS} ms`);
        kill();
      },
      early ? this.#random.float() * this.#startMs : PATIENCE_MS,
    );
    const onLine = (line: string) => {
      if (line !== 'ready') {
        this.#note(line);
        return;
      }
      isReady = true;
      this.#startMs = performance.now() - started;
      clearTimeout(timer);
      timer = setTimeout(kill, this.#random.float() * lifeMs);
    };
    createInterface(child.stdout).on('line', onLine);
    let complaints = '';
    child.stderr.on('data', (chunk) => {
      complaints = (complaints + String(chunk)).slice(-2000);
    });
    const signal = await new Promise<NodeJS.Signals | null>((resolve) => {
      // After all of its output was read.
      child.once('close', (_, endedBy) => resolve(endedBy));
    });
    clearTimeout(timer);
    if (signal !== 'SIGKILL') this.#problem(`the process ended by itself: ${complaints}`);
    report.kills++;
    if (!isReady) report.killsWhileStarting++;
    await this.#trial.afterKill?.(this.#dir, report.kills);
  }

  #note(line: string): void {
    const [what, ...words] = line.split(' ');
    const [object = 0, number = 0] = words.map(Number);
    const state = this.#objects[object];
    if (what === 'problem') this.#problem(words.join(' '));
    else if (what === 'begun' && state) state[1] = number;
    else if (what === 'acknowledged' && state) {
      state[0] = number;
      this.#report.acknowledged++;
    } else if (what === 'found' && state) {
      // What was begun and is not there never will be: who asked for it and who would have done it are gone.
      this.#objects[object] = [number, number];
      this.#report.verified++;
    }
  }

  #problem(text: string): void {
    const { kills, problems } = this.#report;
    problems.push(`after kill ${kills}: ${text}`);
    this.#trial.onProgress?.(`problem after kill ${kills}: ${text}`);
  }
}
