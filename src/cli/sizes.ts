/** Sizes as the `rbd` command reads and prints them. */

import { invalid } from './errors.js';

const SUFFIXES = 'BKMGTPE';
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/**
 * `10G` → bytes; powers of 1024, whole numbers only. Without a suffix `defaultUnit` holds: MiB for image sizes, bytes for
 * object sizes and stripe units.
 */
export function parseSize(text: string, defaultUnit: 'B' | 'M'): number {
  const match = /^(\d+)(?:(B)|([KMGTPE])(?:i?B|i)?)?$/i.exec(text);
  if (!match) throw invalid(`'${text}' is no whole number with one of ${SUFFIXES} after it`);
  const unit = (match[2] ?? match[3] ?? defaultUnit).toUpperCase();
  const bytes = Number(match[1]) * 1024 ** SUFFIXES.indexOf(unit);
  // 8 PiB: an eighth of what an image of 4 MiB objects could have, and more than any cluster.
  if (!Number.isSafeInteger(bytes)) throw invalid(`'${text}' is more than 8 PiB`);
  return bytes;
}

/** `41943040` → `40 MiB`; at most three digits and a point, as Ceph's `byte_u_t` (`include/types.h`). */
export function formatSize(bytes: number): string {
  let index = 0;
  let scaled = bytes;
  while (scaled >= 1024 && index < UNITS.length - 1) {
    scaled /= 1024;
    index++;
  }
  const unit = UNITS[index] as string;
  if (index === 0) return `${Math.trunc(scaled)} ${unit}`;
  if (Number.isInteger(scaled)) return `${scaled} ${unit}`;
  const precision = [2, 1, 0].find((digits) => scaled.toFixed(digits).length <= 3) ?? 0;
  return `${scaled.toFixed(precision)} ${unit}`;
}

/** The order of the smallest object size that is not below `objectSize`: 3 MiB makes objects of 4 MiB. */
export function orderOf(objectSize: number): number {
  return Math.ceil(Math.log2(objectSize));
}

/** For options that take whole numbers from `min` on. */
export function wholeNumber(text: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw invalid(
      `'${text}' is no whole number from ${min}${max < 2 ** 53 - 1 ? ` to ${max}` : ''}`,
    );
  }
  return value;
}
