// From when on a client need not see what others do: since an OSD has first known that it is fenced.

import { expect, it } from 'vitest';
import type { OsdMap } from '../../src/osdmap/osdmap.js';
import { Fences } from '../../src/sim/checkers/fences.js';
import type { Op } from '../../src/sim/checkers/history.js';

const mapOf = (...nonces: number[]) =>
  ({ blocklist: new Map(nonces.map((nonce) => [`${nonce}`, { addr: { nonce } }])) }) as OsdMap;

it('a client sees the image as of its fence, others as of the beginning of their operation', () => {
  let now = 10;
  const fences = new Fences(() => now);
  fences.know('client.1', 7);
  fences.know('client.2', 8);
  const since = (client: string, startedAs: number) =>
    fences.seenSince({ client, startedAs } as Op);
  fences.onMap({ epoch: 3, map: mapOf() });
  expect(since('client.1', 12)).toBe(12);
  fences.onMap({ epoch: 4, map: mapOf(7) });
  now = 20;
  // An OSD that is behind, and one that knows of more.
  fences.onMap({ epoch: 3, map: mapOf(8) });
  fences.onMap({ epoch: 5, map: mapOf(7, 9) });
  expect(since('client.1', 30)).toBe(10);
  expect(since('client.1', 5)).toBe(5);
  expect(since('client.2', 30)).toBe(30);
  expect(since('client.3', 30)).toBe(30);
});

it('who says that it is fenced, and is not, is told of; who is not known may be', () => {
  const fences = new Fences(() => 0);
  fences.know('client.1', 7);
  fences.know('client.2', 8);
  for (const client of ['client.1', 'client.2', 'client.3']) fences.claim(client, 'a write');
  fences.onMap({ epoch: 1, map: mapOf(7) });
  expect(fences.unfounded()).toEqual(['client.2 was not fenced: a write']);
});
