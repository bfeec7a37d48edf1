/** What an image has besides its sectors: its size and its metadata, each of which is a register, too. */

import { describeOp, type ImageOrigin, type Op } from './history.js';
import { type RegisterOp, searchOrder } from './register.js';
import { windowOf } from './snapshots.js';
import type { Violation } from './violation.js';

const SHOWN_OPS = 12;

export function checkSize(ops: readonly Op[], { sectors }: ImageOrigin): Violation | undefined {
  const register: RegisterOp[] = [];
  const snapshots = new Set<string>();
  for (const op of ops) {
    if (op.end === 'failed') continue;
    const to = op.end === 'ok' ? op.endedAs : undefined;
    const at = { op, from: op.startedAs, to };
    if (op.kind === 'resize') register.push(...setting(at, op.sectors));
    else if (op.kind === 'rollback') {
      register.push({ ...at, effect: { kind: 'set', value: op.values?.length ?? 0 } });
    } else if (op.kind === 'sizeGet' && to !== undefined) {
      register.push({ ...at, effect: { kind: 'read', value: op.sectors } });
    } else if (op.kind === 'read' && op.snap !== undefined && !snapshots.has(op.snap)) {
      if (op.end !== 'ok') continue;
      snapshots.add(op.snap);
      const effect = { kind: 'read', value: op.values?.length ?? 0 } as const;
      register.push({ op, ...windowOf(op.snap, ops), effect });
    }
  }
  return judge('size', register, sectors);
}

/** Of each key. */
export function checkMetadata(ops: readonly Op[]): Violation | undefined {
  const byKey = new Map<string, RegisterOp[]>();
  for (const op of ops) {
    const { kind, detail: key = '', end } = op;
    if (end === 'failed' || (kind !== 'metadataSet' && kind !== 'metadataGet')) continue;
    if (kind === 'metadataGet' && end !== 'ok') continue;
    const register = byKey.get(key) ?? [];
    byKey.set(key, register);
    const at = { op, from: op.startedAs, to: end === 'ok' ? op.endedAs : undefined };
    if (kind === 'metadataSet') register.push(...setting(at, op.id));
    else register.push({ ...at, effect: { kind: 'read', value: op.values?.[0] ?? 0 } });
  }
  for (const [key, register] of byKey) {
    const violation = judge(`metadata ${key}`, register, 0);
    if (violation) return violation;
  }
  return undefined;
}

/** What was asked for again at a new owner may be done by both, until it is answered. */
function setting(at: Omit<RegisterOp, 'effect'>, value: number): RegisterOp[] {
  return [
    { ...at, effect: { kind: 'set', value } },
    { ...at, effect: { kind: 'maybe-set', value } },
  ];
}

function judge(
  what: string,
  register: readonly RegisterOp[],
  initial: number,
): Violation | undefined {
  const stuck = searchOrder(register, initial);
  if (!stuck) return undefined;
  return {
    checker: 'maintenance',
    message: `${what}: ${describeOp(stuck.op)} fits no order of what was done before it`,
    ops: [...register]
      .sort((a, b) => a.from - b.from)
      .slice(-SHOWN_OPS)
      .map(({ op, effect }) => `${describeOp(op)}${'value' in effect ? `: ${effect.value}` : ''}`),
  };
}
