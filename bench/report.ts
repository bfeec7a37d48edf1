/** Medians, ratios, and the table that shows them. */

import { type Case, caseName, type Measurement } from './cases.js';

/** Case → client → one measurement per round. */
export type Results = Map<string, Map<string, Measurement[]>>;

/** One more measurement of a case. */
export function remember(
  results: Results,
  io: Case,
  client: string,
  measurement: Measurement,
): void {
  const byClient = results.get(caseName(io)) ?? new Map<string, Measurement[]>();
  results.set(caseName(io), byClient);
  byClient.set(client, [...(byClient.get(client) ?? []), measurement]);
}

export interface About {
  cluster: string;
  machine: string;
  msMode: string;
  rounds: number;
  seconds: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function medianOf(all: readonly Measurement[]): Measurement {
  const of = (pick: (measurement: Measurement) => number) => median(all.map(pick));
  return {
    iops: of(({ iops }) => iops),
    mbps: of(({ mbps }) => mbps),
    latency: {
      mean: of(({ latency }) => latency.mean),
      p50: of(({ latency }) => latency.p50),
      p99: of(({ latency }) => latency.p99),
    },
    cpuPerOp: of(({ cpuPerOp }) => cpuPerOp),
  };
}

const PEER = 'librbd';

/** Ratios are ours over librbd's: above 1 is better for IOPS, below 1 for latency and CPU. */
export function markdownReport(about: About, results: Results): string {
  const lines = [
    `## ${about.cluster}`,
    '',
    `${about.machine}; ms_mode ${about.msMode}; medians of ${about.rounds} interleaved rounds of ${about.seconds} s; image rewritten before each measurement.`,
    '',
    '| case | client | IOPS | ratio | MB/s | p50 us | ratio | p99 us | CPU us/op | ratio |',
    '|---|---|---|---|---|---|---|---|---|---|',
  ];
  for (const [name, byClient] of results) {
    const peerRuns = byClient.get(PEER);
    const peer = peerRuns && medianOf(peerRuns);
    for (const [client, runs] of byClient) {
      const own = medianOf(runs);
      const ratio = (mine: number, theirs: number | undefined) =>
        theirs === undefined || client === PEER ? '' : (mine / theirs).toFixed(2);
      const cells = [
        name,
        client,
        own.iops.toFixed(0),
        ratio(own.iops, peer?.iops),
        own.mbps.toFixed(0),
        own.latency.p50.toFixed(0),
        ratio(own.latency.p50, peer?.latency.p50),
        own.latency.p99.toFixed(0),
        own.cpuPerOp.toFixed(1),
        ratio(own.cpuPerOp, peer?.cpuPerOp),
      ];
      lines.push(`| ${cells.join(' | ')} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}
