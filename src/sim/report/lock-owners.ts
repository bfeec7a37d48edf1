/** Who has the exclusive lock of each image, as the OSDs have it: told whenever that changes. */

import type { OsdDaemon } from '../../cluster/osd-daemon.js';
import { ClientOp } from '../../cluster/osd/client-op.js';
import { EventLog, type LogEvent } from '../../cluster/osd/pipeline/event-log.js';
import { decodeAll } from '../../encoding/codec.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { objectToPg } from '../../osdmap/placement.js';
import { lockInfo } from '../../rados/cls-lock.js';

const HEADER = /^rbd_header\.(.+)$/;
const LOCK_XATTR = 'lock.rbd_lock';
/** Nobody looks back. */
const EVENTS_KEPT = 16;

/** `nonce`: what its owner's address is known by; undefined when nobody has it. */
export type OnOwner = (image: string, nonce: number | undefined) => void;

export class LockOwners {
  readonly #owners = new Map<string, number | undefined>();
  readonly #onOwner: OnOwner;

  constructor(onOwner: OnOwner) {
    this.#onOwner = onOwner;
  }

  follow(osd: OsdDaemon): void {
    const { pipeline } = osd;
    pipeline.log ??= new EventLog(() => pipeline.now(), EVENTS_KEPT);
    pipeline.log.listen((event) => this.#onEvent(osd, event));
  }

  #onEvent(osd: OsdDaemon, { ev, handle }: LogEvent): void {
    if (ev !== 'reply' || !(handle instanceof ClientOp) || !handle.opClass.mayWrite) return;
    const { oid, pg } = handle.client.request;
    const [, image] = HEADER.exec(oid) ?? [];
    if (image === undefined) return;
    const owner = this.#ownerOf(osd, pg.pool, oid);
    if (this.#owners.get(image) === owner) return;
    this.#owners.set(image, owner);
    this.#onOwner(image, owner);
  }

  #ownerOf(osd: OsdDaemon, pool: number, oid: string): number | undefined {
    const place = objectToPg(osd.view.map, { pool, nspace: '', oid });
    if (!place) return undefined;
    const id = { pool, nspace: '', oid, key: '', hash: place.hash, snap: NOSNAP };
    const bytes = osd.store.get(formatPgId(place.pg), id)?.xattr(LOCK_XATTR);
    if (!bytes || bytes.length === 0) return undefined;
    const [locker] = decodeAll('lock_info_t', lockInfo, bytes).lockers;
    return locker?.addr.nonce;
  }
}
