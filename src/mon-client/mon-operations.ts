/** What can be asked of the monitors: each request's message, and how its answer is read. */

import { RadosError } from '../base/errors.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import {
  monCommand,
  monCommandAck,
  monGetVersion,
  monGetVersionReply,
  NO_PAXOS,
  POOL_OP,
  poolOp,
  poolOpReply,
  statfs,
  statfsReply,
} from '../messages/mon-messages.js';
import { MSG, outgoing } from '../messages/types.js';
import { encodeMonCommand } from './mon-command.js';
import type { MonRequests, RequestOptions } from './mon-requests.js';

export interface CommandResult {
  /** What the command prints on stdout. */
  output: Uint8Array;
  /** Its status line. */
  status: string;
}

export async function getVersion(
  requests: MonRequests,
  what: string,
  options?: RequestOptions,
): Promise<{ newest: number; oldest: number }> {
  const reply = await requests.send(
    `get_version ${what}`,
    MSG.MON_GET_VERSION_REPLY,
    (tid) =>
      outgoing(MSG.MON_GET_VERSION, encodeWith(monGetVersion, { handle: tid, what }), { tid }),
    options,
  );
  const { version, oldestVersion } = decodeAll(
    'MMonGetVersionReply',
    monGetVersionReply,
    reply.front,
  );
  return { newest: version, oldest: oldestVersion };
}

export async function runCommand(
  requests: MonRequests,
  command: Record<string, unknown>,
  options: RequestOptions & { input?: Uint8Array } = {},
): Promise<CommandResult> {
  const prefix = String(command['prefix']);
  const reply = await requests.send(
    prefix,
    MSG.MON_COMMAND_ACK,
    (tid) =>
      outgoing(
        MSG.MON_COMMAND,
        encodeWith(monCommand, {
          paxos: NO_PAXOS,
          fsid: requests.fsid,
          cmd: [encodeMonCommand(command)],
        }),
        { tid, ...(options.input ? { data: [options.input] } : {}) },
      ),
    options,
  );
  const { r, rs } = decodeAll('MMonCommandAck', monCommandAck, reply.front);
  if (r < 0) throw RadosError.fromErrno(r, { op: `mon command '${prefix}'`, detail: rs });
  return { output: reply.data, status: rs };
}

export async function createSelfManagedSnap(
  requests: MonRequests,
  pool: number,
  options?: RequestOptions,
): Promise<{ snapid: bigint; epoch: number }> {
  const op = POOL_OP.CREATE_UNMANAGED_SNAP;
  const { data, epoch } = await sendPoolOp(requests, op, pool, 0n, options);
  if (!data || data.length !== 8)
    throw new RadosError('EBADMSG', 'the monitor returned no snapshot id');
  return { snapid: Buffer.from(data).readBigUInt64LE(0), epoch };
}

export async function removeSelfManagedSnap(
  requests: MonRequests,
  pool: number,
  snapid: bigint,
  options?: RequestOptions,
): Promise<{ epoch: number }> {
  return sendPoolOp(requests, POOL_OP.DELETE_UNMANAGED_SNAP, pool, snapid, options);
}

async function sendPoolOp(
  requests: MonRequests,
  op: number,
  pool: number,
  snapid: bigint,
  options?: RequestOptions,
) {
  const reply = await requests.send(
    'pool op',
    MSG.POOLOP_REPLY,
    (tid) =>
      outgoing(
        MSG.POOLOP,
        encodeWith(poolOp, {
          paxos: NO_PAXOS,
          fsid: requests.fsid,
          pool,
          op,
          auid: 0n,
          snapid,
          name: '',
          pad: 0,
          crushRule: 0,
        }),
        { tid, version: 4, compat: 2 },
      ),
    options,
  );
  const { code, epoch, data } = decodeAll('MPoolOpReply', poolOpReply, reply.front);
  if (code < 0) {
    throw RadosError.fromErrno(code, {
      op: `pool op 0x${op.toString(16)}`,
      target: `pool ${pool}`,
    });
  }
  return { data, epoch };
}

export async function getStatfs(requests: MonRequests, options?: RequestOptions) {
  const reply = await requests.send(
    'statfs',
    MSG.STATFS_REPLY,
    (tid) =>
      outgoing(
        MSG.STATFS,
        encodeWith(statfs, { paxos: NO_PAXOS, fsid: requests.fsid, dataPool: undefined }),
        { tid, version: 2 },
      ),
    options,
  );
  return decodeAll('MStatfsReply', statfsReply, reply.front);
}
