/**
 * Does a diff tell the truth: is whatever differs between two snapshots, or a snapshot and the image, in it; and is what
 * the object maps tell no less?
 */

import type { Images } from '../../block/images.js';
import type { DiffExtent } from '../../rbd/diff/extents.js';
import { SECTOR_BYTES } from './stamps.js';

export interface DiffSubject {
  readonly name: string;
  /** Oldest first. */
  readonly snapshots: readonly string[];
}

/** Says what is wrong. `contentsOf`: the write that each sector of a snapshot, or of the image, is of, where it is known. */
export async function checkDiffs(
  images: Images,
  { name, snapshots }: DiffSubject,
  contentsOf: (snap: string | undefined) => Uint32Array | undefined,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const [from, to] of spans(snapshots)) {
    const before = from === undefined ? new Uint32Array(0) : contentsOf(from);
    const after = contentsOf(to);
    const which = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
    const exact = await extentsOf(images.diff(name, which));
    const fast = await extentsOf(images.diff(name, { ...which, wholeObject: true }));
    const title = `${name} from ${from ?? 'the beginning'} to ${to ?? 'now'}`;
    const missed = before && after ? firstMissed(before, after, exact) : undefined;
    if (missed !== undefined) wrong.push(`${title}: sector ${missed} differs and is not told`);
    const hidden = firstUncovered(exact, fast);
    if (hidden !== undefined) wrong.push(`${title}: the fast diff lacks what is at ${hidden}`);
  }
  return wrong;
}

type Span = readonly [from: string | undefined, to: string | undefined];

/** From each version to the next one, and over one: what changed in between is in the object map of neither end. */
function spans(snapshots: readonly string[]): Span[] {
  const versions = [undefined, ...snapshots, undefined];
  return [1, 2].flatMap((step) =>
    versions.slice(step).flatMap((to, i): Span[] =>
      // From the beginning on the maps in between do not matter.
      step > 1 && i === 0 ? [] : [[versions[i], to]],
    ),
  );
}

async function extentsOf(diff: AsyncIterable<DiffExtent>): Promise<DiffExtent[]> {
  const extents: DiffExtent[] = [];
  for await (const extent of diff) extents.push(extent);
  return extents;
}

function firstMissed(
  before: Uint32Array,
  after: Uint32Array,
  extents: readonly DiffExtent[],
): number | undefined {
  const told = new Uint8Array(after.length);
  for (const { offset, length } of extents) {
    told.fill(1, Math.floor(offset / SECTOR_BYTES), Math.ceil((offset + length) / SECTOR_BYTES));
  }
  const sector = after.findIndex((value, i) => value !== (before[i] ?? 0) && told[i] === 0);
  return sector < 0 ? undefined : sector;
}

/** Both in the order of their offsets. */
function firstUncovered(
  extents: readonly DiffExtent[],
  by: readonly DiffExtent[],
): number | undefined {
  let i = 0;
  for (const { offset, length } of extents) {
    let at = offset;
    while (at < offset + length) {
      while (i < by.length && endOf(by[i] as DiffExtent) <= at) i++;
      const cover = by[i];
      if (!cover || cover.offset > at) return at;
      at = endOf(cover);
    }
  }
  return undefined;
}

function endOf({ offset, length }: DiffExtent): number {
  return offset + length;
}
