/** Faults as plain data: what a caller in any thread asks for, and what the cluster's thread arms. */

import type { ErrnoCode } from '../../base/errors.js';

/**
 * A client: by its global id (`4123`, `'client.4123'`), or by its address as `ceph osd blocklist` takes it
 * (`'127.0.0.1:0/3141592'`).
 */
export type ClientRef = bigint | number | string;

/** An object, and who has to do with it. */
export interface ObjectMatch {
  /** By name or id. Default: any. */
  pool?: string | number;
  /** Default: any. */
  namespace?: string;
  /** The object's full name. */
  object?: string;
  /** What its name begins with: `rbd_header.`, `rbd_data.10ac`. */
  prefix?: string;
  client?: ClientRef;
}

/** How often a fault acts before it is over by itself. Default: until it is stopped. */
export interface Limited {
  times?: number;
}

export interface DropWatchOptions {
  pool: string | number;
  namespace?: string;
  object: string;
  /** Default: every watcher of the object. */
  client?: ClientRef;
}

/** Which message of a notify. */
export type NotifyMessage = 'notification' | 'ack' | 'completion';

export interface NotifyOptions extends ObjectMatch, Limited {
  /**
   * `notification`: from the OSD to a watcher (the default); `ack`: from a watcher to the OSD; `completion`: from the OSD
   * to the notifier. `client` is the watcher, or the notifier of a completion.
   */
  message?: NotifyMessage;
}

export interface DelayNotifyOptions extends NotifyOptions {
  /** Default: until the fault is stopped. */
  ms?: number;
}

/** Operations of one kind; a request is of every kind that one of its operations is of. */
export type OpKind =
  | 'read'
  | 'write'
  | 'watch'
  | 'reconnect'
  | 'ping'
  | 'unwatch'
  | 'notify'
  | 'notify-ack'
  | 'call';

export interface OpOptions extends ObjectMatch, Limited {
  /** Default: any. `read` and `write` are what is nothing else of this list. */
  ops?: OpKind | readonly OpKind[];
}

export interface DelayRepliesOptions extends OpOptions {
  /** Default: until the fault is stopped. */
  ms?: number;
}

export interface FailOpsOptions extends OpOptions {
  errno: ErrnoCode;
}

/**
 * What happens at a point of the request pipeline: the request waits, or gets no answer, or its OSD dies, or its connection
 * breaks, or its PG gets another primary.
 */
export type OpPointAction = 'delay' | 'drop' | 'kill' | 'reset' | 'move';

export const OP_POINT_ACTIONS = [
  'delay',
  'drop',
  'kill',
  'reset',
  'move',
] as const satisfies readonly OpPointAction[];

export interface OpPointOptions extends OpOptions {
  /** `osd.1.op.O1.process.entered`: OSD, phase and event, or `*` in the place of OSD or phase. */
  point: string;
  action: OpPointAction;
  /** Of `delay`. Default: until the fault is stopped. */
  ms?: number;
}

/** What happens as a store is about to acknowledge a change: it is late, or its OSD dies. */
export type StorePointAction = 'delay' | 'kill';

export const STORE_POINT_ACTIONS = ['delay', 'kill'] as const satisfies readonly StorePointAction[];

/** Which changes: those of the object, at its primary and at its replicas. */
export interface StorePointOptions extends Omit<ObjectMatch, 'client'>, Limited {
  /** `osd.1.store.commit`, or `*` in the place of the OSD. */
  point: string;
  action: StorePointAction;
  /** Of `delay`. Default: until the fault is stopped. */
  ms?: number;
}

/** Which connections: all that match everything given. */
export interface ConnectionMatch {
  /** A client is known once it has authenticated. */
  client?: ClientRef;
  osd?: number;
  /** Those to the monitor. */
  mon?: boolean;
}

/** `open`: those of now; `next`: those to come; `all`: both. */
export type ConnectionScope = 'open' | 'next' | 'all';

/** As the client sees it: what it sends goes `toCluster`. */
export type Direction = 'toCluster' | 'toClient' | 'both';

export interface ResetOptions extends ConnectionMatch {
  /** Default `open`. */
  connections?: Exclude<ConnectionScope, 'all'>;
  /** With `next`: how many. Default 1. */
  times?: number;
  /** With `open`: again and again, with this many milliseconds between. */
  everyMs?: number;
}

export interface RefuseOptions extends ConnectionMatch, Limited {}

export interface ShapeOptions extends ConnectionMatch {
  /** Default `all`. */
  connections?: ConnectionScope;
  /** Default `both`. */
  direction?: Direction;
}

export interface DelayConnectionsOptions extends ShapeOptions {
  ms: number;
  /** Up to so much more, drawn for each piece; the order stays. */
  jitterMs?: number;
}

export interface ThrottleOptions extends ShapeOptions {
  bytesPerSecond: number;
}

export interface BreakAfterOptions extends ShapeOptions {
  /** Bytes that still pass, of each direction asked for. */
  bytes: number;
  /** How many connections break. Default 1. */
  times?: number;
}

export interface FreezeOsdOptions {
  osd: number;
  /** Default: until the fault is stopped. */
  ms?: number;
  /** When it is reported. Default: when its peers have had no heartbeat for 20 s (`osd_heartbeat_grace`); 0: never. */
  graceMs?: number;
}

export interface PartOsdsOptions {
  osds: readonly number[];
  /** Default: all others. */
  from?: readonly number[];
}

export interface MovePgOptions {
  pool: string | number;
  /** The PG of this object. */
  object?: string;
  namespace?: string;
  /** Or the PG itself, by its number in the pool. */
  pg?: number;
  /** The new primary. Default: the second of the acting set, else any OSD that is up. */
  to?: number;
  /** `pg-temp`: as backfill does it; `upmap`: as the balancer. Default `pg-temp`. */
  by?: 'pg-temp' | 'upmap';
}

export interface CorruptObjectOptions {
  pool: string | number;
  object: string;
  namespace?: string;
  /** A clone's id. Default: the head. */
  snap?: bigint;
  /** Whose copy. Default: the last of the acting set. */
  osd?: number;
  /** A bit of its data, of an xattr or of an omap value; its size; all of it. Default `data`. */
  what?: 'data' | 'xattr' | 'omap' | 'size' | 'missing';
}

export interface BlocklistOptions {
  client: ClientRef;
  /** Default an hour, or until the fault is stopped. */
  expireS?: number;
}

export type MapFlag =
  | 'pause'
  | 'pauserd'
  | 'pausewr'
  | 'full'
  | 'noup'
  | 'nodown'
  | 'noin'
  | 'noout'
  | 'norecover'
  | 'nobackfill'
  | 'norebalance';

export interface FullOptions {
  /** Default: every pool. */
  pool?: string | number;
}

export interface MonUnavailableOptions {
  /** `silent`: connections stand and nothing comes; `refuse`: they are reset. Default `silent`. */
  how?: 'silent' | 'refuse';
}

export interface JumpClockOptions {
  /** Forward; backward only the wall clock goes. */
  ms: number;
  /** `wall`: what dates are; `monotonic`: what timers run by. Default `both`. */
  clock?: 'both' | 'wall' | 'monotonic';
}

/** Every kind of fault and what it takes. */
export interface FaultOptions {
  dropWatch: DropWatchOptions;
  dropNotify: NotifyOptions;
  delayNotify: DelayNotifyOptions;
  duplicateNotify: NotifyOptions;
  failOps: FailOpsOptions;
  delayReplies: DelayRepliesOptions;
  dropReplies: OpOptions;
  opPoint: OpPointOptions;
  storePoint: StorePointOptions;
  resetConnections: ResetOptions;
  refuseConnections: RefuseOptions;
  blackHole: ShapeOptions;
  delayConnections: DelayConnectionsOptions;
  throttleConnections: ThrottleOptions;
  breakAfterBytes: BreakAfterOptions;
  killOsd: { osd: number };
  stopOsd: { osd: number };
  restartOsd: { osd: number };
  freezeOsd: FreezeOsdOptions;
  partOsds: PartOsdsOptions;
  movePg: MovePgOptions;
  corruptObject: CorruptObjectOptions;
  blocklist: BlocklistOptions;
  setFlags: { flags: readonly MapFlag[] };
  full: FullOptions;
  churnMap: { epochs: number };
  monUnavailable: MonUnavailableOptions;
  retireTickets: Record<never, never>;
  freezeClock: { ms?: number };
  jumpClock: JumpClockOptions;
}

export type FaultKind = keyof FaultOptions;

export type FaultSpec = {
  [K in FaultKind]: { kind: K; options: FaultOptions[K] };
}[FaultKind];

/** The order in which they are shown. */
export const FAULT_KINDS = [
  'dropWatch',
  'dropNotify',
  'delayNotify',
  'duplicateNotify',
  'failOps',
  'delayReplies',
  'dropReplies',
  'opPoint',
  'storePoint',
  'resetConnections',
  'refuseConnections',
  'blackHole',
  'delayConnections',
  'throttleConnections',
  'breakAfterBytes',
  'killOsd',
  'stopOsd',
  'restartOsd',
  'freezeOsd',
  'partOsds',
  'movePg',
  'corruptObject',
  'blocklist',
  'setFlags',
  'full',
  'churnMap',
  'monUnavailable',
  'retireTickets',
  'freezeClock',
  'jumpClock',
] as const satisfies readonly FaultKind[];

/** How often faults of each kind have acted since the cluster started, stopped ones too. */
export type FaultCounters = Record<FaultKind, number>;

/** A fault that was armed and not stopped. */
export interface FaultStatus {
  id: number;
  kind: FaultKind;
  fired: number;
  /** It has acted as often as it was to. */
  over: boolean;
}

/** A registration, as the object's primary has it. */
export interface WatchStatus {
  pool: number;
  namespace: string;
  object: string;
  osd: number;
  /** `client.4123`. */
  client: string;
  /** As `ceph osd blocklist` takes it. */
  addr: string;
  cookie: bigint;
  timeoutS: number;
  connected: boolean;
  /** Since its registration, reconnect or ping arrived; undefined before the first at this primary. */
  silentMs: number | undefined;
}

/** A connection that a client has. */
export interface ClientStatus {
  /** `client.4123`. */
  client: string;
  /** As `ceph osd blocklist` takes it. */
  addr: string;
  /** `osd.1`, `mon.a`. */
  daemon: string;
}

/** Faults as the cluster's thread offers them. */
export interface FaultControl {
  /** Arms a fault and returns its id. */
  arm(spec: FaultSpec): Promise<number>;
  fired(id: number): Promise<number>;
  activations(id: number): Promise<number>;
  /** Resolves when the fault has acted that often; ETIMEDOUT after `timeoutMs`, ECANCELED when it is stopped before. */
  untilFired(id: number, count: number, timeoutMs: number): Promise<number>;
  /** Undoes a fault. Safe to call twice. */
  stop(id: number): Promise<void>;
  clear(): Promise<void>;
  counters(): Promise<FaultCounters>;
  active(): Promise<FaultStatus[]>;
  watches(where: { pool?: string | number; object?: string }): Promise<WatchStatus[]>;
  clients(): Promise<ClientStatus[]>;
}
