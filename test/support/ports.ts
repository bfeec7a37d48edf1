// Ports that a test names before somebody listens there, or comes back to after nobody did.

import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

const HOST = '127.0.0.1';
/**
 * A claim is a listener at the same port of another address of this machine's: there can be one at a time, whichever
 * process asks, it is in nobody's way on 127.0.0.1, and it goes with its process, however that ends.
 */
const CLAIMS = '127.0.0.2';

export interface ClaimedPorts extends AsyncDisposable {
  /** Ascending. */
  readonly ports: readonly number[];
}

/**
 * Ports of 127.0.0.1 that nothing listens on, and that no other test is given before these are disposed of. They are below
 * the range (32768 and up) from which the kernel serves outgoing connections and listeners that ask for any port.
 */
export async function claimPorts(count: number): Promise<ClaimedPorts> {
  const claims = new Map<number, Server>();
  while (claims.size < count) {
    const port = randomInt(10_000, 32_000);
    const claim = await listening(port, CLAIMS);
    if (!claim) continue;
    const probe = await listening(port, HOST);
    if (!probe) {
      await closed(claim);
      continue;
    }
    await closed(probe);
    claims.set(port, claim);
  }
  return {
    ports: [...claims.keys()].sort((a, b) => a - b),
    async [Symbol.asyncDispose]() {
      await Promise.all([...claims.values()].map(closed));
      claims.clear();
    },
  };
}

/** Undefined: somebody listens there. */
function listening(port: number, host: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => resolve(server));
    // Whoever forgets its ports is not to be kept alive by them.
    server.unref();
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
