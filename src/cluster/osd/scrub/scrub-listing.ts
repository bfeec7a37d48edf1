/** SCRUBLS: what the last scrub of a PG found, page by page (`PrimaryLogPG::do_scrub_ls`). */

import { ERRNO } from '../../../base/errors.js';
import { decodeAll, encodeWith } from '../../../encoding/codec.js';
import { DecodeError } from '../../../encoding/decoder.js';
import { encodeInconsistentObject, scrubLsArg, scrubLsResult } from '../../../messages/scrub.js';
import type { ScrubResult } from './scrubber.js';

export interface ScrubListing {
  /** Of this interval's; undefined: there was no scrub. */
  readonly result: ScrubResult | undefined;
  /** When the interval began: a listing is of one. */
  readonly since: number;
}

const PAGE_MAX = 1000;

/** An errno, or the page. */
export function listInconsistent({ result, since }: ScrubListing, indata: Uint8Array) {
  let arg: ReturnType<typeof scrubLsArg.decode>;
  try {
    arg = decodeAll('scrub_ls_arg_t', scrubLsArg, indata);
  } catch (error) {
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
  if (arg.interval !== 0 && arg.interval !== since) return -ERRNO.EAGAIN;
  if (!result) return -ERRNO.ENOENT;
  // Clones without a head, or heads without what their clones need, are objects that differ here.
  const all = arg.getSnapsets === 0 ? result.inconsistencies : [];
  const isAfter = arg.name !== '' || arg.nspace !== '';
  const at = all.findIndex(
    ({ listed: { name, nspace, snap } }) =>
      name === arg.name && nspace === arg.nspace && snap === arg.snap,
  );
  const begin = isAfter ? (at < 0 ? all.length : at + 1) : 0;
  const count = Math.min(PAGE_MAX, Number(arg.maxReturn));
  const page = all.slice(begin, begin + count);
  return encodeWith(scrubLsResult, {
    interval: since,
    vals: page.map(({ listed }) => encodeInconsistentObject(listed)),
  });
}
