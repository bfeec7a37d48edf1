import { describe, expect, it } from 'vitest';
import { Writable } from 'node:stream';
import { formatJson, formatTable, formatTime } from '../../src/cli/output.js';
import { ProgressLine } from '../../src/cli/progress.js';

describe('formatTable', () => {
  it("lays columns out as Ceph's TextTable: two spaces apart, every cell padded, headings left", () => {
    const table = formatTable(
      [
        { title: 'NAME', align: 'left' },
        { title: 'SIZE', align: 'right' },
        { title: 'LOCK', align: 'left' },
      ],
      [
        ['kid', '5 MiB', 'shr'],
        ['plain@s1', '10 MiB', ''],
      ],
    );
    expect(table).toBe(
      'NAME      SIZE    LOCK\n' + 'kid        5 MiB  shr \n' + 'plain@s1  10 MiB      \n',
    );
  });

  it('measures in bytes, as rbd does', () => {
    const table = formatTable([{ title: 'N', align: 'left' }], [['é'], ['abc']]);
    expect(table).toBe('N  \n' + 'é \n' + 'abc\n');
  });

  it('has as many rows as there are', () => {
    const rows = Array.from({ length: 300_000 }, (_, i) => [String(i)]);
    const table = formatTable([{ title: 'N', align: 'right' }], rows);
    expect(table.slice(-14)).toBe('299998\n299999\n');
    expect(table.length).toBe(7 * 300_001);
  });
});

describe('formatJson', () => {
  it('is one line, or indented by four', () => {
    const value = { a: [1], b: [] };
    expect(formatJson(value, { format: 'json' })).toBe('{"a":[1],"b":[]}\n');
    expect(formatJson(value, { format: 'json', prettyFormat: true })).toBe(
      '{\n    "a": [\n        1\n    ],\n    "b": []\n}\n',
    );
  });
});

describe('formatTime', () => {
  it('is ctime, in local time', () => {
    expect(formatTime(new Date(2026, 10, 5, 7, 8, 9))).toBe('Thu Nov  5 07:08:09 2026');
  });
});

describe('ProgressLine', () => {
  function lines(): { text: () => string; out: Writable } {
    let text = '';
    const out = new Writable({
      write(chunk, _, done) {
        text += String(chunk);
        done();
      },
    });
    return { text: () => text, out };
  }

  it('says what rbd says, each percent once', async () => {
    const { text, out } = lines();
    await new ProgressLine('Removing image', out).over(async (update) => {
      for (const done of [0, 1, 1, 2]) update(done, 3);
    });
    expect(text()).toBe(
      '\rRemoving image: 0% complete...\rRemoving image: 33% complete...' +
        '\rRemoving image: 66% complete...\rRemoving image: 100% complete...done.\n',
    );
  });

  it('ends as failed where it stood, and passes the failure on', async () => {
    const { text, out } = lines();
    const task = new ProgressLine('Importing image', out).over(async (update) => {
      update(1, 2);
      throw new Error('no');
    });
    await expect(task).rejects.toThrow('no');
    expect(text()).toContain('\rImporting image: 50% complete...failed.\n');
  });
});
