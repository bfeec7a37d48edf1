// Which of several copies that differ a scrub takes for the right one.

import { describe, expect, it } from 'vitest';
import { compareMaps } from '../../../src/cluster/osd/scrub/compare.js';
import type { ScrubbedObject } from '../../../src/cluster/osd/scrub/scrub-map.js';
import { EMPTY_SNAPSET, NEW_OBJECT_INFO } from '../../../src/cluster/store/object-meta.js';
import { NOSNAP } from '../../../src/encoding/types.js';

function copy(version: bigint, size: number): ScrubbedObject {
  return {
    id: { pool: 1, nspace: '', oid: 'o', key: '', hash: 0, snap: NOSNAP },
    meta: { info: { ...NEW_OBJECT_INFO, version: { epoch: 1, version } }, snapSet: EMPTY_SNAPSET },
    ...{ size, attrs: new Map<string, Uint8Array>() },
    ...{ dataDigest: undefined, omapDigest: undefined, readError: false },
  };
}

const compare = (...copies: ScrubbedObject[]) =>
  compareMaps(new Map(copies.map((one, osd) => [osd, [one]])), 0).map(({ authority, wrong }) => ({
    authority,
    wrong,
  }));

describe('of copies that differ', () => {
  it('the newest is right, however many are older', () => {
    const found = compare(copy(7n, 10), copy(8n, 20), copy(7n, 10));
    expect(found).toEqual([{ authority: 1, wrong: [0, 2] }]);
  });

  it('of one version that of the most is right', () => {
    const found = compare(copy(7n, 10), copy(7n, 20), copy(7n, 20));
    expect(found).toEqual([{ authority: 1, wrong: [0] }]);
  });

  it('nobody can tell between as many of one version', () => {
    expect(compare(copy(7n, 10), copy(7n, 20))).toEqual([{ authority: undefined, wrong: [] }]);
  });
});
