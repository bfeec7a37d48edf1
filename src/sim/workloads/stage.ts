/** What an action of a client acts in: its process, the image that it has mapped, what the run knows, and the history. */

import { isRadosError } from '../../base/errors.js';
import type { BlockDevice } from '../../block/device.js';
import type { IoOptions } from '../../block/device-types.js';
import type { Images } from '../../block/images.js';
import { describeOp, type History, type Op, type OpInput } from '../checkers/history.js';
import { identifyAll, SECTOR_BYTES, StrangeBytes } from '../checkers/stamps.js';
import type { Violation } from '../checkers/violation.js';
import type { RunPlan } from '../plan.js';
import type { Draw } from '../random.js';
import { type Failure, type Judged, judgeFailure } from './failures.js';
import type { Habitat, WorkloadClient } from './habitat.js';
import { type KnownImage, type KnownImages, nameOf } from './known-images.js';

const MIB = 1024 * 1024;
/** Of what is mapped for a moment. */
const SMALL_ARENA_BYTES = MIB / 2;
export const POOL = 'rbd';

/** Of a whole run. */
export interface Scene {
  readonly habitat: Habitat;
  readonly plan: RunPlan;
  readonly history: History;
  readonly images: KnownImages;
  /** The image that every client has mapped. */
  readonly image: KnownImage;
  readonly trace: (line: string) => void;
  readonly violate: (violation: Violation) => void;
  /** A client has the image mapped. */
  readonly onMapped?: ((client: WorkloadClient, device: BlockDevice) => void) | undefined;
  /** When an OSD last heard of a client's watch on a header; absent where nobody looks on. */
  readonly watchHeardAt?: (client: WorkloadClient, header: string) => Promise<number | undefined>;
  /** A client says that it was fenced; absent where nobody knows who was. */
  readonly onFenced?: (client: WorkloadClient, what: string) => void;
}

export interface Stage extends Scene {
  readonly client: WorkloadClient;
  /** Of `image`. */
  readonly device: BlockDevice;
  /** Of this one step. */
  readonly draw: Draw;
  /** What its client has begun. */
  readonly pending: Set<Op>;
  /** Ends the client in good order; another takes its place. */
  readonly leave: () => Promise<void>;
  /** It is about to, by another of its lanes. */
  readonly isLeaving: () => boolean;
}

/** Who does something that the history has. */
export type Actor = Judged &
  Pick<Stage, 'client' | 'pending' | 'trace'> &
  Partial<Pick<Stage, 'device' | 'isLeaving'>>;

export type Action = (stage: Stage) => Promise<void>;

export interface Attempt<T> {
  /** What the operation must not fail with: it would mean that its effect came about twice, or not at all. */
  readonly never?: readonly string[];
  /** Gives it up. */
  readonly signal?: AbortSignal | undefined;
  /** What it is asked of, where that is not the device of the stage. */
  readonly device?: BlockDevice;
  /** What is known of it as soon as it has begun. */
  readonly onBegun?: (op: Op) => void;
  readonly act: (op: Op) => Promise<T>;
}

/** Does something and writes down what came of it; undefined when it failed. */
export async function attempt<T>(
  stage: Actor,
  input: Omit<OpInput, 'client'>,
  attempted: Attempt<T>,
): Promise<T | undefined> {
  const { client, history, pending } = stage;
  const op = history.begin({ ...input, client: client.name });
  pending.add(op);
  attempted.onBegun?.(op);
  try {
    const value = await attempted.act(op);
    if (pending.delete(op)) history.end(op, 'ok');
    return value;
  } catch (error) {
    if (pending.delete(op)) fail(stage, op, error, attempted);
    return undefined;
  } finally {
    stage.trace(describeOp(op));
  }
}

function fail<T>(
  stage: Actor,
  op: Op,
  error: unknown,
  { never = [], signal, device = stage.device }: Attempt<T>,
): void {
  const { history, violate, client } = stage;
  if (error instanceof StrangeBytes) {
    history.end(op, 'unknown', { error: error.message });
    violate({ checker: 'sectors', message: `${op.kind} ${op.image}: ${error.message}` });
    return;
  }
  const isOver = isRadosError(error) && (READS.has(op.kind) || error.outcome === 'not-applied');
  const code = isRadosError(error) ? error.code : String(error);
  history.end(op, isOver ? 'failed' : 'unknown', { error: code });
  if (isRadosError(error) && never.includes(code)) {
    const message = `${client.name}: ${op.kind} ${op.image} ${op.detail ?? ''} failed: ${error.message}`;
    violate({ checker: 'exactly-once', message });
    return;
  }
  const isGivenUp = signal?.aborted === true;
  judge(stage, { doing: op.kind, error, device, op, isGivenUp });
}

/** Of who asked: who is dead, or has left, has asked for nothing. */
export function judge(stage: Actor, failure: Omit<Failure, 'client' | 'isLeaving'>): void {
  const { client, device, isLeaving } = stage;
  if (!client.isWorking) return;
  judgeFailure(stage, { client, device, isLeaving: isLeaving?.() === true, ...failure });
}

const READS: ReadonlySet<Op['kind']> = new Set(['read', 'metadataGet', 'sizeGet']);

/** Management of images through a client. */
export function imagesOf({ client }: Pick<Stage, 'client'>): Images {
  return client.cluster.pool(POOL).images;
}

/** As `currentName`, for who does nothing without; what it fails with is judged. */
export async function knownName(
  stage: Stage,
  image: Pick<KnownImage, 'names'>,
): Promise<string | undefined> {
  try {
    return await currentName(stage, image);
  } catch (error) {
    judge(stage, { doing: 'list', error });
    return undefined;
  }
}

/** As it is called now; looks it up when the run cannot know. Undefined: it is not there. */
export async function currentName(
  stage: Pick<Stage, 'client'>,
  image: Pick<KnownImage, 'names'>,
): Promise<string | undefined> {
  const name = nameOf(image);
  if (name !== undefined) return name;
  const names = await imagesOf(stage).list();
  return names.find((each) => image.names.includes(each));
}

/** Maps something for as long as `use` takes. */
export async function withMapped<T>(
  { client }: Pick<Stage, 'client'>,
  spec: string,
  { readOnly = false }: { readOnly?: boolean },
  use: (device: BlockDevice) => Promise<T>,
): Promise<T> {
  const device = await client.cluster.map(`${POOL}/${spec}`, {
    readOnly,
    arenaBytes: SMALL_ARENA_BYTES,
  });
  // Whatever happens to it, its operations tell.
  device.on('error', () => {});
  try {
    return await use(device);
  } finally {
    await device.close({ force: !client.isWorking });
  }
}

/** The write that each sector is of. */
export async function readSectors(
  device: BlockDevice,
  firstSector: number,
  sectors: number,
  options: IoOptions = {},
): Promise<Uint32Array> {
  const bytes = await device.read(firstSector * SECTOR_BYTES, sectors * SECTOR_BYTES, options);
  return identifyAll(bytes, firstSector);
}

export function sectorsOf({ size }: Pick<BlockDevice, 'size'>): number {
  return Math.floor(size / SECTOR_BYTES);
}
