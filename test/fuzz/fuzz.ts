/**
 * What holds of every decoder, whatever it is given: it returns or throws its own error, soon, and takes no more memory than
 * a multiple of the input.
 *
 * Memory is what the heap and the buffers have grown by over a batch of inputs, as far as the collector has not come in
 * between; a batch that grew by too much is gone through input by input.
 */

import { ProtocolError } from '../../src/base/errors.js';
import { seededDraw } from '../support/codecs.js';
import { mutated, pick, soup } from './mutate.js';

export interface FuzzTarget {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Throws what it has to say. */
  decode(bytes: Uint8Array): unknown;
  /** Makes checksums right again, so that what is behind them is reached. */
  repair?(bytes: Uint8Array): Uint8Array;
  /** Beside a `ProtocolError`. */
  expects?(error: unknown): boolean;
}

export interface Finding {
  readonly target: string;
  readonly what: string;
  readonly input: string;
}

export interface FuzzReport {
  readonly inputs: number;
  /** Of them: decoded without an error. */
  readonly accepted: number;
  readonly findings: readonly Finding[];
  /** The most that a batch has grown the memory by, per byte of its input. */
  readonly bytesPerByte: number;
  readonly slowestMs: number;
}

const BATCH = 100;
const SLOW_MS = 1000;
/**
 * Of one byte, at most: a list of bytes becomes numbers, a map of empty texts entries. What a run takes anyway (errors and
 * their stacks, samples of the profiler) is not the input's.
 */
const BYTES_PER_BYTE_MAX = 64;
const BYTES_FREE = 4 * 1024 * 1024;
const FINDINGS_MAX = 5;

export function fuzz(
  target: FuzzTarget,
  { inputs, seed, onBatch }: { inputs: number; seed: number; onBatch?: () => void },
): FuzzReport {
  const draw = seededDraw(seed);
  const findings: Finding[] = [];
  let accepted = 0;
  let bytesPerByte = 0;
  let slowestMs = 0;
  const find = (what: string, input: Uint8Array) =>
    findings.push({ target: target.name, what, input: Buffer.from(input).toString('hex') });
  const run = (input: Uint8Array) => {
    const began = performance.now();
    const end = endOf(target, input);
    let ms = performance.now() - began;
    // This process may have stood still meanwhile: what is slow is slow again.
    if (ms > SLOW_MS)
      ms = Math.min(
        ms,
        durationOf(() => endOf(target, input)),
      );
    slowestMs = Math.max(slowestMs, ms);
    if (end === 'decoded') accepted++;
    else if (end !== 'refused') find(whereOf(target, input), input);
    if (ms > SLOW_MS) find(`took ${Math.round(ms)} ms`, input);
  };
  const { stackTraceLimit } = Error;
  // Errors are what most inputs end in; where one comes from is looked at again if it is a finding.
  Error.stackTraceLimit = 0;
  for (let done = 0; done < inputs && findings.length < FINDINGS_MAX; done += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, inputs - done) }, () => input(target, draw));
    const size = batch.reduce((sum, { length }) => sum + length, 0);
    const before = memory();
    for (const each of batch) run(each);
    const growth = memory() - before;
    bytesPerByte = Math.max(bytesPerByte, (growth - BYTES_FREE) / Math.max(size, 1));
    if (growth > BYTES_FREE + BYTES_PER_BYTE_MAX * size) {
      for (const each of batch) {
        const taken = growthOf(() => endOf(target, each));
        if (taken > BYTES_FREE + BYTES_PER_BYTE_MAX * each.length)
          find(`took ${taken} bytes`, each);
      }
    }
    onBatch?.();
  }
  Error.stackTraceLimit = stackTraceLimit;
  return { inputs, accepted, findings, bytesPerByte, slowestMs };
}

function input(target: FuzzTarget, draw: (bound: number) => number): Uint8Array {
  const { seeds, repair } = target;
  const isSoup = seeds.length === 0 || draw(8) === 0;
  const bytes = isSoup ? soup(draw, draw(24)) : mutated(pick(draw, seeds), seeds, draw);
  return repair && draw(8) > 0 ? repair(bytes) : bytes;
}

function endOf(target: FuzzTarget, bytes: Uint8Array): 'decoded' | 'refused' | 'failed' {
  try {
    target.decode(bytes);
    return 'decoded';
  } catch (error) {
    return error instanceof ProtocolError || target.expects?.(error) ? 'refused' : 'failed';
  }
}

/** Again, with a stack. */
function whereOf(target: FuzzTarget, bytes: Uint8Array): string {
  Error.stackTraceLimit = 10;
  try {
    target.decode(bytes);
    return 'failed once, and not again';
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } finally {
    Error.stackTraceLimit = 0;
  }
}

function durationOf(act: () => unknown): number {
  const began = performance.now();
  act();
  return performance.now() - began;
}

function growthOf(act: () => unknown): number {
  const before = memory();
  act();
  return memory() - before;
}

function memory(): number {
  const { heapUsed, arrayBuffers, external } = process.memoryUsage();
  return heapUsed + Math.max(arrayBuffers, external);
}
