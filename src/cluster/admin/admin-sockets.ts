/** The admin sockets of a cluster's directory: `osd.0.asok` and so on, and `cluster.asok` for the cluster as a whole. */

import type { Environment } from '../../base/environment.js';
import { type AdminAnswer, type AdminSocket, serveAdminSocket } from './admin-socket.js';

export const CLUSTER_TARGET = 'cluster';

export function adminSocketPath(dir: string, name: string): string {
  return `${dir}/${name}.asok`;
}

export class AdminSockets {
  readonly #env: Environment;
  #open: AdminSocket[] = [];

  constructor(env: Environment) {
    this.#env = env;
  }

  /** One for each name. Where there can be none there is none. */
  async open(
    dir: string,
    names: readonly string[],
    answer: (name: string, ...request: Parameters<AdminAnswer>) => Promise<string>,
  ): Promise<void> {
    for (const name of names) {
      const path = adminSocketPath(dir, name);
      const socket = await serveAdminSocket(this.#env, path, (...request) =>
        answer(name, ...request),
      );
      if (socket) this.#open.push(socket);
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = [];
    await Promise.all(open.map((socket) => socket.close()));
  }
}
