// Goal: every golden encoding of the types of object class `lock`, of watchers and of LIST_SNAPS decodes to its last byte, and those of
// the release that we write (16.2) come out again identically. The files are Ceph's own `encode()` output.

import { describe, expect, it } from 'vitest';

import { type Codec, decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { cloneInfo, listSnapsReply } from '../../src/messages/list-snaps.js';
import { pgnlsReply } from '../../src/messages/pg-listing.js';
import {
  assertOp,
  breakOp,
  getInfoOp,
  listLocksReply,
  lockerId,
  lockerInfo,
  lockInfo,
  lockOp,
  setCookieOp,
  unlockOp,
} from '../../src/rados/cls-lock.js';
import { listWatchersReply, watchItem } from '../../src/rados/watchers.js';
import { GOLDEN_RELEASES, goldenFiles, isWritten } from '../support/golden.js';

const TYPES = {
  cls_lock_assert_op: assertOp,
  cls_lock_break_op: breakOp,
  cls_lock_get_info_op: getInfoOp,
  cls_lock_get_info_reply: lockInfo,
  cls_lock_list_locks_reply: listLocksReply,
  cls_lock_lock_op: lockOp,
  cls_lock_set_cookie_op: setCookieOp,
  cls_lock_unlock_op: unlockOp,
  clone_info: cloneInfo,
  obj_list_snap_response_t: listSnapsReply,
  obj_list_watch_response_t: listWatchersReply,
  pg_nls_response_t: pgnlsReply,
  'rados::cls::lock::locker_id_t': lockerId,
  'rados::cls::lock::locker_info_t': lockerInfo,
  watch_item_t: watchItem,
} as unknown as Readonly<Record<string, Codec<never>>>;

describe.skipIf(GOLDEN_RELEASES.length === 0)('golden encodings', () => {
  for (const release of GOLDEN_RELEASES) {
    it.each(Object.entries(TYPES))(`%s of ${release} decodes to the last byte`, (type, codec) => {
      const files = goldenFiles(release, type);
      expect(files.length).toBeGreaterThan(0);
      for (const { name, bytes } of files) {
        const again = encodeWith(codec, decodeAll(type, codec, bytes));
        if (isWritten(release)) {
          expect(Buffer.from(again).toString('hex'), name).toBe(Buffer.from(bytes).toString('hex'));
        }
      }
    });
  }
});
