// Self-managed snapshots: clones, overlaps, reads at snapshots, rollback.

import {
  createOp,
  deleteOp,
  listSnapsOp,
  omapGetKeysOp,
  omapSetValsOp,
  readOp,
  rollbackOp,
  setXattrOp,
  getXattrOp,
  statOp,
  truncateOp,
  writeFullOp,
  writeOp,
  zeroOp,
} from '../../../../src/messages/osd-op.js';
import { OSD_FLAG } from '../../../../src/messages/osd-messages.js';
import { SNAPDIR } from '../../../../src/encoding/types.js';
import { bytes, fill, type Step, step } from './step.js';

const snapc = (...snaps: bigint[]) => ({ snapContext: { seq: snaps[0] ?? 0n, snaps } });
const at = (snapid: bigint) => ({ snapid });
const list = (oid: string, name = 'list snaps') => step(oid, name, listSnapsOp(), at(SNAPDIR));

export const snapSteps: Step[] = [
  list('s1', 'list snaps of a missing object'),
  step('s1', 'write before any snapshot', writeOp(0, fill(64, 1))),
  list('s1'),
  step('s1', 'list snaps at the head', listSnapsOp()),
  step('s1', 'read at the snapshot directory', readOp(0, 1), at(SNAPDIR)),
  step('s1', 'list snaps beside a read', [listSnapsOp(), readOp(0, 1)], at(SNAPDIR)),
  step('s1', 'read at a snapshot that is not cloned yet', readOp(0, 4), at(10n)),
  step('s1', 'write after snapshot 10 clones', writeOp(8, fill(8, 2)), snapc(10n)),
  list('s1'),
  step('s1', 'read at 10', readOp(0, 0), at(10n)),
  step('s1', 'read the head', readOp(0, 0)),
  step('s1', 'read at 5 sees the clone', readOp(0, 4), at(5n)),
  step('s1', 'read at 11 sees the head', readOp(0, 12), at(11n)),
  step('s1', 'stat at 10', statOp(), at(10n)),
  step('s1', 'another write, same context', writeOp(30, fill(4, 3)), snapc(10n)),
  list('s1', 'the overlap shrinks'),
  step('s1', 'two snapshots at once', writeOp(0, fill(4, 4)), snapc(13n, 12n, 10n)),
  list('s1', 'one clone for both'),
  step('s1', 'read at 12', readOp(0, 16), at(12n)),
  step('s1', 'read at 13', readOp(0, 16), at(13n)),
  step('s1', 'read at 11', readOp(0, 16), at(11n)),
  step('s1', 'an older context without ORDERSNAP', writeOp(60, fill(4, 5)), snapc(10n)),
  step('s1', 'an older context with ORDERSNAP', writeOp(60, fill(4, 6)), {
    ...snapc(10n),
    flags: OSD_FLAG.ORDERSNAP,
  }),
  step('s1', 'the current context with ORDERSNAP', writeOp(60, fill(4, 7)), {
    ...snapc(13n, 12n, 10n),
    flags: OSD_FLAG.ORDERSNAP,
  }),
  step('s1', 'an unsorted context', writeOp(0, bytes('x')), snapc(10n, 12n)),
  step('s1', 'a context with a snap above its sequence', writeOp(0, bytes('x')), {
    snapContext: { seq: 5n, snaps: [10n] },
  }),
  step('s0', 'a context with snap 0', writeOp(0, bytes('x')), {
    snapContext: { seq: 20n, snaps: [0n] },
  }),
  step('s1', 'a context with a snap twice', writeOp(0, bytes('x')), {
    snapContext: { seq: 20n, snaps: [15n, 15n] },
  }),
  step('s1', 'zero', zeroOp(16, 8), snapc(13n, 12n, 10n)),
  step('s1', 'truncate', truncateOp(40), snapc(13n, 12n, 10n)),
  list('s1', 'overlap after zero and truncate'),
  step('s1', 'sequence above the newest snap', writeOp(0, fill(2, 9)), {
    snapContext: { seq: 17n, snaps: [15n, 13n, 12n, 10n] },
  }),
  list('s1', 'the clone is named by the sequence'),
  step('s1', 'read at 15', readOp(0, 8), at(15n)),
  step('s1', 'read at 16', readOp(0, 8), at(16n)),
  step('s1', 'writefull', writeFullOp(bytes('full')), {
    snapContext: { seq: 17n, snaps: [15n, 13n, 12n, 10n] },
  }),
  list('s1', 'no overlap after writefull'),
  step('s1', 'rollback to 13', rollbackOp(13n), {
    snapContext: { seq: 17n, snaps: [15n, 13n, 12n, 10n] },
  }),
  step('s1', 'the head is as at 13', readOp(0, 0)),
  list('s1', 'overlap after rollback'),
  step('s1', 'rollback to 10 with a new snapshot', rollbackOp(10n), {
    snapContext: { seq: 20n, snaps: [20n, 15n, 13n, 12n, 10n] },
  }),
  step('s1', 'the head is as at 10', readOp(0, 0)),
  list('s1', 'overlap after the second rollback'),
  step('s1', 'rollback to the head', rollbackOp(25n), {
    snapContext: { seq: 20n, snaps: [20n, 15n, 13n, 12n, 10n] },
  }),
  step('s1', 'delete leaves the clones', deleteOp(), {
    snapContext: { seq: 20n, snaps: [20n, 15n, 13n, 12n, 10n] },
  }),
  list('s1', 'no head'),
  step('s1', 'stat of the deleted head', statOp()),
  step('s1', 'read at 10 still works', readOp(0, 4), at(10n)),
  step('s1', 'read above the clones', readOp(0, 4), at(30n)),
  step('s1', 'delete again', deleteOp(), { snapContext: { seq: 20n, snaps: [20n] } }),
  step('s1', 'truncate of the deleted head', truncateOp(5), {
    snapContext: { seq: 20n, snaps: [20n] },
  }),
  step('s1', 'rollback brings it back', rollbackOp(12n), {
    snapContext: { seq: 20n, snaps: [20n, 15n, 13n, 12n, 10n] },
  }),
  step('s1', 'the head is as at 12', readOp(0, 0)),
  list('s1', 'after coming back'),
  step('s1', 'delete with a new snapshot', deleteOp(), {
    snapContext: { seq: 22n, snaps: [22n, 20n] },
  }),
  list('s1', 'a clone more'),
  step('s1', 'create again', createOp(true), { snapContext: { seq: 22n, snaps: [22n, 20n] } }),
  list('s1', 'with a head'),

  step('s2', 'create with a context', writeOp(0, bytes('abcd')), snapc(5n)),
  list('s2', 'no clone for a new object'),
  step('s2', 'read at 5', readOp(0, 0), at(5n)),
  step(
    's2',
    'write after 6',
    [writeOp(0, bytes('ABCD')), setXattrOp('k', bytes('2'))],
    snapc(6n, 5n),
  ),
  step('s2', 'omap after 7', omapSetValsOp(new Map([['key', bytes('v')]])), snapc(7n, 6n, 5n)),
  list('s2'),
  step('s2', 'rollback to before it existed', rollbackOp(2n), snapc(7n, 6n, 5n)),
  step('s2', 'read', readOp(0, 0)),
  step('s2', 'rollback to 6', rollbackOp(6n), snapc(7n, 6n, 5n)),
  step('s2', 'xattr came back', getXattrOp('k')),
  step('s2', 'omap is as at 6', omapGetKeysOp('', 10)),
  step('s2', 'rollback and write', [rollbackOp(6n), writeOp(2, bytes('!'))], snapc(7n, 6n, 5n)),
  step('s2', 'read', readOp(0, 0)),
  step('s3', 'rollback of an object that never was', rollbackOp(3n), snapc(5n)),
  step('s3', 'nothing was created', statOp()),
  step('s3', 'an empty object', createOp(true)),
  step('s3', 'its clone has no overlap', writeOp(0, bytes('x')), snapc(9n)),
  list('s3'),
  step('s3', 'delete in the vector that clones', [deleteOp(), createOp(false)], snapc(10n, 9n)),
  list('s3', 'after delete and create'),
];
