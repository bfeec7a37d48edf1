/**
 * Which errors a client may be told of. Requests wait and go on, whatever becomes of connections, daemons and maps: what is
 * told of a failure all the same must be what a fault of the run, or another client, has brought about for certain.
 */

import { isRadosError, type RadosError } from '../../base/errors.js';
import type { BlockDevice } from '../../block/device.js';
import { describeOp, type Op, type OpKind } from '../checkers/history.js';
import type { SimFaultName } from '../faults/catalogue.js';
import type { WorkloadClient } from './habitat.js';
import type { KnownImage, KnownSnapshot } from './known-images.js';
import type { Scene } from './stage.js';

/** Besides what the history has. */
export type Doing = OpKind | 'flush' | 'list' | 'map' | 'close' | 'device';

export interface Failure {
  readonly doing: Doing;
  readonly client: WorkloadClient;
  readonly error: unknown;
  /** The device that it was asked of, or that its client has mapped meanwhile. */
  readonly device?: BlockDevice | undefined;
  readonly op?: Op;
  /** What it is done to, where the history has no operation. */
  readonly image?: KnownImage;
  /** The client lets go of the image, and waits for the end of what is under way. */
  readonly isLeaving?: boolean;
  /** The caller has given it up. */
  readonly isGivenUp?: boolean;
}

/** What is known of a run whose errors are judged. */
export type Judged = Pick<Scene, 'plan' | 'history' | 'images' | 'violate' | 'onFenced'> &
  Partial<Pick<Scene, 'image'>>;

interface Case extends Failure {
  readonly run: Judged;
  readonly error: RadosError;
}

type Rule = (failure: Case) => boolean;

const READS_FAIL: readonly SimFaultName[] = ['osd.read-error'];
const WRITES_FAIL: readonly SimFaultName[] = ['osd.write-error'];
/** What changes nothing itself: an OSD that fails writes lets it through. */
const READERS: ReadonlySet<Doing> = new Set<Doing>(['read', 'metadataGet', 'sizeGet', 'list']);

const IO: readonly Doing[] = ['read', 'write', 'writeZeroes', 'discard', 'compareAndWrite'];
const MANAGEMENT: readonly Doing[] = [
  'resize',
  'snapCreate',
  'snapRemove',
  'snapRename',
  'snapProtect',
  'snapUnprotect',
  'rollback',
  'clone',
  'flatten',
  'removeImage',
  'rename',
  'metadataSet',
  'metadataGet',
  'sizeGet',
  'rebuildObjectMap',
  'sparsify',
];

const among = (...doings: readonly Doing[]) => {
  const set = new Set(doings);
  return ({ doing }: Case) => set.has(doing);
};

const hasFault = ({ run }: Case, names: readonly SimFaultName[]) =>
  run.plan.faults.some(({ kind }) => names.includes(kind));

/** An OSD has failed an operation on data, by order. Whoever changes an image reads it too: of parents, say. */
const failsByOrder: Rule = (failure) =>
  hasFault(failure, READS_FAIL) || (!READERS.has(failure.doing) && hasFault(failure, WRITES_FAIL));

/** The image was made smaller than the end of what was asked for, by what may have happened by now. */
const isCutOff: Rule = ({ run, op }) =>
  op !== undefined &&
  run.history.ops.some(
    ({ kind, image, end, sectors }) =>
      (kind === 'resize' || kind === 'rollback') &&
      image === op.image &&
      end !== 'failed' &&
      sectors < op.firstSector + op.sectors,
  );

/** What it is done to: of a clone that is being made, its parent; without an operation, the image that every client has mapped. */
function targetOf({ run, op, image: given }: Case): {
  image?: KnownImage;
  snapshot?: KnownSnapshot;
} {
  const image = op ? run.images.all.find(({ key }) => key === op.image) : (given ?? run.image);
  if (op?.kind === 'clone' && image?.parent) {
    return { image: image.parent.image, snapshot: image.parent };
  }
  const snapshot = image?.snapshots.find(({ key }) => key === op?.snap);
  return { ...(image && { image }), ...(snapshot && { snapshot }) };
}

const mayHaveHappened = (op: Op | undefined) => op !== undefined && op.end !== 'failed';

/** Somebody removes the image or the snapshot, or has called it otherwise since it was looked up. */
const isGone: Rule = (failure) => {
  const { image, snapshot } = targetOf(failure);
  const renames = [...(image?.renames ?? []), ...(snapshot?.changes ?? [])];
  const removals = [image?.removal, snapshot?.removal].filter((each) => each !== failure.op);
  return [...removals, ...renames].some((op) => op !== failure.op && mayHaveHappened(op));
};

const isProtected: Rule = (failure) => targetOf(failure).snapshot?.isProtected === true;

/** Somebody has made a clone of one of the snapshots, or may have. */
function areCloned({ images }: Judged, snapshots: readonly KnownSnapshot[]): boolean {
  return images.all.some(
    ({ parent, create }) => parent && snapshots.includes(parent) && mayHaveHappened(create),
  );
}

const hasClones: Rule = (failure) => {
  const { snapshot } = targetOf(failure);
  return snapshot !== undefined && areCloned(failure.run, [snapshot]);
};

/** Snapshots that are removed stay, hidden, as long as clones need them. */
const keepsSnapshots: Rule = (failure) =>
  areCloned(failure.run, targetOf(failure).image?.snapshots ?? []);

/** Nothing is begun any more at a device that is closed, or about to be. */
const isClosed: Rule = ({ device, isLeaving }) => device?.closed === true || isLeaving === true;

/** Each with what must be so for it to be told. A code that has no rule is never told. */
const RULES: readonly { code: string; of: Rule; when: Rule }[] = [
  // Whether it was is asked where fences are known of.
  { code: 'EBLOCKLISTED', of: () => true, when: () => true },
  { code: 'EBADF', of: () => true, when: isClosed },
  { code: 'EINVAL', of: among(...IO), when: isCutOff },
  { code: 'EIO', of: among(...IO), when: isCutOff },
  { code: 'EIO', of: among(...IO, ...MANAGEMENT, 'flush'), when: failsByOrder },
  { code: 'ECANCELED', of: among(...IO), when: ({ isGivenUp }) => isGivenUp === true },
  // What it expects there, another client has written over.
  { code: 'EILSEQ', of: among('compareAndWrite'), when: () => true },
  { code: 'ENOENT', of: among(...IO, ...MANAGEMENT, 'flush', 'map'), when: isGone },
  { code: 'EBUSY', of: among('snapRemove'), when: isProtected },
  { code: 'EBUSY', of: among('snapRemove', 'snapUnprotect'), when: hasClones },
  { code: 'ENOTEMPTY', of: among('removeImage'), when: keepsSnapshots },
  // Another client has it mapped, to use it or to read a snapshot of it.
  { code: 'EBUSY', of: among('removeImage'), when: () => true },
  // All that have the image open are asked to hold still, and that has a limit.
  { code: 'ETIMEDOUT', of: among('snapCreate'), when: () => true },
  // What only the lock's owner does is not done for others.
  { code: 'EROFS', of: among('rollback'), when: () => true },
];

/** Objects to what nothing in the run explains. */
export function judgeFailure(run: Judged, failure: Failure): void {
  const { client, error, doing, op } = failure;
  const what = `${client.name}: ${op ? describeOp(op) : doing}`;
  const slip = slipIn(error);
  if (slip || !isRadosError(error)) {
    const { stack, message } = slip ?? (error as Error);
    run.violate({ checker: 'errors', message: `${what}: ${stack ?? message}` });
    return;
  }
  if (error.code === 'EBLOCKLISTED') run.onFenced?.(client, what);
  const inRun = { ...failure, error, run };
  const rules = RULES.filter(({ code, of }) => code === error.code && of(inRun));
  if (rules.some(({ when }) => when(inRun))) return;
  run.violate({ checker: 'errors', message: `${what}: ${error.code}: ${error.message}` });
}

/** An error of the program itself, also where another one tells of it. */
function slipIn(error: unknown): Error | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof TypeError || at instanceof ReferenceError || at instanceof RangeError) {
      return at;
    }
  }
  return undefined;
}
