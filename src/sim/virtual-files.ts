/** Small files in memory: what a process reads its configuration from. */

import type { Files } from '../base/environment.js';

export class VirtualFiles implements Files {
  readonly #files = new Map<string, Uint8Array>();
  #temporary = 0;

  readFile(path: string): Promise<Uint8Array> {
    const content = this.#files.get(path);
    if (content) return Promise.resolve(content);
    return Promise.reject(
      Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), {
        code: 'ENOENT',
      }),
    );
  }

  async exists(path: string): Promise<boolean> {
    return this.#files.has(path);
  }

  async writeFile(path: string, data: Uint8Array | string): Promise<void> {
    this.#files.set(path, Uint8Array.from(typeof data === 'string' ? Buffer.from(data) : data));
  }

  async mkdir(): Promise<void> {}

  /** A file, or everything below a directory. */
  async remove(path: string): Promise<void> {
    for (const name of [...this.#files.keys()]) {
      if (name === path || name.startsWith(`${path}/`)) this.#files.delete(name);
    }
  }

  async makeTempDir(prefix: string): Promise<string> {
    return `/tmp/${prefix}${this.#temporary++}`;
  }
}
