/**
 * Values of options as a monitor keeps them: what was written is checked and brought into one form (`Option::parse_value`,
 * `common/strtol.cc`). The texts of refusals are what users of Ceph know.
 */

import type { ErrnoCode } from '../../../base/errors.js';
import type { Option } from './option.js';

/** A value that the option cannot have. */
export class ValueError extends Error {
  readonly code: ErrnoCode;

  constructor(text: string, code: ErrnoCode = 'EINVAL') {
    super(text);
    this.code = code;
  }
}

/** Throws `ValueError`. */
export function normalizeValue(option: Option, text: string): string {
  switch (option.type) {
    case 'bool':
      return boolValue(text);
    case 'int':
      return within(option, decimal(text));
    case 'uint':
      return within(option, notNegative(decimal(text), 'strict_sistrtoll'));
    case 'size':
      return within(option, notNegative(size(text), 'strict_iecstrtoll'));
    case 'float':
      return float(option, text);
    case 'secs':
      return within(option, seconds(text));
    case 'millisecs':
      if (!/^[+-]?\d+$/.test(text)) throw new ValueError(BAD_CAST);
      return within(option, BigInt(text));
    case 'debug':
      return debugLevels(text);
    case 'uuid':
      if (!/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text)) throw new ValueError('');
      return text.toLowerCase();
    case 'str':
      return word(option, text);
  }
}

const BAD_CAST = 'bad lexical cast: source type value could not be interpreted as target';
const INT32 = 31n;
const INT64 = 63n;

/** The whole of a text as a number of base 10, as `strtoll` takes it. */
function integer(text: string, bits: bigint): bigint {
  if (!/^\s*[+-]?\d+$/.test(text)) {
    throw new ValueError(`Expected option value to be integer, got '${text}'`);
  }
  return inRange(BigInt(text.trim().replace(/^\+/, '')), bits, text);
}

function inRange(value: bigint, bits: bigint, text: string): bigint {
  if (value < -(1n << bits) || value >= 1n << bits) {
    throw new ValueError(`The option value '${text}' seems to be invalid`);
  }
  return value;
}

function boolValue(text: string): string {
  const lower = text.toLowerCase();
  if (lower === 'true' || lower === 'false') return lower;
  return String(integer(text, INT32) !== 0n);
}

const POWERS = 'KMGTPE';
const NOT_DIGIT = /[^\d+-]/;

/** Units of 1000: `5K`. A `B` at the end is a unit too, but stays in the number and spoils it. */
function decimal(text: string): bigint {
  if (text === '') throw new ValueError('strict_sistrtoll: value not specified');
  if (!NOT_DIGIT.test(text)) return integer(text, INT64);
  const unit = text.slice(-1);
  if (unit === 'B') return integer(text, INT64);
  const power = POWERS.indexOf(unit);
  if (power < 0) throw new ValueError('strict_si_cast: unit prefix not recognized');
  return inRange(integer(text.slice(0, -1), INT64) * 1000n ** BigInt(power + 1), INT64, text);
}

/** Units of 1024: `5K`, `5Ki`, `5KB`. */
function size(text: string): bigint {
  const fail = (reason: string) => new ValueError(`strict_iecstrtoll: ${reason}`);
  if (text === '') throw fail('value not specified');
  const at = text.search(NOT_DIGIT);
  if (at < 0) return integer(text, INT64);
  const unit = text.slice(at);
  if (unit.length > 2) throw fail('illegal prefix (length > 2)');
  const power = unit[0] === 'B' ? 0 : POWERS.indexOf(unit[0] as string) + 1;
  if (unit[0] !== 'B' && power === 0) throw fail('unit prefix not recognized');
  return inRange(integer(text.slice(0, at), INT64) << BigInt(10 * power), INT64, text);
}

function notNegative(value: bigint, parser: string): bigint {
  if (value < 0n) throw new ValueError(`${parser}: value should not be negative`);
  return value;
}

function within({ min, max }: Option, value: bigint): string {
  if (min !== undefined && value < BigInt(min)) throw belowMinimum(String(value), min);
  if (max !== undefined && value > BigInt(max)) throw aboveMaximum(String(value), max);
  return String(value);
}

function belowMinimum(value: string, min: string): ValueError {
  return new ValueError(`Value '${value}' is below minimum ${min}`);
}

function aboveMaximum(value: string, max: string): ValueError {
  return new ValueError(`Value '${value}' exceeds maximum ${max}`);
}

const FLOAT = /^\s*[+-]?(0x[\da-f]+|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)/i;

function float({ min, max }: Option, text: string): string {
  const start = FLOAT.exec(text)?.[0];
  if (start === undefined) {
    throw new ValueError(`strict_strtod: expected double, got: '${text}'`);
  }
  if (start !== text) {
    throw new ValueError(`strict_strtod: garbage at end of string. got: '${text}'`);
  }
  const digits = text.trim().replace(/^[+-]/, '').toLowerCase();
  const size = digits.startsWith('inf') ? Number.POSITIVE_INFINITY : Number(digits);
  const value = text.trim().startsWith('-') ? -size : size;
  const shown = formatFloat(value);
  if (min !== undefined && value < Number(min)) throw belowMinimum(shown, min);
  if (max !== undefined && value > Number(max)) throw aboveMaximum(shown, max);
  return shown;
}

function formatFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  // Of large numbers every digit, as C has them.
  return Math.abs(value) < 1e21 ? value.toFixed(6) : `${BigInt(value)}.000000`;
}

const UNIT_SECONDS: Readonly<Record<string, bigint>> = {
  ...{ s: 1n, sec: 1n, second: 1n, seconds: 1n },
  ...{ m: 60n, min: 60n, minute: 60n, minutes: 60n },
  ...{ h: 3600n, hr: 3600n, hour: 3600n, hours: 3600n },
  ...{ d: 86_400n, day: 86_400n, days: 86_400n },
  ...{ w: 604_800n, wk: 604_800n, week: 604_800n, weeks: 604_800n },
  ...{ mo: 2_592_000n, month: 2_592_000n, months: 2_592_000n },
  ...{ y: 31_536_000n, yr: 31_536_000n, year: 31_536_000n, years: 31_536_000n },
};

/** `5`, `5m`, `1h 30 minutes`. */
function seconds(text: string): bigint {
  let rest = text.trim();
  let sum = 0n;
  while (rest !== '') {
    const digits = /^\d+/.exec(rest)?.[0];
    if (digits === undefined) throw new ValueError('expected digit');
    inRange(BigInt(digits), INT64, digits);
    rest = rest.slice(digits.length).trimStart();
    const unit = /^[a-z]+/i.exec(rest)?.[0];
    if (unit === undefined) {
      if (rest !== '') throw new ValueError(`unexpected trailing '${rest}'`);
      return sum + BigInt(digits);
    }
    const factor = Object.hasOwn(UNIT_SECONDS, unit) ? UNIT_SECONDS[unit] : undefined;
    if (factor === undefined) throw new ValueError(`unrecogized unit '${unit}'`);
    sum += BigInt(digits) * factor;
    rest = rest.slice(unit.length).trimStart();
  }
  return sum;
}

const LEVEL_MAX = 99;

/** `5`, or `1/5`; what follows the numbers is not looked at. */
function debugLevels(text: string): string {
  const match = /^\s*([+-]?\d+)(?:\/\s*([+-]?\d+))?/.exec(text);
  if (!match) {
    throw new ValueError('value must take the form N or N/M, where N and M are integers');
  }
  const log = Number(match[1]);
  const gather = Number(match[2] ?? match[1]);
  if ([log, gather].some((level) => level < 0 || level > LEVEL_MAX)) {
    throw new ValueError(`value must be in range [0, ${LEVEL_MAX}]`, 'ERANGE');
  }
  return `${log}/${gather}`;
}

function word({ name, enumValues }: Option, text: string): string {
  if (name === 'rbd_default_features') return featureBits(text);
  if (enumValues.length > 0 && !enumValues.includes(text)) {
    throw new ValueError(`'${text}' is not one of the permitted values: ${enumValues.join(', ')}`);
  }
  return text;
}

const FEATURE_NAMES = [
  ...['layering', 'striping', 'exclusive-lock', 'object-map', 'fast-diff'],
  ...['deep-flatten', 'journaling', 'data-pool'],
];
const FEATURES_ALL = (1 << FEATURE_NAMES.length) - 1;

/** Features of new images are kept as a number, however they were written. */
function featureBits(text: string): string {
  const number = text.trim();
  if (/^\+?\d+$/.test(number)) {
    if (Number(number) > FEATURES_ALL) throw new ValueError('');
    return String(Number(number));
  }
  let bits = 0;
  for (const name of text.split(',')) {
    const bit = FEATURE_NAMES.indexOf(name.trim());
    if (bit < 0) throw new ValueError('');
    bits |= 1 << bit;
  }
  return String(bits);
}
