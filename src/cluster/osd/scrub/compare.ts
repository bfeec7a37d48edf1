/**
 * Which copies of objects differ, and which of them is right.
 *
 * The right one can be read, has the digest that its writes gave it, and is of the newest version, however many others have an
 * older one (`PGBackend::be_select_auth_object`). Of those it is the one that most are equal to. Where that leaves two that
 * differ, nobody can tell: they are reported, and not repaired.
 */

import {
  type InconsistentObject,
  type InconsistentShard,
  OBJECT_ERROR,
  SHARD_ERROR,
} from '../../../messages/scrub.js';
import { compareVersions } from '../log-merge.js';
import { type ObjectId, objectKey } from '../../store/object-id.js';
import type { ScrubbedObject } from './scrub-map.js';

/** An object whose copies differ. */
export interface Inconsistency {
  readonly id: ObjectId;
  /** For whoever lists them. */
  readonly listed: InconsistentObject;
  /** Who has the right copy; undefined: nobody, or nobody knows. */
  readonly authority: number | undefined;
  /** Who has not. */
  readonly wrong: readonly number[];
  /** How many errors it counts for. */
  readonly errors: number;
}

type Copies = Map<number, ScrubbedObject>;

/** By OSD: what it has in the same range. In the order of the objects' names. */
export function compareMaps(
  maps: ReadonlyMap<number, readonly ScrubbedObject[]>,
  primary: number,
): Inconsistency[] {
  const objects = new Map<string, Copies>();
  for (const [osd, map] of maps) {
    for (const object of map) {
      const key = objectKey(object.id);
      const copies = objects.get(key) ?? new Map<number, ScrubbedObject>();
      objects.set(key, copies.set(osd, object));
    }
  }
  const members = [...maps.keys()];
  return [...objects.values()].flatMap((copies) => compareCopies(copies, members, primary) ?? []);
}

function compareCopies(
  copies: Copies,
  members: readonly number[],
  primary: number,
): Inconsistency | undefined {
  const groups = new Map<string, number[]>();
  for (const [osd, object] of copies) {
    if (shardErrors(object) !== 0n) continue;
    const print = fingerprint(object);
    groups.set(print, [...(groups.get(print) ?? []), osd]);
  }
  const ranked = [...groups.values()].sort((a, b) => better(copies, a, b));
  const [best = [], second] = ranked;
  if (best.length === members.length) return undefined;
  const decided = best.length > 0 && (!second || better(copies, best, second) !== 0);
  const [judge] = best;
  const model = copies.get(judge ?? ([...copies.keys()][0] as number)) as ScrubbedObject;
  const shards = members.map((osd) => shard(osd, copies.get(osd), primary));
  const errors = members.reduce((all, osd) => all | differences(model, copies.get(osd)), 0n);
  const wrong = members.filter((osd) => !best.includes(osd));
  const { oid, nspace, key, snap } = model.id;
  const listed: InconsistentObject = {
    ...{ name: oid, nspace, locator: key, snap, errors, shards },
    version: model.meta.info.userVersion,
  };
  return {
    id: model.id,
    listed,
    authority: decided ? judge : undefined,
    wrong: decided ? wrong : [],
    errors: Math.max(1, wrong.length),
  };
}

/** Negative when `a` is to be believed rather than `b`; 0 when there is nothing to choose by. */
function better(copies: Copies, a: readonly number[], b: readonly number[]): number {
  const version = (osds: readonly number[]) =>
    (copies.get(osds[0] as number) as ScrubbedObject).meta.info.version;
  return compareVersions(version(b), version(a)) || b.length - a.length;
}

/** What is wrong with a copy, whatever the others are: of SHARD_ERROR. */
function shardErrors(object: ScrubbedObject | undefined): bigint {
  if (!object) return SHARD_ERROR.MISSING;
  if (object.readError) return SHARD_ERROR.READ;
  const told = object.meta.info.dataDigest;
  const isOther =
    told !== undefined && object.dataDigest !== undefined && told !== object.dataDigest;
  return isOther ? SHARD_ERROR.DATA_DIGEST_MISMATCH_INFO : 0n;
}

function shard(osd: number, object: ScrubbedObject | undefined, primary: number) {
  const errors = shardErrors(object);
  const described: InconsistentShard = {
    ...{ osd, primary: osd === primary, errors },
    object: object && {
      size: object.size,
      attrs: new Map([...object.attrs].map(([name, value]) => [`_${name}`, value])),
      ...{ dataDigest: object.dataDigest, omapDigest: object.omapDigest },
    },
  };
  return described;
}

/** What is different between two copies that are there: of OBJECT_ERROR. */
function differences(a: ScrubbedObject, b: ScrubbedObject | undefined): bigint {
  if (!b) return 0n;
  let errors = 0n;
  const digestsDiffer = (x: number | undefined, y: number | undefined) =>
    x !== undefined && y !== undefined && x !== y;
  if (digestsDiffer(a.dataDigest, b.dataDigest)) errors |= OBJECT_ERROR.DATA_DIGEST_MISMATCH;
  if (digestsDiffer(a.omapDigest, b.omapDigest)) errors |= OBJECT_ERROR.OMAP_DIGEST_MISMATCH;
  if (a.size !== b.size) errors |= OBJECT_ERROR.SIZE_MISMATCH;
  if (plain(a.meta.info) !== plain(b.meta.info)) errors |= OBJECT_ERROR.INFO_INCONSISTENCY;
  if (plain(a.meta.snapSet) !== plain(b.meta.snapSet)) {
    errors |= OBJECT_ERROR.SNAPSET_INCONSISTENCY;
  }
  for (const [x, y] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const [name, value] of x.attrs) {
      const other = y.attrs.get(name);
      if (!other) errors |= OBJECT_ERROR.ATTR_NAME_MISMATCH;
      else if (Buffer.compare(value, other) !== 0) errors |= OBJECT_ERROR.ATTR_VALUE_MISMATCH;
    }
  }
  return errors;
}

/** Equal texts, equal copies. */
function fingerprint(object: ScrubbedObject): string {
  const { meta, size, attrs, dataDigest, omapDigest } = object;
  const values = [...attrs].map(([name, value]) => [name, Buffer.from(value).toString('base64')]);
  return plain({ meta, size, values, dataDigest, omapDigest });
}

function plain(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'bigint' ? String(part) : part,
  );
}
