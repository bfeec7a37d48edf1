/**
 * Judges what OSDs do at the moment they do it, by what the cluster holds at that moment: an observer who sees all of it,
 * as no client and no OSD can.
 *
 *   fence        no change by a client that the OSD knows to be blocklisted
 *   owner        no change of an image's data but by the owner of its exclusive lock. One of before whose fence is on its
 *                way may still change objects; but none that a later owner has changed
 *   pause        no request that was sent by a map whose flags hold it back
 *   object-map   an object that exists is in the image's stored map, or that is flagged as invalid
 *   freshness    no change by a header older than what the client has acknowledged, or has connected its watch to
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BitVector } from '../../cluster/classes/rbd/bit-vector.js';
import { OSD_CHANNEL, type OsdDaemon } from '../../cluster/osd-daemon.js';
import { ClientOp } from '../../cluster/osd/client-op.js';
import { EventLog, type LogEvent } from '../../cluster/osd/pipeline/event-log.js';
import type { ObjectId } from '../../cluster/store/object-id.js';
import type { StoredObject } from '../../cluster/store/object-store.js';
import { decodeAll, u64 } from '../../encoding/codec.js';
import { Decoder } from '../../encoding/decoder.js';
import { type EntityAddr, formatAddr, formatEntityName } from '../../encoding/entity.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { OSDMAP_FLAG } from '../../osdmap/osdmap.js';
import { objectToPg } from '../../osdmap/placement.js';
import { lockInfo } from '../../rados/cls-lock.js';
import { FEATURE } from '../../rbd/features.js';
import { dataObject } from '../../rbd/layout.js';
import { RBD_TRASH } from '../../rbd/names.js';
import type { Fences } from './fences.js';
import { HeaderSightings } from './header-sightings.js';
import type { Violation } from './violation.js';
import { WatchHearings } from './watch-hearings.js';

/** An image's data object: its id and its number. */
const DATA_OBJECT = /^rbd_data\.([0-9a-z]+)\.([0-9a-f]{16})$/;
const HEAD_MAP = /^rbd_object_map\.([0-9a-z]+)$/;
const HEADER = /^rbd_header\.([0-9a-z]+)$/;
/** Of an image, when its map changes. */
const OBJECTS_LOOKED_AT = 256;
const LOCK_XATTR = 'lock.rbd_lock';
const OBJECT_MAP_INVALID = 1n;
const NONEXISTENT = 0;
/** One is enough to fail a run; a few tell what kind it is. */
const VIOLATIONS_MAX = 10;
/** Nobody looks back: what happens is judged as it happens. */
const EVENTS_KEPT = 16;

export interface Judgement {
  /** Virtual milliseconds. */
  readonly now: () => number;
  readonly violate: (violation: Violation) => void;
  /** To hear of those who are fenced. */
  readonly fences: Fences;
}

export class OsdJudge {
  /** The newest daemon of each id. */
  readonly osds = new Map<number, OsdDaemon>();
  readonly #violate: (violation: Violation) => void;
  readonly #fences: Fences;
  /** When each client last became the owner of an image, as far as changes of its data tell. */
  readonly #tenures = new Map<string, { owner: string; since: number }>();
  readonly #lastTenure = new Map<string, number>();
  /** Of each data object, the tenure that it was last changed in. */
  readonly #changedIn = new Map<string, number>();
  readonly #sightings = new HeaderSightings();
  readonly hearings: WatchHearings;
  #count = 0;

  constructor({ violate, now, fences }: Judgement) {
    this.hearings = new WatchHearings(now);
    this.#violate = violate;
    this.#fences = fences;
  }

  /** Of all OSDs that begin from here on; returns what ends it. */
  watch(): () => void {
    const onOsd = (message: unknown) => this.#follow(message as OsdDaemon);
    subscribe(OSD_CHANNEL, onOsd);
    return () => unsubscribe(OSD_CHANNEL, onOsd);
  }

  #follow(osd: OsdDaemon): void {
    this.osds.set(osd.whoami, osd);
    const { pipeline } = osd;
    pipeline.log ??= new EventLog(() => pipeline.now(), EVENTS_KEPT);
    pipeline.log.listen((event) => this.#onEvent(osd, event));
  }

  #onEvent(osd: OsdDaemon, { ev, handle }: LogEvent): void {
    if (!(handle instanceof ClientOp)) return;
    try {
      if (osd.epoch > 0) this.#fences.onMap(osd.view);
      if (ev === 'submit') this.#onChange(osd, handle);
      else if (ev === 'reply') this.#onReply(osd, handle);
    } catch (error) {
      // It must not hold up the request.
      this.#violate({ checker: 'exception', message: `the judge failed: ${String(error)}` });
    }
  }

  #onChange(osd: OsdDaemon, op: ClientOp): void {
    const { session, request } = op.client;
    if (osd.view.map.isBlocklisted(session.addr)) {
      this.#say(
        'fence',
        op,
        `it is blocklisted in epoch ${osd.epoch}, which osd.${osd.whoami} has`,
      );
    }
    this.#checkPause(osd, op, OSDMAP_FLAG.PAUSEWR);
    const [, mapped] = HEAD_MAP.exec(request.oid) ?? [];
    if (mapped !== undefined) this.#checkWholeMap(osd, op, mapped);
    const [, image, number] = DATA_OBJECT.exec(request.oid) ?? [];
    if (image === undefined || number === undefined) return;
    const { pool } = request.pg;
    const header = this.#object(pool, `rbd_header.${image}`);
    if (!header) return;
    const features = readU64(header, 'features');
    if (features & FEATURE.EXCLUSIVE_LOCK) this.#checkOwner(op, { image, header });
    this.#checkFreshness(op, image);
    if (hasValidMap(header)) {
      this.#checkMap(osd, op, { image, objectNo: Number.parseInt(number, 16) });
    }
  }

  #onReply(osd: OsdDaemon, op: ClientOp): void {
    if (!op.opClass.mayWrite && !op.opClass.ordered) this.#checkPause(osd, op, OSDMAP_FLAG.PAUSERD);
    const { oid, pg } = op.client.request;
    const [, image] = HEADER.exec(oid) ?? [];
    if (image !== undefined) this.hearings.onReply(op);
    const header = image === undefined ? undefined : this.#stored(osd, pg.pool, oid);
    if (header) this.#sightings.onReply(op, readU64(header, 'snap_seq'));
  }

  #checkFreshness(op: ClientOp, image: string): void {
    const { seq } = op.client.request.snapContext;
    // A copy-up of what is from before all snapshots has none.
    if (seq === 0n) return;
    const seen = this.#sightings.of(op, image);
    if (seen === undefined || seq >= seen) return;
    this.#say(
      'freshness',
      op,
      `by snapshots up to ${seq} of ${image}: its client knows of ${seen}`,
    );
  }

  #checkPause(osd: OsdDaemon, op: ClientOp, flag: number): void {
    const { epoch } = op.client.request;
    if (osd.viewAt(epoch)?.map.hasFlag(flag)) {
      this.#say('pause', op, `it was sent by epoch ${epoch}, which holds it back`);
    }
  }

  #checkOwner(op: ClientOp, { image, header }: { image: string; header: StoredObject }): void {
    const { request, session } = op.client;
    const { addr } = session;
    const owner = ownerOf(header);
    if (owner && sameClient(owner, addr)) {
      this.#changedIn.set(request.oid, this.#tenureOf(image, owner));
      return;
    }
    // Whoever removes an image removes it whether anybody has its lock or not.
    if (this.#isInTrash(request.pg.pool, image)) return;
    if (this.#newest()?.view.map.isBlocklisted(addr)) {
      const last = this.#lastTenure.get(tenureKey(image, addr)) ?? 0;
      if ((this.#changedIn.get(request.oid) ?? 0) <= last) return;
    }
    this.#say('owner', op, `the lock is ${owner ? `${formatAddr(owner)}'s` : "nobody's"}`);
  }

  #tenureOf(image: string, owner: EntityAddr): number {
    const key = tenureKey(image, owner);
    let tenure = this.#tenures.get(image);
    if (tenure?.owner !== key) {
      tenure = { owner: key, since: (tenure?.since ?? 0) + 1 };
      this.#tenures.set(image, tenure);
      this.#lastTenure.set(key, tenure.since);
    }
    return tenure.since;
  }

  #isInTrash(pool: number, image: string): boolean {
    return this.#object(pool, RBD_TRASH)?.omapGet(`id_${image}`) !== undefined;
  }

  #checkMap(
    osd: OsdDaemon,
    op: ClientOp,
    { image, objectNo }: { image: string; objectNo: number },
  ): void {
    const { pg, oid } = op.client.request;
    const object = this.#stored(osd, pg.pool, oid);
    if (!object || object.meta.info.whiteout) return;
    const stored = this.#object(pg.pool, `rbd_object_map.${image}`);
    if (!stored) return;
    const map = BitVector.decode(new Decoder(stored.read(0, stored.size)), osd.crc32c);
    if (objectNo >= map.size || map.get(objectNo) !== NONEXISTENT) return;
    this.#say('object-map', op, 'the object exists, and the stored map says that it does not');
  }

  /** When the map changes, all of it is looked at: what was cleared too early will hardly be written again. */
  #checkWholeMap(osd: OsdDaemon, op: ClientOp, image: string): void {
    const { pool } = op.client.request.pg;
    const header = this.#object(pool, `rbd_header.${image}`);
    const stored = this.#stored(osd, pool, op.client.request.oid);
    if (!header || !hasValidMap(header) || !stored || stored.size === 0) return;
    const map = BitVector.decode(new Decoder(stored.read(0, stored.size)), osd.crc32c);
    for (let objectNo = 0; objectNo < Math.min(map.size, OBJECTS_LOOKED_AT); objectNo++) {
      if (map.get(objectNo) !== NONEXISTENT) continue;
      const object = this.#object(pool, dataObject(`rbd_data.${image}`, objectNo));
      if (!object || object.meta.info.whiteout) continue;
      this.#say(
        'object-map',
        op,
        `object ${objectNo} exists, and the map does not have it any more`,
      );
      return;
    }
  }

  /** An object as its primary has it now; undefined when it lacks it, or does not know yet what it should have. */
  #object(pool: number, oid: string): StoredObject | undefined {
    const newest = this.#newest();
    const place = newest && objectToPg(newest.view.map, { pool, nspace: '', oid });
    if (!place) return undefined;
    const { actingPrimary } = newest.view.placement.pgToUpActing(place.pg);
    const primary = this.osds.get(actingPrimary);
    return primary?.alive && primary.serves(place.pg)
      ? this.#stored(primary, pool, oid)
      : undefined;
  }

  #stored(osd: OsdDaemon, pool: number, oid: string): StoredObject | undefined {
    const place = objectToPg(osd.view.map, { pool, nspace: '', oid });
    if (!place) return undefined;
    const id: ObjectId = { pool, nspace: '', oid, key: '', hash: place.hash, snap: NOSNAP };
    const collection = formatPgId(place.pg);
    if (osd.store.isMissing(collection, id)) return undefined;
    return osd.store.get(collection, id);
  }

  /** Who has the newest map. */
  #newest(): OsdDaemon | undefined {
    let newest: OsdDaemon | undefined;
    for (const osd of this.osds.values()) {
      if (osd.alive && osd.epoch > (newest?.epoch ?? 0)) newest = osd;
    }
    return newest;
  }

  #say(checker: string, op: ClientOp, why: string): void {
    if (++this.#count > VIOLATIONS_MAX) return;
    const { session } = op.client;
    const who = `${formatEntityName(session.name)} ${formatAddr(session.addr)}`;
    this.#violate({ checker, message: `${op.description} of ${who}: ${why}` });
  }
}

function tenureKey(image: string, { host, port, nonce }: EntityAddr): string {
  return `${image} ${host}:${port}/${nonce}`;
}

function readU64(header: StoredObject, key: string): bigint {
  const bytes = header.omapGet(key);
  return bytes ? decodeAll(key, u64, bytes) : 0n;
}

function hasValidMap(header: StoredObject): boolean {
  const hasFeature = (readU64(header, 'features') & FEATURE.OBJECT_MAP) !== 0n;
  return hasFeature && (readU64(header, 'flags') & OBJECT_MAP_INVALID) === 0n;
}

function ownerOf(header: StoredObject): EntityAddr | undefined {
  const bytes = header.xattr(LOCK_XATTR);
  if (!bytes || bytes.length === 0) return undefined;
  const { lockers } = decodeAll('lock_info_t', lockInfo, bytes);
  return lockers[0]?.addr;
}

/** An address of a client is known by its nonce: the type says only by which protocol it was told. */
function sameClient(a: EntityAddr, b: EntityAddr): boolean {
  return a.nonce === b.nonce && a.host === b.host && a.port === b.port;
}
