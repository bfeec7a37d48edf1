/**
 * What an OSD tells the monitor without being asked: who of its peers is missing or does not answer, and whether its disk is
 * full.
 *
 * Peers are pinged with every heartbeat. How long one has not answered is counted in heartbeats of this OSD's own: one that
 * did not run for a while would else take everybody for dead when it wakes up.
 */

import type { Environment, Timer } from '../../base/environment.js';
import type { MonLink } from '../mon-link.js';
import type { OsdPeer, PeerDirectory } from './osd-peer.js';
import type { MapView } from './pg-host.js';

export interface MonReportsOptions {
  readonly env: Environment;
  readonly whoami: number;
  readonly mon: MonLink;
  readonly peers: PeerDirectory;
  /** How often other OSDs are looked after. */
  readonly heartbeatMs: number | undefined;
  readonly heartbeatGraceMs: number | undefined;
  readonly view: () => MapView;
  readonly isFull: () => boolean;
  /** With every heartbeat. */
  readonly onHeartbeat: () => void;
}

const HEARTBEAT_MS = 1000;
/** `osd_heartbeat_grace` */
const HEARTBEAT_GRACE_MS = 20_000;
/** How long an OSD may be missing before it is reported: one that just started is not in the directory yet. */
const FAILURE_GRACE_MS = 100;
/** How often an OSD without room looks whether there is some. */
const SPACE_LOOK_MS = 500;

export class MonReports {
  readonly #options: MonReportsOptions;
  readonly #suspects = new Set<number>();
  /** Pings that were not answered yet, and for how many heartbeats. */
  readonly #pings = new Map<number, { peer: OsdPeer; missed: number }>();
  #heartbeat: Timer | undefined;
  #spaceWatch: Timer | undefined;
  #ended = false;

  constructor(options: MonReportsOptions) {
    this.#options = options;
  }

  /** Nothing, when it was ended before: an OSD may be killed while it starts. */
  start(): void {
    if (this.#ended) return;
    this.#scheduleHeartbeat();
    // What it said before it ended may not be so any more.
    this.#watchSpace();
  }

  end(): void {
    this.#ended = true;
    this.#heartbeat?.cancel();
    this.#spaceWatch?.cancel();
  }

  async full(): Promise<void> {
    this.#watchSpace();
    await this.#options.mon.reportFull(this.#options.whoami, true);
  }

  /** Not at once, and not from within the monitor's call with a map: what looks dead may just be starting. */
  failure(osd: number): void {
    const { whoami, env, mon } = this.#options;
    if (this.#ended || osd === whoami || this.#suspects.has(osd)) return;
    this.#suspects.add(osd);
    env.timers.after(
      FAILURE_GRACE_MS,
      () => {
        this.#suspects.delete(osd);
        if (!this.#ended && this.#isMissing(osd)) mon.reportFailure(osd, whoami);
      },
      { background: true },
    );
  }

  #isMissing(osd: number): boolean {
    const { view, peers } = this.#options;
    return view().map.isUp(osd) && !peers.osd(osd);
  }

  #scheduleHeartbeat(): void {
    const { env, heartbeatMs = HEARTBEAT_MS, view, whoami, onHeartbeat } = this.#options;
    this.#heartbeat = env.timers.after(
      heartbeatMs,
      () => {
        const { maxOsd } = view().map;
        for (let osd = 0; osd < maxOsd; osd++) {
          if (osd === whoami) continue;
          if (this.#isMissing(osd)) this.failure(osd);
          this.#ping(osd);
        }
        onHeartbeat();
        this.#scheduleHeartbeat();
      },
      { background: true },
    );
  }

  #ping(osd: number): void {
    const { view, peers, mon, whoami } = this.#options;
    const { heartbeatMs = HEARTBEAT_MS, heartbeatGraceMs = HEARTBEAT_GRACE_MS } = this.#options;
    const peer = view().map.isUp(osd) ? peers.osd(osd) : undefined;
    const sent = this.#pings.get(osd);
    if (!peer) {
      this.#pings.delete(osd);
    } else if (sent?.peer === peer) {
      sent.missed++;
      if (sent.missed * heartbeatMs >= heartbeatGraceMs) mon.reportFailure(osd, whoami);
    } else {
      const ping = { peer, missed: 0 };
      this.#pings.set(osd, ping);
      const answered = () => {
        if (this.#pings.get(osd) === ping) this.#pings.delete(osd);
      };
      // An OSD that is gone is missing in the directory: that is another report.
      peer.ping().then(answered, answered);
    }
  }

  /** Until there is room again. */
  #watchSpace(): void {
    if (this.#ended) return;
    const { env, mon, whoami, isFull } = this.#options;
    this.#spaceWatch ??= env.timers.after(
      SPACE_LOOK_MS,
      () => {
        this.#spaceWatch = undefined;
        if (isFull()) this.#watchSpace();
        else void mon.reportFull(whoami, false);
      },
      { background: true },
    );
  }
}
