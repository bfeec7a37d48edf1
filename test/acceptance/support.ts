/** What the parts of the acceptance script share. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { expect } from 'vitest';

import { type Cluster, type ClusterOptions, connect, type CreateOptions } from '../../src/index.js';
import type { Target, TargetKind } from './target.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Hands over the cluster that `beforeAll` started. */
export type GetTarget = () => Target;

/** Connects as any application does, as client.admin unless told. A cluster out of reach fails soon. */
export function connectTo(target: Target, options: ClusterOptions = {}): Promise<Cluster> {
  return connect({ conf: target.confPath, mountTimeoutMs: 30_000, ...options });
}

/** An image of every kind that places its bytes differently. */
export interface ImageKind {
  readonly kind: string;
  readonly namespace: string;
  readonly options: Omit<CreateOptions, 'size'>;
  /** The same for `rbd create`. */
  readonly args: readonly string[];
}

export const NAMESPACE = 'tenant';

export function imageKinds({ dataPools }: TargetKind): ImageKind[] {
  const striped = (stripeUnit: number, stripeCount: number, order: number) => ({
    options: { stripeUnit, stripeCount, order },
    args: [
      ...['--stripe-unit', `${stripeUnit}B`, '--stripe-count', String(stripeCount)],
      ...['--object-size', `${2 ** order}B`],
    ],
  });
  const wide = striped(4 * KIB, 5, 16);
  return [
    { kind: 'plain', namespace: '', options: {}, args: [] },
    { kind: 'small-object', namespace: '', options: { order: 16 }, args: ['--object-size', '64K'] },
    { kind: 'striped', namespace: '', ...striped(64 * KIB, 3, 20) },
    { kind: 'finely striped', namespace: '', ...wide },
    ...dataPools.map((dataPool) => ({
      kind: `data-pool (${dataPool})`,
      namespace: '',
      options: { dataPool },
      args: ['--data-pool', dataPool],
    })),
    { kind: 'namespaced', namespace: NAMESPACE, options: {}, args: [] },
    {
      kind: 'namespaced, striped, data-pool',
      namespace: NAMESPACE,
      options: { ...wide.options, dataPool: 'data' },
      args: [...wide.args, '--data-pool', 'data'],
    },
  ];
}

/** `rbd/image` or `rbd/tenant/image`. */
export function specOf({ namespace }: Pick<ImageKind, 'namespace'>, name: string): string {
  return ['rbd', namespace, name].filter((part) => part !== '').join('/');
}

/** Fast, where `toEqual` would compare byte by byte and print megabytes. */
export function expectSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  throw new Error(`bytes differ from offset ${at} on: ${actual[at]}, not ${expected[at]}`);
}

/** Numbers that a seed decides (xorshift32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  below(limit: number): number {
    return this.u32() % limit;
  }

  bytes(length: number): Buffer {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let i = 0; i < words.length; i++) words[i] = this.u32();
    return Buffer.from(words.buffer, 0, length);
  }
}

/** The TCP connections that this process holds, as `local remote`. Linux only. */
export function connections(): Set<string> {
  const own = new Set(
    readdirSync('/proc/self/fd').map((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
      } catch {
        return undefined; // the directory's own descriptor is gone by now
      }
    }),
  );
  const ESTABLISHED = '01';
  const rows = readFileSync('/proc/self/net/tcp', 'latin1').trim().split('\n').slice(1);
  return new Set(
    rows
      .map((row) => row.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === ESTABLISHED && own.has(inode))
      .map(([, local, remote]) => `${local} ${remote}`),
  );
}
