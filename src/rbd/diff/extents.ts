/** What a diff tells. */

/** A stretch of an image that was written (`exists`), or that reads as zeros now. */
export interface DiffExtent {
  /** Bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** False: it reads as zeros, for it was discarded, or cut off. */
  readonly exists: boolean;
}

/** Sorts extents that do not overlap, and joins neighbours of one kind. */
export function joinExtents(extents: DiffExtent[]): DiffExtent[] {
  if (extents.length < 2) return extents;
  extents.sort((a, b) => a.offset - b.offset);
  const joined: DiffExtent[] = [];
  let last = extents[0] as DiffExtent;
  for (const next of extents.slice(1)) {
    if (next.exists === last.exists && next.offset === last.offset + last.length) {
      last = { ...last, length: last.length + next.length };
    } else {
      joined.push(last);
      last = next;
    }
  }
  joined.push(last);
  return joined;
}
