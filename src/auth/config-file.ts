/**
 * The ini dialect of ceph.conf and of keyrings, accepting and refusing what Ceph's parser does (`common/ConfUtils.cc`).
 *
 * Ceph parses with a PEG in which comments and line continuations may stand before every token, but not inside quotes.
 * That gives the dialect its corners, all of them kept: a comment starts anywhere, also inside a word; the last line
 * needs its newline; a section header must start its line; a file may consist of one setting without a section, but not
 * of two. Non-ASCII text is accepted, where builds of Ceph with assertions abort.
 *
 * Values never appear in errors: keyrings have this form too.
 */

import { RadosError } from '../base/errors.js';

/** Larger than any real file. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
/** The section of a setting outside any section. */
const DEFAULT_SECTION = 'global';

export class ConfigFile {
  readonly #sections: ReadonlyMap<string, ReadonlyMap<string, string>>;

  private constructor(sections: ReadonlyMap<string, ReadonlyMap<string, string>>) {
    this.#sections = sections;
  }

  /** Throws `RadosError` `EINVAL` with the place; `source` names the text in it. */
  static parse(content: Uint8Array | string, source: string): ConfigFile {
    return new ConfigFile(new Parser(decodeText(content, source), source).parse());
  }

  get sectionNames(): string[] {
    return [...this.#sections.keys()];
  }

  /** The settings of one section, by normalized key. */
  section(name: string): ReadonlyMap<string, string> | undefined {
    return this.#sections.get(name);
  }

  /** The value in the first of `sections` that has the key. */
  lookup(sections: readonly string[], key: string): string | undefined {
    const normalized = normalizeKey(key);
    for (const name of sections) {
      const value = this.#sections.get(name)?.get(normalized);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** Spaces at the ends go, runs of them inside become one `_`. */
export function normalizeKey(key: string): string {
  return key.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '').replace(/[ \t\n\v\f\r]+/g, '_');
}

function decodeText(content: Uint8Array | string, source: string): string {
  if (content.length > MAX_FILE_BYTES) {
    throw new RadosError('EFBIG', `${source}: larger than ${MAX_FILE_BYTES} bytes`, {
      op: 'parse',
      target: source,
    });
  }
  if (typeof content === 'string') return content;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new RadosError('EINVAL', `${source}: not UTF-8`, { op: 'parse', target: source });
  }
}

const BYTE_ORDER_MARK = '\ufeff';

/** Each method takes what it finds at the cursor and says whether it did; `expect` makes a miss final. */
class Parser {
  readonly #text: string;
  readonly #source: string;
  #at = 0;
  /** A run of blanks that leads to no comment: looking again at each of them would make long runs expensive. */
  #blankRun = { start: 0, end: 0 };

  constructor(text: string, source: string) {
    this.#text = text;
    this.#source = source;
  }

  parse(): Map<string, Map<string, string>> {
    const sections = new Map<string, Map<string, string>>();
    if (this.#text.startsWith(BYTE_ORDER_MARK)) this.#fail('a file without byte order mark');
    const lone = this.#setting();
    if (lone) {
      sections.set(DEFAULT_SECTION, new Map([lone]));
    } else {
      this.#ends();
      while (this.#section(sections));
    }
    this.#skip();
    if (this.#at < this.#text.length) this.#fail('a [section] or a setting');
    return sections;
  }

  #section(sections: Map<string, Map<string, string>>): boolean {
    const name = this.#heading();
    if (name === undefined) return false;
    const settings = sections.get(name) ?? new Map<string, string>();
    sections.set(name, settings);
    for (;;) {
      this.#skip();
      if (this.#text[this.#at] === '[') break;
      const setting = this.#setting();
      if (!setting) break;
      settings.set(...setting);
    }
    this.#ends();
    return true;
  }

  /** `[name]` and the end of its line. */
  #heading(): string | undefined {
    this.#skip();
    if (!this.#take('[')) return undefined;
    let name = '';
    for (;;) {
      this.#skip();
      if (this.#text[this.#at] === ']') break;
      const char = this.#char();
      if (char === undefined) break;
      name += char;
    }
    if (name === '') this.#fail('a section name');
    if (!this.#take(']')) this.#fail(`']'`);
    this.#restOfLine();
    return name;
  }

  /** `key = value` and the end of its line. */
  #setting(): [string, string] | undefined {
    const start = this.#at;
    this.#skip();
    this.#blanks();
    const key = this.#key();
    if (key !== undefined) {
      this.#skip();
      this.#blanks();
      this.#skip();
    }
    if (key === undefined || !this.#take('=')) {
      this.#at = start;
      return undefined;
    }
    this.#skip();
    this.#blanks();
    const value = this.#quoted() ?? this.#unquoted();
    this.#restOfLine();
    return [normalizeKey(key), value.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '')];
  }

  /** Words with blanks between them, as they stand. */
  #key(): string | undefined {
    this.#skip();
    const start = this.#at;
    let end = start;
    while (this.#word()) {
      end = this.#at;
      if (this.#blanksAndSkips() === 0) break;
    }
    this.#at = end;
    return end === start ? undefined : this.#text.slice(start, end);
  }

  #word(): boolean {
    let found = false;
    for (;;) {
      const before = this.#at;
      this.#skip();
      const next = this.#text[this.#at];
      if (next === '=' || next === '[' || next === ' ' || this.#char() === undefined) {
        this.#at = before;
        return found;
      }
      found = true;
    }
  }

  #blanksAndSkips(): number {
    for (let count = 0; ; count++) {
      const before = this.#at;
      this.#skip();
      if (!isBlank(this.#text[this.#at])) {
        this.#at = before;
        return count;
      }
      this.#at++;
    }
  }

  /** Inside quotes there are no comments: a `#` needs a backslash. */
  #quoted(): string | undefined {
    this.#skip();
    const quote = this.#text[this.#at];
    if (quote !== '"' && quote !== "'") return undefined;
    this.#at++;
    let value = '';
    while (this.#text[this.#at] !== quote) {
      const char = this.#char();
      if (char === undefined) return this.#fail(`the closing ${quote}`);
      value += char;
    }
    this.#at++;
    return value;
  }

  #unquoted(): string {
    let value = '';
    for (;;) {
      const before = this.#at;
      this.#skip();
      const char = this.#char();
      if (char === undefined) {
        this.#at = before;
        return value;
      }
      value += char;
    }
  }

  /** The end of this line, and empty lines after it. */
  #restOfLine(): void {
    for (let lines = 0; ; lines++) {
      const before = this.#at;
      this.#skip();
      this.#blanks();
      if (!this.#end()) {
        if (lines === 0) this.#fail('the end of the line');
        this.#at = before;
        return;
      }
    }
  }

  /** A character of a word or value; a backslash takes the next one as it is. */
  #char(): string | undefined {
    const char = this.#text[this.#at];
    if (char === undefined || isEnd(char) || char === '#' || char === ';') return undefined;
    this.#at++;
    if (char !== '\\') return char;
    const escaped = this.#text[this.#at];
    if (escaped === undefined || isEnd(escaped)) return char;
    this.#at++;
    return escaped;
  }

  /** Jumps over comments and continued lines. */
  #skip(): void {
    for (;;) {
      const next = this.#text[this.#at];
      if (next === '\\' && isEnd(this.#text[this.#at + 1])) {
        this.#at++;
        this.#end();
        continue;
      }
      if (this.#at >= this.#blankRun.start && this.#at < this.#blankRun.end) return;
      let start = this.#at;
      while (isBlank(this.#text[start])) start++;
      if (this.#text[start] !== '#' && this.#text[start] !== ';') {
        this.#blankRun = { start: this.#at, end: start };
        return;
      }
      while (start < this.#text.length && !isEnd(this.#text[start])) start++;
      this.#at = start;
    }
  }

  #blanks(): void {
    while (isBlank(this.#text[this.#at])) this.#at++;
  }

  #ends(): void {
    for (;;) {
      const before = this.#at;
      this.#skip();
      if (!this.#end()) {
        this.#at = before;
        return;
      }
    }
  }

  /** One line end: LF, CRLF or CR. */
  #end(): boolean {
    const start = this.#at;
    if (this.#text[this.#at] === '\r') this.#at++;
    if (this.#text[this.#at] === '\n') this.#at++;
    return this.#at > start;
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #fail(expected: string): never {
    const lines = this.#text.slice(0, this.#at).split(/\r\n|\n|\r/);
    const column = (lines.at(-1) ?? '').length + 1;
    throw new RadosError(
      'EINVAL',
      `${this.#source}: parse error: expected ${expected} in line ${lines.length} at position ${column}`,
      { op: 'parse', target: this.#source },
    );
  }
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\t';
}

function isEnd(char: string | undefined): boolean {
  return char === '\n' || char === '\r';
}
