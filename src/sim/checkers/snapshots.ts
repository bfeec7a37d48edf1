/**
 * Is a snapshot the image at one instant between its request and its end? Each of its sectors tells when it can have been
 * what it is: not before the write that it is of began, not after a later one had ended. Where no time fits all of them,
 * the snapshot is of no instant. And whoever reads it, whenever, reads the same.
 *
 * A necessary condition, and with writes that overlap not a sufficient one; each sector by itself is judged as a register.
 */

import { describeOp, type Op } from './history.js';
import type { Violation } from './violation.js';

export interface Window {
  readonly from: number;
  /** Undefined: it is not known. */
  readonly to: number | undefined;
}

/** When a snapshot was made, in the order of things. Of one whose outcome was not told: before somebody first read it. */
export function windowOf(
  snap: string,
  ops: readonly Op[],
  overAs: (op: Op) => number = ({ endedAs }) => endedAs as number,
): Window {
  const create = ops.find((op) => op.kind === 'snapCreate' && op.snap === snap);
  if (!create) return { from: 0, to: undefined };
  const from = create.startedAs;
  if (create.end === 'ok') return { from, to: overAs(create) };
  const reads = ops.filter((op) => op.kind === 'read' && op.snap === snap && op.end === 'ok');
  const first = Math.min(...reads.map(({ endedAs }) => endedAs as number));
  return { from, to: Number.isFinite(first) ? first : undefined };
}

/** Every snapshot of one image. `atOnce`: whether there was one writer at a time, so that there is an instant. */
export function checkSnapshots(
  ops: readonly Op[],
  { initial, atOnce }: { initial?: Uint32Array | undefined; atOnce: boolean },
): Violation[] {
  const reads = new Map<string, Op>();
  const violations: Violation[] = [];
  for (const op of ops) {
    if (op.kind !== 'read' || op.snap === undefined || op.end !== 'ok') continue;
    const first = reads.get(op.snap);
    if (!first) reads.set(op.snap, op);
    else if (!isAlike(first, op)) {
      violations.push({
        checker: 'snapshots',
        message: `the snapshot ${op.snap} changed: ${firstDifference(first, op)}`,
        ops: [describeOp(first), describeOp(op)],
      });
    }
  }
  if (!atOnce) return violations;
  for (const read of reads.values()) {
    const violation = checkInstant(read, ops, initial);
    if (violation) violations.push(violation);
  }
  return violations;
}

function isAlike(a: Op, b: Op): boolean {
  return firstDifference(a, b) === undefined;
}

function firstDifference(a: Op, b: Op): string | undefined {
  const [one, other] = [a.values as Uint32Array, b.values as Uint32Array];
  if (one.length !== other.length) return `${one.length} sectors, then ${other.length}`;
  const sector = one.findIndex((value, i) => value !== other[i]);
  return sector < 0
    ? undefined
    : `sector ${sector} was of write ${one[sector]}, then ${other[sector]}`;
}

interface Bound {
  readonly at: number;
  readonly why: string;
}

function checkInstant(
  read: Op,
  ops: readonly Op[],
  initial: Uint32Array | undefined,
): Violation | undefined {
  const values = read.values as Uint32Array;
  const { from, to = Number.POSITIVE_INFINITY } = windowOf(read.snap as string, ops);
  let low: Bound = { at: from, why: 'it was asked for' };
  let high: Bound = { at: to, why: 'it was there' };
  for (const [sector, changes] of changesBySector(ops, values.length).entries()) {
    const value = values[sector] as number;
    // What brings a value back makes every time possible.
    if (changes.some((op) => op.kind === 'rollback' && op.values?.[sector] === value)) continue;
    const source = changes.find(({ id }) => id === value);
    if (source && source.startedAs > low.at) {
      low = { at: source.startedAs, why: `sector ${sector} is of ${describeOp(source)}` };
    }
    if (!source && value !== (initial?.[sector] ?? 0)) continue;
    if (!source && value === 0 && changes.some(mayZero)) continue;
    const after = source ? source.endedAs : 0;
    if (source && source.end !== 'ok') continue;
    for (const op of changes) {
      if (op.end !== 'ok' || op === source || op.startedAs <= (after as number)) continue;
      if (op.kind === 'discard' || (op.kind === 'rollback' && op.values?.[sector] === value))
        continue;
      if ((op.endedAs as number) < high.at) {
        high = { at: op.endedAs as number, why: `sector ${sector} lacks ${describeOp(op)}` };
      }
    }
  }
  if (low.at <= high.at) return undefined;
  return {
    checker: 'snapshots',
    message: `the snapshot ${read.snap} is of no instant`,
    ops: [`not before ${low.why}`, `not after ${high.why}`, describeOp(read)],
  };
}

function mayZero({ kind }: Op): boolean {
  return kind !== 'write' && kind !== 'compareAndWrite';
}

/** What may have changed each sector. */
function changesBySector(ops: readonly Op[], sectors: number): Op[][] {
  const changes = Array.from({ length: sectors }, (): Op[] => []);
  for (const op of ops) {
    if (op.end === 'failed') continue;
    const [first, end] = extent(op);
    for (let sector = first; sector < Math.min(end, sectors); sector++) changes[sector]?.push(op);
  }
  return changes;
}

function extent(op: Op): [first: number, end: number] {
  switch (op.kind) {
    case 'write':
    case 'writeZeroes':
    case 'discard':
    case 'compareAndWrite':
      return [op.firstSector, op.firstSector + op.sectors];
    case 'resize':
      return [op.sectors, Number.POSITIVE_INFINITY];
    case 'rollback':
      return [0, Number.POSITIVE_INFINITY];
    default:
      return [0, 0];
  }
}
