/**
 * A call of an object-class method as a value: the operation to send and how to read its answer.
 *
 * Calls are values so that several can travel in one request: `execute(ioctx, oid, [getSize(), getFeatures()])`
 * is one round trip and one consistent view of the object. Calls that write may be mixed with plain operations
 * in `IoContext.operate`, by their `op`.
 */

import { DecodeError } from '../encoding/decoder.js';
import { callOp, type OsdOp } from '../messages/osd-op.js';
import type { IoContext, OperateOptions } from './io-context.js';

export interface ClassCall<T> {
  readonly op: OsdOp;
  decode(outdata: Uint8Array): T;
}

/** Builds a call; `decode` reads the start of the output, and what follows it is ignored as Ceph's clients do. */
export function classCall<T>(
  cls: string,
  method: string,
  input: Uint8Array | undefined,
  decode: (outdata: Uint8Array) => T,
): ClassCall<T> {
  return {
    op: callOp(cls, method, input),
    decode(outdata) {
      try {
        return decode(outdata);
      } catch (error) {
        throw error instanceof DecodeError ? error.within(`${cls}.${method}`) : error;
      }
    },
  };
}

type Results<Calls extends readonly ClassCall<unknown>[]> = {
  -readonly [K in keyof Calls]: Calls[K] extends ClassCall<infer T> ? T : never;
};

/** Sends calls that read in one request and returns their answers in order. */
export async function execute<const Calls extends readonly ClassCall<unknown>[]>(
  ioctx: IoContext,
  oid: string,
  calls: Calls,
  options?: OperateOptions,
): Promise<Results<Calls>> {
  return (await executeVersioned(ioctx, oid, calls, options)).values;
}

/** As `execute`, with the object's version: while that stays the same, so do the answers. */
export async function executeVersioned<const Calls extends readonly ClassCall<unknown>[]>(
  ioctx: IoContext,
  oid: string,
  calls: Calls,
  options?: OperateOptions,
): Promise<{ values: Results<Calls>; version: bigint }> {
  const { ops, userVersion: version } = await ioctx.operate(
    oid,
    calls.map((call) => call.op),
    options,
  );
  const values = calls.map((call, i) => {
    const output = ops[i];
    if (!output) throw new DecodeError(`the reply lacks operation ${i}`, 0, [oid]);
    return call.decode(output.outdata);
  }) as Results<Calls>;
  return { values, version };
}

/** As `execute`, for one call. */
export async function executeOne<T>(
  ioctx: IoContext,
  oid: string,
  call: ClassCall<T>,
  options?: OperateOptions,
): Promise<T> {
  const [value] = await execute(ioctx, oid, [call], options);
  return value;
}

/** Sends operations of which at least one writes, as one transaction. */
export async function mutate(
  ioctx: IoContext,
  oid: string,
  steps: readonly (OsdOp | ClassCall<void>)[],
  options?: OperateOptions,
): Promise<void> {
  const ops = steps.map((step) => ('op' in step ? step.op : step));
  await ioctx.operate(oid, ops, { ...options, write: true });
}
