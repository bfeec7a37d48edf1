/** What an OSD answers at its admin socket: `ceph daemon osd.N COMMAND`. */

import { ERRNO } from '../../base/errors.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import { type AdminCommand, AdminCommands } from '../admin/admin-command.js';
import type { Json } from '../mon/formatter.js';
import { VERSION_NUMBER } from '../mon/releases.js';
import { formatTime } from '../mon/times.js';
import type { Backoff } from './backoffs.js';
import type { OsdLimits } from './limits.js';
import type { OpTracker } from './op-tracker.js';
import type { MapView } from './pg-host.js';
import type { PgPrimary } from './pg-primary.js';
import {
  dumpAddr,
  dumpBackoffs,
  dumpBlockedOps,
  dumpHistory,
  dumpOps,
  dumpPipelines,
  dumpSlowHistory,
  dumpWatchers,
} from './pipeline-dumps.js';
import type { Phase } from './pipeline/phase.js';
import type { PipelineWorld } from './pipeline/world.js';

/** What the commands are about. */
export interface CommandSource {
  readonly whoami: number;
  readonly pipeline: PipelineWorld;
  readonly tracker: OpTracker;
  readonly limits: OsdLimits;
  readonly view: MapView;
  readonly isUp: boolean;
  readonly pgCount: number;
  /** A map of the past, while it is kept. */
  viewAt(epoch: number): MapView | undefined;
  busyPhases(): Phase[];
  /** Of all sessions. */
  backoffs(): Backoff[];
  servedPgs(): PgPrimary[];
}

const COMMANDS: readonly AdminCommand<CommandSource>[] = [
  {
    prefix: 'status',
    help: 'high-level status of OSD',
    run: (osd) => {
      const { map, epoch } = osd.view;
      const oldest = oldestMap(osd);
      return {
        cluster_fsid: map.fsid,
        osd_fsid: map.osdUuid[osd.whoami] ?? '',
        whoami: osd.whoami,
        state: osd.isUp ? 'active' : 'booting',
        oldest_map: oldest,
        cluster_osdmap_trim_lower_bound: oldest,
        newest_map: epoch,
        num_pgs: osd.pgCount,
      };
    },
  },
  {
    prefix: 'version',
    help: 'get ceph version',
    run: () => ({ version: VERSION_NUMBER, release: 'pacific', release_type: 'stable' }),
  },
  {
    prefix: 'dump_ops_in_flight',
    help: 'show the ops currently in flight',
    run: ({ tracker, pipeline }) => dumpOps(tracker.inFlight(), pipeline.now(), tracker.complaints),
  },
  {
    prefix: 'ops',
    help: 'show the ops currently in flight',
    run: ({ tracker, pipeline }) => dumpOps(tracker.inFlight(), pipeline.now(), tracker.complaints),
  },
  {
    prefix: 'dump_blocked_ops',
    help: 'show the blocked ops currently in flight',
    run: ({ tracker, pipeline }) => dumpBlockedOps(tracker.blocked(pipeline.now()), pipeline.now()),
  },
  {
    prefix: 'dump_historic_ops',
    help: 'show recent ops',
    run: ({ tracker, pipeline }) => dumpHistory(tracker.history(), pipeline.now()),
  },
  {
    prefix: 'dump_historic_ops_by_duration',
    help: 'show slowest recent ops, sorted by duration',
    run: ({ tracker, pipeline }) => dumpHistory(tracker.slowHistory(), pipeline.now()),
  },
  {
    prefix: 'dump_historic_slow_ops',
    help: 'show slowest recent ops',
    run: ({ tracker, pipeline }) => dumpSlowHistory(tracker.slowHistory(), pipeline.now()),
  },
  {
    prefix: 'dump_pipelines',
    help: 'show who is in which phase of the request pipeline, and who waits for it',
    run: (osd) => dumpPipelines(osd.pipeline, osd.busyPhases()),
  },
  {
    prefix: 'dump_backoffs',
    help: 'show what clients were asked to wait with, and for what',
    run: (osd) => dumpBackoffs(osd.backoffs()),
  },
  {
    prefix: 'dump_watchers',
    help: 'show clients which have active watches, and on which objects',
    run: (osd) => dumpWatchers(osd.servedPgs().flatMap((pg) => pg.watches())),
  },
  {
    prefix: 'dump_blocklist',
    help: 'dump blocklisted clients and times',
    run: ({ view }) => dumpBlocklist(view.map.blocklist),
    // Fenced networks follow as a list of their own.
    also: ({ view }) => dumpBlocklist(view.map.rangeBlocklist),
  },
  {
    prefix: 'get_mapped_pools',
    help: 'dump pools whose PG(s) are mapped to this OSD.',
    run: (osd) => [...new Set(osd.servedPgs().map(({ poolId }) => poolId))].sort((a, b) => a - b),
  },
  {
    prefix: 'config show',
    help: 'dump current config settings',
    run: (osd) => Object.fromEntries(configOf(osd)),
  },
  {
    prefix: 'config get',
    args: [{ name: 'var', type: 'CephString' }],
    help: 'config get <field>: get the config value',
    run: (osd, { var: name }) => {
      const value = configOf(osd).get(String(name));
      if (value !== undefined) return { [String(name)]: value };
      // As a daemon answers that has no such option.
      return {
        error: `error getting '${String(name)}': (${ERRNO.ENOENT}) No such file or directory`,
      };
    },
  },
];

export const OSD_COMMANDS = new AdminCommands(COMMANDS);

/** By halving: maps are kept without gaps. */
function oldestMap(osd: CommandSource): number {
  let newest = osd.view.epoch;
  let gone = 0;
  while (newest - gone > 1) {
    const middle = Math.floor((newest + gone) / 2);
    if (osd.viewAt(middle)) newest = middle;
    else gone = middle;
  }
  return newest;
}

function dumpBlocklist(entries: OsdMap['blocklist']): Json {
  return [...entries.values()].map(({ addr, until }) => ({
    entity_addr_t: dumpAddr(addr),
    expire_time: formatTime(until),
  }));
}

const MIB = 1024 * 1024;

/** What it goes by, by the names of Ceph's options. */
function configOf({ whoami, limits }: CommandSource): Map<string, string> {
  const values: Record<string, number | string> = {
    name: `osd.${whoami}`,
    osd_client_message_cap: limits.clients.messages,
    osd_client_message_size_cap: limits.clients.bytes,
    osd_client_watch_timeout: limits.watchTimeoutS,
    osd_default_notify_timeout: limits.notifyTimeoutS,
    osd_max_attr_name_len: limits.maxXattrNameBytes,
    osd_max_attr_size: limits.maxXattrBytes,
    osd_max_object_name_len: limits.maxObjectNameBytes,
    osd_max_object_namespace_len: limits.maxNamespaceBytes,
    osd_max_object_size: limits.maxObjectBytes,
    osd_max_omap_bytes_per_request: limits.maxOmapBytes,
    osd_max_omap_entries_per_request: limits.maxOmapEntries,
    osd_max_pgls: limits.maxPgls,
    osd_max_write_op_reply_len: limits.maxWriteReplyBytes,
    osd_max_write_size: limits.maxWriteBytes / MIB,
    osd_recovery_max_active: limits.recoveryMaxActive,
  };
  return new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
}
