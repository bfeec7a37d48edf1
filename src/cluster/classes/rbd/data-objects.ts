/** Class `rbd`, data objects: copy-up from a parent, snapshot assertions, making an object sparse again. */

import { ERRNO } from '../../../base/errors.js';
import { list, tuple, u64n } from '../../../encoding/codec.js';
import { copyBytes } from '../../byte-string.js';
import { ClassError, writeMethod } from '../class-registry.js';

/** The first writer brings the parent's data; who comes later finds the object and leaves it alone. */
const copyup = writeMethod((object, input) => {
  if (object.exists) return;
  object.write(0, copyBytes(input.view(input.remaining)));
});

const extentMap = list(tuple(u64n, u64n));

const sparseCopyup = writeMethod((object, input) => {
  const extents = extentMap.decode(input);
  const data = input.blob();
  if (object.exists) return;
  if (extents.length === 0) object.create(true);
  let at = 0;
  for (const [offset, length] of extents) {
    if (length > data.length - at) throw new ClassError('EINVAL', 'less data than extents');
    object.write(offset, copyBytes(data.subarray(at, at + length)));
    at += length;
  }
});

const ASSERT_SNAPC_SEQ = { GREATER: 0, LESS_OR_EQUAL: 1 } as const;

const assertSnapcSeq = writeMethod((object, input) => {
  const seq = input.u64();
  const mode = input.u8();
  const known = object.snapSeq;
  const greater = known === undefined || seq > known;
  if (mode !== ASSERT_SNAPC_SEQ.GREATER && mode !== ASSERT_SNAPC_SEQ.LESS_OR_EQUAL) {
    throw new ClassError(ERRNO.EOPNOTSUPP);
  }
  if (greater !== (mode === ASSERT_SNAPC_SEQ.GREATER)) throw new ClassError('ERANGE');
});

/** Rewrites the object as its runs of non-zero pieces; it ends with the last of them. */
/** Smaller ones make more of an object than is worth keeping: what is zero in a larger one is freed all the same. */
const PIECES_MAX = 1 << 20;

const sparsify = writeMethod((object, input) => {
  const wantedBytes = Number(input.u64());
  const removeEmpty = input.bool();
  // A real OSD never returns from a piece size of 0.
  if (wantedBytes === 0) throw new ClassError('EINVAL');
  if (!object.exists) throw new ClassError('ENOENT');
  const data = object.readAll();
  const pieceBytes = Math.max(wantedBytes, Math.ceil(data.length / PIECES_MAX));
  const runs: { offset: number; end: number }[] = [];
  for (let at = 0; at < data.length; at += pieceBytes) {
    const end = Math.min(at + pieceBytes, data.length);
    if (data.subarray(at, end).every((byte) => byte === 0)) continue;
    const last = runs.at(-1);
    if (last?.end === at) last.end = end;
    else runs.push({ offset: at, end });
  }
  if (runs.length === 0) {
    if (removeEmpty) object.remove();
    else object.truncate(0);
    return;
  }
  if (runs.length === 1 && runs[0]?.offset === 0 && runs[0].end === data.length) return;
  object.truncate(0);
  for (const { offset, end } of runs) object.write(offset, data.subarray(offset, end));
});

export const dataObjectMethods = {
  copyup,
  sparse_copyup: sparseCopyup,
  assert_snapc_seq: assertSnapcSeq,
  sparsify,
};
