/**
 * Which snapshot was created for which request: so that a client that asks a second owner of the lock for the same, because
 * it heard nothing more of the first, learns that it has been done.
 *
 * Kept among the image's metadata, where the snapshot and its record appear at once. Only requests of other clients have one:
 * who creates a snapshot itself knows of it.
 */

import type { ClassCall } from '../../rados/class-call.js';
import { executeOne, mutate } from '../../rados/class-call.js';
import { listMetadata, removeMetadata, setMetadata } from '../../rados/cls-rbd.js';
import { headerObject } from '../names.js';
import type { AsyncRequestId } from '../notify-payloads.js';
import type { OpenImage } from '../open-image.js';

const PREFIX = 'linger.op.';
/** Nobody asks again after that long. */
const KEEP_MS = 3_600_000;
const RECORDS_MAX = 64;

interface RequestRecord {
  readonly key: string;
  readonly snapId: bigint;
  /** By the clock of the owner that made it. */
  readonly atMs: number;
}

const keyOf = ({ client, requestId }: AsyncRequestId) =>
  `${PREFIX}${client.gid}.${client.handle}.${requestId}`;

/** The call that records the snapshot along with its creation; none for a request of this client's own. */
export function recordOf(
  { context }: OpenImage,
  snapId: bigint,
  requestId: AsyncRequestId | undefined,
): ClassCall<void>[] {
  if (!requestId || requestId.client.gid === context.globalId) return [];
  const value = `${snapId} ${Math.floor(context.environment.clock.now())}`;
  return [setMetadata(new Map([[keyOf(requestId), Buffer.from(value)]]))];
}

/** `own`: it was created for this request. `none`: by the request of a client itself, or by an owner of librbd's. */
export type RecordedFor = 'own' | 'other' | 'none';

export async function recordedFor(
  image: OpenImage,
  snapId: bigint,
  requestId: AsyncRequestId | undefined,
): Promise<RecordedFor> {
  const record = (await listRecords(image)).find((each) => each.snapId === snapId);
  if (!record) return 'none';
  return requestId !== undefined && record.key === keyOf(requestId) ? 'own' : 'other';
}

/** Removes records that are too old, or too many. That it fails is of no consequence. */
export async function forgetOldRecords(image: OpenImage): Promise<void> {
  const { context, ioctx, id, target } = image;
  const { clock, log } = context.environment;
  try {
    const newestFirst = (await listRecords(image)).sort((a, b) => b.atMs - a.atMs);
    const old = newestFirst.filter(
      ({ atMs }, i) => i >= RECORDS_MAX || clock.now() - atMs > KEEP_MS,
    );
    if (old.length === 0) return;
    await mutate(
      ioctx,
      headerObject(id),
      old.map(({ key }) => removeMetadata(key)),
    );
  } catch (error) {
    log.rbd.warn({ image: target, err: error }, 'failed to forget old requests');
  }
}

async function listRecords({ ioctx, id }: OpenImage): Promise<RequestRecord[]> {
  const page = await executeOne(ioctx, headerObject(id), listMetadata(PREFIX, 2 * RECORDS_MAX));
  const records: RequestRecord[] = [];
  for (const [key, value] of page) {
    if (!key.startsWith(PREFIX)) continue;
    const [, snapId, atMs] = /^(\d{1,20}) (\d{1,15})$/.exec(Buffer.from(value).toString()) ?? [];
    // What is none of ours is forgotten first.
    records.push({ key, snapId: BigInt(snapId ?? 0), atMs: Number(atMs ?? 0) });
  }
  return records;
}
