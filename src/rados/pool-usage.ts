/** How full pools are, by the monitors' own count: `ceph df`. Without a manager nobody counts, and there are none. */

import { RadosError } from '../base/errors.js';
import type { Commander } from './blocklist.js';

export interface PoolUsage {
  readonly name: string;
  /** From 0 to 1, of what the pool could hold. */
  readonly usedShare: number;
  readonly usedBytes: number;
  readonly availableBytes: number;
}

interface DfReply {
  readonly pools?: readonly {
    readonly name: string;
    readonly stats: {
      readonly percent_used: number;
      readonly bytes_used: number;
      readonly max_avail: number;
    };
  }[];
}

/** For those who are to act where a pool is fuller than that. */
export interface UsageLimit {
  /** From 0 to 1: how much of a pool may be used. */
  readonly threshold: number;
  usage(): Promise<readonly PoolUsage[]>;
}

export function usageLimit(commander: Commander, threshold: number): UsageLimit {
  return { threshold, usage: () => listPoolUsage(commander) };
}

/** EBADMSG: the monitors' answer makes no sense. */
async function listPoolUsage(commander: Commander): Promise<PoolUsage[]> {
  const { output } = await commander.command({ prefix: 'df', format: 'json' });
  try {
    const { pools = [] } = JSON.parse(Buffer.from(output).toString()) as DfReply;
    return pools.map(({ name, stats }) => ({
      name,
      usedShare: Number(stats.percent_used),
      usedBytes: Number(stats.bytes_used),
      availableBytes: Number(stats.max_avail),
    }));
  } catch (cause) {
    throw new RadosError('EBADMSG', 'df: the answer makes no sense', { op: 'df', cause });
  }
}
