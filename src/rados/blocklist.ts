/** Clients that no OSD takes anything from: `ceph osd blocklist`. */

import type { CommandResult } from '../mon-client/mon-client.js';
import { CephFloat } from '../mon-client/mon-command.js';

export interface BlocklistEntry {
  /** `10.0.0.5:0/3141592`, or a network: `cidr:10.0.0.0:0/16`. */
  readonly addr: string;
  /** The monitors' own words: `2026-11-21T00:00:43.120653+0000`. */
  readonly until: string;
}

/** Who sends monitor commands. */
export interface Commander {
  command(command: Record<string, unknown>): Promise<CommandResult>;
}

export async function listBlocklist(commander: Commander): Promise<BlocklistEntry[]> {
  const { output } = await commander.command({ prefix: 'osd blocklist ls', format: 'json' });
  // Two lists in a row: of clients and of networks.
  const lists = Buffer.from(output)
    .toString()
    .trim()
    .split(/(?<=\])(?=\[)/);
  return lists
    .flatMap((list) => JSON.parse(list) as (BlocklistEntry & { range?: string })[])
    .map(({ addr, range, until }) => ({
      addr: range === undefined ? addr : `cidr:${range}`,
      until,
    }));
}

/** The monitors' status line is theirs to word. Without `expireS` their default holds (an hour). */
export async function addToBlocklist(
  commander: Commander,
  addr: string,
  expireS?: number,
): Promise<string> {
  const { status } = await commander.command({
    prefix: 'osd blocklist',
    blocklistop: 'add',
    addr,
    ...(expireS === undefined ? {} : { expire: new CephFloat(expireS) }),
  });
  return status;
}

/** Nothing happens, and the status line says so, when the client is not there. */
export async function removeFromBlocklist(commander: Commander, addr: string): Promise<string> {
  const { status } = await commander.command({ prefix: 'osd blocklist', blocklistop: 'rm', addr });
  return status;
}
