/** Feature bits of the idents (`include/ceph_features.h`). */

/**
 * What 16.2.15 librados, monitors and OSDs advertise. It selects the encodings written here: MOSDOp v8, MOSDOpReply v8,
 * MOSDMap v4, pg_pool_t v29, addresses with MSG_ADDR2. Later releases re-encode for peers without their own bits.
 */
export const FEATURES_SUPPORTED = 0x3f01cfbdfffdffffn;

/** Understands MOSDBackoff. Shares its bit with SERVER_LUMINOUS: whoever is as new has it. */
export const FEATURE_RADOS_BACKOFF = 1n << 21n;

const MSG_ADDR2 = 1n << 59n;

/** What we cannot do without: messenger v2 itself needs the new addresses. */
export const FEATURES_REQUIRED = MSG_ADDR2;
