/** What krbd shows of a mapped image under `/sys/bus/rbd/devices/ID/`, as data and as krbd's text. */

export interface DeviceAttributes {
  /** Bytes. */
  size: number;
  features: bigint;
  pool: string;
  poolId: number;
  /** `''` is the default namespace. */
  poolNs: string;
  name: string;
  imageId: string;
  /** `'-'` for the head. */
  currentSnap: string;
  /** CEPH_NOSNAP (2^64 - 2) for the head. */
  snapId: bigint;
  /** `ip:port/nonce` */
  clientAddr: string;
  /** `client4123` */
  clientId: string;
  clusterFsid: string;
  /** The options that the image was mapped with, without secrets. */
  configInfo: string;
  /** Nearest ancestor first. */
  parents: readonly ParentAttributes[];

  readOnly: boolean;
  objectSize: number;
  stripeUnit: number;
  stripeCount: number;
  /** Granularity of discards, and the best smallest I/O. */
  allocSize: number;
}

export interface ParentAttributes {
  poolId: number;
  poolName: string;
  poolNs: string;
  imageId: string;
  imageName: string;
  snapId: bigint;
  snapName: string;
  overlap: number;
}

/**
 * The attributes as krbd's sysfs files have them, by file name (drivers/block/rbd.c, `rbd_*_show`).
 * `major` and `minor` are missing: there is no kernel device.
 */
export function sysfsAttributes(attributes: DeviceAttributes): Readonly<Record<string, string>> {
  return {
    size: String(attributes.size),
    features: `0x${attributes.features.toString(16).padStart(16, '0')}`,
    client_addr: attributes.clientAddr,
    client_id: attributes.clientId,
    cluster_fsid: attributes.clusterFsid,
    config_info: attributes.configInfo,
    pool: attributes.pool,
    pool_id: String(attributes.poolId),
    pool_ns: attributes.poolNs,
    name: attributes.name === '' ? '(unknown)' : attributes.name,
    image_id: attributes.imageId,
    current_snap: attributes.currentSnap,
    snap_id: String(attributes.snapId),
    parent: parentText(attributes.parents),
  };
}

function parentText(parents: readonly ParentAttributes[]): string {
  if (parents.length === 0) return '(no parent image)';
  return parents
    .map((parent) =>
      [
        `pool_id ${parent.poolId}`,
        `pool_name ${parent.poolName}`,
        `pool_ns ${parent.poolNs}`,
        `image_id ${parent.imageId}`,
        `image_name ${parent.imageName === '' ? '(unknown)' : parent.imageName}`,
        `snap_id ${parent.snapId}`,
        `snap_name ${parent.snapName}`,
        `overlap ${parent.overlap}`,
      ].join('\n'),
    )
    .join('\n\n');
}
