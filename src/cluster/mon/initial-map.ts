/**
 * The first epoch of a new cluster: N OSDs on one host, known but down, the default rule and no pools. What
 * `ceph-mon --mkfs` and an `osd new` per OSD leave behind, in one step.
 */

import type { Environment } from '../../base/environment.js';
import { formatUuid, utimeFromMs } from '../../encoding/types.js';
import { buildSimpleCrushMap, createOsdMap, replicatedRule } from '../../osdmap/build.js';
import { CrushMap, RULE_OP } from '../../osdmap/crush-map.js';
import { OSD_IN, OSD_STATE, OsdMap } from '../../osdmap/osdmap.js';

const TYPE_OSD = 0;
const ROOT_ID = -1;
/** What Ceph takes a device for that it cannot ask. */
const DEVICE_CLASS = 'hdd';

/** A random version 4 uuid. */
export function randomUuid(env: Environment): string {
  const bytes = env.random.bytes(16).slice();
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return formatUuid(bytes);
}

export function createInitialMap(
  env: Environment,
  { fsid, osds }: { fsid: string; osds: number },
): OsdMap {
  const now = utimeFromMs(env.clock.now());
  const ids = Array.from({ length: osds }, (_, osd) => osd);
  const host = hostBucketName(env.hostname);
  const built = buildSimpleCrushMap({
    osds: ids.map((id) => ({ id, host, weight: 1, deviceClass: DEVICE_CLASS })),
    failureDomain: 'osd',
  });
  // There is only one host: the rule spreads copies over OSDs, in the form that
  // `osd crush chooseleaf type = 0` gives it.
  const rule = replicatedRule(0, ROOT_ID, TYPE_OSD);
  rule.steps = rule.steps.map((step) =>
    step.op === RULE_OP.CHOOSELEAF_FIRSTN ? { ...step, op: RULE_OP.CHOOSE_FIRSTN } : step,
  );
  const map = createOsdMap({
    fsid,
    epoch: 1,
    created: now,
    crush: new CrushMap({ ...built, rules: [rule] }),
    osds: ids.map((id) => ({ id, uuid: randomUuid(env), up: false })),
  });
  return new OsdMap({
    ...map,
    osdState: new Uint32Array(osds).fill(OSD_STATE.EXISTS | OSD_STATE.NEW),
    osdWeight: new Uint32Array(osds).fill(OSD_IN),
    lastInChange: now,
    // As they travel: 32-bit floats.
    nearfullRatio: Math.fround(map.nearfullRatio),
    backfillfullRatio: Math.fround(map.backfillfullRatio),
    fullRatio: Math.fround(map.fullRatio),
  });
}

function hostBucketName(hostname: string): string {
  return hostname.replace(/\..*$/, '').replace(/[^A-Za-z0-9_-]/g, '-') || 'localhost';
}
