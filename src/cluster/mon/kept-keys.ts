/** What the cephx server needs over a restart: its secrets, so that tickets stay good, and which ids were given out. */

import type { CephxKeyServerOptions } from '../../auth/cephx-server.js';
import { decodeAll, encodeWith, u64 } from '../../encoding/codec.js';
import type { MonDatabase } from './mon-database.js';

/** Ids that are reserved at once: one is given out at every connection, and the disk must not be asked each time. */
const RESERVED_IDS = 4096n;

const SECRETS = 'secrets';
const MAX_GLOBAL_ID = 'max_global_id';

export function keepKeyServer(database: MonDatabase): CephxKeyServerOptions {
  const secrets = database.get('cephx', SECRETS);
  const reserved = database.get('cephx', MAX_GLOBAL_ID);
  let limit = reserved && decodeAll('global id', u64, reserved);
  return {
    ...(secrets ? { secrets } : {}),
    ...(limit === undefined ? {} : { firstGlobalId: limit }),
    onSecrets: (bytes) => database.write('cephx', { set: [[SECRETS, bytes]] }),
    onGlobalId: (next) => {
      // In time: half of them are left while the disk writes.
      if (limit !== undefined && next + RESERVED_IDS / 2n <= limit) return;
      limit = next + RESERVED_IDS;
      database.write('cephx', { set: [[MAX_GLOBAL_ID, encodeWith(u64, limit)]] });
    },
  };
}
