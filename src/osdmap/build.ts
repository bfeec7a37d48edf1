/** New maps: what a monitor makes when it creates a cluster, with the defaults of 16.2. */

import type { EntityAddr } from '../encoding/entity.js';
import { type Utime, ZERO_TIME } from '../encoding/types.js';
import { NEW_OSD_INFO, NEW_OSD_XINFO } from './apply-incremental.js';
import {
  BUCKET_ALG,
  type CrushBucket,
  CrushMap,
  type CrushRule,
  type CrushTunables,
  emptyCrushFields,
  MODERN_TUNABLES,
  RULE_OP,
} from './crush-map.js';
import { emptyOsdMapFields, OSD_IN, OSD_STATE, OSDMAP_FLAG, OsdMap } from './osdmap.js';
import { type PgPool, POOL_TYPE } from './pool.js';

/** The bucket types of every Ceph cluster, from the device up. */
const BUCKET_TYPES = [
  'osd',
  'host',
  'chassis',
  'rack',
  'row',
  'pdu',
  'pod',
  'room',
  'datacenter',
  'zone',
  'region',
  'root',
] as const;

const TYPE_OSD = 0;
const TYPE_HOST = 1;
const TYPE_ROOT = 11;
const ONE = 0x10000;

export interface SimpleCrushOsd {
  id: number;
  host: string;
  /** 1 is the share of 1 TiB, by Ceph's custom. */
  weight: number;
  /** `'ssd'`, `'hdd'`, `'nvme'`. */
  deviceClass?: string | undefined;
}

export interface SimpleCrushOptions {
  osds: readonly SimpleCrushOsd[];
  root?: string;
  /** What replicas must not share. Default `'host'`. */
  failureDomain?: 'host' | 'osd';
  tunables?: CrushTunables;
}

/**
 * One root, hosts and OSDs in straw2 buckets, with rule 0 `replicated_rule`. Each device class has a shadow of the whole
 * tree (`default~ssd`) that holds only its devices: a rule for a class simply takes the shadow root.
 */
export function buildSimpleCrushMap(options: SimpleCrushOptions): CrushMap {
  const { osds, root = 'default', failureDomain = 'host', tunables = MODERN_TUNABLES } = options;
  const fields = emptyCrushFields();
  fields.tunables = { ...tunables };
  fields.typeNames = new Map(BUCKET_TYPES.map((name, type) => [type, name]));

  const add = (name: string, type: number, items: number[], itemWeights: number[]): CrushBucket => {
    const id = -1 - fields.buckets.length;
    const weight = itemWeights.reduce((sum, w) => sum + w, 0);
    const bucket: CrushBucket = {
      alg: BUCKET_ALG.STRAW2,
      id,
      type,
      hash: 0,
      weight,
      items,
      itemWeights,
    };
    fields.buckets.push(bucket);
    fields.itemNames.set(id, name);
    return bucket;
  };
  const hosts = [...new Set(osds.map((osd) => osd.host))];
  /** A root over all hosts, with the devices that pass; returns it and its hosts. */
  const addTree = (suffix: string, passes: (osd: SimpleCrushOsd) => boolean): CrushBucket[] => {
    // The root comes first, so that the plain one has id -1 as everywhere.
    const rootBucket = add(root + suffix, TYPE_ROOT, [], []);
    const hostBuckets = hosts.map((host) => {
      const devices = osds.filter((osd) => osd.host === host && passes(osd));
      const weights = devices.map((osd) => Math.round(osd.weight * ONE));
      return add(
        host + suffix,
        TYPE_HOST,
        devices.map((osd) => osd.id),
        weights,
      );
    });
    const weights = hostBuckets.map((bucket) => bucket.weight);
    Object.assign(rootBucket, {
      items: hostBuckets.map((bucket) => bucket.id),
      itemWeights: weights,
      weight: weights.reduce((sum, w) => sum + w, 0),
    });
    return [rootBucket, ...hostBuckets];
  };

  const tree = addTree('', () => true);
  for (const osd of osds) fields.itemNames.set(osd.id, `osd.${osd.id}`);
  const classes = [...new Set(osds.flatMap((osd) => osd.deviceClass ?? []))];
  classes.forEach((name, classId) => {
    fields.classNames.set(classId, name);
    const shadow = addTree(`~${name}`, (osd) => osd.deviceClass === name);
    for (const osd of osds) if (osd.deviceClass === name) fields.classMap.set(osd.id, classId);
    tree.forEach((bucket, i) => {
      const shadows = fields.classBuckets.get(bucket.id) ?? new Map<number, number>();
      const shadowId = (shadow[i] as CrushBucket).id;
      fields.classBuckets.set(bucket.id, shadows.set(classId, shadowId));
      fields.classMap.set(shadowId, classId);
    });
  });

  const leafType = failureDomain === 'host' ? TYPE_HOST : TYPE_OSD;
  fields.rules = [replicatedRule(0, -1, leafType)];
  fields.ruleNames.set(0, 'replicated_rule');
  return new CrushMap(fields);
}

/** The rule of a replicated pool: as many `leafType` buckets below `root` as the pool asks for, one OSD in each. */
export function replicatedRule(id: number, root: number, leafType: number): CrushRule {
  return {
    ruleset: id,
    type: POOL_TYPE.REPLICATED,
    minSize: 1,
    maxSize: 10,
    steps: [
      { op: RULE_OP.TAKE, arg1: root, arg2: 0 },
      { op: RULE_OP.CHOOSELEAF_FIRSTN, arg1: 0, arg2: leafType },
      { op: RULE_OP.EMIT, arg1: 0, arg2: 0 },
    ],
  };
}

export interface NewOsd {
  id: number;
  uuid: string;
  /** Default true: up and in. */
  up?: boolean;
  addrs?: {
    client: EntityAddr[];
    cluster: EntityAddr[];
    hbBack: EntityAddr[];
    hbFront: EntityAddr[];
  };
}

export interface NewOsdMap {
  fsid: string;
  epoch: number;
  created: Utime;
  crush: CrushMap;
  /** Default: room for `osds`. */
  maxOsd?: number;
  osds?: readonly NewOsd[];
  pools?: readonly { id: number; name: string; pool: PgPool }[];
}

const LUMINOUS = 12;
const PACIFIC = 16;

const DEFAULT_FLAGS =
  OSDMAP_FLAG.SORTBITWISE |
  OSDMAP_FLAG.RECOVERY_DELETES |
  OSDMAP_FLAG.PURGED_SNAPDIRS |
  OSDMAP_FLAG.PGLOG_HARDLIMIT;

/** A map as a new 16.2 cluster has it. */
export function createOsdMap(options: NewOsdMap): OsdMap {
  const { osds = [], pools = [], epoch } = options;
  const maxOsd = options.maxOsd ?? osds.reduce((max, osd) => Math.max(max, osd.id + 1), 0);
  const byId = new Map(osds.map((osd) => [osd.id, osd]));
  const perOsd = <T>(value: (osd: NewOsd | undefined) => T) =>
    Array.from({ length: maxOsd }, (_, id) => value(byId.get(id)));
  const isUp = (osd: NewOsd | undefined) => osd !== undefined && osd.up !== false;
  const states = perOsd((osd) => (osd ? OSD_STATE.EXISTS : 0) | (isUp(osd) ? OSD_STATE.UP : 0));

  return new OsdMap({
    ...emptyOsdMapFields(),
    fsid: options.fsid,
    epoch,
    created: options.created,
    modified: options.created,
    flags: DEFAULT_FLAGS,
    pools: new Map(pools.map(({ id, pool }) => [id, pool])),
    poolName: new Map(pools.map(({ id, name }) => [id, name])),
    poolMax: pools.reduce((max, { id }) => Math.max(max, id), 0),
    maxOsd,
    osdState: Uint32Array.from(states),
    osdWeight: Uint32Array.from(perOsd((osd) => (isUp(osd) ? OSD_IN : 0))),
    clientAddrs: perOsd((osd) => osd?.addrs?.client ?? []),
    clusterAddrs: perOsd((osd) => osd?.addrs?.cluster ?? []),
    hbBackAddrs: perOsd((osd) => osd?.addrs?.hbBack ?? []),
    hbFrontAddrs: perOsd((osd) => osd?.addrs?.hbFront ?? []),
    osdUuid: perOsd((osd) => osd?.uuid ?? '00000000-0000-0000-0000-000000000000'),
    osdInfo: perOsd((osd) => ({ ...NEW_OSD_INFO, upFrom: isUp(osd) ? epoch : 0 })),
    osdXinfo: perOsd(() => NEW_OSD_XINFO),
    crush: options.crush,
    lastUpChange: osds.some(isUp) ? options.created : ZERO_TIME,
    lastInChange: osds.some(isUp) ? options.created : ZERO_TIME,
    erasureCodeProfiles: new Map([
      [
        'default',
        new Map([
          ['k', '2'],
          ['m', '2'],
          ['plugin', 'jerasure'],
          ['technique', 'reed_sol_van'],
        ]),
      ],
    ]),
    nearfullRatio: 0.85,
    backfillfullRatio: 0.9,
    fullRatio: 0.95,
    // Luminous keeps librbd at clones of version 1; mimic and later would make it choose version 2.
    requireMinCompatClient: LUMINOUS,
    requireOsdRelease: PACIFIC,
  });
}
