/** How commands fail: a line on stderr and the errno as the exit code, as `rbd` has it. */

import { InvalidArgumentError } from 'commander';
import { isRadosError, strerror, toRadosError } from '../base/errors.js';

export const EXIT_USAGE = 1;

const SIGNAL_NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
export type InterruptSignal = keyof typeof SIGNAL_NUMBERS;

/** The process was told to end: by Ctrl-C, `kill`, or the end of its terminal. */
export class Interrupt extends Error {
  readonly signal: InterruptSignal;

  constructor(signal: InterruptSignal) {
    super(`ended by ${signal}`);
    this.signal = signal;
  }

  /** As a shell reports a process that a signal ended: 130 for Ctrl-C. */
  get exitCode(): number {
    return 128 + SIGNAL_NUMBERS[this.signal];
  }
}

/** Ends a command with this exit code; the message is what stderr shows after `linger: `. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** The value of an option is none: the parser of the command line adds which one. */
export function invalid(why: string): InvalidArgumentError {
  return new InvalidArgumentError(why);
}

/**
 * `what: (errno) text`, the form of `rbd`'s messages. What the library knows beyond the errno follows in brackets, unless
 * it says no more than that.
 */
export function commandError(
  what: string,
  error: unknown,
  { alwaysDetail = false }: { alwaysDetail?: boolean } = {},
): CommandError {
  if (error instanceof CommandError) return error;
  const failure = isRadosError(error) ? error : toRadosError(error);
  const errno = Math.abs(failure.errno);
  const text = strerror(errno);
  const said = failure.message.toLowerCase();
  const adds = alwaysDetail || (!said.includes(text.toLowerCase()) && failure.code !== 'EEXIST');
  const detail = adds ? ` [${failure.message}]` : '';
  return new CommandError(errno, `${what}: (${errno}) ${text}${detail}`, { cause: error });
}

/** Runs a step; its failure becomes the command's. */
export async function step<T>(
  what: string,
  action: Promise<T>,
  options?: { alwaysDetail?: boolean },
): Promise<T> {
  try {
    return await action;
  } catch (error) {
    if (error instanceof Interrupt) throw error;
    throw commandError(what, error, options);
  }
}
