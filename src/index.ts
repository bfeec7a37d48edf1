/**
 * linger-rbd: Ceph block images from Node.js.
 *
 * Importing this starts no thread, compiles no WebAssembly and opens nothing.
 */

export { isRadosError, type Outcome, ProtocolError, RadosError } from './base/errors.js';
export type { LogLevel, LogOptions, Subsystem } from './base/log.js';
export { type DeviceAttributes, sysfsAttributes } from './block/attributes.js';
export {
  Blocklist,
  Cluster,
  type ClusterOptions,
  connect,
  type MapImageOptions,
  Namespaces,
  Pool,
} from './block/cluster.js';
export {
  type ExportDiffOptions,
  ImageMetadata,
  Images,
  type ImportDiffOptions,
  type ImportOptions,
} from './block/images.js';
export {
  BlockDevice,
  type BlockDeviceEvents,
  type IoOptions,
  type ReadView,
  type WorkerReplacement,
  type WriteOptions,
} from './block/device.js';
export type { BlockFileHandle } from './block/file-handle.js';
export {
  type MapOptions,
  type MapOptionsInput,
  mapOptions,
  parseMapOptions,
} from './block/map-options.js';
export {
  createReadStream,
  createWriteStream,
  type ReadStreamOptions,
  type WriteStreamOptions,
} from './block/streams.js';
export type { ImageStatus, RadosClientStatus } from './block/runtime.js';
export { Snapshots } from './block/snapshots.js';
export { Trash } from './block/trash.js';
export { EmbeddedCluster, type EmbeddedClusterOptions } from './cluster/embedded-cluster.js';
export { Fault, Faults } from './cluster/faults/faults.js';
export type {
  BreakAfterOptions,
  ClientRef,
  ClientStatus,
  DelayConnectionsOptions,
  DelayNotifyOptions,
  DelayRepliesOptions,
  DropWatchOptions,
  FailOpsOptions,
  FaultCounters,
  FaultKind,
  FaultStatus,
  FreezeOsdOptions,
  FullOptions,
  JumpClockOptions,
  MapFlag,
  MonUnavailableOptions,
  MovePgOptions,
  OpKind,
  PartOsdsOptions,
  WatchStatus,
} from './cluster/faults/fault-spec.js';
export { CephFloat } from './mon-client/mon-command.js';
export type { BlocklistEntry } from './rados/blocklist.js';
export type { ConnectOptions, MsMode } from './rados/connect.js';
export type { ImageLock, ImageLocks } from './rbd/advisory-locks.js';
export type { CopyImageOptions, DeepCopyOptions } from './rbd/copy.js';
export type { CreateOptions } from './rbd/create.js';
export type { DiffExtent, DiffOptions } from './rbd/diff/diff.js';
export type { ImageUsage, UsageEntry, UsageOptions } from './rbd/diff/usage.js';
export type { ImageInfo } from './rbd/info.js';
export type { SnapshotRef } from './rbd/image-snapshots.js';
export type { LockLossReason } from './rbd/lock-host.js';
export type { SnapshotInfo, SnapshotNamespace } from './rbd/snapshots.js';
export type { TrashedImage } from './rbd/trash.js';
export type { ImageWatcherInfo } from './rbd/watchers.js';
export { SIM_FAULT_NAMES, type SimFaultName } from './sim/faults/catalogue.js';
export { type SimulateOptions, type SimulateResult, simulate } from './sim/simulate.js';
export type { SimulatedClient, Simulation } from './sim/simulation.js';
