/** From options and ceph.conf to a connected client: everything is decided here, once. */

import {
  type ClientConfig,
  type ClientConfigOptions,
  resolveClientConfig,
} from '../auth/ceph-conf.js';
import { CephxClient } from '../auth/cephx-client.js';
import { AUTH_METHOD, type ClusterAuth, CON_MODE } from '../auth/method.js';
import { NoneClient } from '../auth/none.js';
import type { Environment } from '../base/environment.js';
import { isRadosError, RadosError, toRadosError } from '../base/errors.js';
import type { EntityAddr } from '../encoding/entity.js';
import type { Kernels } from '../kernels/load.js';
import {
  balanced,
  type CrushLocation,
  localized,
  primaryOnly,
  type ReplicaReads,
} from '../osd-client/replica-reads.js';
import { RadosClient } from './rados-client.js';

/** krbd's `ms_mode`, without `legacy` (messenger v1). */
export type MsMode = 'crc' | 'secure' | 'prefer-crc' | 'prefer-secure';

const MODES: Record<MsMode, readonly number[]> = {
  crc: [CON_MODE.CRC],
  secure: [CON_MODE.SECURE],
  'prefer-crc': [CON_MODE.CRC, CON_MODE.SECURE],
  'prefer-secure': [CON_MODE.SECURE, CON_MODE.CRC],
};

/** How to reach a cluster, as plain data. What is absent comes from ceph.conf, then from Ceph's defaults. */
export interface ConnectOptions extends ClientConfigOptions {
  /** For monitors and OSDs alike. */
  msMode?: MsMode | undefined;
  /** How long connecting may take; 0 waits for ever. Default: `client_mount_timeout` (300 s). */
  mountTimeoutMs?: number | undefined;
  /** Deadline of an object operation; 0 waits for ever. Default: `rados_osd_op_timeout` (0). */
  osdOpTimeoutMs?: number | undefined;
  /** Deadline of a monitor request; 0 waits for ever. Default: `rados_mon_op_timeout` (0). */
  monOpTimeoutMs?: number | undefined;
  /** How often an OSD that owes an answer is pinged. Default 5 s. */
  osdKeepaliveMs?: number | undefined;
  /** When an idle OSD session is closed. Default 60 s. */
  osdIdleTtlMs?: number | undefined;
  /** Who serves reads. Default `no`: the primary. */
  readFromReplica?: 'no' | 'balance' | 'localize' | undefined;
  /** Where this client is, for `localize`. */
  crushLocation?: CrushLocation | undefined;
  abortOnFull?: boolean | undefined;
  /** Refuse any other cluster (krbd's `fsid`). */
  fsid?: string | undefined;
}

const OSD_KEEPALIVE_MS = 5_000;
const OSD_IDLE_TTL_MS = 60_000;

export interface ConnectedClient {
  client: RadosClient;
  config: ClientConfig;
}

/**
 * Connects to a cluster.
 * ENOENT: no configuration, monitor or keyring; EACCES: user or key refused; ETIMEDOUT: no monitor answered;
 * EOPNOTSUPP: only messenger v1 addresses, or features that this client lacks.
 */
export async function connectRados(
  env: Environment,
  kernels: Kernels,
  options: ConnectOptions = {},
  signal?: AbortSignal,
): Promise<ConnectedClient> {
  const config = await resolveClientConfig(env, options);
  const auths = authsOf(env, config);
  const modes = options.msMode && MODES[options.msMode];
  const connecting = RadosClient.connect(
    {
      env,
      kernels,
      auths,
      monAddrs: await resolveMonAddrs(env, config),
      monModes: modes ?? config.msMonClientMode,
      osdModes: modes ?? config.msClientMode,
      mountTimeoutMs: options.mountTimeoutMs ?? config.clientMountTimeoutMs,
      osdOpTimeoutMs: options.osdOpTimeoutMs ?? config.radosOsdOpTimeoutMs,
      monOpTimeoutMs: options.monOpTimeoutMs ?? config.radosMonOpTimeoutMs,
      osdKeepaliveMs: options.osdKeepaliveMs ?? OSD_KEEPALIVE_MS,
      osdIdleTtlMs: options.osdIdleTtlMs ?? OSD_IDLE_TTL_MS,
      replicaReads: replicaReadsOf(env, options),
      abortOnFull: options.abortOnFull ?? false,
    },
    signal,
  );
  const client = await connecting.catch((error: unknown) => {
    throw isRadosError(error, 'EACCES') ? refusedAs(config.name, error) : error;
  });
  if (options.fsid !== undefined && options.fsid !== client.fsid) {
    client.close();
    throw new RadosError('EINVAL', `the cluster is ${client.fsid}, not ${options.fsid}`, {
      op: 'connect',
    });
  }
  return { client, config };
}

/** The monitors do not say whether they know the user: both are to be looked at. */
function refusedAs(name: string, error: RadosError): RadosError {
  const { op, target } = error;
  return new RadosError('EACCES', `${name}: ${error.message}`, { op, target, cause: error });
}

function authsOf(env: Environment, config: ClientConfig): ClusterAuth[] {
  const { entity, key, missingKeyring, name } = config;
  const auths = config.authMethods.flatMap((method): ClusterAuth[] => {
    if (method === AUTH_METHOD.CEPHX && key) return [new CephxClient(env, { entity, key })];
    return method === AUTH_METHOD.NONE ? [new NoneClient({ entity })] : [];
  });
  if (auths.length === 0) {
    throw new RadosError(
      'ENOENT',
      `no key for ${name}${missingKeyring ? ` at ${missingKeyring}` : ''}`,
      {
        op: 'connect',
      },
    );
  }
  return auths;
}

/** Host names become addresses here: a daemon takes only the address that it knows itself by. */
async function resolveMonAddrs(env: Environment, config: ClientConfig): Promise<EntityAddr[]> {
  const addrs = config.monHosts.flatMap((host) => host.addrs);
  const resolved = await Promise.allSettled(
    addrs.map(async (addr) =>
      (await env.network.lookup(addr.host)).map((host) => ({ ...addr, host })),
    ),
  );
  const found = resolved.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  const [failure] = resolved.filter((result) => result.status === 'rejected');
  if (found.length === 0 && failure) {
    throw toRadosError(failure.reason, {
      op: 'resolve',
      target: addrs.map((addr) => addr.host).join(', '),
    });
  }
  return found;
}

function replicaReadsOf(env: Environment, options: ConnectOptions): ReplicaReads {
  switch (options.readFromReplica) {
    case 'balance':
      return balanced(env.random);
    case 'localize':
      return localized(options.crushLocation ?? []);
    case 'no':
    case undefined:
      return primaryOnly();
  }
}
