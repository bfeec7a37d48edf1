/** The map of managers: there is none, and none will come. */

import { encode } from '../../encoding/encoder.js';
import { entityAddrvec } from '../../encoding/entity.js';

const EPOCH = 1;

/**
 * MMgrMap with `MgrMap` version 12, all of it empty: librados waits for a manager only when a command needs one, and
 * the commands that do are not described.
 */
export const EMPTY_MGR_MAP = {
  epoch: EPOCH,
  bytes: encode((encoder) =>
    encoder.struct(12, 6, () => {
      encoder.u32(EPOCH);
      entityAddrvec.encode(encoder, []);
      // active gid, available, active name
      encoder.u64(0n).u8(0).string('');
      // standbys, modules, services, available modules
      encoder.u32(0).u32(0).u32(0).u32(0);
      // time of the last change, modules by release that are always on, features
      encoder.u32(0).u32(0).u32(0).u64(0n);
      // epoch of the last failure, the active manager's clients
      encoder.u32(0).u32(0).u32(0);
    }),
  ),
};
