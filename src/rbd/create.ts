/** Creating images (`librbd/image/CreateRequest.cc`): the order of steps, and their undoing when one fails. */

import { RadosError } from '../base/errors.js';
import { OBJECT_STATE } from '../kernels/object-state.js';
import { createOp, deleteOp } from '../messages/osd-op.js';
import { mutate } from '../rados/class-call.js';
import {
  createHeader,
  DIRECTORY_STATE,
  dirAddImage,
  dirRemoveImage,
  dirStateAssert,
  objectMapResize,
  setId,
  setStripeUnitCount,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import type { RbdContext } from './context.js';
import { assertNameFree, assertNamespace } from './directory.js';
import { imageError, unless } from './errors.js';
import {
  assertCreatable,
  completeFeatures,
  FEATURE,
  featureBits,
  FEATURES_DEFAULT,
  FEATURES_SINGLE_CLIENT,
} from './features.js';
import { Layout } from './layout.js';
import { markShared } from './maintenance/share.js';
import { headerObject, idObject, objectMapObject, objectPrefix, RBD_DIRECTORY } from './names.js';
import { assertMappable } from './object-map/limits.js';
import { validatePool } from './pool.js';
import { assertImageName, formatImageSpec, type NamedImageSpec } from './spec.js';

export interface CreateOptions {
  /** Bytes. */
  readonly size: number;
  /** log2 of the object size: 12 to 25, 22 unless told. */
  readonly order?: number;
  /** Both or none. Given, they bring the feature striping along unless they mean "no striping". */
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  /** A pool for the data objects alone. */
  readonly dataPool?: string;
  /**
   * For several clients that write at a time, as a cluster file system does: without the exclusive lock, and what builds on
   * it, whatever `features` says.
   */
  readonly shared?: boolean;
  /**
   * By name (`['layering', 'exclusive-lock']`), or as bits of `FEATURE`. Default: layering, exclusive-lock, object-map,
   * fast-diff and deep-flatten, as Ceph's. Those that options above imply are added.
   */
  readonly features?: readonly string[] | bigint;
}

const ORDER_DEFAULT = 22;
/** librbd's limits: krbd and the header would allow more. */
const ORDER_MIN = 12;
const ORDER_MAX = 25;
const ID_LENGTH_MAX = 14;

/** What an image is given beyond its header and map before its name opens it. */
export interface ImageAddition {
  add(ioctx: IoContext, id: string): Promise<void>;
  /** However far `add` came; the header is still there. */
  undo(ioctx: IoContext, id: string): Promise<void>;
}

/** Creates an image and returns its id. EEXIST: the name is taken. EDOM: an object size that librbd refuses. */
export async function createImage(
  context: RbdContext,
  spec: NamedImageSpec,
  options: CreateOptions,
  addition?: ImageAddition,
): Promise<string> {
  const target = formatImageSpec(spec);
  try {
    const ioctx = await context.ioctx(spec.pool, spec.namespace);
    const plan = await planImage(context, ioctx, spec.name, options);
    await assertNamespace(ioctx);
    await assertNameFree(ioctx, spec.name);
    await validatePool(plan.dataIoctx);
    await writeImage(ioctx, spec.name, plan, addition);
    return plan.id;
  } catch (error) {
    throw imageError(error, 'create', target);
  }
}

interface Plan {
  id: string;
  size: number;
  layout: Layout;
  features: bigint;
  dataIoctx: IoContext;
  shared: boolean;
}

/** Everything that can be refused before anything is written. */
async function planImage(
  context: RbdContext,
  ioctx: IoContext,
  name: string,
  options: CreateOptions,
): Promise<Plan> {
  assertImageName(name);
  const { size, stripeUnit, stripeCount, order = ORDER_DEFAULT } = options;
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new RadosError('EINVAL', `${size} is not a size in bytes`);
  }
  if (!Number.isInteger(order) || order < ORDER_MIN || order > ORDER_MAX) {
    throw new RadosError('EDOM', `order ${order} is not within ${ORDER_MIN} to ${ORDER_MAX}`);
  }
  if ((stripeUnit === undefined) !== (stripeCount === undefined)) {
    throw new RadosError('EINVAL', 'stripe unit and stripe count go together');
  }
  const layout = new Layout({
    order,
    ...(stripeUnit === undefined ? {} : { stripeUnit }),
    ...(stripeCount === undefined ? {} : { stripeCount }),
  });
  const dataIoctx =
    options.dataPool === undefined ? ioctx : await context.ioctx(options.dataPool, ioctx.nspace);

  const { shared = false } = options;
  let features = featureBits(options.features ?? FEATURES_DEFAULT);
  if (shared) features &= ~FEATURES_SINGLE_CLIENT;
  const plain = layout.stripeUnit === layout.objectSize && layout.stripeCount === 1;
  if (plain) features &= ~FEATURE.STRIPINGV2;
  else features |= FEATURE.STRIPINGV2;
  // The image's own pool named as its data pool is no data pool.
  if (dataIoctx.pool.id === ioctx.pool.id) features &= ~FEATURE.DATA_POOL;
  else features |= FEATURE.DATA_POOL;
  assertCreatable(features, name);
  features = completeFeatures(features);
  if (features & FEATURE.OBJECT_MAP) assertMappable(layout, size);
  return { id: newImageId(context), size, layout, features, dataIoctx, shared };
}

/** The creator's id in the cluster and a random number: unique without asking anybody. */
export function newImageId({
  globalId,
  environment,
}: Pick<RbdContext, 'globalId' | 'environment'>): string {
  return (globalId.toString(16) + environment.random.u32().toString(16)).slice(-ID_LENGTH_MAX);
}

/**
 * Directory entry, header, object map, what else it is given, id object. The first says whose the name is and lets an
 * interrupted creation be removed by it; the last is what images are opened by, so that nobody takes half of one for the
 * whole: a clone that has no parent yet would be one full of zeros. (librbd writes the id object second.)
 */
async function writeImage(
  ioctx: IoContext,
  name: string,
  plan: Plan,
  addition: ImageAddition | undefined,
): Promise<void> {
  const { id, size, layout, features, dataIoctx } = plan;
  const undo: (() => Promise<unknown>)[] = [];
  const hasDataPool = (features & FEATURE.DATA_POOL) !== 0n;
  try {
    const ready = ioctx.nspace === '' ? [] : [dirStateAssert(DIRECTORY_STATE.READY)];
    await mutate(ioctx, RBD_DIRECTORY, [...ready, dirAddImage(name, id)]);
    undo.push(() => mutate(ioctx, RBD_DIRECTORY, [dirRemoveImage(name, id)]));

    const header = createHeader({
      size,
      order: layout.order,
      features,
      objectPrefix: objectPrefix(id, hasDataPool ? ioctx.pool.id : undefined),
      ...(hasDataPool ? { dataPoolId: dataIoctx.pool.id } : {}),
    });
    const mark = plan.shared ? [markShared()] : [];
    await mutate(ioctx, headerObject(id), [createOp(true), header, ...mark]);
    undo.push(() => ioctx.operate(headerObject(id), [deleteOp()]));

    if (features & FEATURE.STRIPINGV2) {
      const { stripeUnit, stripeCount } = layout;
      await mutate(ioctx, headerObject(id), [setStripeUnitCount(stripeUnit, stripeCount)]);
    }
    if (features & FEATURE.OBJECT_MAP) {
      undo.push(() => ioctx.operate(objectMapObject(id), [deleteOp()]));
      const none = objectMapResize(layout.objectCount(size), OBJECT_STATE.NONEXISTENT);
      await mutate(ioctx, objectMapObject(id), [none]);
    }
    if (addition) {
      undo.push(() => addition.undo(ioctx, id));
      await addition.add(ioctx, id);
    }
    await mutate(ioctx, idObject(name), [createOp(true), setId(id)]);
  } catch (error) {
    // The first error is the one to tell.
    await undoAll(undo).catch(() => undefined);
    throw error;
  }
}

/** From the last step on. Where one fails the others stay too, as after a crash there: the name still leads to them. */
async function undoAll(steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const step of steps.toReversed()) await unless('ENOENT', step());
}
