/** The central configuration: `config set|get|rm|dump|log|reset|help|ls|assimilate-conf|generate-minimal-conf`. */

import { formatAddrvec } from '../../../encoding/entity.js';
import { configEntity } from '../config/config-entity.js';
import { assimilate } from '../config/config-assimilation.js';
import type { ConfigVersion, Setting } from '../config/central-config.js';
import {
  type ConfigTarget,
  formatMask,
  formatTarget,
  isEntity,
  parseTarget,
} from '../config/config-target.js';
import {
  canUpdateAtRuntime,
  findOption,
  isSpecial,
  type Option,
  optionNames,
} from '../config/option.js';
import { normalizeValue, ValueError } from '../config/option-value.js';
import { formatTable, type Json, leftColumn } from '../formatter.js';
import { formatTime } from '../times.js';
import { type Command, type CommandCall, CommandError, done } from './command.js';

const COLUMNS = ['WHO', 'MASK', 'LEVEL', 'OPTION', 'VALUE', 'RO'].map(leftColumn);
const LOG_ENTRIES = 10;

/** `rbd cache` is `rbd_cache`. */
function optionName({ args }: CommandCall, arg: string): string {
  return args.string(arg).replaceAll(' ', '_');
}

function target({ args }: CommandCall): ConfigTarget {
  const who = args.string('who');
  const found = parseTarget(who);
  if (!found) throw new CommandError('EINVAL', `unrecognized config target '${who}'`);
  return found;
}

function refuseSpecial(name: string, option: Option | undefined): void {
  if (option && isSpecial(option)) {
    throw new CommandError('EINVAL', `${name} is special and cannot be stored by the mon`);
  }
}

function set(call: CommandCall) {
  const { state, args } = call;
  const name = optionName(call, 'name');
  const option = findOption(name);
  const force = args.flag('force');
  if (!option && !force) {
    throw new CommandError('EINVAL', `unrecognized config option '${name}'`);
  }
  refuseSpecial(name, option);
  const text = args.string('value');
  const value = option && !force ? checkedValue(option, text) : text;
  state.config.change([[`${formatTarget(target(call))}/${name}`, value]]);
  return done('');
}

function checkedValue(option: Option, text: string): string {
  try {
    return normalizeValue(option, text);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new CommandError(error.code, `error parsing value: ${error.message}`);
  }
}

function remove(call: CommandCall) {
  const key = `${formatTarget(target(call))}/${optionName(call, 'name')}`;
  call.state.config.change([[key, undefined]]);
  return done('');
}

/** Of an option, its level and whether it takes effect at once; forced ones that nobody knows do not. */
function properties(name: string): { level: string; atRuntime: boolean } {
  const option = findOption(name);
  if (!option) return { level: 'unknown', atRuntime: false };
  return { level: option.level, atRuntime: canUpdateAtRuntime(option) };
}

function row({ target: { section }, target, name, value }: Setting, indent: string): string[] {
  const { level, atRuntime } = properties(name);
  return [indent + section, formatMask(target), level, name, value, atRuntime ? '' : '*'];
}

function maskJson({ location, deviceClass }: ConfigTarget): Record<string, Json> {
  return {
    ...(location ? { location_type: location.type, location_value: location.name } : {}),
    ...(deviceClass === undefined ? {} : { device_class: deviceClass }),
  };
}

function dump({ state, output }: CommandCall) {
  const settings = state.config.settings();
  const indentOf = ({ target: { section } }: Setting) =>
    section === 'global' ? '' : section.includes('.') ? '    ' : '  ';
  return output({
    plain: () =>
      formatTable(
        COLUMNS,
        settings.map((setting) => row(setting, indentOf(setting))),
      ),
    json: () =>
      settings.map(({ target, name, value }) => {
        const { level, atRuntime } = properties(name);
        return {
          ...{ section: target.section, name, value, level },
          ...{ can_update_at_runtime: atRuntime, mask: formatMask(target) },
          ...maskJson(target),
        };
      }),
  });
}

function get(call: CommandCall) {
  const { state, args, output } = call;
  const who = args.string('who');
  if (!isEntity(who)) throw new CommandError('EINVAL', `unrecognized entity '${who}'`);
  const settings = state.config.settingsOf(configEntity(state, who));
  if (args.has('key')) return { r: 0, rs: '', out: `${oneValue(call, who, settings)}\n` };
  const list = [...settings.values()];
  return output({
    plain: () =>
      formatTable(
        COLUMNS,
        list.map((setting) => row(setting, '')),
      ),
    json: () =>
      new Map(
        list.map(({ target, name, value }) => [
          name,
          {
            ...{ value, section: target.section, mask: maskJson(target) },
            can_update_at_runtime: properties(name).atRuntime,
          },
        ]),
      ),
  });
}

function oneValue(call: CommandCall, who: string, settings: ReadonlyMap<string, Setting>): string {
  const name = optionName(call, 'key');
  if (name === 'fsid') return call.state.monMap.fsid;
  const option = findOption(name);
  if (!option) throw new CommandError('ENOENT', `unrecognized key '${name}'`);
  refuseSpecial(name, option);
  const isClient = who.split('.')[0] === 'client';
  const fallback = isClient ? option.default : (option.daemonDefault ?? option.default);
  return settings.get(name)?.value ?? fallback;
}

/** The newest first. */
function versions({ state, args }: CommandCall): ConfigVersion[] {
  const asked = args.int('num') ?? LOG_ENTRIES;
  const found: ConfigVersion[] = [];
  for (let at = state.config.version; at > 0 && found.length !== asked; at--) {
    const version = state.config.versionAt(at);
    if (version) found.push(version);
  }
  return found;
}

function log(call: CommandCall) {
  return call.output({
    plain: () => versions(call).map(versionText).join(''),
    json: () =>
      versions(call).map(({ version, stamp, name, changes }) => ({
        ...{ version, timestamp: formatTime(stamp), name },
        changes: changes.map(({ key, before, after }) => ({
          name: key,
          ...(before === undefined ? {} : { previous_value: before }),
          ...(after === undefined ? {} : { new_value: after }),
        })),
      })),
  });
}

function versionText({ version, stamp, name, changes }: ConfigVersion): string {
  const head = `--- ${version} --- ${formatTime(stamp)} ---${name === '' ? '' : ` ${name} ---`}\n`;
  const lines = changes.flatMap(({ key, before, after }) => [
    ...(before === undefined ? [] : [`- ${key} = ${before}\n`]),
    ...(after === undefined ? [] : [`+ ${key} = ${after}\n`]),
  ]);
  return head + lines.join('');
}

function reset({ state, args }: CommandCall) {
  const num = args.int('num');
  if (num === undefined || num < 1 || num > state.config.version) {
    throw new CommandError(
      'EINVAL',
      "must specify a valid historical version to revert to; see 'ceph config log' for a list of avialable configuration historical versions",
    );
  }
  state.config.revertTo(num);
  return done('');
}

/** The facts; what an option is for is told by Ceph's documentation. */
function help(call: CommandCall) {
  const option = findOption(optionName(call, 'key'));
  if (!option) throw new CommandError('ENOENT', '');
  return call.output({ plain: () => helpText(option), json: () => helpJson(option) });
}

function helpText(option: Option): string {
  const { name, min, max, enumValues, services } = option;
  const lines = [
    `${name} - `,
    `  (${typeName(option)}, ${option.level})`,
    `  Default (non-daemon): ${option.default}`,
    `  Default (daemon): ${option.daemonDefault ?? ''}`,
    ...(min === undefined ? [] : [`  Minimum: ${min}`]),
    ...(max === undefined ? [] : [`  Maximum: ${max}`]),
    ...(enumValues.length === 0 ? [] : [`  Possible values:  ${enumValues.join(' ')}`]),
    `  Can update at runtime: ${canUpdateAtRuntime(option)}`,
    ...(services.length === 0 ? [] : [`  Services: [${services.join(', ')}]`]),
  ];
  if (option.daemonDefault === undefined) lines.splice(2, 2, `  Default: ${option.default}`);
  return `${lines.join('\n')}\n`;
}

function typeName({ type }: Option): string {
  return type === 'debug' ? 'str' : type;
}

function helpJson(option: Option): Json {
  const { name, level, min, max, enumValues, services, flags } = option;
  const type = typeName(option);
  return {
    ...{ name, type, level, desc: '', long_desc: '', default: typed(option, option.default) },
    daemon_default: option.daemonDefault === undefined ? '' : typed(option, option.daemonDefault),
    ...{ tags: [], services, see_also: [] },
    ...(type === 'str' ? { enum_values: enumValues } : {}),
    ...{ min: min === undefined ? '' : Number(min), max: max === undefined ? '' : Number(max) },
    ...{ can_update_at_runtime: canUpdateAtRuntime(option), flags },
  };
}

function typed({ type }: Option, value: string): Json {
  if (type === 'bool') return value === 'true';
  if (type === 'int' || type === 'uint' || type === 'float') return Number(value);
  return value;
}

export const configCommands: readonly Command[] = [
  {
    prefix: 'config set',
    args: [
      { name: 'who', type: 'CephString' },
      { name: 'name', type: 'CephString' },
      { name: 'value', type: 'CephString' },
      { name: 'force', type: 'CephBool', optional: true },
    ],
    help: 'Set a configuration option for one or more entities',
    module: 'config',
    perm: 'rw',
    run: set,
  },
  {
    prefix: 'config rm',
    args: [
      { name: 'who', type: 'CephString' },
      { name: 'name', type: 'CephString' },
    ],
    help: 'Clear a configuration option for one or more entities',
    module: 'config',
    perm: 'rw',
    run: remove,
  },
  {
    prefix: 'config get',
    args: [
      { name: 'who', type: 'CephString' },
      { name: 'key', type: 'CephString', optional: true },
    ],
    help: 'Show configuration option(s) for an entity',
    module: 'config',
    perm: 'r',
    run: get,
  },
  {
    prefix: 'config dump',
    help: 'Show all configuration option(s)',
    module: 'mon',
    perm: 'r',
    run: dump,
  },
  {
    prefix: 'config help',
    args: [{ name: 'key', type: 'CephString' }],
    help: 'Describe a configuration option',
    module: 'config',
    perm: 'r',
    run: help,
  },
  {
    prefix: 'config ls',
    help: 'List available configuration options',
    module: 'config',
    perm: 'r',
    run: ({ output }) =>
      output({ plain: () => `${optionNames().join('\n')}\n`, json: optionNames }),
  },
  {
    prefix: 'config log',
    args: [{ name: 'num', type: 'CephInt', optional: true }],
    help: 'Show recent history of config changes',
    module: 'config',
    perm: 'r',
    run: log,
  },
  {
    prefix: 'config reset',
    args: [{ name: 'num', type: 'CephInt', range: '0' }],
    help: 'Revert configuration to a historical version specified by <num>',
    module: 'config',
    perm: 'rw',
    run: reset,
  },
  {
    prefix: 'config assimilate-conf',
    help: 'Assimilate options from a conf, and return a new, minimal conf file',
    module: 'config',
    perm: 'rw',
    run: ({ state, input }) => ({ r: 0, rs: '', out: assimilate(state.config, input) }),
  },
  {
    prefix: 'config generate-minimal-conf',
    help: 'Generate a minimal ceph.conf file',
    module: 'config',
    perm: 'r',
    run: ({ state: { monMap } }) => {
      const addrs = monMap.ranks.map((name) =>
        formatAddrvec(monMap.monInfo.get(name)?.publicAddrs ?? []),
      );
      const lines = [
        `# minimal ceph.conf for ${monMap.fsid}`,
        '[global]',
        `\tfsid = ${monMap.fsid}`,
        `\tmon_host = ${addrs.join(' ')}`,
      ];
      return { r: 0, rs: '', out: `${lines.join('\n')}\n` };
    },
  },
];
