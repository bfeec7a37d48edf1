/** How commands fail: a line on stderr and the errno as the exit code, as `rbd` has it. */

import { isRadosError, strerror, toRadosError } from '../base/errors.js';

export const EXIT_USAGE = 1;
export const EXIT_INTERRUPTED = 130;

/** Ends a command with this exit code; the message is what stderr shows after `linger: `. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/**
 * `what: (errno) text`, the form of `rbd`'s messages. What the library knows beyond the errno follows in brackets, unless
 * it says no more than that.
 */
export function commandError(what: string, error: unknown): CommandError {
  if (error instanceof CommandError) return error;
  const failure = isRadosError(error) ? error : toRadosError(error);
  const errno = Math.abs(failure.errno);
  const plain = `(${errno}) ${strerror(errno)}`;
  const detail = failure.message.includes(plain) ? '' : ` [${failure.message}]`;
  return new CommandError(errno, `${what}: ${plain}${detail}`, { cause: error });
}

/** Runs a step; its failure becomes the command's. */
export async function step<T>(what: string, action: Promise<T>): Promise<T> {
  try {
    return await action;
  } catch (error) {
    throw commandError(what, error);
  }
}
