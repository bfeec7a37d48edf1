/** Fencing clients: `osd blocklist add|rm|ls|clear`, and the spelling before Pacific. */

import type { EntityAddr } from '../../../encoding/entity.js';
import { ADDR_TYPE } from '../../../encoding/entity.js';
import { utimeFromMs } from '../../../encoding/types.js';
import { blocklistKey } from '../../../osdmap/collections.js';
import { parseAddr } from '../addresses.js';
import { formatShort } from '../formatter.js';
import { formatTime } from '../times.js';
import { type Command, type CommandCall, CommandError, COMMAND_FLAG, done } from './command.js';
import { formatBlocklistAddr } from './osd-dump.js';

/** `mon_osd_blocklist_default_expire`. */
const DEFAULT_EXPIRE_S = 3600;
/** Ten thousand years and more are as good as for ever, and must fit 32 bits of seconds. */
const MAX_TIME_S = 0xffff_ffff;

/** Entries are of type ANY: a client is fenced whichever messenger it speaks. */
function addressOf({ args }: CommandCall): EntityAddr {
  const text = args.string('addr');
  const addr = parseAddr(text);
  if (!addr) throw new CommandError('EINVAL', `unable to parse address ${text}`);
  return { ...addr, type: ADDR_TYPE.ANY };
}

function add(call: CommandCall) {
  const { state, args } = call;
  const addr = addressOf(call);
  const expireS = args.float('expire') ?? DEFAULT_EXPIRE_S;
  const untilMs = Math.min(state.env.clock.now() + expireS * 1000, MAX_TIME_S * 1000);
  const until = utimeFromMs(Math.max(0, untilMs));
  const key = blocklistKey(addr);
  // An entry that is there keeps its end: maps do not prolong fences (`OSDMap::apply_incremental`).
  state.osdMaps.commit((incremental) => incremental.newBlocklist.set(key, { addr, until }));
  const shown = formatBlocklistAddr(addr);
  return done(`blocklisting ${shown} until ${formatTime(until)} (${formatShort(expireS)} sec)`);
}

function remove(call: CommandCall) {
  const { state } = call;
  const addr = addressOf(call);
  const shown = formatBlocklistAddr(addr);
  if (!state.osdMaps.map.blocklist.has(blocklistKey(addr))) {
    return done(`${shown} isn't blocklisted`);
  }
  state.osdMaps.commit((incremental) => incremental.oldBlocklist.push(addr));
  return done(`un-blocklisting ${shown}`);
}

function list({ state, args, output }: CommandCall) {
  const entries = [...state.osdMaps.map.blocklist.values()].map(({ addr, until }) => ({
    addr: formatBlocklistAddr(addr),
    until: formatTime(until),
  }));
  const answer = output({
    rs: `listed ${entries.length} entries`,
    plain: () => entries.map(({ addr, until }) => `${addr} ${until}\n`).join(''),
    json: () => entries,
  });
  // A second list, of fenced networks, follows the first without a word (16.2's way).
  const isJson = args.raw['format'] === 'json' || args.raw['format'] === 'json-pretty';
  if (!isJson) return answer;
  const out = String(answer.out);
  return { ...answer, out: `${out}[]${out.endsWith('\n') ? '\n' : ''}` };
}

function commandsFor(word: 'blocklist' | 'blacklist'): Command[] {
  const deprecated = word === 'blacklist' ? { flags: COMMAND_FLAG.DEPRECATED } : {};
  const common = { module: 'osd', ...deprecated } as const;
  return [
    {
      ...common,
      prefix: `osd ${word}`,
      args: [
        { name: `${word}op`, type: 'CephChoices', strings: 'add|rm' },
        { name: 'addr', type: 'CephEntityAddr' },
        { name: 'expire', type: 'CephFloat', optional: true, range: '0.0' },
      ],
      help: `add (optionally until <expire> seconds from now) or remove <addr> from ${word}`,
      perm: 'rw',
      run: (call) => {
        if (call.args.has('range')) {
          throw new CommandError('EOPNOTSUPP', 'blocklisting networks is not supported here');
        }
        switch (call.args.string(`${word}op`)) {
          case 'add':
            return add(call);
          case 'rm':
            return remove(call);
          default:
            return done('');
        }
      },
    },
    { ...common, prefix: `osd ${word} ls`, help: `show ${word}ed clients`, perm: 'r', run: list },
    {
      ...common,
      prefix: `osd ${word} clear`,
      help: `clear all ${word}ed clients`,
      perm: 'rw',
      run: ({ state }) => {
        const entries = [...state.osdMaps.map.blocklist.values()].map(({ addr }) => addr);
        if (entries.length > 0) {
          state.osdMaps.commit((incremental) => incremental.oldBlocklist.push(...entries));
        }
        return done(' removed all blocklist entries');
      },
    },
  ];
}

export const blocklistCommands: readonly Command[] = [
  ...commandsFor('blocklist'),
  ...commandsFor('blacklist'),
];
