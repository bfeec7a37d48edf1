import { setMaxListeners } from 'node:events';

/** Ends what has many requests under way at a time; of more than ten listeners Node would warn, as of a leak. */
export function sharedAborter(): AbortController {
  const aborter = new AbortController();
  setMaxListeners(0, aborter.signal);
  return aborter;
}
