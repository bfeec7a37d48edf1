/** Values of Ceph's options as text: each parser gives undefined for what Ceph refuses (`common/options.cc`). */

import { AUTH_METHOD, CON_MODE } from './method.js';

/** `22`, `0x16`, `+5`; suffixes are powers of ten here, as in Ceph. */
export function parseUint(text: string): number | undefined {
  const match = /^\+?(?:(0x[0-9a-f]+)|(\d+)([KMGTPE]?))$/i.exec(text);
  if (!match) return undefined;
  const [, hex, digits, suffix = ''] = match;
  if (suffix !== suffix.toUpperCase()) return undefined;
  const factor = suffix === '' ? 1 : 1000 ** ('KMGTPE'.indexOf(suffix) + 1);
  return safe(Number(hex ?? digits) * factor);
}

/** `4194304`, `4M`, `4Mi`, `4MB`: powers of two. */
export function parseSize(text: string): number | undefined {
  const match = /^\+?(\d+)(?:([BKMGTPE])(i|B)?)?$/.exec(text);
  if (!match) return undefined;
  const [, digits, suffix = 'B'] = match;
  return safe(Number(digits) * 1024 ** 'BKMGTPE'.indexOf(suffix));
}

const SECONDS_PER_UNIT: Readonly<Record<string, number>> = {
  s: 1,
  sec: 1,
  second: 1,
  m: 60,
  min: 60,
  minute: 60,
  h: 3600,
  hr: 3600,
  hour: 3600,
  d: 86400,
  day: 86400,
  w: 604800,
  wk: 604800,
  week: 604800,
  mo: 2592000,
  month: 2592000,
  y: 31536000,
  yr: 31536000,
  year: 31536000,
};

/** `300`, `5m`, `1h30m`, `2 hours` → milliseconds. Nothing at all is 0, as in Ceph. */
export function parseSecondsMs(text: string): number | undefined {
  if (!/^(\d+\s*[a-z]+\s*)*(\d+)?$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)\s*([a-z]+)?/g)) {
    const factor = unit === undefined ? 1 : secondsPer(unit);
    if (factor === undefined) return undefined;
    seconds += Number(count) * factor;
  }
  return safe(seconds * 1000);
}

/** Whole words have a plural, abbreviations have none. */
function secondsPer(unit: string): number | undefined {
  const word = /^(second|minute|hour|day|week|month|year)s$/.exec(unit);
  return SECONDS_PER_UNIT[word?.[1] ?? unit];
}

const RBD_FEATURES = [
  'layering',
  'striping',
  'exclusive-lock',
  'object-map',
  'fast-diff',
  'deep-flatten',
  'journaling',
  'data-pool',
  'operations',
  'migrating',
] as const;

/** As a number, Ceph refuses the features that images get by themselves; by name it lets them pass. */
const MAX_RBD_FEATURE_NUMBER = 0xffn;

/** A feature mask as a decimal number, or names joined by commas (`librbd::rbd_features_from_string`). */
export function parseRbdFeatures(text: string): bigint | undefined {
  if (/^\+?\d+$/.test(text)) {
    const mask = BigInt(text.replace('+', ''));
    return mask <= MAX_RBD_FEATURE_NUMBER ? mask : undefined;
  }
  let mask = 0n;
  for (const name of text.split(',')) {
    const bit = RBD_FEATURES.indexOf(name.trim() as (typeof RBD_FEATURES)[number]);
    if (bit < 0) return undefined;
    mask |= 1n << BigInt(bit);
  }
  return mask;
}

/** Ceph's lists: commas, semicolons, equal signs and blanks between the words. */
export function parseList(text: string): string[] {
  return text.split(/[;,= \t]+/).filter((word) => word !== '');
}

const METHODS: Readonly<Record<string, number>> = {
  none: AUTH_METHOD.NONE,
  cephx: AUTH_METHOD.CEPHX,
};
const MODES: Readonly<Record<string, number>> = { crc: CON_MODE.CRC, secure: CON_MODE.SECURE };

/** The methods that we have, in the order given. */
export function parseAuthMethods(text: string): number[] | undefined {
  return known(text, METHODS);
}

/** Connection modes in the order of preference. */
export function parseConModes(text: string): number[] | undefined {
  return known(text, MODES);
}

function known(text: string, names: Readonly<Record<string, number>>): number[] | undefined {
  const values = parseList(text).flatMap((word) => names[word] ?? []);
  return values.length > 0 ? [...new Set(values)] : undefined;
}

function safe(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined;
}
