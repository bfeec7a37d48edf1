/** What commands print: plain text and JSON in `rbd`'s shapes. */

import type { Command } from 'commander';
import { invalid } from './errors.js';

export interface FormatOptions {
  format: 'plain' | 'json';
  prettyFormat?: boolean;
}

export function addFormatOptions(command: Command): Command {
  return command
    .option('--format <format>', 'output format: plain or json', parseFormat, 'plain')
    .option('--pretty-format', 'pretty formatting (json)');
}

function parseFormat(text: string): FormatOptions['format'] {
  if (text !== 'plain' && text !== 'json') throw invalid(`plain or json, not '${text}'`);
  return text;
}

/** Marks a number of 64 bits, which JSON has and `JSON.stringify` has not. */
const BIGINT_MARK = '\u0001';

/** One line, as Ceph's JSONFormatter; with `--pretty-format` indented by four. */
export function formatJson(value: unknown, options: FormatOptions): string {
  const markBigints = (_key: string, each: unknown) =>
    typeof each === 'bigint' ? `${BIGINT_MARK}${each}` : each;
  const text = JSON.stringify(value, markBigints, options.prettyFormat ? 4 : undefined);
  return `${text.replace(/"\\u0001(-?\d+)"/g, '$1')}\n`;
}

export interface Column {
  title: string;
  align: 'left' | 'right';
}

/**
 * A table as Ceph's TextTable: columns two spaces apart, each as wide as its widest cell, the last one padded too. Widths
 * are in bytes, so that names beyond ASCII come out as `rbd` has them.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const widths = columns.map((column, i) =>
    rows.reduce(
      (width, row) => Math.max(width, Buffer.byteLength(row[i] ?? '')),
      column.title.length,
    ),
  );
  const line = (cells: readonly string[], heading: boolean) =>
    cells
      .map((cell, i) => {
        const padding = ' '.repeat((widths[i] as number) - Buffer.byteLength(cell));
        return columns[i]?.align === 'right' && !heading ? padding + cell : cell + padding;
      })
      .join('  ');
  return [
    line(
      columns.map(({ title }) => title),
      true,
    ),
    ...rows.map((row) => line(row, false)),
  ]
    .map((text) => `${text}\n`)
    .join('');
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** C's `ctime`, in local time: `Fri Nov 20 16:22:35 2026`. */
export function formatTime(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = String(date.getDate()).padStart(2, ' ');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  return `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${day} ${time} ${date.getFullYear()}`;
}
