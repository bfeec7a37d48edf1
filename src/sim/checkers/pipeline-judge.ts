/** Checks the rules of the request pipeline on every OSD that begins while it watches. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { OSD_CHANNEL, type OsdDaemon } from '../../cluster/osd-daemon.js';
import { EventLog } from '../../cluster/osd/pipeline/event-log.js';
import type { StoredObject } from '../../cluster/store/object-store.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { PhaseRules } from './phase-rules.js';
import { type OsdSight, RequestRules } from './request-rules.js';
import { type SessionSight, SessionRules } from './session-rules.js';
import { type VectorSight, VectorRules } from './vector-rules.js';

/** Nobody looks back: what happens is judged as it happens. */
const EVENTS_KEPT = 16;

interface Watched {
  readonly osd: OsdDaemon;
  readonly phases: PhaseRules;
  readonly sessions: SessionRules;
}

interface WatchedCluster {
  readonly requests: RequestRules;
  readonly vectors: VectorRules;
  /** The newest daemon of each id. */
  readonly osds: Map<number, OsdDaemon>;
}

export class PipelineJudge {
  #osds: Watched[] = [];
  /** By what their OSDs share. */
  readonly #clusters = new Map<unknown, WatchedCluster>();

  /** Returns what ends it. */
  watch(): () => void {
    const onOsd = (message: unknown) => this.#follow(message as OsdDaemon);
    subscribe(OSD_CHANNEL, onOsd);
    return () => unsubscribe(OSD_CHANNEL, onOsd);
  }

  /** What was violated since it was asked last. Those OSDs that are gone are forgotten. */
  takeViolations(): string[] {
    for (const { osd, phases } of this.#osds) if (osd.alive) phases.settled(osd.busyPhases());
    const rules = [
      ...this.#osds.flatMap(({ phases, sessions }) => [phases, sessions]),
      ...[...this.#clusters.values()].flatMap(({ requests, vectors }) => [requests, vectors]),
    ];
    const violations = rules.flatMap((each) => each.violations.splice(0));
    this.#osds = this.#osds.filter(({ osd }) => osd.alive);
    for (const [key, { osds }] of this.#clusters) {
      if ([...osds.values()].every((osd) => !osd.alive)) this.#clusters.delete(key);
    }
    return violations;
  }

  #follow(osd: OsdDaemon): void {
    const { pipeline } = osd;
    const phases = new PhaseRules();
    const sessions = new SessionRules();
    this.#osds.push({ osd, phases, sessions });
    const cluster = this.#clusters.get(osd.cluster) ?? {
      requests: new RequestRules(),
      vectors: new VectorRules(),
      osds: new Map<number, OsdDaemon>(),
    };
    this.#clusters.set(osd.cluster, cluster);
    cluster.osds.set(osd.whoami, osd);
    for (const stored of headsOf(osd)) cluster.vectors.found(stored);
    const sight = sightOf(osd, cluster.osds);
    pipeline.log ??= new EventLog(() => pipeline.now(), EVENTS_KEPT);
    pipeline.log.listen((event) => {
      phases.feed(event);
      cluster.requests.feed(event, sight);
      cluster.vectors.feed(event, sight);
      sessions.feed(event, sight);
    });
  }
}

/** What its disk has. */
function* headsOf({ store }: OsdDaemon): Iterable<StoredObject> {
  for (const collection of store.collections()) {
    for (const id of store.list(collection, undefined, Number.MAX_SAFE_INTEGER)) {
      const isWhole = id.snap === NOSNAP && !store.isMissing(collection, id);
      const stored = isWhole ? store.get(collection, id) : undefined;
      if (stored) yield stored;
    }
  }
}

function sightOf(
  osd: OsdDaemon,
  osds: ReadonlyMap<number, OsdDaemon>,
): OsdSight & SessionSight & VectorSight {
  return {
    watchesOn: (session) =>
      osd.servedPgs().reduce((count, pg) => count + pg.watchesOn(session).length, 0),
    stored: ({ client: { request } }) => {
      const { locator, oid, hash, pg } = request;
      const { pool, nspace, key } = locator;
      return osd.store.get(formatPgId(pg), { pool, nspace, oid, key, hash, snap: NOSNAP });
    },
    get epoch() {
      return osd.epoch;
    },
    isBlocklisted: (addr) => osd.view.map.isBlocklisted(addr),
    membersHave: (pg) => {
      const collection = formatPgId(pg);
      return osd.view.placement.pgToUpActing(pg).acting.flatMap((id) => {
        const member = osds.get(id);
        if (!member?.alive) return [];
        const info = member.store.pgInfo(collection);
        return [{ osd: id, version: info?.lastUpdate.version ?? 0n }];
      });
    },
  };
}
