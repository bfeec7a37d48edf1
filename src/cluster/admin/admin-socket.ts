/**
 * A daemon's admin socket: a Unix socket that takes one request per connection and answers it.
 *
 *   request   a JSON object that names its command `prefix`, ended by a NUL or a newline
 *   answer    u32 big-endian length, then so many bytes: JSON, or `ERROR: (errno) text`
 *
 * What the `ceph` tool says as `ceph daemon PATH COMMAND` (`common/admin_socket.cc`, `ceph_daemon.py`).
 */

import type { Environment, Network, Stream, StreamHandler } from '../../base/environment.js';
import { isRadosError, RadosError, strerror } from '../../base/errors.js';
import type { AdminArgs } from './admin-command.js';

export interface AdminSocket {
  close(): Promise<void>;
}

/** Longer ones are nobody's command line. */
const MAX_REQUEST_BYTES = 64 * 1024;
/** `sun_path`, with the NUL at its end. */
const MAX_PATH_BYTES = 107;
const NUL = 0;
const NEWLINE = 10;

export type AdminAnswer = (prefix: string, args: AdminArgs) => Promise<string>;

/** Undefined where a socket cannot be: no file system, or a path that is too long for one. */
export async function serveAdminSocket(
  env: Environment,
  path: string,
  answer: AdminAnswer,
): Promise<AdminSocket | undefined> {
  if (!env.network.listenLocal) return undefined;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    env.log.osd.warn({ path }, 'no admin socket: its path is too long');
    return undefined;
  }
  // One that a process left behind is nobody's any more: who listens here owns the directory.
  await env.files.remove(path);
  return await env.network.listenLocal(path, (stream) => new AdminConnection(stream, answer));
}

class AdminConnection implements StreamHandler {
  readonly #stream: Stream;
  readonly #answer: AdminAnswer;
  readonly #buffer = new Uint8Array(MAX_REQUEST_BYTES);
  #length = 0;
  #asked = false;

  constructor(stream: Stream, answer: AdminAnswer) {
    this.#stream = stream;
    this.#answer = answer;
  }

  readInto(): Uint8Array {
    // What comes after the request is nobody's.
    return this.#asked ? this.#buffer : this.#buffer.subarray(this.#length);
  }

  onRead(length: number): void {
    if (this.#asked) return;
    const from = this.#length;
    this.#length += length;
    const end = this.#buffer
      .subarray(from, this.#length)
      .findIndex((byte) => byte === NUL || byte === NEWLINE);
    if (end >= 0) this.#ask(Buffer.from(this.#buffer.subarray(0, from + end)).toString());
    else if (this.#length === MAX_REQUEST_BYTES) this.#stream.destroy();
  }

  onDrain(): void {}

  onClose(): void {}

  #ask(text: string): void {
    this.#asked = true;
    void this.#reply(text).then((reply) => {
      const bytes = Buffer.from(reply);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      this.#stream.write([length, bytes]);
      this.#stream.end?.();
    });
  }

  async #reply(text: string): Promise<string> {
    const request = parseRequest(text);
    if (!request) return errorText(22, 'invalid json');
    try {
      return await this.#answer(request.prefix, request);
    } catch (error) {
      if (isRadosError(error)) return errorText(Math.abs(error.errno), error.message);
      if (error instanceof TypeError || error instanceof RangeError) {
        return errorText(22, error.message);
      }
      throw error;
    }
  }
}

function parseRequest(text: string): ({ prefix: string } & AdminArgs) | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isRequest = typeof value === 'object' && value !== null && 'prefix' in value;
    if (!isRequest || typeof value.prefix !== 'string') return undefined;
    return value as { prefix: string };
  } catch {
    return undefined;
  }
}

function errorText(errno: number, message: string): string {
  return `ERROR: (${errno}) ${strerror(-errno)}\n${message}\n`;
}

/**
 * Asks at an admin socket and returns the answer's text. RadosError: what it refuses with; EIO when it broke off; other errors
 * are the system's: nobody listens there (ENOENT, ECONNREFUSED).
 */
export function askAdminSocket(
  network: Network,
  path: string,
  request: { readonly prefix: string } & AdminArgs,
): Promise<string> {
  return new Promise((resolve, reject) => {
    if (!network.connectLocal) throw new TypeError('there are no local sockets here');
    const chunks: Uint8Array[] = [];
    const buffer = new Uint8Array(64 * 1024);
    const handler: StreamHandler = {
      readInto: () => buffer,
      onRead: (length) => void chunks.push(buffer.slice(0, length)),
      onDrain: () => {},
      onClose: (error) => {
        if (error) reject(error);
        else settle(Buffer.concat(chunks));
      },
    };
    const settle = (reply: Buffer) => {
      if (reply.length < 4 || reply.readUInt32BE(0) !== reply.length - 4) {
        reject(new RadosError('EIO', `${path} broke off its answer`, { op: request.prefix }));
        return;
      }
      const text = reply.toString('utf8', 4);
      const [, errno, message] = /^ERROR: \((\d+)\)[^\n]*\n([^]*?)\n?$/.exec(text) ?? [];
      if (errno === undefined) resolve(text);
      else reject(new RadosError(Number(errno), message ?? '', { op: request.prefix }));
    };
    network.connectLocal(path, handler, (stream) => {
      stream.write([Buffer.from(`${JSON.stringify(request)}\0`)]);
    });
  });
}
