/** For what gives space back, or has to be done all the same when a pool is full: OSDs take it then, if they can. */

import { OSD_FLAG } from '../messages/osd-messages.js';

export const FULL_TRY = { flags: OSD_FLAG.FULL_TRY } as const;

/** For the little that must be written before anything can be removed. FULL_TRY gets no new object into a full pool. */
export const FULL_FORCE = { flags: OSD_FLAG.FULL_FORCE } as const;
