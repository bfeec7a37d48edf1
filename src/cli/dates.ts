/** Points in time as people write them: `tomorrow`, `2026-12-01`, `+2 weeks`. As `rbd` does, `date` is asked what they mean. */

import { execFile } from 'node:child_process';
import { CommandError } from './errors.js';

/** Ends the command with 22 for what is no date. */
export async function parseDate(text: string): Promise<Date> {
  const seconds = await new Promise<number>((resolve, reject) => {
    execFile('date', [`--date=${text}`, '+%s'], (error, stdout, stderr) => {
      const value = Number(stdout);
      if (!error && stdout.trim() !== '' && Number.isFinite(value)) return resolve(value);
      const why = stderr.trim() === '' ? '' : ` [${stderr.trim()}]`;
      reject(
        new CommandError(22, `error calling /bin/date: (22) Invalid argument${why}`, {
          cause: error,
        }),
      );
    });
  });
  return new Date(seconds * 1000);
}
