/**
 * The objects of a pool's namespace, page by page (`Objecter::list_nobjects`).
 *
 * Their order is that of their hashes with the bits reversed, in which the objects of one PG lie together: a place in it
 * stays what it is while PGs are split or merged. A page ends at the latest where its PG does.
 */

import { ProtocolError } from '../base/errors.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import { type Hobject, hobject } from '../encoding/types.js';
import { type OsdOp, pgnlsOp } from '../messages/osd-op.js';
import { LISTING_START, pgnlsReply } from '../messages/pg-listing.js';
import { compareHobject, reverseBits } from '../osdmap/hobject-order.js';

/** Where a listing goes on. */
export type ListingPlace = Hobject;

export interface ObjectPage {
  /** Of heads, and of objects that only snapshots have any more. What is there throughout is listed, the rest may be. */
  readonly names: readonly string[];
  /** Undefined: that was the last page. */
  readonly next: ListingPlace | undefined;
}

/** Past the last place. */
export const LISTING_END = 2 ** 32;

/** As librados asks for; an OSD has its own limit (`osd_max_pgls`). */
const PAGE_OBJECTS_MAX = 1024;

/** From 0 to LISTING_END: objects are spread evenly over it. */
export function placeAt(pool: number, position: number): ListingPlace {
  return { ...LISTING_START, pool: BigInt(pool), hash: reverseBits(position) };
}

export function positionOf(place: ListingPlace | undefined): number {
  return place ? reverseBits(place.hash) : LISTING_END;
}

export function listOp(place: ListingPlace): OsdOp {
  return pgnlsOp(encodeWith(hobject, place), PAGE_OBJECTS_MAX, 0);
}

/** Throws ProtocolError for an answer that leads nowhere. */
export function decodePage(place: ListingPlace, outdata: Uint8Array): ObjectPage {
  const { handle, entries } = decodeAll('PGNLS', pgnlsReply, outdata);
  const names = entries.map(({ oid }) => oid);
  if (handle.max !== 0) return { names, next: undefined };
  if (compareHobject(handle, place) > 0) return { names, next: handle };
  throw new ProtocolError('a listing does not get on');
}
