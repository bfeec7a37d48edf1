/**
 * A client's configuration: what ceph.conf, the caller and Ceph's defaults say together, resolved once
 * (`common/config.cc`, `auth/KeyRing.cc`).
 *
 * The caller's word wins, then `[client.ID]`, `[client]`, `[global]`, then the default. A value that does not parse
 * leaves the default, and does not fall through to the next section.
 */

import type { Environment } from '../base/environment.js';
import { RadosError, toRadosError } from '../base/errors.js';
import { type AuthEntity, entityTypeName, parseAuthEntity } from '../encoding/entity.js';
import { ConfigFile, normalizeKey } from './config-file.js';
import { CryptoKey } from './crypto-key.js';
import { Keyring } from './keyring.js';
import { AUTH_METHOD } from './method.js';
import { type MonHost, parseMonHost } from './mon-host.js';
import {
  parseAuthMethods,
  parseConModes,
  parseList,
  parseRbdFeatures,
  parseSecondsMs,
  parseSize,
  parseUint,
} from './option-values.js';

/** Ceph's defaults of the options that we read, as text. */
const DEFAULTS = {
  auth_client_required: 'cephx, none',
  auth_supported: '',
  client_mount_timeout: '300',
  key: '',
  keyfile: '',
  keyring:
    '/etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin,',
  mon_host: '',
  ms_client_mode: 'crc secure',
  ms_mon_client_mode: 'secure crc',
  rados_mon_op_timeout: '0',
  rados_osd_op_timeout: '0',
  rbd_default_data_pool: '',
  rbd_default_features: '61',
  rbd_default_order: '22',
  rbd_default_pool: 'rbd',
  rbd_default_stripe_count: '0',
  rbd_default_stripe_unit: '0',
  run_dir: '/var/run/ceph',
} as const;
type OptionName = keyof typeof DEFAULTS;

const DEFAULT_CLUSTER = 'ceph';
/** References of options to options, deeper than any real file goes. */
const MAX_EXPANSION_DEPTH = 8;

export interface ClientConfigOptions {
  /** The file; `/etc/ceph/ceph.conf` when absent, which need not exist if `monHost` is given. */
  conf?: string | undefined;
  /** `client.admin` when absent. */
  name?: string | undefined;
  keyring?: string | undefined;
  /** A file with the bare key in base64. */
  keyfile?: string | undefined;
  /** The key in base64. */
  key?: string | undefined;
  monHost?: string | undefined;
  /** Any options, by Ceph's names. */
  overrides?: Readonly<Record<string, string>> | undefined;
}

/** Everything decided; frozen. */
export interface ClientConfig {
  readonly cluster: string;
  readonly name: string;
  readonly entity: AuthEntity;
  /** The file that was read. */
  readonly confPath: string | undefined;
  readonly monHosts: readonly MonHost[];
  /** Present when cephx is among the methods. */
  readonly key: CryptoKey | undefined;
  /** `AUTH_METHOD` numbers in the order to try. */
  readonly authMethods: readonly number[];
  /** Why cephx, though configured, is not among the methods: no keyring was found where this says. */
  readonly missingKeyring: string | undefined;
  /** `CON_MODE` numbers in the order of preference, for daemons and for monitors. */
  readonly msClientMode: readonly number[];
  readonly msMonClientMode: readonly number[];
  readonly clientMountTimeoutMs: number;
  /** 0 for none. */
  readonly radosOsdOpTimeoutMs: number;
  readonly radosMonOpTimeoutMs: number;
  readonly rbdDefaultPool: string;
  readonly rbdDefaultDataPool: string | undefined;
  readonly rbdDefaultOrder: number;
  readonly rbdDefaultFeatures: bigint;
  /** 0 for the object size, and for 1. */
  readonly rbdDefaultStripeUnit: number;
  readonly rbdDefaultStripeCount: number;
  /** Any option as text, variables replaced. Never the key. */
  get(option: string): string | undefined;
  /** Whether the caller or the file says anything of it: what the cluster keeps for its clients weighs less than that. */
  isSet(option: string): boolean;
}

/** A parsed ceph.conf. */
export class CephConf {
  readonly #file: ConfigFile;

  constructor(file: ConfigFile) {
    this.#file = file;
  }

  get sectionNames(): string[] {
    return this.#file.sectionNames;
  }

  /** What the file says for an entity, variables not replaced. */
  lookup(entity: AuthEntity, option: string): string | undefined {
    const type = entityTypeName(entity.type);
    return this.#file.lookup([`${type}.${entity.id}`, type, 'global'], option);
  }
}

/** Throws `RadosError` `EINVAL` with line and position. */
export function parseCephConf(content: Uint8Array | string, source = 'ceph.conf'): CephConf {
  return new CephConf(ConfigFile.parse(content, source));
}

/** Reads the files and decides every option. Errors name the file and carry the errno that Ceph's tools give. */
export async function resolveClientConfig(
  env: Environment,
  options: ClientConfigOptions = {},
): Promise<ClientConfig> {
  const name = options.name ?? 'client.admin';
  const entity = parseName(name);
  const confPath = options.conf ?? `/etc/ceph/${DEFAULT_CLUSTER}.conf`;
  const conf = await readConf(env, confPath, { required: options.conf !== undefined });
  const values = new OptionValues({
    conf,
    entity,
    cluster: clusterOf(confPath),
    host: env.hostname.split('.', 1)[0] ?? '',
    overrides: explicitOverrides(options),
  });

  const monHosts = parseMonHost(values.text('mon_host'));
  if (monHosts.length === 0) {
    throw new RadosError(
      'ENOENT',
      `no monitors: ${confPath} ${conf ? 'has' : 'is absent, so there is'} no mon host`,
      {
        op: 'read configuration',
        target: confPath,
      },
    );
  }
  const supported = values.text('auth_supported');
  const methods = parseAuthMethods(supported || values.text('auth_client_required'));
  if (!methods) {
    throw new RadosError('EINVAL', 'auth client required names no method that we have', {
      op: 'read configuration',
      target: confPath,
    });
  }
  const { key, missingKeyring } = await findKey(env, values, methods, name);
  const dataPool = values.text('rbd_default_data_pool');
  return Object.freeze({
    cluster: values.cluster,
    name,
    entity: Object.freeze(entity),
    confPath: conf && confPath,
    monHosts: Object.freeze(monHosts),
    key,
    authMethods: Object.freeze(
      key ? methods : methods.filter((each) => each !== AUTH_METHOD.CEPHX),
    ),
    missingKeyring,
    msClientMode: Object.freeze(values.parsed('ms_client_mode', parseConModes)),
    msMonClientMode: Object.freeze(values.parsed('ms_mon_client_mode', parseConModes)),
    clientMountTimeoutMs: values.parsed('client_mount_timeout', parseSecondsMs),
    radosOsdOpTimeoutMs: values.parsed('rados_osd_op_timeout', parseSecondsMs),
    radosMonOpTimeoutMs: values.parsed('rados_mon_op_timeout', parseSecondsMs),
    rbdDefaultPool: values.text('rbd_default_pool') || DEFAULTS.rbd_default_pool,
    rbdDefaultDataPool: dataPool === '' ? undefined : dataPool,
    rbdDefaultOrder: values.parsed('rbd_default_order', parseUint),
    rbdDefaultFeatures: values.parsed('rbd_default_features', parseRbdFeatures),
    rbdDefaultStripeUnit: values.parsed('rbd_default_stripe_unit', parseSize),
    rbdDefaultStripeCount: values.parsed('rbd_default_stripe_count', parseUint),
    get: (option: string) => (normalizeKey(option) === 'key' ? undefined : values.get(option)),
    isSet: (option: string) => values.isSet(option),
  });
}

function parseName(name: string): AuthEntity {
  try {
    return parseAuthEntity(name);
  } catch (error) {
    throw new RadosError('EINVAL', (error as Error).message, {
      op: 'read configuration',
      cause: error,
    });
  }
}

async function readConf(
  env: Environment,
  path: string,
  { required }: { required: boolean },
): Promise<CephConf | undefined> {
  let content: Uint8Array;
  try {
    content = await env.files.readFile(path);
  } catch (error) {
    const failure = toRadosError(error, { op: 'read configuration', target: path });
    if (failure.code === 'ENOENT' && !required) return undefined;
    throw failure;
  }
  return parseCephConf(content, path);
}

/** `/etc/ceph/backup.conf` belongs to the cluster `backup`. */
function clusterOf(confPath: string): string {
  const base = confPath.slice(confPath.lastIndexOf('/') + 1);
  return (base.endsWith('.conf') && base.slice(0, -'.conf'.length)) || DEFAULT_CLUSTER;
}

function explicitOverrides(options: ClientConfigOptions): Map<string, string> {
  const overrides = new Map<string, string>();
  for (const [option, value] of Object.entries(options.overrides ?? {})) {
    // On command lines options are spelled with dashes.
    overrides.set(normalizeKey(option).replaceAll('-', '_'), value);
  }
  const named = {
    keyring: options.keyring,
    keyfile: options.keyfile,
    key: options.key,
    mon_host: options.monHost,
  };
  for (const [option, value] of Object.entries(named)) {
    if (value !== undefined) overrides.set(option, value);
  }
  return overrides;
}

/** The layers of values for one client, with variables replaced. */
class OptionValues {
  readonly cluster: string;
  readonly #layers: (option: string) => string | undefined;
  readonly #given: (option: string) => string | undefined;
  readonly #variables: ReadonlyMap<string, string>;

  constructor(from: {
    conf: CephConf | undefined;
    entity: AuthEntity;
    cluster: string;
    host: string;
    overrides: ReadonlyMap<string, string>;
  }) {
    const { conf, entity, overrides } = from;
    const type = entityTypeName(entity.type);
    this.cluster = from.cluster;
    this.#given = (option) => overrides.get(option) ?? conf?.lookup(entity, option);
    this.#layers = (option) =>
      this.#given(option) ??
      (Object.hasOwn(DEFAULTS, option) ? DEFAULTS[option as OptionName] : undefined);
    this.#variables = new Map([
      ['cluster', from.cluster],
      ['type', type],
      ['id', entity.id],
      ['name', `${type}.${entity.id}`],
      ['host', from.host],
    ]);
  }

  get(option: string): string | undefined {
    return this.#value(normalizeKey(option), []);
  }

  isSet(option: string): boolean {
    return this.#given(normalizeKey(option)) !== undefined;
  }

  text(option: OptionName): string {
    return this.#value(option, []) ?? '';
  }

  /** The default stands in for what does not parse. */
  parsed<T>(option: OptionName, parse: (text: string) => T | undefined): T {
    const value = parse(this.text(option)) ?? parse(DEFAULTS[option]);
    if (value === undefined) throw new TypeError(`the default of ${option} does not parse`);
    return value;
  }

  #value(option: string, within: readonly string[]): string | undefined {
    const raw = this.#layers(option);
    return raw === undefined ? undefined : this.#expand(raw, [...within, option]);
  }

  /** `$name` and `${name}`: the five variables, or another option; anything else stays as it is. */
  #expand(text: string, within: readonly string[]): string {
    return text.replace(/\$(?:([a-z_]+)|\{([a-z_]+)\})/g, (literal, bare, braced) => {
      const name = (bare ?? braced) as string;
      const variable = this.#variables.get(name);
      if (variable !== undefined) return variable;
      if (name === 'key' || within.includes(name) || within.length > MAX_EXPANSION_DEPTH) {
        return literal;
      }
      return this.#value(name, within) ?? literal;
    });
  }
}

/** In Ceph's order: `key`, then `keyfile`, then the first keyring of the list that exists. */
async function findKey(
  env: Environment,
  values: OptionValues,
  methods: readonly number[],
  name: string,
): Promise<{ key: CryptoKey | undefined; missingKeyring: string | undefined }> {
  const found = (key: CryptoKey | undefined) => ({ key, missingKeyring: undefined });
  if (!methods.includes(AUTH_METHOD.CEPHX)) return found(undefined);

  const keyText = values.text('key');
  if (keyText !== '') return found(CryptoKey.fromBase64(keyText));

  const keyfile = values.text('keyfile');
  if (keyfile !== '') return found(await readKeyfile(env, keyfile));

  const candidates = parseList(values.text('keyring'));
  for (const path of candidates) {
    if (!(await env.files.exists(path))) continue;
    const entry = (await Keyring.read(env, path)).get(name);
    if (entry) return found(entry.key);
    throw new RadosError('EACCES', `${path} has no key for ${name}`, {
      op: 'read keyring',
      target: path,
    });
  }
  const searched = candidates.join(', ');
  // A client that may do without a key goes on without one: the monitor decides.
  if (methods.includes(AUTH_METHOD.NONE)) return { key: undefined, missingKeyring: searched };
  throw new RadosError('ENOENT', `no keyring for ${name} found at ${searched}`, {
    op: 'read keyring',
    target: searched,
  });
}

async function readKeyfile(env: Environment, path: string): Promise<CryptoKey> {
  const options = { op: 'read keyfile', target: path };
  let content: Uint8Array;
  try {
    content = await env.files.readFile(path);
  } catch (error) {
    throw toRadosError(error, options);
  }
  try {
    return CryptoKey.fromBase64(Buffer.from(content).toString('latin1'));
  } catch (error) {
    throw new RadosError('EINVAL', `${path}: not a cephx key in base64`, {
      ...options,
      cause: error,
    });
  }
}
