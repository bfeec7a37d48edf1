// The ceph.conf of a throwaway cluster: everything in its directory, small, and quick to react.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface PoolOptions {
  readonly name: string;
  readonly pgNum?: number;
  /** Copies; the cluster's `size` unless told. Not for erasure-coded pools. */
  readonly size?: number;
  readonly minSize?: number;
  /** Makes it an erasure-coded pool with overwrites, usable as an image's data pool. */
  readonly erasure?: { readonly k: number; readonly m: number };
}

export interface CephClusterOptions {
  readonly osds?: number;
  readonly mons?: number;
  readonly auth?: 'cephx' | 'none';
  /** `osd pool default size`. Tests that end OSDs want 2 or more: see `killOsd`. */
  readonly size?: number;
  readonly minSize?: number;
  readonly pools?: readonly PoolOptions[];
  /** Lines for `[global]`; they win over ours. */
  readonly conf?: string;
  /** Lines for `[osd]`; they win over ours. */
  readonly osdConf?: string;
}

/** Where every daemon listens. */
export const HOST = '127.0.0.1';

export function cephConf(
  cluster: {
    readonly dir: string;
    readonly fsid: string;
    readonly monAddrs: readonly string[];
    readonly keyringPath: string;
  },
  options: Required<CephClusterOptions>,
): string {
  const { dir, fsid, monAddrs, keyringPath } = cluster;
  const { auth, size, minSize, conf, osdConf } = options;
  return `[global]
fsid = ${fsid}
mon host = ${monAddrs.join(',')}
auth cluster required = ${auth}
auth service required = ${auth}
auth client required = ${auth}
auth allow insecure global id reclaim = false
mon warn on insecure global id reclaim allowed = false
public addr = ${HOST}
cluster addr = ${HOST}
run dir = ${dir}/run
admin socket = ${dir}/run/$cluster-$name.$pid.asok
log file = ${dir}/log/$name.log
keyring = ${keyringPath}
osd pool default size = ${size}
osd pool default min size = ${minSize}
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
# A change of the osdmap commits at once, not up to a second later.
paxos propose interval = 0.05
# Monitors that start together often miss each other's first election.
mon election timeout = 1
# All OSDs stand on one host: one witness is all that a hung OSD can have.
mon osd min down reporters = 1
mon osd reporter subtree level = osd
# EC overwrites are for bluestore; memstore does for a test.
mon debug no require bluestore for ec overwrites = true
osd objectstore = memstore
memstore device bytes = 4294967296
# A memstore writes itself out when it is unmounted, which the fast way leaves out.
osd fast shutdown = false
# What removed snapshots held is gone soon.
osd snap trim sleep hdd = 0
osd class dir = ${radosClassesDir()}
osd class load list = *
osd class default list = *
${conf}
[mon]
mon data = ${dir}/mon.$id
admin socket = ${dir}/run/$name.asok
pid file = ${dir}/run/$name.pid
[osd]
osd data = ${dir}/osd.$id
keyring = ${dir}/osd.$id/keyring
admin socket = ${dir}/run/$name.asok
pid file = ${dir}/run/$name.pid
${osdConf}
`;
}

/** Debian keeps the object classes in the multi-arch library directory. */
export function radosClassesDir(): string | undefined {
  return readdirSync('/usr/lib')
    .map((name) => join('/usr/lib', name, 'rados-classes'))
    .find((dir) => existsSync(join(dir, 'libcls_rbd.so')));
}
