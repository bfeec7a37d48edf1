/** Limits of a 16.2 OSD, with the names of its options. */

import type { ThrottleLimits } from './client-throttle.js';

export interface OsdLimits {
  /** `osd_max_object_size` */
  readonly maxObjectBytes: number;
  /** `osd_max_write_size`, a message's whole data segment. */
  readonly maxWriteBytes: number;
  /** `osd_max_object_name_len` */
  readonly maxObjectNameBytes: number;
  /** `osd_max_object_namespace_len` */
  readonly maxNamespaceBytes: number;
  /** `osd_max_attr_name_len` */
  readonly maxXattrNameBytes: number;
  /** `osd_max_attr_size`, 0 for none */
  readonly maxXattrBytes: number;
  /** `osd_max_omap_entries_per_request` */
  readonly maxOmapEntries: number;
  /** `osd_max_omap_bytes_per_request` */
  readonly maxOmapBytes: number;
  /** `osd_max_pgls` */
  readonly maxPgls: number;
  /** `osd_max_write_op_reply_len` */
  readonly maxWriteReplyBytes: number;
  /** `osd_default_notify_timeout` */
  readonly notifyTimeoutS: number;
  /** `osd_client_watch_timeout` */
  readonly watchTimeoutS: number;
  /** `osd_recovery_max_active`, as on rotating disks: clients come first. */
  readonly recoveryMaxActive: number;
  /** Of all clients' requests in hand: `osd_client_message_cap` and `osd_client_message_size_cap`. */
  readonly clients: ThrottleLimits;
  /** Of those of one connection. */
  readonly connection: ThrottleLimits;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: OsdLimits = {
  maxObjectBytes: 128 * MIB,
  maxWriteBytes: 90 * MIB,
  maxObjectNameBytes: 2048,
  maxNamespaceBytes: 256,
  maxXattrNameBytes: 100,
  maxXattrBytes: 0,
  maxOmapEntries: 1024,
  maxOmapBytes: 1024 * MIB,
  maxPgls: 1024,
  maxWriteReplyBytes: 64,
  notifyTimeoutS: 30,
  watchTimeoutS: 30,
  recoveryMaxActive: 3,
  clients: { messages: 256, bytes: 500 * MIB },
  connection: { messages: 256, bytes: 64 * MIB },
};
