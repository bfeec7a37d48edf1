import { expect, it } from 'vitest';
import { NOSNAP } from '../../../src/encoding/types.js';
import { type ObjectId, objectKey } from '../../../src/cluster/store/object-id.js';

it('objects have keys of their own, whatever their names', () => {
  const parts = ['', 'a', 'ab', 'b', '\0', '\0head/0/0/a', 'head/0/0/a', '1/0/0/a'];
  const ids: ObjectId[] = parts.flatMap((nspace) =>
    parts.flatMap((key) =>
      parts.flatMap((oid) =>
        [NOSNAP, 1n, 0x10n].map((snap) => ({ pool: 1, nspace, oid, key, hash: 1, snap })),
      ),
    ),
  );
  expect(new Set(ids.map(objectKey)).size).toBe(ids.length);
});
