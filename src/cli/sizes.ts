/** Sizes as the `rbd` command reads and prints them. */

import { CommandError } from './errors.js';

const SUFFIXES = 'BKMGTPE';
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/**
 * `10G` → bytes; powers of 1024, whole numbers only. Without a suffix `defaultUnit` holds: MiB for image sizes, bytes for
 * object sizes and stripe units.
 */
export function parseSize(text: string, defaultUnit: 'B' | 'M'): number {
  const match = /^(\d+)([BKMGTPE])?(?:i?B)?$/i.exec(text);
  if (!match) throw new CommandError(1, `invalid size '${text}'`);
  const unit = (match[2] ?? defaultUnit).toUpperCase();
  const bytes = Number(match[1]) * 1024 ** SUFFIXES.indexOf(unit);
  if (!Number.isSafeInteger(bytes)) throw new CommandError(1, `size '${text}' is too large`);
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
  if (index === 0 || Number.isInteger(scaled)) return `${scaled} ${unit}`;
  const precision = [2, 1, 0].find((digits) => scaled.toFixed(digits).length <= 3) ?? 0;
  return `${scaled.toFixed(precision)} ${unit}`;
}

/** `log2` of an object size that may be given as an order or as a size. */
export function orderOf(objectSize: number): number {
  return Math.ceil(Math.log2(objectSize));
}
