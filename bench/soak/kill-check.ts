/** Compares an object of a trial with what it must be. */

import { isRadosError } from '../../src/base/errors.js';
import { blob, map, string } from '../../src/encoding/codec.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { getXattrOp, omapGetValsOp } from '../../src/messages/osd-op.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { ExpectedObject, NUMBER_XATTR, objectName } from './kill-model.js';

/** Numbers of changes: the newest that was acknowledged, and the newest that may have happened. */
export interface Known {
  readonly acknowledged: number;
  readonly begun: number;
}

const values = map(string, blob);

/** The number of the change that the object is found at, and what is wrong with it. */
export async function examine(
  io: IoContext,
  object: number,
  { acknowledged, begun }: Known,
): Promise<{ number: number; problems: string[] }> {
  const name = objectName(object);
  const number = await numberOf(io, name);
  const problems: string[] = [];
  if (number < acknowledged || number > begun) {
    problems.push(`${name} is at ${number}; ${acknowledged} was acknowledged, ${begun} begun`);
  }
  if (number === 0) return { number, problems };
  const expected = new ExpectedObject(object, number);
  const found = Buffer.from(await io.read(name, 0, 0));
  if (!found.equals(expected.bytes)) {
    problems.push(`${name} at ${number}: ${difference(found, expected.bytes)}`);
  }
  const keys = sorted(await keysOf(io, name));
  const expectedKeys = sorted(expected.keys);
  if (keys !== expectedKeys) {
    problems.push(`${name} at ${number} has omap ${keys}, not ${expectedKeys}`);
  }
  return { number, problems };
}

const sorted = (entries: Iterable<[string, number]>) => JSON.stringify([...entries].sort());

async function numberOf(io: IoContext, name: string): Promise<number> {
  try {
    const { ops } = await io.operate(name, [getXattrOp(NUMBER_XATTR)]);
    return Number(Buffer.from(ops[0]?.outdata ?? []).toString());
  } catch (error) {
    if (isRadosError(error, 'ENOENT')) return 0;
    throw error;
  }
}

async function keysOf(io: IoContext, name: string): Promise<Map<string, number>> {
  const { ops } = await io.operate(name, [omapGetValsOp('', 1000)]);
  const found = values.decode(new Decoder(ops[0]?.outdata ?? new Uint8Array(0)));
  return new Map(
    [...found].map(([key, value]) => [key, Number(Buffer.from(value).toString())] as const),
  );
}

function difference(found: Buffer, expected: Buffer): string {
  if (found.length !== expected.length) return `${found.length} bytes, not ${expected.length}`;
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  return `other bytes from ${at} on`;
}
