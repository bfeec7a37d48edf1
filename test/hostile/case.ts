/** Something wrong that a peer may send, and what must come of it. */
export interface HostileCase {
  readonly name: string;
  /** In the error that ends the session, or in what else is told of the outcome. */
  readonly expect: string;
  /** Sends it; returns the outcome. */
  readonly act: () => string | Promise<string>;
}

/** The error that comes of something, in words. Anything that is not the product's own error is a finding. */
export function refusalOf(act: () => unknown): string {
  try {
    act();
    return 'nothing was refused';
  } catch (error) {
    return describeError(error);
  }
}

export function describeError(error: unknown): string {
  const { code, message, name } = error as { code?: string; message: string; name: string };
  return code === undefined
    ? `${name}, which is no error of ours: ${message}`
    : `${code}: ${message}`;
}
