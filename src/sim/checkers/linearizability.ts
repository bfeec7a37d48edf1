/**
 * Is every sector of an image a register? Its writes are those that clients ask for, and what changes the image as a whole:
 * a shrink leaves zeros beyond the new end, a rollback what the snapshot holds. A snapshot is a read of the image at
 * some time while it was being made.
 */

import { describeOp, type Op } from './history.js';
import { type Effect, type RegisterOp, searchOrder } from './register.js';
import { windowOf } from './snapshots.js';
import type { Violation } from './violation.js';

/** Operations of a sector shown with a violation: those around it. */
const SHOWN_OPS = 12;
const ZERO: Effect = { kind: 'set', value: 0 };
const MAYBE_ZERO: Effect = { kind: 'maybe-set', value: 0 };

export interface SectorsOptions {
  /** The write that each sector is of at the beginning; zeros where it has none. */
  readonly initial?: Uint32Array | undefined;
  /** When something that the image as a whole went through was over: later than its end where there is no lock. */
  readonly overAs?: (op: Op) => number;
  /**
   * As of when a client may see the image: from before its operation began, where it was fenced and need not ask an OSD, for its
   * object map tells that there is nothing.
   */
  readonly seenSince?: (op: Op) => number;
}

/** An operation that touches sectors, and how it looks to each of them. */
interface Touching {
  readonly op: Op;
  readonly from: number;
  readonly to: number | undefined;
  readonly first: number;
  readonly end: number;
  readonly effectAt: (sector: number) => Effect;
}

/** The first sector of one image that is not a register, if any. `sectors`: how many it has had at most. */
export function checkSectors(
  ops: readonly Op[],
  sectors: number,
  {
    initial,
    overAs = ({ endedAs }) => endedAs as number,
    seenSince = ({ startedAs }) => startedAs,
  }: SectorsOptions = {},
): Violation | undefined {
  const bySector = Array.from({ length: sectors }, (): Touching[] => []);
  for (const touching of touchings(ops, { overAs, seenSince })) {
    const end = Math.min(touching.end, sectors);
    for (let sector = touching.first; sector < end; sector++) {
      (bySector[sector] as Touching[]).push(touching);
    }
  }
  // Neighbours were mostly written and read together: what was searched for one is not searched again for the next.
  let last: { register: readonly RegisterOp[]; holds: number } | undefined;
  for (const [sector, its] of bySector.entries()) {
    if (its.length === 0) continue;
    const holds = initial?.[sector] ?? 0;
    const register = its.map(
      ({ op, from, to, effectAt }): RegisterOp => ({ op, from, to, effect: effectAt(sector) }),
    );
    if (last?.holds === holds && isSameRegister(last.register, register)) continue;
    const stuck = searchOrder(register, holds);
    if (stuck) return violation(stuck, register, sector);
    last = { register, holds };
  }
  return undefined;
}

function isSameRegister(a: readonly RegisterOp[], b: readonly RegisterOp[]): boolean {
  return a.length === b.length && a.every((one, i) => isSameStep(one, b[i] as RegisterOp));
}

function isSameStep({ op, from, to, effect }: RegisterOp, other: RegisterOp): boolean {
  const { effect: its } = other;
  return (
    op === other.op &&
    from === other.from &&
    to === other.to &&
    effect.kind === its.kind &&
    effect.value === its.value &&
    (effect.kind !== 'swap' || effect.expected === (its as typeof effect).expected)
  );
}

function violation(stuck: RegisterOp, register: readonly RegisterOp[], sector: number): Violation {
  const { to = 0 } = stuck;
  const around = register
    .filter(({ from }) => from <= to)
    .sort((a, b) => a.from - b.from)
    .slice(-SHOWN_OPS)
    .map(
      ({ op, effect }) => `${describeOp(op)}${'value' in effect ? `: write ${effect.value}` : ''}`,
    );
  return {
    checker: 'linearizability',
    message: `sector ${sector}: ${describeOp(stuck.op)} fits no order of what was done before it`,
    ops: around,
  };
}

function* touchings(
  ops: readonly Op[],
  { overAs, seenSince }: Required<Pick<SectorsOptions, 'overAs' | 'seenSince'>>,
): Generator<Touching> {
  const snapshots = new Set<string>();
  for (const op of ops) {
    if (op.end === 'failed' || (op.kind === 'read' && op.end !== 'ok')) continue;
    const known = op.end === 'ok';
    const io = { op, from: op.startedAs, to: known ? op.endedAs : undefined };
    const range = { first: op.firstSector, end: op.firstSector + op.sectors };
    const late = { ...io, to: known ? overAs(op) : undefined };
    switch (op.kind) {
      case 'write':
        yield { ...io, ...range, effectAt: () => ({ kind: 'set', value: op.id }) };
        break;
      case 'writeZeroes':
        yield { ...io, from: seenSince(op), ...range, effectAt: () => ZERO };
        break;
      case 'discard':
        yield { ...io, from: seenSince(op), ...range, effectAt: () => MAYBE_ZERO };
        break;
      case 'compareAndWrite': {
        const expected = (sector: number) => op.expected?.[sector - op.firstSector] ?? 0;
        const value = op.id;
        yield {
          ...{ ...io, ...range },
          effectAt: (sector) => ({ kind: 'swap', expected: expected(sector), value }),
        };
        break;
      }
      case 'read': {
        const effectAt = (sector: number): Effect => ({
          kind: 'read',
          value: op.values?.[sector - op.firstSector] ?? 0,
        });
        if (op.snap === undefined) yield { ...io, from: seenSince(op), ...range, effectAt };
        else if (!snapshots.has(op.snap)) {
          // All its reads are alike, or another checker says so.
          snapshots.add(op.snap);
          const { from, to } = windowOf(op.snap, ops, overAs);
          yield { op, from, to, ...range, effectAt };
        }
        break;
      }
      case 'resize': {
        const cut = { ...late, first: op.sectors, end: Number.POSITIVE_INFINITY };
        yield { ...cut, effectAt: () => ZERO };
        // Asked for again at a new owner, it may be done by both.
        yield { ...cut, effectAt: () => MAYBE_ZERO };
        break;
      }
      case 'rollback':
        yield {
          ...{ ...late, first: 0, end: Number.POSITIVE_INFINITY },
          effectAt: (sector) => ({ kind: 'set', value: op.values?.[sector] ?? 0 }),
        };
        break;
      default:
        break;
    }
  }
}
