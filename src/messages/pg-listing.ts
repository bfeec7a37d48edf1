/** The answer to PGNLS: a page of the objects of one PG (`pg_nls_response_t`, `osd/osd_types.h`). */

import { type Infer, list, record, string, struct } from '../encoding/codec.js';
import { type Hobject, hobject, INT64_MIN } from '../encoding/types.js';

/** Before everything: where a listing begins. */
export const LISTING_START: Hobject = {
  ...{ key: '', oid: '', snap: 0n, hash: 0, max: 0, nspace: '', pool: INT64_MIN },
};

export const listedObject = record('ListObjectImpl', {
  nspace: string,
  oid: string,
  locator: string,
});

export const pgnlsReply = struct(
  'pg_nls_response_t',
  { version: 1, compat: 1 },
  {
    /** Where the next page begins; `max` set: there is none. */
    handle: hobject,
    entries: list(listedObject),
  },
);
export type PgnlsReply = Infer<typeof pgnlsReply>;
