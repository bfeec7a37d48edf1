// Goal: no type of the golden corpus is forgotten. Each is in this table, with the test that runs over its files or the
// reason why the product has no codec for it; a folder that is in no row fails, and so does a row whose test is gone.

import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';
import { GOLDEN_RELEASES, goldenTypes } from '../support/golden.js';

/** Types whose files a test decodes and, for 16.2, encodes again. */
const TESTED: Readonly<Record<string, readonly string[]>> = {
  'test/auth/golden.test.ts': [
    'AuthCapsInfo',
    'AuthTicket',
    'CephXAuthenticate',
    'CephXAuthorize',
    'CephXAuthorizeChallenge',
    'CephXAuthorizeReply',
    'CephXChallengeBlob',
    'CephXRequestHeader',
    'CephXResponseHeader',
    'CephXServerChallenge',
    'CephXServiceTicket',
    'CephXServiceTicketInfo',
    'CephXServiceTicketRequest',
    'CephXTicketBlob',
  ],
  'test/encoding/golden.test.ts': [
    'EntityName',
    'MonMap',
    'SnapContext',
    'entity_addr_t',
    'entity_addrvec_t',
    'entity_inst_t',
    'entity_name_t',
    'eversion_t',
    'hobject_t',
    'object_locator_t',
    'object_t',
    'osd_reqid_t',
    'utime_t',
    'uuid_d',
  ],
  'test/kernels/bitmap-codec.test.ts': ['ceph::BitVector<2>'],
  'test/osdmap/golden.test.ts': [
    'CrushWrapper',
    'OSDMap',
    'OSDMap::Incremental',
    'osd_info_t',
    'osd_xinfo_t',
    'pg_pool_t',
    'pg_t',
    'pool_opts_t',
    'pool_snap_info_t',
    'spg_t',
  ],
  'test/rados/golden.test.ts': [
    'cls_lock_assert_op',
    'cls_lock_break_op',
    'cls_lock_get_info_op',
    'cls_lock_get_info_reply',
    'cls_lock_list_locks_reply',
    'cls_lock_lock_op',
    'cls_lock_set_cookie_op',
    'cls_lock_unlock_op',
    'clone_info',
    'obj_list_snap_response_t',
    'obj_list_watch_response_t',
    'pg_nls_response_t',
    'rados::cls::lock::locker_id_t',
    'rados::cls::lock::locker_info_t',
    'watch_item_t',
  ],
};

/** Types that the product has no codec of its own for, or none that is proven by the corpus yet. */
const UNTESTED: Readonly<Record<string, string>> = {
  SnapSet:
    'not implemented: the embedded store has its own records, the type never crosses the wire',
  cls_rbd_parent: 'an xattr of the embedded OSD: src/cluster/classes/rbd/values.ts, internal codec',
  cls_rbd_snap: 'an xattr of the embedded OSD: src/cluster/classes/rbd/values.ts, internal codec',
  ghobject_t: 'not implemented: names objects in a real OSD store, never crosses the wire',
  'librbd::watch_notify::NotifyMessage': 'not implemented: comes with watching image headers',
  'librbd::watch_notify::ResponseMessage': 'not implemented: comes with watching image headers',
  object_info_t: 'not implemented: the embedded store has its own records',
  pg_ls_response_t: 'not implemented: listings use PGNLS, whose answer is pg_nls_response_t',
  'rados::cls::lock::lock_info_t': 'not implemented: the stored form of cls_lock_get_info_reply',
  snaplink_t: 'not implemented: CephFS only',
  watch_info_t: 'not implemented: the embedded store has its own records',
};

const known = [...Object.values(TESTED).flat(), ...Object.keys(UNTESTED)].sort();

describe('the table of golden types', () => {
  it('names each type once', () => {
    expect(known).toEqual([...new Set(known)]);
  });

  it.each(Object.entries(TESTED))('%s runs over the files of its types', (path, types) => {
    expect(existsSync(packageFile(path))).toBe(true);
    const text = readFileSync(packageFile(path), 'utf8');
    for (const type of types) {
      expect(text, type).toMatch(new RegExp(`['"\`]?${type.replace(/[<>]/g, '.')}['"\`]?(?!\\w)`));
    }
  });
});

describe.skipIf(GOLDEN_RELEASES.length === 0)('the golden corpus', () => {
  it.each(GOLDEN_RELEASES)('%s has no type that the table forgets', (release) => {
    expect(goldenTypes(release).filter((type) => !known.includes(type))).toEqual([]);
  });

  it('has every type of the table', () => {
    const present = new Set(GOLDEN_RELEASES.flatMap(goldenTypes));
    expect(known.filter((type) => !present.has(type))).toEqual([]);
    expect(known).toHaveLength(65);
  });
});
