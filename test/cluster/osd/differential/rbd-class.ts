// Class rbd, method by method, with good, bad and truncated arguments.

import type { Encoder } from '../../../../src/encoding/encoder.js';
import { NOSNAP, SNAPDIR } from '../../../../src/encoding/types.js';
import {
  callOp,
  createOp,
  getXattrsOp,
  listSnapsOp,
  omapGetValsByKeysOp,
  omapGetValsOp,
  omapSetValsOp,
  readOp,
  statOp,
  truncateOp,
  writeFullOp,
  writeOp,
} from '../../../../src/messages/osd-op.js';
import { bytes, encoded, fill, type Step, step, zeroed } from './step.js';

const MIB = 1024 * 1024;
const W = { write: true };
type Body = (e: Encoder) => unknown;
const NOTHING: Body = () => {};
const call = (method: string, body: Body = NOTHING) => callOp('rbd', method, encoded(body));
const get = (
  oid: string,
  name: string,
  method: string,
  body: Body = NOTHING,
  more: Partial<Step> = {},
) => step(oid, name, call(method, body), more);
const set = (
  oid: string,
  name: string,
  method: string,
  body: Body = NOTHING,
  more: Partial<Step> = {},
) => step(oid, name, call(method, body), { ...W, ...more });
const u64 =
  (value: bigint | number): Body =>
  (e) =>
    e.u64(BigInt(value));
const u64s =
  (...values: (bigint | number)[]): Body =>
  (e) => {
    for (const value of values) e.u64(BigInt(value));
  };
const str =
  (...texts: string[]): Body =>
  (e) => {
    for (const text of texts) e.string(text);
  };
const NONE = (1n << 64n) - 1n;
/** The omap without what clocks wrote. */
const keys = (oid: string, name: string, prefixes: string[] = ['']) =>
  prefixes.map((prefix) =>
    step(oid, `${name}: ${prefix || 'all'}`, omapGetValsOp('', 100, prefix)),
  );

const create =
  (size: number, order: number, features: bigint, prefix: string, pool?: bigint): Body =>
  (e) => {
    e.u64n(size).u8(order).u64(features).string(prefix);
    if (pool !== undefined) e.s64(pool);
  };

const H = 'rbd_header.h1';
const HEADER_KEYS = [
  'size',
  'order',
  'features',
  'op_features',
  'object_prefix',
  'snap_seq',
  'flags',
  'data_pool_id',
  'stripe_unit',
  'stripe_count',
  'parent',
  'snap_limit',
  'group',
];
const header = (oid: string, name: string) =>
  step(oid, `${name}: the header's keys`, omapGetValsByKeysOp(HEADER_KEYS));

const READ_METHODS = [
  'get_size',
  'get_features',
  'get_flags',
  'op_features_get',
  'get_snapcontext',
  'get_object_prefix',
  'get_data_pool',
  'get_stripe_unit_count',
  'get_create_timestamp',
  'get_access_timestamp',
  'get_modify_timestamp',
  'get_snapshot_name',
  'get_snapshot_timestamp',
  'snapshot_get',
  'get_protection_status',
  'snapshot_get_limit',
  'parent_get',
  'parent_overlap_get',
  'get_parent',
  'children_list',
  'metadata_list',
  'metadata_get',
  'image_group_get',
  'get_all_features',
  'get_id',
  'dir_get_id',
  'dir_get_name',
  'dir_list',
  'dir_state_assert',
  'trash_get',
  'trash_list',
  'namespace_list',
  'get_children',
  'object_map_load',
  'mirror_image_get',
  'mirror_peer_list',
  'mirror_mode_get',
  'migration_get',
];
const WRITE_METHODS = [
  'create',
  'set_size',
  'set_features',
  'set_flags',
  'op_features_set',
  'set_stripe_unit_count',
  'snapshot_add',
  'snapshot_remove',
  'snapshot_rename',
  'snapshot_trash_add',
  'set_protection_status',
  'snapshot_set_limit',
  'parent_attach',
  'set_parent',
  'child_attach',
  'child_detach',
  'metadata_set',
  'metadata_remove',
  'set_id',
  'dir_add_image',
  'dir_remove_image',
  'dir_rename_image',
  'dir_state_set',
  'trash_add',
  'trash_remove',
  'trash_state_set',
  'namespace_add',
  'namespace_remove',
  'add_child',
  'remove_child',
  'object_map_save',
  'object_map_resize',
  'object_map_update',
  'object_map_snap_remove',
  'sparse_copyup',
  'assert_snapc_seq',
];
/** Those that need no argument and so succeed or fail on the object alone. */
const BARE_WRITE_METHODS = [
  'parent_detach',
  'remove_parent',
  'set_access_timestamp',
  'set_modify_timestamp',
  'object_map_snap_add',
  'mirror_image_remove',
];

export const rbdMissingSteps: Step[] = [
  ...READ_METHODS.map((method) => get('rm', `${method} on a missing object`, method)),
  ...[...WRITE_METHODS, ...BARE_WRITE_METHODS].map((method) =>
    set('rm', `${method} without arguments on a missing object`, method),
  ),
  step('rm', 'nothing was created', statOp()),
  step('re', 'an empty object', createOp(true)),
  ...READ_METHODS.map((method) => get('re', `${method} without arguments`, method)),
  ...READ_METHODS.map((method) => get('re', `${method} of the head`, method, u64s(NOSNAP, 10))),
  ...READ_METHODS.map((method) => get('re', `${method} of snapshot 3`, method, u64s(3, 10))),
  ...WRITE_METHODS.map((method) =>
    set('re', `${method} with a truncated argument`, method, (e) => e.u8(1)),
  ),
];

const snapshotAdd =
  (name: string, id: bigint | number, nspace?: Body): Body =>
  (e) => {
    e.string(name).u64(BigInt(id));
    if (nspace) e.struct(1, 1, (inner) => void nspace(inner));
  };
const userNs: Body = (e) => e.u32(0);
const groupNs: Body = (e) => e.u32(1).s64(2n).string('gid').string('gsnap');
const trashNs: Body = (e) => e.u32(2).string('old').u32(0);
const parentSpec =
  (pool: number, nspace: string, image: string, snap: bigint): Body =>
  (e) =>
    e.struct(1, 1, () => e.s64n(pool).string(nspace).string(image).u64(snap));
const both =
  (...bodies: Body[]): Body =>
  (e) => {
    for (const body of bodies) body(e);
  };
const childSpec =
  (pool: number, image: string, nspace = ''): Body =>
  (e) =>
    e.struct(2, 1, () => e.s64n(pool).string(image).string(nspace));
const childSpecV1 =
  (pool: number, image: string): Body =>
  (e) =>
    e.struct(1, 1, () => e.s64n(pool).string(image));

/** Where a record has its time: after id, name, size, status, flags and the namespace of a user's snapshot. */
const snapTime = (nameLength: number) => zeroed(6 + 8 + 4 + nameLength + 8 + 6 + 4, 8);
const recordTime = (record: Uint8Array, nameLength: number) =>
  zeroed(6 + 8 + 4 + nameLength + 8 + 1 + 8 + 10, 8)(record);
const snapKeys = (oid: string, name: string, id: string, nameLength: number) =>
  step(oid, `${name}: the record`, omapGetValsByKeysOp([`snapshot_${id.padStart(16, '0')}`]), {
    mask: (outdata) => {
      // One pair: count, key with length, value with length.
      const head = 4 + 4 + 25 + 4;
      return Buffer.concat([
        outdata.subarray(0, head),
        recordTime(outdata.subarray(head), nameLength),
      ]);
    },
  });

export const rbdHeaderSteps: Step[] = [
  set(H, 'create with unknown features', 'create', create(10 * MIB, 22, 0x1000n, 'rbd_data.h1')),
  set(H, 'create without a prefix', 'create', create(10 * MIB, 22, 1n, '')),
  set(H, 'create with OPERATIONS', 'create', create(10 * MIB, 22, 0x101n, 'p')),
  set(H, 'create with DATA_POOL and no pool', 'create', create(10 * MIB, 22, 0x81n, 'p')),
  set(H, 'create with DATA_POOL and pool -1', 'create', create(10 * MIB, 22, 0x81n, 'p', -1n)),
  set(H, 'create with a pool and no DATA_POOL', 'create', create(10 * MIB, 22, 1n, 'p', 3n)),
  set(H, 'create', 'create', create(10 * MIB, 22, 0x3dn, 'rbd_data.h1', -1n)),
  set(H, 'create again', 'create', create(10 * MIB, 22, 0x3dn, 'rbd_data.h1')),
  header(H, 'created'),
  step(
    'rbd_header.h2',
    'create exclusively and create',
    [createOp(true), call('create', create(64 * MIB, 20, 0x8fn, 'rbd_data.h2', 7n))],
    W,
  ),
  header('rbd_header.h2', 'with a data pool and striping'),
  get(H, 'get_size of the head', 'get_size', u64(NOSNAP)),
  get(H, 'get_size of an unknown snapshot', 'get_size', u64(3)),
  get(H, 'get_size truncated', 'get_size', (e) => e.u32(1)),
  get(H, 'get_features', 'get_features', u64(NOSNAP)),
  get(H, 'get_features read-only', 'get_features', (e) => e.u64(NOSNAP).u8(1)),
  get(H, 'get_features read-write', 'get_features', (e) => e.u64(NOSNAP).u8(0)),
  get(H, 'get_features of any snapshot', 'get_features', u64(77)),
  get('rbd_header.h2', 'get_features read-only, with striping', 'get_features', (e) =>
    e.u64(NOSNAP).u8(1),
  ),
  get(H, 'get_all_features', 'get_all_features'),
  get(H, 'get_flags', 'get_flags', u64(NOSNAP)),
  get(H, 'get_flags of an unknown snapshot', 'get_flags', u64(3)),
  set(H, 'set_flags', 'set_flags', u64s(1, 3)),
  get(H, 'get_flags', 'get_flags', u64(NOSNAP)),
  set(H, 'set_flags of an unknown snapshot', 'set_flags', u64s(1, 3, 9)),
  set(H, 'set_flags back', 'set_flags', u64s(0, 1)),
  get(H, 'op_features_get', 'op_features_get'),
  set(H, 'op_features_set', 'op_features_set', u64s(1, 1)),
  set(H, 'op_features_set of unknown ones', 'op_features_set', u64s(0x20, 0x20)),
  header(H, 'with op features'),
  set(H, 'op_features_set off', 'op_features_set', u64s(0, 0xf)),
  header(H, 'without op features'),
  set(H, 'set_features of an internal feature', 'set_features', u64s(0x100, 0x100)),
  set(H, 'set_features on an immutable feature', 'set_features', u64s(2, 2)),
  set(H, 'set_features off an immutable feature', 'set_features', u64s(0, 1)),
  set(H, 'set_features off deep-flatten', 'set_features', u64s(0, 0x20)),
  set(H, 'set_features on deep-flatten', 'set_features', u64s(0x20, 0x20)),
  set(H, 'set_features with unknown bits', 'set_features', u64s(0x1000, 0x1000)),
  set(H, 'set_features journaling', 'set_features', u64s(0x40, 0x40)),
  header(H, 'after set_features'),
  set('rbd_header.h3', 'set_features on nothing', 'set_features', u64s(4, 4)),
  header('rbd_header.h3', 'created by set_features'),
  get(H, 'get_object_prefix', 'get_object_prefix'),
  get(H, 'get_data_pool, none', 'get_data_pool'),
  get('rbd_header.h2', 'get_data_pool', 'get_data_pool'),
  get(H, 'get_stripe_unit_count without the feature', 'get_stripe_unit_count'),
  set(H, 'set_stripe_unit_count without the feature', 'set_stripe_unit_count', u64s(65536, 4)),
  get('rbd_header.h2', 'get_stripe_unit_count, defaults', 'get_stripe_unit_count'),
  set('rbd_header.h2', 'set_stripe_unit_count of 0', 'set_stripe_unit_count', u64s(0, 4)),
  set(
    'rbd_header.h2',
    'set_stripe_unit_count that does not divide',
    'set_stripe_unit_count',
    u64s(3000, 4),
  ),
  set(
    'rbd_header.h2',
    'set_stripe_unit_count that is too large',
    'set_stripe_unit_count',
    u64s(4 * MIB, 4),
  ),
  set('rbd_header.h2', 'set_stripe_unit_count', 'set_stripe_unit_count', u64s(65536, 4)),
  get('rbd_header.h2', 'get_stripe_unit_count', 'get_stripe_unit_count'),
  get(H, 'get_create_timestamp', 'get_create_timestamp', NOTHING, { mask: zeroed(0, 8) }),
  get('rbd_header.h3', 'get_create_timestamp, none', 'get_create_timestamp'),
  set('rbd_header.h3', 'set_access_timestamp', 'set_access_timestamp'),
  get('rbd_header.h3', 'get_access_timestamp', 'get_access_timestamp', NOTHING, {
    mask: zeroed(0, 8),
  }),
  get(H, 'get_snapcontext, none', 'get_snapcontext'),
  get('rbd_header.h3', 'get_snapcontext without a sequence', 'get_snapcontext'),
  set(H, 'set_size', 'set_size', u64(20 * MIB)),
  set('rbd_header.h3', 'set_size without a size', 'set_size', u64(20 * MIB)),
  get(H, 'get_size', 'get_size', u64(NOSNAP)),
  get(H, 'image_group_get, none', 'image_group_get'),
  get(H, 'migration_get, none', 'migration_get'),
  step(H, 'the reads of an open', [
    call('get_size', u64(NOSNAP)),
    call('get_features', (e) => e.u64(NOSNAP).u8(0)),
    call('get_flags', u64(NOSNAP)),
    call('get_snapcontext'),
    callOp(
      'lock',
      'get_info',
      encoded((e) => e.struct(1, 1, () => e.string('rbd_lock'))),
    ),
  ]),

  // metadata
  set(H, 'metadata_set', 'metadata_set', (e) =>
    e
      .u32(3)
      .string('a')
      .string('1')
      .string('b')
      .string('')
      .string('conf_rbd_cache')
      .string('false'),
  ),
  set(H, 'metadata_set of an empty key', 'metadata_set', (e) => e.u32(1).string('').string('x')),
  get(H, 'metadata_get', 'metadata_get', str('a')),
  get(H, 'metadata_get of a missing key', 'metadata_get', str('zz')),
  get(H, 'metadata_list', 'metadata_list', (e) => e.string('').u64(0n)),
  get(H, 'metadata_list, two', 'metadata_list', (e) => e.string('').u64(2n)),
  get(H, 'metadata_list after a', 'metadata_list', (e) => e.string('a').u64(10n)),
  set(H, 'metadata_remove', 'metadata_remove', str('a')),
  set(H, 'metadata_remove of a missing key', 'metadata_remove', str('a')),
  get(H, 'metadata_list', 'metadata_list', (e) => e.string('').u64(10n)),
  set('rbd_header.h4', 'metadata_set on nothing creates the object', 'metadata_set', (e) =>
    e.u32(1).string('k').string('v'),
  ),
  step('rbd_header.h4', 'stat', statOp()),
];

export const rbdSnapshotSteps: Step[] = [
  set('rbd_header.s', 'create', 'create', create(10 * MIB, 22, 0x3dn, 'rbd_data.s')),
  set('rbd_header.s', 'snapshot_add', 'snapshot_add', snapshotAdd('s1', 4, userNs)),
  snapKeys('rbd_header.s', 'snapshot_add', '4', 2),
  set('rbd_header.s', 'snapshot_add of an older id', 'snapshot_add', snapshotAdd('s2', 3, userNs)),
  set('rbd_header.s', 'snapshot_add of the same id', 'snapshot_add', snapshotAdd('s2', 4, userNs)),
  set(
    'rbd_header.s',
    'snapshot_add of the same name',
    'snapshot_add',
    snapshotAdd('s1', 5, userNs),
  ),
  set('rbd_header.s', 'snapshot_add without a namespace', 'snapshot_add', snapshotAdd('s2', 5)),
  set(
    'rbd_header.s',
    'snapshot_add of the same name in another namespace',
    'snapshot_add',
    snapshotAdd('s1', 6, groupNs),
  ),
  set(
    'rbd_header.s',
    'snapshot_add of an unknown namespace',
    'snapshot_add',
    snapshotAdd('s7', 7, (e) => e.u32(9)),
  ),
  set(
    'rbd_header.s',
    'snapshot_add with a truncated namespace',
    'snapshot_add',
    snapshotAdd('s7', 7, (e) => e.u32(1).u32(1)),
  ),
  set('rbd_header.s', 'snapshot_add of NOSNAP', 'snapshot_add', snapshotAdd('s7', NOSNAP, userNs)),
  get('rbd_header.s', 'get_snapcontext', 'get_snapcontext'),
  get('rbd_header.s', 'snapshot_get', 'snapshot_get', u64(4), { mask: snapTime(2) }),
  get('rbd_header.s', 'snapshot_get of a group snapshot', 'snapshot_get', u64(6), {
    mask: zeroed(6 + 8 + 6 + 4 + 8 + 4 + 3 + 4 + 5 + 4 + 2 + 8, 8),
  }),
  get('rbd_header.s', 'snapshot_get of the head', 'snapshot_get', u64(NOSNAP)),
  get('rbd_header.s', 'snapshot_get of a missing one', 'snapshot_get', u64(99)),
  get('rbd_header.s', 'get_snapshot_name', 'get_snapshot_name', u64(5)),
  get('rbd_header.s', 'get_snapshot_name of the head', 'get_snapshot_name', u64(NOSNAP)),
  get('rbd_header.s', 'get_snapshot_name of a missing one', 'get_snapshot_name', u64(99)),
  get('rbd_header.s', 'get_snapshot_timestamp', 'get_snapshot_timestamp', u64(5), {
    mask: zeroed(0, 8),
  }),
  get('rbd_header.s', 'get_size of a snapshot', 'get_size', u64(4)),
  get('rbd_header.s', 'get_flags of a snapshot', 'get_flags', u64(4)),
  set('rbd_header.s', 'set_flags of a snapshot', 'set_flags', u64s(2, 2, 4)),
  get('rbd_header.s', 'get_flags of a snapshot', 'get_flags', u64(4)),
  snapKeys('rbd_header.s', 'set_flags', '4', 2),
  get('rbd_header.s', 'get_protection_status', 'get_protection_status', u64(4)),
  get('rbd_header.s', 'get_protection_status of the head', 'get_protection_status', u64(NOSNAP)),
  set('rbd_header.s', 'set_protection_status', 'set_protection_status', (e) => e.u64(4n).u8(2)),
  get('rbd_header.s', 'get_protection_status', 'get_protection_status', u64(4)),
  set('rbd_header.s', 'set_protection_status of the head', 'set_protection_status', (e) =>
    e.u64(NOSNAP).u8(2),
  ),
  set('rbd_header.s', 'set_protection_status 3', 'set_protection_status', (e) => e.u64(4n).u8(3)),
  set('rbd_header.s', 'set_protection_status of a missing one', 'set_protection_status', (e) =>
    e.u64(99n).u8(1),
  ),
  set('rbd_header.s', 'snapshot_remove of a protected one', 'snapshot_remove', u64(4)),
  set('rbd_header.s', 'snapshot_trash_add of a protected one', 'snapshot_trash_add', u64(4)),
  set('rbd_header.s', 'unprotect', 'set_protection_status', (e) => e.u64(4n).u8(0)),
  set('rbd_header.s', 'snapshot_rename', 'snapshot_rename', (e) => e.u64(4n).string('renamed')),
  set('rbd_header.s', 'snapshot_rename to a taken name', 'snapshot_rename', (e) =>
    e.u64(4n).string('s2'),
  ),
  set('rbd_header.s', 'snapshot_rename of a group snapshot', 'snapshot_rename', (e) =>
    e.u64(6n).string('x'),
  ),
  set('rbd_header.s', 'snapshot_rename of a missing one', 'snapshot_rename', (e) =>
    e.u64(99n).string('x'),
  ),
  get('rbd_header.s', 'get_snapshot_name', 'get_snapshot_name', u64(4)),
  get('rbd_header.s', 'snapshot_get_limit, none', 'snapshot_get_limit'),
  set('rbd_header.s', 'snapshot_set_limit too low', 'snapshot_set_limit', u64(2)),
  set('rbd_header.s', 'snapshot_set_limit', 'snapshot_set_limit', u64(3)),
  get('rbd_header.s', 'snapshot_get_limit', 'snapshot_get_limit'),
  set('rbd_header.s', 'snapshot_add over the limit', 'snapshot_add', snapshotAdd('s9', 9, userNs)),
  set(
    'rbd_header.s',
    'snapshot_add over the limit with a taken name',
    'snapshot_add',
    snapshotAdd('renamed', 9, userNs),
  ),
  set('rbd_header.s', 'snapshot_set_limit off', 'snapshot_set_limit', u64(NONE)),
  header('rbd_header.s', 'without a limit'),
  set('rbd_header.nolimit', 'snapshot_set_limit on nothing', 'snapshot_set_limit', u64(3)),
  set('rbd_header.nolimit2', 'snapshot_set_limit off on nothing', 'snapshot_set_limit', u64(NONE)),
  set('rbd_header.s', 'snapshot_trash_add', 'snapshot_trash_add', u64(5)),
  header('rbd_header.s', 'a snapshot in the trash'),
  set('rbd_header.s', 'snapshot_trash_add again', 'snapshot_trash_add', u64(5)),
  set('rbd_header.s', 'snapshot_trash_add of a missing one', 'snapshot_trash_add', u64(99)),
  set(
    'rbd_header.s',
    'snapshot_add into the trash namespace',
    'snapshot_add',
    snapshotAdd('t', 10, trashNs),
  ),
  set('rbd_header.s', 'snapshot_remove of a missing one', 'snapshot_remove', u64(99)),
  set('rbd_header.s', 'snapshot_remove', 'snapshot_remove', u64(4)),
  set('rbd_header.s', 'snapshot_remove from the trash', 'snapshot_remove', u64(5)),
  header('rbd_header.s', 'one is left in the trash'),
  set('rbd_header.s', 'snapshot_remove of the last in the trash', 'snapshot_remove', u64(10)),
  header('rbd_header.s', 'none in the trash'),
  get('rbd_header.s', 'get_snapcontext', 'get_snapcontext'),

  // children, clone v2
  set(
    'rbd_header.s',
    'child_attach to a missing snapshot',
    'child_attach',
    both(u64(99), childSpec(1, 'c1')),
  ),
  set('rbd_header.s', 'snapshot_add', 'snapshot_add', snapshotAdd('p', 20, userNs)),
  get('rbd_header.s', 'children_list, none', 'children_list', u64(20)),
  set('rbd_header.s', 'child_attach', 'child_attach', both(u64(20), childSpec(1, 'c1'))),
  set('rbd_header.s', 'child_attach again', 'child_attach', both(u64(20), childSpec(1, 'c1'))),
  set(
    'rbd_header.s',
    'child_attach of an old spec',
    'child_attach',
    both(u64(20), childSpecV1(1, 'b1')),
  ),
  set(
    'rbd_header.s',
    'child_attach in a namespace',
    'child_attach',
    both(u64(20), childSpec(1, 'c1', 'ns')),
  ),
  set(
    'rbd_header.s',
    'child_attach in another pool',
    'child_attach',
    both(u64(20), childSpec(0, 'z')),
  ),
  get('rbd_header.s', 'children_list', 'children_list', u64(20)),
  get('rbd_header.s', 'children_list of a missing snapshot', 'children_list', u64(99)),
  header('rbd_header.s', 'a clone parent'),
  snapKeys('rbd_header.s', 'child_attach', '14', 1),
  set('rbd_header.s', 'snapshot_remove with children', 'snapshot_remove', u64(20)),
  set(
    'rbd_header.s',
    'child_detach of a stranger',
    'child_detach',
    both(u64(20), childSpec(5, 'q')),
  ),
  set('rbd_header.s', 'child_detach', 'child_detach', both(u64(20), childSpec(1, 'c1'))),
  set('rbd_header.s', 'child_detach again', 'child_detach', both(u64(20), childSpec(1, 'c1'))),
  set('rbd_header.s', 'child_detach', 'child_detach', both(u64(20), childSpec(1, 'b1'))),
  set('rbd_header.s', 'child_detach', 'child_detach', both(u64(20), childSpec(1, 'c1', 'ns'))),
  set('rbd_header.s', 'child_detach of the last', 'child_detach', both(u64(20), childSpec(0, 'z'))),
  header('rbd_header.s', 'no clone parent any more'),
  get('rbd_header.s', 'children_list, none', 'children_list', u64(20)),
  set('rbd_header.s', 'to the trash', 'snapshot_trash_add', u64(20)),
  set(
    'rbd_header.s',
    'child_attach to a trashed snapshot',
    'child_attach',
    both(u64(20), childSpec(1, 'c1')),
  ),
];

export const rbdParentSteps: Step[] = [
  get('rbd_header.p', 'parent_get on nothing', 'parent_get'),
  set(
    'rbd_header.p',
    'parent_attach on nothing',
    'parent_attach',
    both(parentSpec(1, '', 'par', 4n), u64(MIB)),
  ),
  set('rbd_header.p', 'parent_detach on nothing', 'parent_detach'),
  set('rbd_header.p', 'create', 'create', create(10 * MIB, 22, 0x3dn, 'rbd_data.p')),
  get('rbd_header.p', 'parent_get, none', 'parent_get'),
  get('rbd_header.p', 'parent_overlap_get, none', 'parent_overlap_get', u64(NOSNAP)),
  get('rbd_header.p', 'parent_overlap_get of an unknown snapshot', 'parent_overlap_get', u64(9)),
  get('rbd_header.p', 'get_parent, none', 'get_parent', u64(NOSNAP)),
  set('rbd_header.p', 'parent_detach, none', 'parent_detach'),
  set(
    'rbd_header.p',
    'parent_attach of no pool',
    'parent_attach',
    both(parentSpec(-1, '', 'par', 4n), u64(MIB)),
  ),
  set(
    'rbd_header.p',
    'parent_attach of no image',
    'parent_attach',
    both(parentSpec(1, '', '', 4n), u64(MIB)),
  ),
  set(
    'rbd_header.p',
    'parent_attach of the head',
    'parent_attach',
    both(parentSpec(1, '', 'par', NOSNAP), u64(MIB)),
  ),
  set(
    'rbd_header.p',
    'parent_attach without overlap',
    'parent_attach',
    both(parentSpec(1, '', 'par', 4n), u64(0)),
  ),
  set(
    'rbd_header.p',
    'parent_attach',
    'parent_attach',
    both(parentSpec(1, '', 'par', 4n), u64(50 * MIB)),
  ),
  header('rbd_header.p', 'attached'),
  set(
    'rbd_header.p',
    'parent_attach again',
    'parent_attach',
    both(parentSpec(1, '', 'par', 4n), u64(50 * MIB)),
  ),
  set(
    'rbd_header.p',
    'parent_attach of another',
    'parent_attach',
    both(parentSpec(2, '', 'par', 4n), u64(MIB)),
  ),
  set(
    'rbd_header.p',
    'reattach',
    'parent_attach',
    both(parentSpec(2, 'ns', 'par', 4n), u64(8 * MIB), (e) => e.u8(1)),
  ),
  get('rbd_header.p', 'parent_get', 'parent_get'),
  get('rbd_header.p', 'parent_get with an argument', 'parent_get', u64(NOSNAP)),
  get('rbd_header.p', 'parent_overlap_get', 'parent_overlap_get', u64(NOSNAP)),
  get('rbd_header.p', 'get_parent of one in a namespace', 'get_parent', u64(NOSNAP)),
  set('rbd_header.p', 'remove_parent of one in a namespace', 'remove_parent'),
  set(
    'rbd_header.p',
    'snapshot_add copies the overlap',
    'snapshot_add',
    snapshotAdd('s', 5, userNs),
  ),
  snapKeys('rbd_header.p', 'with an overlap', '5', 1),
  set('rbd_header.p', 'shrink below the overlap', 'set_size', u64(4 * MIB)),
  set('rbd_header.p', 'grow again', 'set_size', u64(10 * MIB)),
  header('rbd_header.p', 'the overlap stays small'),
  get('rbd_header.p', 'parent_overlap_get of the snapshot', 'parent_overlap_get', u64(5)),
  set('rbd_header.p', 'clone child', 'op_features_set', u64s(2, 2)),
  set('rbd_header.p', 'parent_detach flattens the snapshot too', 'parent_detach'),
  header('rbd_header.p', 'detached'),
  snapKeys('rbd_header.p', 'without an overlap', '5', 1),

  set(
    'rbd_header.q',
    'create without deep-flatten',
    'create',
    create(10 * MIB, 22, 0x1dn, 'rbd_data.q'),
  ),
  set('rbd_header.q', 'set_parent', 'set_parent', (e) =>
    e
      .s64n(1)
      .string('par')
      .u64(4n)
      .u64n(6 * MIB),
  ),
  set('rbd_header.q', 'set_parent again', 'set_parent', (e) =>
    e
      .s64n(1)
      .string('par')
      .u64(4n)
      .u64n(6 * MIB),
  ),
  get('rbd_header.q', 'get_parent', 'get_parent', u64(NOSNAP)),
  set('rbd_header.q', 'snapshot_add', 'snapshot_add', snapshotAdd('s', 5, userNs)),
  get('rbd_header.q', 'get_parent of the snapshot', 'get_parent', u64(5)),
  get('rbd_header.q', 'get_parent of a missing snapshot', 'get_parent', u64(6)),
  set('rbd_header.q', 'clone child', 'op_features_set', u64s(2, 2)),
  set('rbd_header.q', 'parent_detach keeps the spec', 'parent_detach'),
  header('rbd_header.q', 'spec without overlap'),
  get('rbd_header.q', 'get_parent of the head', 'get_parent', u64(NOSNAP)),
  get('rbd_header.q', 'parent_get', 'parent_get'),
  set('rbd_header.q', 'parent_detach again', 'parent_detach'),
  set(
    'rbd_header.q',
    'parent_attach over the spec',
    'parent_attach',
    both(parentSpec(1, '', 'par', 4n), u64(6 * MIB)),
  ),
  set(
    'rbd_header.q',
    'snapshot_add without an overlap',
    'snapshot_add',
    snapshotAdd('s2', 6, userNs),
  ),
  snapKeys('rbd_header.q', 'without an overlap', '6', 2),
  set('rbd_header.q', 'snapshot_remove of the last that needs it', 'snapshot_remove', u64(5)),
  header('rbd_header.q', 'the spec is gone'),
  set('rbd_header.r', 'create without layering', 'create', create(10 * MIB, 22, 0n, 'rbd_data.r')),
  set(
    'rbd_header.r',
    'parent_attach',
    'parent_attach',
    both(parentSpec(1, '', 'par', 4n), u64(MIB)),
  ),
  set('rbd_header.r', 'parent_detach', 'parent_detach'),
  get('rbd_header.r', 'parent_get', 'parent_get'),
  get('rbd_header.r', 'parent_overlap_get', 'parent_overlap_get', u64(NOSNAP)),
  set('rbd_header.r', 'snapshot_add', 'snapshot_add', snapshotAdd('s', 5, userNs)),
  set('rbd_header.r', 'set_protection_status', 'set_protection_status', (e) => e.u64(5n).u8(2)),

  // children, clone v1
  get('rbd_children', 'get_children on nothing', 'get_children', (e) =>
    e.u64(1n).string('par').u64(4n),
  ),
  set('rbd_children', 'add_child', 'add_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('c2'),
  ),
  set('rbd_children', 'add_child again', 'add_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('c2'),
  ),
  set('rbd_children', 'add_child, another', 'add_child', (e) =>
    e.u64(200n).string('par').u64(4n).string('c1'),
  ),
  set('rbd_children', 'add_child, a second', 'add_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('c1'),
  ),
  get('rbd_children', 'get_children', 'get_children', (e) => e.u64(1n).string('par').u64(4n)),
  get('rbd_children', 'get_children of another snapshot', 'get_children', (e) =>
    e.u64(1n).string('par').u64(5n),
  ),
  ...keys('rbd_children', 'binary keys'),
  set('rbd_children', 'remove_child of a stranger', 'remove_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('q'),
  ),
  set('rbd_children', 'remove_child', 'remove_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('c1'),
  ),
  set('rbd_children', 'remove_child of the last', 'remove_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('c2'),
  ),
  ...keys('rbd_children', 'after removal'),
  set('rbd_children', 'remove_child of none', 'remove_child', (e) =>
    e.u64(1n).string('par').u64(4n).string('c2'),
  ),
];

const trashSpec =
  (name: string, state = 0): Body =>
  (e) =>
    e.struct(2, 1, () => e.u8(0).string(name).u32(100).u32(1).u32(200).u32(2).u8(state));

export const rbdDirectorySteps: Step[] = [
  step(
    'rbd_id.a',
    'create exclusively and set_id',
    [createOp(true), call('set_id', str('abc123'))],
    W,
  ),
  get('rbd_id.a', 'get_id', 'get_id'),
  step('rbd_id.a', 'the bytes', readOp(0, 0)),
  set('rbd_id.a', 'set_id again', 'set_id', str('other')),
  set('rbd_id.a', 'set_id of a bad id', 'set_id', str('not-good')),
  set('rbd_id.none', 'set_id on a missing object', 'set_id', str('abc')),
  step(
    'rbd_id.bad',
    'create exclusively and set a bad id',
    [createOp(true), call('set_id', str('no/no'))],
    W,
  ),
  step('rbd_id.bad', 'nothing was created', statOp()),
  step('rbd_id.junk', 'junk', writeFullOp(bytes('ab'))),
  get('rbd_id.junk', 'get_id of junk', 'get_id'),
  set('rbd_directory', 'dir_add_image', 'dir_add_image', str('img', 'id1')),
  set('rbd_directory', 'dir_add_image of the same name', 'dir_add_image', str('img', 'id2')),
  set('rbd_directory', 'dir_add_image of the same id', 'dir_add_image', str('img2', 'id1')),
  set('rbd_directory', 'dir_add_image of a bad id', 'dir_add_image', str('img2', 'id-1')),
  set('rbd_directory', 'dir_add_image of no name', 'dir_add_image', str('', 'id9')),
  set('rbd_directory', 'dir_add_image', 'dir_add_image', str('b', 'id3')),
  set('rbd_directory', 'dir_add_image', 'dir_add_image', str('a image é', 'id4')),
  get('rbd_directory', 'dir_get_id', 'dir_get_id', str('img')),
  get('rbd_directory', 'dir_get_id of a missing name', 'dir_get_id', str('nope')),
  get('rbd_directory', 'dir_get_name', 'dir_get_name', str('id3')),
  get('rbd_directory', 'dir_get_name of a missing id', 'dir_get_name', str('nope')),
  get('rbd_directory', 'dir_list', 'dir_list', (e) => e.string('').u64(1024n)),
  get('rbd_directory', 'dir_list, two', 'dir_list', (e) => e.string('').u64(2n)),
  get('rbd_directory', 'dir_list after b', 'dir_list', (e) => e.string('b').u64(1024n)),
  get('rbd_directory', 'dir_list, none', 'dir_list', (e) => e.string('').u64(0n)),
  set('rbd_directory', 'dir_rename_image', 'dir_rename_image', str('img', 'image', 'id1')),
  set(
    'rbd_directory',
    'dir_rename_image to a taken name',
    'dir_rename_image',
    str('image', 'b', 'id1'),
  ),
  set(
    'rbd_directory',
    'dir_rename_image of a wrong id',
    'dir_rename_image',
    str('image', 'c', 'id3'),
  ),
  set(
    'rbd_directory',
    'dir_rename_image of a missing name',
    'dir_rename_image',
    str('nope', 'c', 'id3'),
  ),
  set('rbd_directory', 'dir_rename_image to nothing', 'dir_rename_image', str('image', '', 'id1')),
  set('rbd_directory', 'dir_remove_image of a wrong id', 'dir_remove_image', str('image', 'id3')),
  set(
    'rbd_directory',
    'dir_remove_image of a missing name',
    'dir_remove_image',
    str('nope', 'id3'),
  ),
  set('rbd_directory', 'dir_remove_image', 'dir_remove_image', str('image', 'id1')),
  ...keys('rbd_directory', 'the directory'),
  get('rbd_directory', 'dir_state_assert without a state', 'dir_state_assert', (e) => e.u8(0)),
  set('rbd_directory', 'dir_state_set add-disabled, not empty', 'dir_state_set', (e) => e.u8(1)),
  set('rbd_directory', 'dir_state_set 2', 'dir_state_set', (e) => e.u8(2)),
  set('rbd_directory', 'dir_state_set ready', 'dir_state_set', (e) => e.u8(0)),
  get('rbd_directory', 'dir_state_assert', 'dir_state_assert', (e) => e.u8(0)),
  get('rbd_directory', 'dir_state_assert of another', 'dir_state_assert', (e) => e.u8(1)),
  set('rbd_directory', 'dir_state_set ready creates', 'dir_state_set', (e) => e.u8(0), {
    nspace: 'n',
  }),
  set('rbd_directory', 'dir_state_set add-disabled, empty', 'dir_state_set', (e) => e.u8(1), {
    nspace: 'n',
  }),
  get('rbd_directory', 'dir_state_assert add-disabled', 'dir_state_assert', (e) => e.u8(1), {
    nspace: 'n',
  }),
  set('rbd_directory', 'dir_add_image does not care', 'dir_add_image', str('x', 'id5'), {
    nspace: 'n',
  }),
  set('rbd_directory', 'dir_state_set add-disabled, missing', 'dir_state_set', (e) => e.u8(1), {
    nspace: 'n2',
  }),

  set('rbd_trash', 'trash_add', 'trash_add', both(str('id1'), trashSpec('img'))),
  set('rbd_trash', 'trash_add again', 'trash_add', both(str('id1'), trashSpec('img'))),
  set('rbd_trash', 'trash_add of a bad id', 'trash_add', both(str('id-1'), trashSpec('img'))),
  set(
    'rbd_trash',
    'trash_add with a bad spec',
    'trash_add',
    both(str('id2'), (e) => e.u8(2).u8(1).u32(3).u8(1)),
  ),
  set(
    'rbd_trash',
    'trash_add with an old spec',
    'trash_add',
    both(str('id2'), (e) =>
      e.struct(1, 1, () => e.u8(1).string('old').u32(1).u32(2).u32(3).u32(4)),
    ),
  ),
  set(
    'rbd_trash',
    'trash_add with a spec and junk',
    'trash_add',
    both(str('id3'), (e) =>
      e.struct(2, 1, () => e.u8(1).string('junk').u32(1).u32(2).u32(3).u32(4).u8(1).u32(7)),
    ),
  ),
  get('rbd_trash', 'trash_get', 'trash_get', str('id1')),
  get('rbd_trash', 'trash_get of an old one', 'trash_get', str('id2')),
  get('rbd_trash', 'trash_get of one with junk', 'trash_get', str('id3')),
  get('rbd_trash', 'trash_get of a missing one', 'trash_get', str('id9')),
  get('rbd_trash', 'trash_list', 'trash_list', (e) => e.string('').u64(1024n)),
  get('rbd_trash', 'trash_list, one', 'trash_list', (e) => e.string('').u64(1n)),
  get('rbd_trash', 'trash_list after id1', 'trash_list', (e) => e.string('id1').u64(10n)),
  set('rbd_trash', 'trash_state_set', 'trash_state_set', (e) => e.string('id1').u8(2).u8(0)),
  set('rbd_trash', 'trash_state_set that is set already', 'trash_state_set', (e) =>
    e.string('id1').u8(2).u8(0),
  ),
  set('rbd_trash', 'trash_state_set from another', 'trash_state_set', (e) =>
    e.string('id1').u8(3).u8(1),
  ),
  set('rbd_trash', 'trash_state_set of a missing one', 'trash_state_set', (e) =>
    e.string('id9').u8(3).u8(1),
  ),
  get('rbd_trash', 'trash_get', 'trash_get', str('id1')),
  set('rbd_trash', 'trash_remove', 'trash_remove', str('id1')),
  set('rbd_trash', 'trash_remove again', 'trash_remove', str('id1')),
  ...keys('rbd_trash', 'the trash'),

  set('rbd_namespace', 'namespace_add', 'namespace_add', str('ns1')),
  set('rbd_namespace', 'namespace_add again', 'namespace_add', str('ns1')),
  set('rbd_namespace', 'namespace_add', 'namespace_add', str('a')),
  get('rbd_namespace', 'namespace_list', 'namespace_list', (e) => e.string('').u64(100n)),
  get('rbd_namespace', 'namespace_list, one', 'namespace_list', (e) => e.string('').u64(1n)),
  get('rbd_namespace', 'namespace_list after a', 'namespace_list', (e) => e.string('a').u64(100n)),
  set('rbd_namespace', 'namespace_remove', 'namespace_remove', str('a')),
  set('rbd_namespace', 'namespace_remove again', 'namespace_remove', str('a')),
  ...keys('rbd_namespace', 'the namespaces'),
  set('rbd_namespace2', 'namespace_remove from nothing', 'namespace_remove', str('a')),
];

const M = 'rbd_object_map.m';
const map = (name: string) => step(M, `${name}: the bytes`, readOp(0, 0));
const update =
  (start: number, end: number, state: number, current?: number): Body =>
  (e) => {
    e.u64n(start)
      .u64n(end)
      .u8(state)
      .bool(current !== undefined);
    if (current !== undefined) e.u8(current);
  };
const bitVector =
  (size: number, data: Uint8Array, footer: Uint8Array = new Uint8Array(0)): Body =>
  (e) =>
    e
      .u32(14)
      .struct(1, 1, () => e.u64n(size))
      .raw(data)
      .blob(footer);

export const rbdObjectMapSteps: Step[] = [
  set(M, 'object_map_resize too large', 'object_map_resize', (e) => e.u64n(256_000_001).u8(0)),
  set(M, 'object_map_update on nothing', 'object_map_update', update(0, 1, 1)),
  set(M, 'object_map_snap_add on nothing', 'object_map_snap_add'),
  set(M, 'object_map_resize creates', 'object_map_resize', (e) => e.u64n(10).u8(0)),
  map('ten objects'),
  get(M, 'object_map_load', 'object_map_load'),
  set(M, 'object_map_update of one', 'object_map_update', update(0, 1, 1)),
  set(M, 'object_map_update of three', 'object_map_update', update(3, 6, 1, 0)),
  set(M, 'object_map_update of nothing that matches', 'object_map_update', update(0, 10, 2, 3)),
  set(M, 'object_map_update of an empty range', 'object_map_update', update(3, 3, 1)),
  set(M, 'object_map_update of a backward range', 'object_map_update', update(4, 3, 1)),
  set(M, 'object_map_update over the end', 'object_map_update', update(9, 11, 1)),
  set(M, 'object_map_update of the last', 'object_map_update', update(9, 10, 2)),
  set(M, 'object_map_update truncated', 'object_map_update', (e) => e.u64n(0).u64n(1).u8(1)),
  map('after updates'),
  set(M, 'object_map_snap_add', 'object_map_snap_add'),
  map('clean'),
  set(M, 'object_map_update of clean ones', 'object_map_update', update(0, 2, 2, 1)),
  set(M, 'object_map_update to what it is', 'object_map_update', update(0, 1, 2)),
  set(M, 'object_map_resize up', 'object_map_resize', (e) => e.u64n(30).u8(1)),
  map('thirty'),
  set(M, 'object_map_resize down over existing objects', 'object_map_resize', (e) =>
    e.u64n(8).u8(0),
  ),
  set(M, 'object_map_resize down', 'object_map_resize', (e) => e.u64n(17).u8(1)),
  map('seventeen'),
  set(M, 'object_map_resize up again', 'object_map_resize', (e) => e.u64n(19).u8(0)),
  map('nineteen'),
  set(
    M,
    'object_map_snap_remove with a shorter map',
    'object_map_snap_remove',
    bitVector(4, Uint8Array.of(0b01_11_00_01)),
  ),
  map('after snap_remove'),
  set(
    M,
    'object_map_snap_remove that changes nothing',
    'object_map_snap_remove',
    bitVector(64, fill(16, 0)),
  ),
  set(M, 'object_map_snap_remove with junk', 'object_map_snap_remove', (e) => e.raw(bytes('junk'))),
  set(
    M,
    'object_map_save without a footer',
    'object_map_save',
    bitVector(6, Uint8Array.of(0x55, 0x50)),
  ),
  map('saved'),
  set(
    M,
    'object_map_save with a bad footer',
    'object_map_save',
    bitVector(6, Uint8Array.of(0x55, 0x50), fill(12, 1)),
  ),
  set(
    M,
    'object_map_save with too few data',
    'object_map_save',
    bitVector(60, Uint8Array.of(0x55, 0x50)),
  ),
  set(M, 'object_map_resize to the same', 'object_map_resize', (e) => e.u64n(6).u8(0)),
  set(M, 'object_map_resize to 0', 'object_map_resize', (e) => e.u64n(0).u8(1)),
  map('none'),
  get(M, 'object_map_load of none', 'object_map_load'),
  set(M, 'object_map_update of none', 'object_map_update', update(0, 1, 1)),
  set(M, 'two blocks', 'object_map_resize', (e) => e.u64n(20_000).u8(0)),
  set(M, 'object_map_update in the second block', 'object_map_update', update(16_384, 16_400, 1)),
  set(M, 'object_map_update across blocks', 'object_map_update', update(16_380, 16_390, 3)),
  step(M, 'the end of the map', readOp(4090, 2000)),
  step(
    M,
    'truncate and resize in one vector',
    [truncateOp(0), call('object_map_resize', (e) => e.u64n(5).u8(0))],
    W,
  ),
  map('after truncate and resize'),
  step(M, 'damage', writeOp(18, bytes('x'))),
  get(M, 'object_map_load of a damaged map', 'object_map_load'),
  set(M, 'object_map_update of a damaged map', 'object_map_update', update(0, 1, 1)),
  set(M, 'object_map_resize of a damaged map', 'object_map_resize', (e) => e.u64n(50).u8(0)),
  step(M, 'an empty map', truncateOp(0)),
  get(M, 'object_map_load of an empty object', 'object_map_load'),
  set(M, 'object_map_resize of an empty object', 'object_map_resize', (e) => e.u64n(5).u8(2)),
  map('five pending'),
  set(M, 'object_map_update with a checked lock', 'object_map_update', update(0, 5, 0, 2)),
];

const copyup = (data: Uint8Array) => callOp('rbd', 'copyup', data);
const sparse = (extents: [number, number][], data: Uint8Array) =>
  call('sparse_copyup', (e) => {
    e.u32(extents.length);
    for (const [offset, length] of extents) e.u64n(offset).u64n(length);
    e.blob(data);
  });

export const rbdDataSteps: Step[] = [
  step('rbd_data.c1', 'copyup', copyup(bytes('from the parent')), W),
  step('rbd_data.c1', 'copyup again', copyup(bytes('too late')), W),
  step('rbd_data.c1', 'read', readOp(0, 0)),
  step('rbd_data.c2', 'copyup of nothing', copyup(bytes('')), W),
  step('rbd_data.c2', 'stat', statOp()),
  step('rbd_data.c3', 'copyup and write', [copyup(bytes('aaaa')), writeOp(1, bytes('B'))], W),
  step('rbd_data.c3', 'read', readOp(0, 0)),
  step(
    'rbd_data.c4',
    'sparse_copyup',
    sparse(
      [
        [4, 2],
        [10, 3],
      ],
      bytes('xyabc'),
    ),
    W,
  ),
  step('rbd_data.c4', 'read', readOp(0, 0)),
  step('rbd_data.c4', 'sparse_copyup again', sparse([[0, 2]], bytes('zz')), W),
  step('rbd_data.c5', 'sparse_copyup of nothing creates', sparse([], bytes('')), W),
  step('rbd_data.c5', 'stat', statOp()),
  step(
    'rbd_data.c6',
    'sparse_copyup with too few data',
    sparse(
      [
        [0, 2],
        [4, 2],
      ],
      bytes('abc'),
    ),
    W,
  ),
  step('rbd_data.c6', 'nothing was created', statOp()),
  set('rbd_data.c7', 'assert_snapc_seq greater, on nothing', 'assert_snapc_seq', (e) =>
    e.u64(0n).u8(0),
  ),
  set('rbd_data.c7', 'assert_snapc_seq not greater, on nothing', 'assert_snapc_seq', (e) =>
    e.u64(9n).u8(1),
  ),
  set('rbd_data.c7', 'assert_snapc_seq of an unknown kind', 'assert_snapc_seq', (e) =>
    e.u64(9n).u8(5),
  ),
  step('rbd_data.c8', 'write with a context', writeOp(0, bytes('x')), {
    snapContext: { seq: 7n, snaps: [7n] },
  }),
  set('rbd_data.c8', 'assert_snapc_seq greater', 'assert_snapc_seq', (e) => e.u64(8n).u8(0)),
  set('rbd_data.c8', 'assert_snapc_seq greater, equal', 'assert_snapc_seq', (e) => e.u64(7n).u8(0)),
  set('rbd_data.c8', 'assert_snapc_seq not greater', 'assert_snapc_seq', (e) => e.u64(7n).u8(1)),
  set('rbd_data.c8', 'assert_snapc_seq not greater, greater', 'assert_snapc_seq', (e) =>
    e.u64(8n).u8(1),
  ),
  step('rbd_data.c8', 'copyup with a context clones nothing', copyup(bytes('q')), {
    ...W,
    snapContext: { seq: 9n, snaps: [9n, 7n] },
  }),
  step('rbd_data.c8', 'list snaps', listSnapsOp(), { snapid: SNAPDIR }),
  set('rbd_data.d1', 'sparsify on nothing', 'sparsify', (e) => e.u64n(4096).u8(0)),
  step(
    'rbd_data.d1',
    'sparse data',
    writeOp(0, Buffer.concat([fill(4096, 1), fill(8192, 0), fill(4096, 2), fill(4096, 0)])),
  ),
  set('rbd_data.d1', 'sparsify', 'sparsify', (e) => e.u64n(4096).u8(0)),
  step('rbd_data.d1', 'it ends with the last data', readOp(0, 0)),
  step('rbd_data.d2', 'zeros', writeOp(0, fill(8192, 0))),
  set('rbd_data.d2', 'sparsify keeps the object', 'sparsify', (e) => e.u64n(4096).u8(0)),
  step('rbd_data.d2', 'stat', statOp()),
  step('rbd_data.d2', 'zeros again', writeOp(0, fill(8192, 0))),
  set('rbd_data.d2', 'sparsify removes the object', 'sparsify', (e) => e.u64n(4096).u8(1)),
  step('rbd_data.d2', 'stat', statOp()),
  step('rbd_data.d3', 'odd data', writeOp(0, Buffer.concat([fill(100, 0), fill(10, 3)]))),
  set('rbd_data.d3', 'sparsify in pieces of 7', 'sparsify', (e) => e.u64n(7).u8(0)),
  step('rbd_data.d3', 'read', readOp(0, 0)),
  step('rbd_data.d3', 'xattrs', getXattrsOp()),
  step('rbd_data.d3', 'omap', omapSetValsOp(new Map([['k', bytes('v')]]))),
];
