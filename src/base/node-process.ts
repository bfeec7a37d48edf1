/** Which process it was: a pid alone may belong to another one by now. */

import { readFile } from 'node:fs/promises';

export interface ProcessIdentity {
  pid: number;
  /** When it began, as the system counts it: a later process with the same pid began later. */
  began: string;
}

export async function ownProcess(): Promise<ProcessIdentity> {
  return { pid: process.pid, began: await processBegan(process.pid) };
}

export async function isRunning({ pid, began }: ProcessIdentity): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: another user's.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return (await processBegan(pid)) === began;
}

/** A plausible identity, out of what a file says. */
export function isProcessIdentity(value: unknown): value is ProcessIdentity {
  const { pid, began } = (value ?? {}) as Partial<ProcessIdentity>;
  return (
    typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 1 && typeof began === 'string'
  );
}

/** Field 22 of `/proc/PID/stat`; empty where there is no `/proc`, or no such process. A zombie has ended. */
async function processBegan(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name, in parentheses, may have spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? '' : (fields[19] ?? '');
}
