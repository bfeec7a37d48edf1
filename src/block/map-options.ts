/**
 * The options of `rbd map -o`, under krbd's names: as the string `queue_depth=64,read_only`, or as an object
 * with the same names in camelCase. Resolved here, once; inner code has no defaults.
 *
 * Names and defaults are those of drivers/block/rbd.c and net/ceph/ceph_common.c (Linux 6.1). Four kinds:
 * - those that mean the same here;
 * - those that concern the kernel alone and change nothing that one could see: accepted and listed in `ignored`;
 * - those that would promise something that is not done: refused, with the reason;
 * - unknown ones: refused.
 * One default differs: `ms_mode` is `prefer-crc`, because the messenger v1 protocol (`legacy`) is not spoken. And an
 * option of the connection that was not given is as the cluster was connected, which may have asked for encryption.
 */

import { RadosError } from '../base/errors.js';
import { MAX_QUEUE_DEPTH } from './ring.js';

export type MsMode = 'crc' | 'secure' | 'prefer-crc' | 'prefer-secure';

export interface MapOptions {
  readonly readOnly: boolean;
  /** Requests in flight. */
  readonly queueDepth: number;
  /** Bytes, a power of two: granularity of discards. */
  readonly allocSize: number;
  /** Take the exclusive lock before reading. */
  readonly lockOnRead: boolean;
  /** Never give the exclusive lock to another client. */
  readonly exclusive: boolean;
  /** Seconds to wait for the exclusive lock; 0: for ever. */
  readonly lockTimeout: number;
  /** Refuse discards and keep the space of zeroed ranges. */
  readonly notrim: boolean;
  /** Namespace of the pool; `undefined` leaves it to the image's spec. */
  readonly poolNs: string | undefined;
  readonly compressionHint: 'none' | 'compressible' | 'incompressible';

  readonly fsid: string | undefined;
  /** The user, without `client.` */
  readonly name: string | undefined;
  /** The user's key, base64. Never shown again. */
  readonly secret: string | undefined;
  /** Share the cluster connection with other devices. */
  readonly share: boolean;
  /** Seconds to wait for the monitors and the image. */
  readonly mountTimeout: number;
  /** Seconds between two signs of life on an OSD session. */
  readonly osdkeepalive: number;
  /** Seconds after which an idle OSD session is closed. */
  readonly osdIdleTtl: number;
  /** Seconds after which a request fails with ETIMEDOUT; 0: never. */
  readonly osdRequestTimeout: number;
  readonly readFromReplica: 'no' | 'balance' | 'localize';
  /** Where this client is, for `localize`: bucket type and name. */
  readonly crushLocation: readonly (readonly [type: string, name: string])[];
  readonly msMode: MsMode;
  /** Fail writes with ENOSPC when the cluster or pool is full, instead of waiting. */
  readonly abortOnFull: boolean;

  /** Options that were accepted and mean nothing here. */
  readonly ignored: readonly string[];
  /**
   * Which of the others were given, sorted. The rest have their defaults, and those of the connection (`fsid` and
   * below) leave it as it was made.
   */
  readonly given: readonly MapOptionName[];
}

type MapOptionName = Exclude<keyof MapOptions, 'ignored' | 'given'>;
export type MapOptionsInput = Partial<Pick<MapOptions, MapOptionName>>;

const DEFAULTS: MapOptions = {
  readOnly: false,
  queueDepth: 128,
  allocSize: 64 * 1024,
  lockOnRead: false,
  exclusive: false,
  lockTimeout: 0,
  notrim: false,
  poolNs: undefined,
  compressionHint: 'none',
  fsid: undefined,
  name: undefined,
  secret: undefined,
  share: true,
  mountTimeout: 60,
  osdkeepalive: 5,
  osdIdleTtl: 60,
  osdRequestTimeout: 0,
  readFromReplica: 'no',
  crushLocation: [],
  msMode: 'prefer-crc',
  abortOnFull: false,
  ignored: [],
  given: [],
};

type Value = MapOptions[keyof MapOptions];
/** Turns an option's text into its value, or says what is wrong by throwing. */
type Parse = (text: string) => Value;

interface Option {
  key: MapOptionName;
  /** For `name=text`. An option without it is a word by itself. */
  parse?: Parse;
  /** For a word by itself. */
  value?: Value;
  check?: (value: never) => string | undefined;
}

/** An hour short of what a timer takes (2^31 ms); more is no timeout at all. */
const MAX_SECONDS = 2_144_000;

/** By krbd's name. */
const OPTIONS: Readonly<Record<string, Option>> = {
  read_only: { key: 'readOnly', value: true },
  ro: { key: 'readOnly', value: true },
  read_write: { key: 'readOnly', value: false },
  rw: { key: 'readOnly', value: false },
  queue_depth: { key: 'queueDepth', parse: integer(1, MAX_QUEUE_DEPTH) },
  alloc_size: { key: 'allocSize', parse: powerOfTwo(512, 2 ** 30) },
  lock_on_read: { key: 'lockOnRead', value: true },
  exclusive: { key: 'exclusive', value: true },
  lock_timeout: { key: 'lockTimeout', parse: integer(0, MAX_SECONDS) },
  notrim: { key: 'notrim', value: true },
  _pool_ns: { key: 'poolNs', parse: nonEmpty },
  compression_hint: {
    key: 'compressionHint',
    parse: oneOf('none', 'compressible', 'incompressible'),
  },
  fsid: { key: 'fsid', parse: fsid },
  name: { key: 'name', parse: nonEmpty },
  secret: { key: 'secret', parse: nonEmpty },
  share: { key: 'share', value: true },
  noshare: { key: 'share', value: false },
  mount_timeout: { key: 'mountTimeout', parse: integer(0, MAX_SECONDS) },
  osdkeepalive: { key: 'osdkeepalive', parse: integer(1, MAX_SECONDS) },
  osd_idle_ttl: { key: 'osdIdleTtl', parse: integer(1, MAX_SECONDS) },
  osd_request_timeout: { key: 'osdRequestTimeout', parse: integer(0, MAX_SECONDS) },
  read_from_replica: { key: 'readFromReplica', parse: oneOf('no', 'balance', 'localize') },
  crush_location: { key: 'crushLocation', parse: crushLocation },
  ms_mode: { key: 'msMode', parse: msMode },
  abort_on_full: { key: 'abortOnFull', value: true },
};

/** Accepted, without effect: why is for the reader. */
const IGNORED: Readonly<Record<string, string>> = {
  rxbounce: 'received data always lies in memory of its own until its checksum is verified',
  crc: 'checksums are always on',
  nocrc: 'checksums are always on: asking for fewer is met by more',
  cephx_require_signatures:
    'deprecated in the kernel; messenger v2 authenticates the whole session',
  cephx_sign_messages: 'messenger v2 authenticates the whole session',
  nocephx_sign_messages: 'messenger v2 authenticates the whole session',
  tcp_nodelay: 'always on',
  udev: 'there is no kernel device',
  noudev: 'there is no kernel device',
};

const REFUSED: Readonly<Record<string, string>> = {
  ip: 'the local address cannot be chosen',
  key: "names a key of the kernel's keyring; pass `secret`, a keyring or a key file",
  notcp_nodelay: 'delayed sends are not supported',
};

/** Parses `a,b=c`; later options win, as in the kernel. `base`: what applies where the text says nothing. */
export function parseMapOptions(text: string, base: MapOptionsInput = {}): MapOptions {
  const values: Partial<Record<MapOptionName, Value>> = {};
  const ignored: string[] = [];
  for (const item of text.split(',')) {
    if (item.trim() === '') continue;
    const equals = item.indexOf('=');
    const name = (equals < 0 ? item : item.slice(0, equals)).trim();
    const argument = equals < 0 ? undefined : item.slice(equals + 1).trim();
    if (Object.hasOwn(REFUSED, name)) {
      throw invalid(`map option ${name} is not supported: ${REFUSED[name]}`);
    }
    if (Object.hasOwn(IGNORED, name)) {
      ignored.push(name);
      continue;
    }
    const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (!option) throw invalid(`unknown map option ${JSON.stringify(name)}`);
    if (option.parse) {
      if (argument === undefined) throw invalid(`map option ${name} needs a value`);
      values[option.key] = withName(name, () => option.parse!(argument));
    } else {
      if (argument !== undefined) throw invalid(`map option ${name} takes no value`);
      values[option.key] = option.value;
    }
  }
  const resolved = mapOptions(base);
  const given = [...resolved.given, ...namesOf(values)];
  return freeze({ ...resolved, ...values, ignored, given } as MapOptions);
}

/** Checks and completes options given as an object. */
export function mapOptions(input: MapOptionsInput = {}): MapOptions {
  const values: Partial<Record<MapOptionName, unknown>> = {};
  for (const [key, value] of Object.entries(input)) {
    if (!Object.hasOwn(DEFAULTS, key) || key === 'ignored' || key === 'given') {
      throw invalid(`unknown map option ${JSON.stringify(key)}`);
    }
    if (value === undefined) continue;
    values[key as MapOptionName] = checked(key as MapOptionName, value);
  }
  return freeze({ ...DEFAULTS, ...values, given: namesOf(values) } as MapOptions);
}

function namesOf(values: Partial<Record<MapOptionName, unknown>>): MapOptionName[] {
  return Object.keys(values) as MapOptionName[];
}

/**
 * The options that differ from the defaults, in krbd's spelling: what `config_info` shows. The secret is not
 * among them.
 */
export function formatMapOptions(options: MapOptions): string {
  const words: string[] = [];
  for (const [name, option] of Object.entries(OPTIONS)) {
    const value = options[option.key];
    if (option.key === 'secret' || value === DEFAULTS[option.key] || name === 'ro') continue;
    if (!option.parse) {
      if (option.value === value) words.push(name);
    } else if (option.key === 'crushLocation') {
      const pairs = value as MapOptions['crushLocation'];
      if (pairs.length > 0) words.push(`${name}=${pairs.map((pair) => pair.join(':')).join('|')}`);
    } else {
      words.push(`${name}=${String(value)}`);
    }
  }
  return words.join(',');
}

/** An object's value goes the way of its text, so that both forms accept the same. */
function checked(key: MapOptionName, value: unknown): unknown {
  const [name, option] = Object.entries(OPTIONS).find(([, entry]) => entry.key === key)!;
  if (!option.parse) {
    if (typeof value !== 'boolean') throw invalid(`map option ${key} is not true or false`);
    return value;
  }
  const isNumber = typeof DEFAULTS[key] === 'number';
  if (key === 'crushLocation') {
    if (!Array.isArray(value)) throw invalid(`map option ${key} is not a list of pairs`);
    if (value.length === 0) return value;
    return withName(name, () =>
      crushLocation(value.map((pair) => (pair as string[]).join(':')).join('|')),
    );
  }
  if (typeof value !== (isNumber ? 'number' : 'string')) {
    throw invalid(`map option ${key} is not a ${isNumber ? 'number' : 'string'}`);
  }
  return withName(name, () => option.parse!(String(value)));
}

function freeze(options: MapOptions): MapOptions {
  return Object.freeze({
    ...options,
    crushLocation: Object.freeze([...options.crushLocation]),
    ignored: Object.freeze([...options.ignored]),
    given: Object.freeze([...new Set(options.given)].sort()),
  });
}

function withName<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw invalid(`map option ${name}: ${(error as Error).message}`);
  }
}

function integer(min: number, max: number): Parse {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new RangeError(`${text} is not an integer within ${min} and ${max}`);
    }
    return value;
  };
}

function powerOfTwo(min: number, max: number): Parse {
  const parse = integer(min, max);
  return (text) => {
    const value = parse(text) as number;
    if (!Number.isInteger(Math.log2(value))) throw new RangeError(`${text} is not a power of two`);
    return value;
  };
}

function oneOf(...words: string[]): Parse {
  return (text) => {
    if (!words.includes(text)) {
      throw new RangeError(`${JSON.stringify(text)} is not one of ${words.join(', ')}`);
    }
    return text as Value;
  };
}

function nonEmpty(text: string): string {
  if (text === '') throw new RangeError('an empty value');
  return text;
}

function fsid(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) {
    throw new RangeError(`${JSON.stringify(text)} is not a UUID`);
  }
  return text.toLowerCase();
}

function msMode(text: string): Value {
  if (text === 'legacy') {
    throw new RangeError(
      'legacy is the messenger v1 protocol, which is not spoken; use crc or secure',
    );
  }
  return oneOf('crc', 'secure', 'prefer-crc', 'prefer-secure')(text);
}

/** `rack:r1|host:h2`, as the kernel has it: a comma would end the option. */
function crushLocation(text: string): MapOptions['crushLocation'] {
  return text.split('|').map((pair) => {
    const [type, name, ...rest] = pair.split(':');
    if (!type || !name || rest.length > 0) {
      throw new RangeError(`${JSON.stringify(pair)} is not TYPE:NAME`);
    }
    return Object.freeze([type, name] as const);
  });
}

function invalid(message: string): RadosError {
  return new RadosError('EINVAL', message, { op: 'map' });
}
