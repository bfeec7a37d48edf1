/** What is measured: the same cases for every client. */

export interface Case {
  rw: 'randread' | 'randwrite' | 'read' | 'write';
  blockSize: number;
  depth: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const CASES: readonly Case[] = [
  ...[1, 16, 64].flatMap((depth): Case[] => [
    { rw: 'randread', blockSize: 4 * KIB, depth },
    { rw: 'randwrite', blockSize: 4 * KIB, depth },
  ]),
  ...[1, 16, 64].flatMap((depth): Case[] => [
    { rw: 'read', blockSize: 64 * KIB, depth },
    { rw: 'write', blockSize: 64 * KIB, depth },
  ]),
  ...[1, 16].flatMap((depth): Case[] => [
    { rw: 'read', blockSize: 4 * MIB, depth },
    { rw: 'write', blockSize: 4 * MIB, depth },
  ]),
];

/** `randread 4K qd16` */
export function caseName({ rw, blockSize, depth }: Case): string {
  const size = blockSize >= MIB ? `${blockSize / MIB}M` : `${blockSize / KIB}K`;
  return `${rw} ${size} qd${depth}`;
}

/** What one run of one case gave. */
export interface Measurement {
  iops: number;
  /** 10^6 bytes per second. */
  mbps: number;
  /** Microseconds. */
  latency: { mean: number; p50: number; p99: number };
  /** User and system time of the whole client process per operation, start-up left out, in microseconds. */
  cpuPerOp: number;
}
