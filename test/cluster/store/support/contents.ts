/** All that a store holds, as plain data that two stores can be compared by. */

import { createHash } from 'node:crypto';
import { formatObject, type ObjectId } from '../../../../src/cluster/store/object-id.js';
import type { ObjectStore } from '../../../../src/cluster/store/object-store.js';
import { NOSNAP } from '../../../../src/encoding/types.js';

/** Long ones by their digest: so that a difference can be read. */
function hex(bytes: Uint8Array): string {
  if (bytes.length <= 64) return Buffer.from(bytes).toString('hex');
  return `${bytes.length} bytes ${createHash('sha1').update(bytes).digest('hex')}`;
}

/** As the contents of stores of earlier formats, which are kept for tests, have it. */
function fullName({ snap, nspace, key, oid }: ObjectId): string {
  const which = snap === NOSNAP ? 'head' : snap.toString(16);
  return `${which}/${nspace.length}/${key.length}/${nspace}${key}${oid}`;
}

export function contentsOf(store: ObjectStore): Record<string, unknown> {
  const contents: Record<string, unknown> = {};
  for (const collection of store.collections().sort()) {
    const objects = store.list(collection, undefined, Number.MAX_SAFE_INTEGER).map((id) => {
      const object = store.get(collection, id);
      if (!object) throw new Error(`${formatObject(id)} is listed and not there`);
      return {
        id: fullName(id),
        meta: object.meta,
        size: object.size,
        bytes: hex(object.read(0, object.size)),
        extents: object.extents(0, object.size),
        xattrs: object.xattrs().map(([name, value]) => [name, hex(value)]),
        omapHeader: hex(object.omapHeader),
        omap: [...object.omapFrom('')].map(([key, value]) => [key, hex(value)]),
      };
    });
    contents[collection] = {
      info: store.pgInfo(collection),
      log: store.log(collection).map((entry) => ({
        ...entry,
        ...(entry.returns
          ? { returns: entry.returns.map((each) => ({ ...each, outdata: hex(each.outdata) })) }
          : {}),
      })),
      objects,
    };
  }
  return contents;
}
