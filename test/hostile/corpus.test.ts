// What a monitor, an OSD or a client could send that is wrong, each with what must come of it.

import { describe, expect, it } from 'vitest';
import { COMMAND_CASES } from './commands.js';
import { FRAME_CASES } from './frames.js';
import { HANDSHAKE_CASES } from './handshake.js';
import { REPLY_CASES } from './replies.js';
import { REQUEST_CASES } from './requests.js';

const ALL = [
  ...[...FRAME_CASES, ...HANDSHAKE_CASES, ...REPLY_CASES],
  ...[...REQUEST_CASES, ...COMMAND_CASES],
];

describe('a hostile peer', () => {
  it.each(ALL)('$name: $expect', async ({ act, expect: expected }) => {
    expect(await act()).toContain(expected);
  });
});

it('the corpus has at least 300 cases, each with a name of its own', () => {
  expect(ALL.length).toBeGreaterThanOrEqual(300);
  expect(new Set(ALL.map(({ name }) => name)).size).toBe(ALL.length);
});
