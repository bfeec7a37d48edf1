/** One request of a slot as a call of the backend. */

import { RadosError } from '../base/errors.js';
import type { BlockBackend } from './backend.js';
import { type BlockRequest, FLAG, OP } from './requests.js';

/** Never throws: whatever goes wrong is a rejection. `payload` is what the request's address stands for. */
export function perform(
  backend: BlockBackend,
  request: BlockRequest,
  payload: Uint8Array,
): Promise<void> {
  try {
    return call(backend, request, payload);
  } catch (error) {
    return Promise.reject(error as Error);
  }
}

function call(backend: BlockBackend, request: BlockRequest, payload: Uint8Array): Promise<void> {
  const { op, flags, offset, length } = request;
  switch (op) {
    case OP.READ:
      return backend.read(offset, payload);
    case OP.WRITE:
      return backend.write(offset, payload, (flags & FLAG.FUA) !== 0);
    case OP.DISCARD:
      return backend.discard(offset, length);
    case OP.WRITE_ZEROES:
      return backend.writeZeroes(offset, length, { noUnmap: (flags & FLAG.NO_UNMAP) !== 0 });
    case OP.WRITE_SAME:
      return backend.writeSame
        ? backend.writeSame(offset, length, payload)
        : writeRepeatedly(backend, offset, length, payload);
    case OP.COMPARE_AND_WRITE:
      return backend.compareAndWrite(
        offset,
        payload.subarray(0, length),
        payload.subarray(length, 2 * length),
      );
    case OP.FLUSH:
      return backend.flush();
    default:
      throw new RadosError('EINVAL', `request with unknown operation ${String(op)}`);
  }
}

/** How much of a repeated pattern is laid out at a time. */
const REPEAT_BYTES = 1024 * 1024;

async function writeRepeatedly(
  backend: BlockBackend,
  offset: number,
  length: number,
  pattern: Uint8Array,
): Promise<void> {
  const copies = Math.max(1, Math.floor(Math.min(length, REPEAT_BYTES) / pattern.length));
  const block = new Uint8Array(copies * pattern.length);
  for (let at = 0; at < block.length; at += pattern.length) block.set(pattern, at);
  for (let done = 0; done < length; done += block.length) {
    await backend.write(offset + done, block.subarray(0, Math.min(block.length, length - done)));
  }
}
