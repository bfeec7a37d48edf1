/**
 * Command output the way Ceph's `Formatter` and `TextTable` lay it out, to the byte: scripts parse both forms.
 */

/** A `Map` keeps its order whatever the keys look like; objects would sort numeric keys first. */
export type Json =
  | string
  | number
  | bigint
  | boolean
  | readonly Json[]
  | { readonly [key: string]: Json }
  | ReadonlyMap<string, Json>;

/** `json`: one line without a space. */
export function compactJson(value: Json): string {
  return render(value, undefined, '');
}

/** `json-pretty`: four spaces, and a newline at the end. */
export function prettyJson(value: Json): string {
  return `${render(value, '    ', '')}\n`;
}

function render(value: Json, indent: string | undefined, margin: string): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      return formatDouble(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      break;
  }
  const inner = indent === undefined ? '' : margin + indent;
  const colon = indent === undefined ? ':' : ': ';
  let parts: string[];
  let brackets: string;
  if (Array.isArray(value)) {
    parts = value.map((item) => render(item as Json, indent, inner));
    brackets = '[]';
  } else {
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    parts = entries.map(
      ([key, item]) => `${quote(key as string)}${colon}${render(item as Json, indent, inner)}`,
    );
    brackets = '{}';
  }
  if (parts.length === 0) return brackets;
  if (indent === undefined) return brackets[0] + parts.join(',') + brackets[1];
  const lines = parts.map((part) => inner + part).join(',\n');
  return `${brackets[0]}\n${lines}\n${margin}${brackets[1]}`;
}

const ESCAPES: Record<string, string> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\t': '\\t' };

function quote(text: string): string {
  const escaped = text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is escaped.
    /["\\\u0000-\u001f\u007f]/g,
    (char) => ESCAPES[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${escaped}"`;
}

/** 17 significant digits: a float shows as the double that it became (0.94999998807907104). */
function formatDouble(value: number): string {
  return Number.isInteger(value) ? String(value) : trimmed(value.toPrecision(17));
}

/** A C++ stream's default for floating point (`%g`): six significant digits. */
export function formatShort(value: number): string {
  if (value === 0) return '0';
  const [mantissa = '', exponent = '0'] = value.toExponential(5).split('e');
  const power = Number(exponent);
  if (power < -4 || power >= 6) {
    const sign = power < 0 ? '-' : '+';
    return `${trimmed(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, '0')}`;
  }
  return trimmed(value.toFixed(5 - power));
}

function trimmed(digits: string): string {
  return digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits;
}

export interface Column {
  heading: string;
  align: 'left' | 'right';
}

/** Columns as wide as their widest cell, two spaces between them, the last one padded too. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]) {
  const widths = columns.map(({ heading }, i) =>
    Math.max(heading.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const headings = columns.map(({ heading }, i) => heading.padEnd(widths[i] as number));
  const lines = rows.map((row) =>
    columns.map(({ align }, i) => {
      const cell = row[i] ?? '';
      const width = widths[i] as number;
      return align === 'left' ? cell.padEnd(width) : cell.padStart(width);
    }),
  );
  return [headings, ...lines].map((cells) => `${cells.join('  ')}\n`).join('');
}

/** A column whose cells stand on the right, as numbers do. */
export function rightColumn(heading: string): Column {
  return { heading, align: 'right' };
}

export function leftColumn(heading: string): Column {
  return { heading, align: 'left' };
}
