/**
 * What a client could say to a monitor that is wrong. Messages that are none end the session; commands are answered, whatever
 * they are: a client whose session just ends would ask again, for ever.
 */

import { NoneClient } from '../../src/auth/none.js';
import { CON_MODE } from '../../src/auth/method.js';
import { COMMANDS } from '../../src/cluster/mon/commands/table.js';
import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { ENTITY_TYPE, type EntityAddr, parseAuthEntity } from '../../src/encoding/entity.js';
import { monCommand, monCommandAck, NO_PAXOS } from '../../src/messages/mon-messages.js';
import { MSG, type OutgoingMessage, outgoing } from '../../src/messages/types.js';
import { Connection } from '../../src/msgr/connection.js';
import { WindowPool } from '../../src/msgr/window-pool.js';
import { loadKernels } from '../../src/kernels/load.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';
import { crc32c, FSID, run, startCluster } from '../cluster/mon/support.js';
import type { HostileCase } from './case.js';

const ONES = new Uint8Array(64).fill(255);
const NO_BYTES = new Uint8Array(0);
const windows = new WindowPool(loadKernels(), 0);

/** One client says that; what comes of its session, and whether it answers afterwards, on that one or the next. */
function said(name: string, expect: string, message: () => OutgoingMessage): HostileCase {
  return {
    name: `monitor's client: ${name}`,
    expect,
    act: async () => {
      const world = new VirtualWorld();
      const monitor = await startCluster(world, { auth: 'none' });
      const target = monitor.monMap.monInfo.get('a')?.publicAddrs[0] as EntityAddr;
      const connect = async () => {
        const auth = new NoneClient({ entity: parseAuthEntity('client.admin') });
        const seen = {
          answers: [] as string[],
          closed: false,
          connection: undefined as never as Connection,
        };
        await world.until(
          new Promise<void>((resolve, reject) => {
            seen.connection = Connection.connect({
              ...{ env: world.env, crc32c, windows, name: 'mon.a', target, modes: [CON_MODE.CRC] },
              ...{ expectedType: ENTITY_TYPE.MON, auth: [() => auth.monAuth()], timeoutMs: 10_000 },
              ...{ gid: () => auth.globalId, nonce: 1, globalSeq: 1n },
              handler: {
                onReady: () => resolve(),
                onMessage: (_, { type, front }) => {
                  if (type !== MSG.MON_COMMAND_ACK) return;
                  const { r, rs } = decodeAll('MMonCommandAck', monCommandAck, front);
                  seen.answers.push(`${r} ${rs.slice(0, 80)}`.trim());
                },
                onClose: (_, error) => {
                  seen.closed = true;
                  reject(error ?? new Error('closed'));
                },
              },
            });
          }),
        );
        return seen;
      };
      const first = await connect();
      first.connection.send(message());
      await world.advance(200);
      const told = first.answers.splice(0).join();
      const current = first.closed ? await connect() : first;
      current.connection.send(command(['{"prefix": "osd getmaxosd"}']));
      await world.advance(200);
      const after = current.answers.length === 1 ? 'answers afterwards' : 'is silent';
      current.connection.close();
      return `${first.closed ? 'the session ends' : `the session goes on: ${told || 'nothing'}`}; ${after}`;
    },
  };
}

const command = (cmd: readonly string[]) =>
  outgoing(
    MSG.MON_COMMAND,
    encodeWith(monCommand, { paxos: NO_PAXOS, fsid: FSID, cmd: [...cmd] }),
    {
      tid: 1,
    },
  );
const ENDS = 'the session ends; answers afterwards';
const TYPES = [
  ...[MSG.MON_SUBSCRIBE, MSG.MON_GET_VERSION, MSG.MON_COMMAND, MSG.POOLOP, MSG.STATFS],
  ...[MSG.GETPOOLSTATS, MSG.AUTH],
];
const NONE = 'the session goes on: nothing; answers afterwards';
const refused = (name: string, cmd: readonly string[], answer: string) =>
  said(`a command that is ${name}`, `the session goes on: ${answer}; answers afterwards`, () =>
    command(cmd),
  );
const PARSING = '-22 command parsing failed';

const MESSAGES: readonly HostileCase[] = [
  ...TYPES.flatMap((type) => [
    said(`a message of type ${type} of ones`, ENDS, () => outgoing(type, ONES, { version: 3 })),
    said(`an empty message of type ${type}`, ENDS, () => outgoing(type, NO_BYTES, { version: 3 })),
  ]),
  ...[1, MSG.OSD_MAP, MSG.OSD_OP, 0x7fff, 0xffff].map((type) =>
    said(`a message of type ${type} of ones`, NONE, () => outgoing(type, ONES)),
  ),
  said('2^32 - 1 strings for a command', ENDS, () => {
    const front = encodeWith(monCommand, { paxos: NO_PAXOS, fsid: FSID, cmd: [] });
    const lying = Buffer.from(front);
    lying.writeUInt32LE(0xffff_ffff, lying.length - 4);
    return outgoing(MSG.MON_COMMAND, lying);
  }),
  refused('of no strings', [], PARSING),
  refused('empty', [''], PARSING),
  refused('no JSON', ['osd dump'], PARSING),
  refused('half of its JSON', ['{"prefix": "osd'], PARSING),
  refused('a list', ['["osd dump"]'], PARSING),
  refused('a number', ['12'], PARSING),
  refused('null', ['null'], PARSING),
  refused('nested without end', ['['.repeat(200_000)], PARSING),
  refused('without a prefix', ['{}'], '-22 command prefix not found'),
  refused('a number for a prefix', ['{"prefix": 12}'], '-22 command prefix not found'),
  refused('an empty prefix', ['{"prefix": ""}'], '-22 command prefix must not be empty'),
  refused('unknown', ['{"prefix": "frobnicate"}'], '-22 command not known'),
  refused('of a megabyte', [`{"prefix": "${'x'.repeat(1 << 20)}"}`], '-22 command not known'),
  refused('what every object has', ['{"prefix": "__proto__"}'], '-22 command not known'),
];

const GARBAGE: readonly unknown[] = [
  ...['', '\0', '__proto__', 'x'.repeat(100_000), '-1', '1e308', '\ud800', '../../etc/passwd'],
  ...[-1, 0.5, 2 ** 53, Number.MAX_VALUE, true, null, [], {}, [[]], [1, 'x', null], { a: {} }],
];

/** Each command with garbage for each of its arguments, the others being absent, or garbage too. */
const ARGUMENTS: readonly HostileCase[] = COMMANDS.map(({ prefix, args = [] }) => ({
  name: `monitor's client: ${prefix} of garbage`,
  expect: 'answers, and knows why not',
  act: async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world, { auth: 'none', osds: 1 });
    for (const value of GARBAGE) {
      const each = args.map(({ name }) => ({ [name]: value }));
      const all = Object.assign({}, ...each) as object;
      for (const given of [...each, all]) {
        const { r, rs } = run(monitor, { prefix, ...given } as never);
        if (rs.startsWith('internal error'))
          return `${JSON.stringify(given).slice(0, 200)}: ${r} ${rs}`;
      }
    }
    return 'answers, and knows why not';
  },
}));

export const COMMAND_CASES: readonly HostileCase[] = [...MESSAGES, ...ARGUMENTS];
