/**
 * A cluster that has settled, looked at from within: all members of a PG hold the same, to the last byte, and every request
 * has had its effect once.
 */

import { isDeepStrictEqual } from 'node:util';
import type { OsdDaemon } from '../../cluster/osd-daemon.js';
import { requestIdKey } from '../../cluster/osd/client-request.js';
import { formatObject, type ObjectId, objectKey } from '../../cluster/store/object-id.js';
import { DIGEST_SEED } from '../../cluster/store/object-meta.js';
import type { ObjectStore } from '../../cluster/store/object-store.js';
import type { LogEntry } from '../../cluster/store/pg-record.js';
import { formatPgId, type PgId } from '../../encoding/types.js';
import type { Violation } from './violation.js';

/** Log entries compared: members may have trimmed at other times. */
const LOG_COMPARED = 100;

/** The first difference of each PG. `osds`: all that run. */
export function checkReplicas(osds: ReadonlyMap<number, OsdDaemon>): Violation[] {
  const [any] = osds.values();
  if (!any) return [];
  const { map, placement } = any.view;
  const violations: Violation[] = [];
  for (const [pool, { pgNum }] of map.pools) {
    for (let seed = 0; seed < pgNum; seed++) {
      const pg = { pool, seed };
      const { acting, actingPrimary } = placement.pgToUpActing(pg);
      const primary = osds.get(actingPrimary);
      if (!primary) continue;
      const others = acting.flatMap((id) => (id === actingPrimary ? [] : (osds.get(id) ?? [])));
      const wrong = checkPg(pg, primary, others);
      if (wrong) violations.push(wrong);
    }
  }
  return violations;
}

function checkPg(
  pg: PgId,
  primary: OsdDaemon,
  others: readonly OsdDaemon[],
): Violation | undefined {
  const collection = formatPgId(pg);
  const log = primary.store.log(collection);
  const twice = repeated(log);
  if (twice) {
    return { checker: 'exactly-once', message: `${collection}: request ${twice} has acted twice` };
  }
  const misjudged = wrongDigest(primary, collection);
  if (misjudged) {
    const message = `${collection}: ${formatObject(misjudged)} has another digest than its data`;
    return { checker: 'replicas', message };
  }
  for (const other of others) {
    const difference = differenceOf(primary.store, other.store, collection);
    if (!difference) continue;
    const message = `${collection}: osd.${primary.whoami} and osd.${other.whoami}: ${difference}`;
    return { checker: 'replicas', message };
  }
  return undefined;
}

/** A request that two changes are of. */
function repeated(log: readonly LogEntry[]): string | undefined {
  const seen = new Set<string>();
  for (const { reqid, objects } of log) {
    if (!reqid || objects.length === 0) continue;
    // Whatever its incarnation says: a client counts through.
    const key = requestIdKey({ ...reqid, inc: 0 });
    if (seen.has(key)) return key;
    seen.add(key);
  }
  return undefined;
}

/** An object of which a scrub would say that it is not as it was written. */
function wrongDigest({ store, crc32c }: OsdDaemon, collection: string): ObjectId | undefined {
  return store.list(collection, undefined, Number.MAX_SAFE_INTEGER).find((id) => {
    const object = store.get(collection, id);
    const told = object?.meta.info.dataDigest;
    if (!object || told === undefined) return false;
    return crc32c(DIGEST_SEED, object.read(0, object.size)) !== told;
  });
}

function differenceOf(a: ObjectStore, b: ObjectStore, collection: string): string | undefined {
  const [infoA, infoB] = [a.pgInfo(collection), b.pgInfo(collection)];
  if (!isDeepStrictEqual(infoA?.lastUpdate, infoB?.lastUpdate)) return 'another last update';
  if (a.missing(collection).length + b.missing(collection).length > 0) return 'objects are missing';
  const [logA, logB] = [a, b].map((store) => store.log(collection).slice(-LOG_COMPARED));
  if (!isDeepStrictEqual(logA, logB)) return 'another log';
  const lastLogged = a.log(collection).at(-1);
  if (lastLogged && !isDeepStrictEqual(lastLogged.version, infoA?.lastUpdate)) {
    return 'the log does not reach the last update';
  }
  const idsA = a.list(collection, undefined, Number.MAX_SAFE_INTEGER);
  const idsB = b.list(collection, undefined, Number.MAX_SAFE_INTEGER);
  if (!isDeepStrictEqual(idsA.map(objectKey), idsB.map(objectKey))) return 'other objects';
  const different = idsA.find((id) => !isSame(a, b, collection, id));
  return different && `${formatObject(different)} differs`;
}

function isSame(a: ObjectStore, b: ObjectStore, collection: string, id: ObjectId): boolean {
  return isDeepStrictEqual(contents(a, collection, id), contents(b, collection, id));
}

function contents(store: ObjectStore, collection: string, id: ObjectId) {
  const object = store.get(collection, id);
  return (
    object && {
      meta: object.meta,
      data: plain(object.read(0, object.size)),
      xattrs: object.xattrs().map(([name, value]) => [name, plain(value)]),
      omap: [...object.omapFrom('')].map(([key, value]) => [key, plain(value)]),
    }
  );
}

/** Of one class: a store that was opened again has bytes of another than one that was not. */
function plain({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
