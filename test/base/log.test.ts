import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { createLog, type LogOptions, SUBSYSTEMS } from '../../src/base/log.js';

/** What is written of one line of each level by each subsystem. */
function written(options: LogOptions): string[] {
  const lines: string[] = [];
  const parent = pino(
    { level: 'trace', base: null, timestamp: false },
    { write: (line: string) => lines.push(line) },
  );
  const log = createLog(options, parent);
  for (const subsystem of SUBSYSTEMS) {
    for (const level of ['debug', 'warn'] as const) log[subsystem][level]({ n: 1 }, level);
  }
  return lines.map((line) => {
    const { subsystem, msg } = JSON.parse(line) as { subsystem: string; msg: string };
    return `${subsystem} ${msg}`;
  });
}

describe('the log', () => {
  it('is silent unless asked', () => {
    expect(written({})).toEqual([]);
  });

  it('has a level for each subsystem, or one for all', () => {
    expect(written({ subsystems: { rbd: 'warn', monc: 'debug' } })).toEqual([
      'monc debug',
      'monc warn',
      'rbd warn',
    ]);
    const others = SUBSYSTEMS.filter((each) => each !== 'rbd');
    expect(written({ level: 'warn', subsystems: { rbd: 'silent' } })).toEqual(
      others.map((each) => `${each} warn`),
    );
  });
});
